//! Against a scripted server; `make exports` asks a real one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;

/// What the server has been told: its runs by their tag, each with its metrics by key and step.
#[derive(Default)]
struct Told {
    runs: BTreeMap<String, Value>,
    values: Vec<(String, u64, f64)>,
    statuses: Vec<String>,
    /// Requests that are answered with 503 before the others.
    failures: usize,
}

fn answer(told: &mut Told, path: &str, body: &Value) -> (u16, Value) {
    if told.failures > 0 {
        told.failures -= 1;
        return (503, json!({"message": "starting"}));
    }
    match path.rsplit("mlflow/").next().unwrap_or_default() {
        path if path.starts_with("experiments/get-by-name") => {
            (404, json!({"message": "no such experiment"}))
        }
        "experiments/create" => (200, json!({"experiment_id": "1"})),
        "runs/search" => {
            let tag = body["filter"].as_str().unwrap().split('\'').nth(1).unwrap();
            (200, json!({"runs": told.runs.get(tag).into_iter().collect::<Vec<_>>()}))
        }
        "runs/create" => {
            let tag = body["tags"][0]["value"].as_str().unwrap().to_owned();
            let run = json!({"info": {"run_id": tag}, "data": {"metrics": []}});
            told.runs.insert(tag, run.clone());
            (200, json!({"run": run}))
        }
        "runs/log-batch" => {
            let run = told.runs.get_mut(body["run_id"].as_str().unwrap()).unwrap();
            for metric in body["metrics"].as_array().into_iter().flatten() {
                let (key, step) = (metric["key"].as_str().unwrap(), metric["step"].as_u64().unwrap());
                told.values.push((key.to_owned(), step, metric["value"].as_f64().unwrap()));
                let latest = run["data"]["metrics"].as_array_mut().unwrap();
                latest.retain(|other| other["key"] != key);
                latest.push(json!({"key": key, "step": step}));
            }
            (200, json!({}))
        }
        "runs/update" => {
            told.statuses.push(body["status"].as_str().unwrap().to_owned());
            (200, json!({}))
        }
        other => (400, json!({"message": format!("unknown: {other}")})),
    }
}

fn serve(mut stream: TcpStream, told: &Mutex<Told>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let header = line.trim().to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if header.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let (status, answer) = answer(&mut told.lock().unwrap(), &path, &body);
        let answer = answer.to_string();
        write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).ok()?;
    }
}

/// A server on a free port, and what it is told.
fn server(failures: usize) -> (String, Arc<Mutex<Told>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let told = Arc::new(Mutex::new(Told { failures, ..Told::default() }));
    let shared = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || serve(stream.unwrap(), &shared));
        }
    });
    (url, told)
}

fn run_once(url: &str, steps: std::ops::RangeInclusive<u64>, state: &ArmState) {
    let config = MlflowConfig { url: url.to_owned(), ..MlflowConfig::default() };
    let mlflow = Mlflow::start(&config, "ablation").unwrap_or_else(|_| panic!("no token is needed"));
    let settings = json!({"grpo": {"lr": 0.5}}).as_object().unwrap().clone();
    let mut rows = mlflow.begin("ablation-1", &ArmId::new("grpo+atar", 7), &settings, 1e9);
    for step in steps {
        rows.add(step, 1e9 + step as f64, &[("train/a (b)".into(), step as f64 / 2.0)]).unwrap();
    }
    rows.end(state).unwrap();
    drop(rows);
    mlflow.finish();
}

#[test]
fn every_value_is_sent_once_also_after_a_resume_and_when_the_server_fails_at_first() {
    let (url, told) = server(1);
    run_once(&url, 1..=3, &ArmState::Stopped);
    // The resumed run repeats the steps after its checkpoint.
    run_once(&url, 1..=5, &ArmState::Done);
    let told = told.lock().unwrap();
    // Neither `+` nor a parenthesis may stand in a name, but in a tag.
    let expected: Vec<_> = (1..=5).map(|step| ("train/a _b_".to_owned(), step, step as f64 / 2.0)).collect();
    assert_eq!(told.values, expected);
    assert_eq!(told.runs.keys().collect::<Vec<_>>(), ["ablation-1/grpo+atar/seed-7"]);
    assert_eq!(told.statuses, ["KILLED", "RUNNING", "FINISHED"]);
}

#[test]
fn an_address_that_is_no_mlflow_is_given_up_at_once() {
    // The page of another program, with status 200.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>");
        }
    });
    let began = Instant::now();
    run_once(&url, 1..=1, &ArmState::Done);
    assert!(began.elapsed() < AT_THE_END / 2);
}
