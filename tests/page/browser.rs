//! Chromium, driven over the DevTools protocol: opens a page, clicks and types as a person would, and records every
//! error and every request of the page.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Longest wait for an answer of the browser, or for a change of the page.
const PATIENCE: Duration = Duration::from_secs(60);

/// Usual names of the program; the environment variable `CHROMIUM` gives another.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const SWITCHES: [&str; 12] = [
    "--remote-debugging-pipe",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--autoplay-policy=no-user-gesture-required",
    "--lang=en-US",
];

/// What to do if [`program`] finds none.
pub const MISSING: &str =
    "no Chromium; on Debian: apt-get install chromium; elsewhere: set CHROMIUM to its program";

/// The browser's program, if this machine has one.
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path)
        .flat_map(|folder| PROGRAMS.map(|name| folder.join(name)))
        .filter(|file| file.is_file());
    named.or_else(|| found.next())
}

/// A browser with one page open.
pub struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
    session: String,
    last_id: u64,
    /// Errors of the page: exceptions, errors on the console, and resources that did not load.
    pub complaints: Vec<String>,
    /// Every URL that the page requested.
    pub requested: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser with an empty profile; its messages go to a file in `dir`.
    pub fn start(dir: &Path) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        // Chromium speaks the protocol on the descriptors 3 and 4, which the shell connects to ours.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(program().expect(MISSING))
            .args(SWITCHES)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("chromium.log")).unwrap())
            .spawn()
            .unwrap();
        let requests = child.stdin.take().unwrap();
        let answers = listen(BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Browser {
            child,
            requests,
            answers,
            session: String::new(),
            last_id: 0,
            complaints: Vec::new(),
            requested: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        // A page in the background has no focus, so that typing would have no effect.
        browser.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        browser.resize(1440, 1000);
        browser
    }

    /// Calls a method of the browser, or of the page once one is open.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut request = json!({"id": self.last_id, "method": method, "params": params});
        if !self.session.is_empty() {
            request["sessionId"] = json!(self.session);
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).expect("Chromium listens");
        loop {
            let answer = self
                .answers
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("Chromium does not answer {method}"));
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.requested.extend(params["request"]["url"].as_str().map(str::to_owned))
            }
            "Runtime.exceptionThrown" => self.complaints.push(params["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if params["type"] == "error" => {
                self.complaints.push(params["args"].to_string())
            }
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string())
            }
            _ => {}
        }
    }

    pub fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({"url": address}));
    }

    pub fn resize(&mut self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Sets the preferred colour scheme of the system: `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// The value of an expression in the page; a promise is awaited.
    pub fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let found = self.call("Runtime.evaluate", asked);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {}", found["exceptionDetails"]);
        found["result"]["value"].clone()
    }

    /// Waits until an expression in the page is truthy; returns its value.
    pub fn until(&mut self, expression: &str) -> Value {
        let began = Instant::now();
        loop {
            let value = self.eval(expression);
            if !matches!(&value, Value::Null | Value::Bool(false)) && value != json!("") && value != json!(0)
            {
                return value;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "never came true: {expression}\nthe page says: {}",
                self.text("body")
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The visible text of an element; empty if it is hidden or missing.
    pub fn text(&mut self, selector: &str) -> String {
        self.eval(&shown(selector)).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the visible text of an element contains `part`; returns all of it.
    pub fn text_with(&mut self, selector: &str, part: &str) -> String {
        let node = shown(selector);
        self.until(&format!("{node}?.includes({}) && {node}", json!(part))).as_str().unwrap().to_owned()
    }

    /// Clicks at a share of the width of an element, in the middle of its height.
    pub fn click_at(&mut self, selector: &str, share: f64) {
        let selector = json!(selector);
        self.until(&format!("document.querySelector({selector}) !== null"));
        let place = self.eval(&format!(
            "(() => {{ const node = document.querySelector({selector}); node.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const box = node.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]; }})()"
        ));
        let side = |at: usize| place[at].as_f64().unwrap();
        let (x, y) = (side(0) + share * side(2), side(1) + side(3) / 2.0);
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let mouse = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", mouse);
        }
    }

    /// Presses a key: a character, or one of `Enter` and `Escape`.
    pub fn press(&mut self, key: &str) {
        let (text, code) = match key {
            "Enter" => (Some("\r"), 13),
            "Escape" => (None, 27),
            _ => (Some(key), 0),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if let Some(text) = text.filter(|_| kind == "keyDown") {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Writes what the page shows to a PNG file.
    pub fn screenshot(&mut self, path: &Path) {
        let encoded = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let encoded = encoded["data"].as_str().unwrap();
        let decoded = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(File::create(path).unwrap())
            .spawn();
        let mut decoding = decoded.unwrap();
        decoding.stdin.take().unwrap().write_all(encoded.as_bytes()).unwrap();
        assert!(decoding.wait().unwrap().success());
    }

    pub fn click(&mut self, selector: &str) {
        self.click_at(selector, 0.5);
    }

    /// Replaces the text of a field as typing would.
    pub fn fill(&mut self, selector: &str, text: &str) {
        let node = json!(selector);
        // A hidden field does not take the focus, so wait until it is visible.
        self.until(&format!(
            "(() => {{ const node = document.querySelector({node}); node?.focus(); node?.select(); \
             return node !== null && document.activeElement === node; }})()"
        ));
        self.call("Input.insertText", json!({"text": text}));
        self.eval(&format!(
            "document.querySelector({node}).dispatchEvent(new Event('change', {{bubbles: true}}))"
        ));
    }
}

/// The visible text of an element, as an expression.
fn shown(selector: &str) -> String {
    let node = format!("document.querySelector({})", json!(selector));
    format!("({node}?.checkVisibility() ? {node}.innerText : undefined)")
}

/// Reads messages, each ended by a zero byte, on a thread of its own, so that waiting for one can time out.
fn listen(mut from: impl BufRead + Send + 'static) -> Receiver<Value> {
    let (sender, answers) = mpsc::channel();
    thread::spawn(move || {
        let mut message = Vec::new();
        while from.read_until(0, &mut message).is_ok_and(|read| read > 0) {
            message.pop();
            let Ok(value) = serde_json::from_slice(&message) else { break };
            if sender.send(value).is_err() {
                break;
            }
            message.clear();
        }
    });
    answers
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium exits when its pipe closes; killing it makes sure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
