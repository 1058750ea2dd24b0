//! Reward code that was written for other trainers, run as it is in real child processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ::plugins::{RewardSource, Scored, Scorer};
use records::MissingCause;
use rewards::{ParserOptions, Question, Readings, RewardBatch, RewardItem, RewardRegistry, parse_completion};
use scenarios::RewardSpec;
use serde_json::{Value, json};

/// The folder of the reward files of these tests.
fn elsewhere() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rewards_elsewhere")
}

fn open(folder: &Path, file: &str, options: &str) -> Scorer {
    let options = format!("kind = 'python'\nfile = '{file}'\n{options}");
    let spec: RewardSpec = toml::from_str(&options).unwrap();
    let registry = Arc::new(RewardRegistry::standard());
    RewardSource::new("mine", spec.anchored(folder), registry).open().unwrap()
}

/// A reward of the folder `plain`.
fn plain(file: &str, options: &str) -> Scorer {
    open(&elsewhere().join("plain"), file, options)
}

/// A completion of one of two questions, whose right answers are `dog` and `5`. Its tokens are its words.
fn item(group: usize, completion: &str, metadata: &Value) -> RewardItem {
    let question = Arc::new(Question {
        id: format!("q{group}"),
        text: "Which?".into(),
        choices: if group == 0 { vec!["dog".into(), "bell".into()] } else { vec!["3".into(), "5".into()] },
        answer: ["dog", "5"][group % 2].into(),
        metadata: metadata.as_object().cloned().unwrap_or_default(),
        ..Question::default()
    });
    let parsed = parse_completion(completion, &ParserOptions::default());
    let words = completion.split_whitespace().count();
    RewardItem {
        readings: Readings::of(completion, &parsed, &question),
        question,
        group,
        completion: completion.into(),
        parsed,
        completion_tokens: words,
        completion_ids: (7..).take(words).collect(),
        think_tokens: 0,
        truncated: false,
        duration_seconds: Some(2.0),
        verdict: None,
        graded: Vec::new(),
    }
}

fn batch_of(items: Vec<RewardItem>) -> Arc<RewardBatch> {
    Arc::new(RewardBatch { step: 3, total_steps: 10, group_size: 2, items, ..RewardBatch::default() })
}

/// Two groups: a right answer with thinking and a wrong one; a right one and none.
const COMPLETIONS: [(usize, &str); 4] = [
    (0, "<think> a bark </think> <answer> dog </answer>"),
    (0, "<answer> bell </answer>"),
    (1, "<answer> 5 </answer>"),
    (1, "BEATS AND BEATS AND BEATS AND BEATS AND BEATS"),
];

fn batch(metadata: &Value) -> Arc<RewardBatch> {
    batch_of(COMPLETIONS.iter().map(|(group, text)| item(*group, text, metadata)).collect())
}

async fn score(mut scorer: Scorer, batch: Arc<RewardBatch>) -> (Scored, String) {
    let scored = scorer.score(batch).await;
    let call = scorer.call().map(ToString::to_string).unwrap_or_default();
    scorer.close().await;
    (scored, call)
}

/// The scores of the four completions; fails with the reward's message if there are none.
#[track_caller]
fn assert_scores(scored: &Scored, expected: [Option<f64>; 4]) {
    let same = |(found, expected): (&Option<f64>, &Option<f64>)| match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
        (found, expected) => found == expected,
    };
    let all = scored.scores.len() == 4 && scored.scores.iter().zip(&expected).all(same);
    assert!(all, "{:?} instead of {expected:?}; {:?}", scored.scores, scored.failure);
}

fn metrics(scored: &Scored) -> BTreeMap<&str, f64> {
    scored.notes.metrics.iter().map(|(name, metric)| (name.as_str(), metric.mean)).collect()
}

fn extra(scored: &Scored, column: &str) -> Value {
    json!(scored.notes.extras.get(column))
}

#[tokio::test(flavor = "multi_thread")]
async fn trl_functions_run_as_they_are() {
    let none = json!({});
    let (scored, call) = score(plain("trl_format.py", ""), batch(&none)).await;
    assert_eq!(call, "trl: reward(completions, **columns)");
    assert_scores(&scored, [Some(1.0), Some(0.0), Some(0.0), Some(0.0)]);

    // `answer` is the right one: with the policy's own all that have an answer would score 2.
    let (scored, call) = score(plain("trl_correctness.py", ""), batch(&none)).await;
    assert_eq!(call, "trl: correctness_reward_func(prompts, completions, answer, **columns)");
    assert_scores(&scored, [Some(2.0), Some(0.0), Some(2.0), Some(0.0)]);
    let (scored, _) = score(plain("trl_correctness.py", ""), batch(&json!({"answer": "bell"}))).await;
    assert_scores(&scored, [Some(0.0), Some(2.0), Some(0.0), Some(0.0)]);

    let (scored, call) = score(plain("trl_length.py", ""), batch(&none)).await;
    assert_eq!(call, "trl: reward(completions, completion_ids, solution, log_extra, log_metric, **columns)");
    // 7, 3, 3 and 9 tokens; more than 8 have no score.
    assert_scores(&scored, [Some(0.7), Some(0.3), Some(0.3), None]);
    assert_eq!(scored.missing, [(MissingCause::Null, 1)].into());
    assert_eq!(metrics(&scored), [("longest", 9.0), ("mean_length", 5.5)].into());
    assert_eq!(extra(&scored, "solution"), json!(["dog", "dog", "5", "5"]));
    assert_eq!(extra(&scored, "length"), json!([7, 3, 3, 9]));

    let (scored, call) = score(plain("trl_list.py", ""), batch(&none)).await;
    assert_eq!(
        call,
        "trl: has_answer(completions, **columns) + right(prompts, completions, solution, **columns)"
    );
    assert_scores(&scored, [Some(2.0), Some(1.0), Some(2.0), Some(0.0)]);
    assert_eq!(metrics(&scored), [("has_answer", 0.75), ("right", 1.0)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn verl_functions_run_as_they_are_and_an_exception_costs_its_completion_only() {
    let (scored, call) = score(plain("verl_exact.py", ""), batch(&json!({}))).await;
    assert_eq!(call, "verl: compute_score(data_source, solution_str, ground_truth, extra_info)");
    assert_scores(&scored, [Some(1.0), None, Some(1.0), Some(0.0)]);
    assert_eq!(scored.missing, [(MissingCause::Error, 1)].into());
    let said = scored.failure.as_deref().unwrap();
    assert_eq!(said, "1 of 4 completions could not be scored; the first: ValueError: no bells");
    // Of the three that were scored: (1 + 1 + 0) / 3, and (7 + 3 + 9) / 3 tokens.
    let found = metrics(&scored);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["acc", "tokens"]);
    assert!((found["acc"] - 2.0 / 3.0).abs() < 1e-9 && (found["tokens"] - 19.0 / 3.0).abs() < 1e-9);

    let (scored, call) = score(plain("verl_batch.py", "options = { bonus = 0.5 }"), batch(&json!({}))).await;
    assert!(call.starts_with("verl: compute_score_batched(data_sources, solution_strs, "), "{call}");
    assert_scores(&scored, [Some(1.5), Some(0.5), Some(1.5), Some(0.5)]);

    let columns = json!({
        "data_source": "mine", "reward_model": {"style": "rule", "ground_truth": "bell"},
        "extra_info": {"expected_source": "mine"}
    });
    let (scored, _) = score(plain("verl_async.py", ""), batch(&columns)).await;
    assert_scores(&scored, [Some(0.0), Some(1.0), Some(0.0), Some(0.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn swift_plugins_run_without_ms_swift() {
    let (scored, call) = score(plain("swift_orm.py", ""), batch(&json!({}))).await;
    assert_eq!(call, "swift: WordCount()(completions, solution, **columns)");
    assert_scores(&scored, [Some(1.07), Some(0.03), Some(1.03), Some(0.09)]);

    for function in ["slow", "Slow"] {
        let options = format!("function = '{function}'\noptions = {{ top_reward = 2.5 }}");
        let (scored, _) = score(plain("swift_async.py", &options), batch(&json!({}))).await;
        assert_scores(&scored, [Some(2.5), None, Some(2.5), None]);
    }
    let (scored, _) = score(plain("swift_async.py", "function = 'shouting'"), batch(&json!({}))).await;
    assert_scores(&scored, [Some(0.0), Some(0.0), Some(0.0), Some(1.0)]);
    let (scored, _) = score(plain("swift_async.py", ""), batch(&json!({}))).await;
    let said = scored.failure.unwrap();
    assert!(said.contains("has no function `reward`; it has Shouting, Slow, shouting, slow"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rubric_of_verifiers_is_a_weighted_sum_and_each_function_a_metric() {
    let (scored, call) = score(plain("verifiers_rubric.py", ""), batch(&json!({}))).await;
    assert_eq!(
        call,
        "verifiers: 1 * exact(parser, completion, answer, **columns) + 0.5 * brief(completion, info, state) + \
         0.25 * agreement(completions, answers) + 0 * seen(state)"
    );
    // exact + 0.5 · brief + 0.25 · 1/2
    assert_scores(&scored, [Some(1.125), Some(0.625), Some(1.625), Some(0.125)]);
    assert_eq!(metrics(&scored), [("exact", 0.5), ("brief", 0.5), ("agreement", 0.5), ("seen", 1.0)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_computes_like_evaluate_gets_the_answer_and_the_gold() {
    let (scored, call) = score(plain("evaluate_overlap.py", "entry = 'exact'"), batch(&json!({}))).await;
    assert_eq!(call, "evaluate: Overlap.compute(predictions, references)[\"exact\"]");
    assert_scores(&scored, [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]);
    assert_eq!(metrics(&scored), [("overlap", 0.5)].into());
    let (scored, _) = score(plain("evaluate_overlap.py", ""), batch(&json!({}))).await;
    let said = scored.failure.unwrap();
    assert_eq!(said, "compute returned exact, overlap; write which is the score, as entry = \"NAME\"");
}

/// A reward from its source.
fn written(folder: &Path, code: &str, options: &str) -> Scorer {
    std::fs::write(folder.join("mine.py"), code).unwrap();
    open(folder, "mine.py", options)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_verifiers_without_rubrics_is_named_with_the_one_to_install() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("verifiers")).unwrap();
    std::fs::write(folder.path().join("verifiers/__init__.py"), "").unwrap();
    let at_import = "import verifiers as vf\nrubric = vf.Rubric(funcs=[])\n";
    let when_called = "import verifiers as vf\ndef load_environment():\n    return vf.SingleTurnEnv()\n";
    for (code, attribute) in [(at_import, "Rubric"), (when_called, "SingleTurnEnv")] {
        let (scored, _) = score(written(folder.path(), code, ""), batch(&json!({}))).await;
        let said = scored.failure.unwrap();
        let missing = format!(
            "module 'verifiers' has no attribute '{attribute}': verifiers has had no rubrics since 0.3"
        );
        assert!(said.contains(&missing) && said.contains("install `verifiers<0.3`"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_finds_the_convention_and_what_works_natively_stays_native() {
    let one = "return [1.0 for _ in range(4)]";
    let cases = [
        ("native", format!("def reward(completions, tokens, options, **columns): {one}")),
        ("native", format!("def reward(prompts, completions, answer_gold, trainer_state, log_metric=None, **k): {one}")),
        ("native", format!("def reward(completions, solution, **kwargs): {one}")),
        ("native", format!("def reward(completions, completion_ids=None, **kwargs): {one}")),
        (
            "native",
            "def reward(completions, **kwargs):\n    return [1.0 for c in completions \
             if (c if isinstance(c, str) else c[0]['content'])]"
                .into(),
        ),
        (
            "native",
            format!(
                "def ask(text): return {{'choices': [{{'message': {{'content': text}}}}]}}\n\
                 def reward(completions):\n    replies = [ask(text) for text in completions]\n    \
                 texts = [reply['choices'][0]['message']['content'] for reply in replies]\n    {one}"
            ),
        ),
        ("native", format!("def brevity(completions): {one}")),
        ("trl", format!("def reward(completion_ids, **kwargs): {one}")),
        ("trl", "def reward(completions, **kwargs): \n    return [float(len(c[0]['content'])) for c in completions]".into()),
        (
            "trl",
            "def text(turns): return turns[-1]['content']\ndef reward(completions, answer, **kwargs):\n    \
             return [float(a in t) for t, a in zip(map(text, completions), answer)]"
                .into(),
        ),
        (
            "trl",
            "import functools\nasync def scaled(completions, completion_ids, scale, **kwargs):\n    \
             return [scale * len(ids) for ids in completion_ids]\nreward = functools.partial(scaled, scale=2)"
                .into(),
        ),
        ("verl", "def compute_score(data_source, solution_str, ground_truth, extra_info=None): return 1.0".into()),
        ("verl", "def reward(solution_str, **kwargs): return 1.0".into()),
        ("native", format!("def reward(completions, solution_str=None): {one}")),
        (
            "swift",
            format!("from swift.plugin.orm import ORM\nclass Mine(ORM):\n    def __call__(self, completions, **kw): {one}"),
        ),
        ("verifiers", "def exact(completion, answer): return float(answer in completion[-1]['content'])".into()),
        (
            "verifiers",
            "class Environment:\n    def __init__(self):\n        self.rubric = self\n        \
             self.funcs, self.weights = [lambda completion: 1.0], [1.0]\n\
             def load_environment(): return Environment()"
                .into(),
        ),
        (
            "verifiers",
            "import verifiers as vf\ndef reward(completion): return 1.0\nrubric = vf.Rubric([reward], [0.5])".into(),
        ),
        ("evaluate", "def compute(predictions, references): return {'exact': 1.0}".into()),
        (
            "evaluate",
            "class Exact:\n    def compute(self, predictions, references): return {'exact': True}".into(),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (convention, code) in cases {
        let (scored, call) = score(written(folder.path(), &code, ""), batch(&json!({}))).await;
        assert_eq!(call.split(": ").next(), Some(convention), "{code}: {:?}", scored.failure);
        assert!(scored.scores.iter().all(Option::is_some), "{code}: {:?}", scored.failure);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_column_takes_the_place_of_an_argument_and_one_that_is_hidden_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let row =
        json!({"options": "theirs", "step": 70, "prompts": "theirs", "question": "theirs", "mine": 1.5});
    let native = "\
def reward(completions, options, step, prompts, question, mine, metadata):
    assert (options, step, question[0]) == ({}, 3, 'Which?'), (options, step)
    assert prompts[0].startswith('Which?')
    assert [one['step'] for one in metadata] == [70] * 4
    return mine";
    let mut scorer = written(folder.path(), native, "");
    let scored = scorer.score(batch(&row)).await;
    assert_scores(&scored, [Some(1.5); 4]);
    let hidden = |scored: &Scored| -> Vec<String> {
        let name = |warning: &String| warning.split('`').nth(1).unwrap_or_default().to_owned();
        let mut names: Vec<String> = scored.warnings.iter().map(name).collect();
        names.sort();
        names
    };
    assert_eq!(hidden(&scored), ["options", "prompts", "question", "step"]);
    assert!(scored.warnings[0].ends_with("it is in `metadata`"), "{:?}", scored.warnings);
    assert!(scorer.score(batch(&row)).await.warnings.is_empty(), "each is told of once");

    // For TRL the data defines its columns, and they come before those of this project.
    let trl = "\
def reward(prompts, completions, completion_ids, options, step, question, mine, mode='strict', metadata=None, **columns):
    assert (options[0], step, question[0], mode) == ('theirs', [70] * 4, 'theirs', 'strict')
    assert prompts[0][0]['content'].startswith('Which?') and metadata[0]['prompts'] == 'theirs'
    assert columns['think'][0] == 'a bark' and columns['answer'] == columns['solution'] == ['dog', 'dog', '5', '5']
    return mine";
    let (scored, _) = score(written(folder.path(), trl, ""), batch(&row)).await;
    assert_scores(&scored, [Some(1.5); 4]);
    assert_eq!(hidden(&scored), ["prompts"]);

    let row = json!({"solution_str": "theirs", "ground_truth": "5", "extra_info": {"tokens": 77}});
    let verl = "\
def compute_score(data_source, solution_str, ground_truth, extra_info):
    assert solution_str != 'theirs' and extra_info['metadata']['solution_str'] == 'theirs'
    assert extra_info['tokens'] == 77 and extra_info['question'] == 'Which?'
    return float(ground_truth)";
    let (scored, _) = score(written(folder.path(), verl, ""), batch(&row)).await;
    assert_scores(&scored, [Some(5.0); 4]);
    assert_eq!(hidden(&scored), ["solution_str"]);

    let row = json!({"completion": "theirs", "state": "Ohio", "answer": "bell", "info": {"a": 1}});
    let verifiers = "\
def reward(completion, state, answer, info):
    assert state['metadata']['state'] == 'Ohio' and state['input']['completion'] == 'theirs' and info == {'a': 1}
    return float(answer in completion[0]['content'])";
    let (scored, _) = score(written(folder.path(), verifiers, ""), batch(&row)).await;
    assert_scores(&scored, [Some(0.0), Some(1.0), Some(0.0), Some(0.0)]);
    assert_eq!(hidden(&scored), ["completion", "state"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_code_gets_wrong_is_said_in_a_line() {
    let cases = [
        (
            "def reward(completions): return 0.5",
            "the function returned 0.5; return a list with a number or None",
        ),
        ("def reward(completions): return {'score': 1}", "the function returned {'score': 1}; return a list"),
        ("def reward(completions): return ['good', 1, 1, 1]", "score 0 is 'good'; return a number or None"),
        ("def reward(completions): return [1.0]", "gave 1 scores for 4 completions"),
        (
            "def reward(completions, rubric): return rubric",
            "reward needs `rubric`, which is no argument of the convention native",
        ),
        (
            "def compute_score(solution_str): return [1.0]",
            "it returned [1.0]; return a number or a dictionary with `score`",
        ),
        ("def compute_score(solution_str): return {'acc': 1}", "without `score`; it has acc"),
        ("def compute_score(solution_str): raise KeyError('x')", "KeyError: 'x'"),
        (
            "import verifiers as vf\nparser = vf.XMLParser(['think'])",
            "`verifiers.XMLParser` needs the package verifiers",
        ),
        (
            "from swift.llm import PtEngine",
            "`swift.llm` needs the package ms-swift; install it in the virtual environment",
        ),
        (
            "def one(completions): pass\ndef other(completions): pass",
            "it has one, other; write one of them as `function`",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (code, expected) in cases {
        let (scored, _) = score(written(folder.path(), code, ""), batch(&json!({}))).await;
        let said = scored.failure.unwrap_or_default();
        assert!(said.contains(expected) && !said.contains('\n'), "{code}: {said}");
        assert!(scored.scores.iter().all(Option::is_none), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_may_be_iterators_and_arrays() {
    let array = "class Array:\n    def __init__(self, *of): self.of = of\n    def tolist(self): return list(self.of)\n";
    let cases = [
        format!("{array}def reward(completions): return Array(1, 0.5, None, float('nan'))"),
        "def reward(completions): return iter((True, 0.5, None, float('nan')))".to_owned(),
        "class Mine:\n    async def __call__(self, completions, *, tokens, scale=1, **columns):\n        \
         return (1, 0.5, None, float('inf'))\nreward = Mine()"
            .to_owned(),
        "def reward(completions, /, tokens): return [1, 0.5, None, float('-inf')]".to_owned(),
    ];
    let folder = tempfile::tempdir().unwrap();
    for code in cases {
        let (scored, _) = score(written(folder.path(), &code, ""), batch(&json!({}))).await;
        assert_scores(&scored, [Some(1.0), Some(0.5), None, None]);
        assert_eq!(scored.missing, [(MissingCause::Null, 1), (MissingCause::NotANumber, 1)].into(), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explicit_convention_and_conversational_decide() {
    let folder = tempfile::tempdir().unwrap();
    let code = "def reward(completions, solution, answer, **kwargs):\n    assert answer == solution\n    \
                return [float(s in c) for c, s in zip(completions, solution)]";
    let options = "convention = 'trl'\nconversational = false";
    let (scored, call) = score(written(folder.path(), code, options), batch(&json!({}))).await;
    assert!(call.starts_with("trl: "), "{call}");
    assert_scores(&scored, [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]);

    let code = "def reward(completions, answer):\n    \
                return [float(a in c[0]['content']) if a else None for c, a in zip(completions, answer)]";
    let (scored, call) =
        score(written(folder.path(), code, "conversational = true"), batch(&json!({}))).await;
    assert!(call.starts_with("native: "), "it works that way: {call}");
    assert_scores(&scored, [Some(1.0), Some(1.0), Some(1.0), None]);
    let said = scored.warnings.join(" ");
    assert!(said.contains("`answer` is the policy's own answer; write convention = \"trl\""), "{said}");
}

/// A batch of five groups of two.
fn five_groups() -> Arc<RewardBatch> {
    let group = |group| [COMPLETIONS[0].1, COMPLETIONS[3].1].map(|text| item(group, text, &json!({})));
    batch_of((0..5).flat_map(group).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_4_processes_share_a_batch_and_score_it_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let code = "\
import os
def reward(completions, group, log_metric, log_extra, **columns):
    assert len(set(group)) * 2 == len(group), 'whole groups'
    with open('pids', 'a') as file: file.write('%d %d\\n' % (os.getpid(), len(group)))
    log_metric('length', sum(map(len, completions)) / len(completions))
    log_metric('group', sum(group) / len(group))
    log_extra('group', group)
    return [one + len(text) / 100 for one, text in zip(group, completions)]";
    let mut answers = Vec::new();
    for processes in [1, 3, 8] {
        let options = format!("processes = {processes}");
        let (scored, _) = score(written(folder.path(), code, &options), five_groups()).await;
        assert_eq!(scored.failure, None);
        let notes = metrics(&scored).into_iter().map(|(name, mean)| (name.to_owned(), (mean * 1e9).round()));
        let notes: Vec<(String, f64)> = notes.collect();
        answers.push((scored.scores.clone(), extra(&scored, "group"), notes));
        let pids = std::fs::read_to_string(folder.path().join("pids")).unwrap();
        assert_eq!(pids.lines().count(), processes.min(5), "each of the processes that has a part: {pids}");
        std::fs::remove_file(folder.path().join("pids")).unwrap();
    }
    assert!(answers[0] == answers[1] && answers[0] == answers[2], "{answers:?}");
    assert_eq!(answers[0].0.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_4_a_process_that_dies_is_restarted_and_no_score_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    // The process that has group 2 dies over the first batch.
    let code = "\
import os
def reward(completions, group):
    if 2 in group and not os.path.exists('died'):
        open('died', 'w').close()
        os._exit(3)
    with open('scored', 'a') as file: file.write(''.join('%d\\n' % one for one in group))
    return [float(one) for one in group]";
    let mut scorer = written(folder.path(), code, "processes = 3");
    for _ in 0..2 {
        let scored = scorer.score(five_groups()).await;
        let expected: Vec<Option<f64>> = (0..10).map(|place| Some(f64::from(place / 2))).collect();
        assert_eq!((scored.scores, scored.failure), (expected, None));
        let counted = std::fs::read_to_string(folder.path().join("scored")).unwrap();
        let mut counted: Vec<&str> = counted.lines().collect();
        counted.sort_unstable();
        assert_eq!(counted, ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"], "each once");
        std::fs::remove_file(folder.path().join("scored")).unwrap();
    }
    // One that fails costs its part only.
    let code = "def reward(completions, group):\n    if 2 in group: raise ValueError('no')\n    return group";
    let (scored, _) = score(written(folder.path(), code, "processes = 5"), five_groups()).await;
    assert_eq!(scored.missing, [(MissingCause::Error, 2)].into());
    assert_eq!(scored.scores.iter().flatten().count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packages_of_a_virtual_environment_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let venv = folder.path().join("venv");
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&venv).status();
    if !made.is_ok_and(|made| made.success()) {
        eprintln!("SKIPPED: python3 -m venv does not work here");
        return;
    }
    let library = std::fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path();
    let package = library.join("site-packages/swift");
    std::fs::create_dir_all(&package).unwrap();
    // An installed package is used, and no stand-in.
    let plugin = "class ORM:\n    installed = 0.25\n    def __init__(self, args=None): pass\norms = {}\n";
    std::fs::write(package.join("plugin.py"), plugin).unwrap();
    std::fs::write(package.join("__init__.py"), "").unwrap();
    let code = "from swift.plugin import ORM, orms\nclass Mine(ORM):\n    \
                def __call__(self, completions, **kwargs): return [self.installed for _ in completions]\n\
                orms['mine'] = Mine";
    let options = "python = 'venv/bin/python'";
    let (scored, call) = score(written(folder.path(), code, options), batch(&json!({}))).await;
    assert!(call.starts_with("swift: "), "{call} {:?}", scored.failure);
    assert_scores(&scored, [Some(0.25); 4]);
}

/// What TRL's own functions return for a batch: the six files, called as `GRPOTrainer` calls them.
const DIRECTLY: &str = r#"
import importlib.util, json, sys
folder, given = sys.argv[1], json.load(sys.stdin)
completions = [[{"role": "assistant", "content": text}] for text in given["texts"]]
prompts = [[{"role": "user", "content": "?"}] for _ in completions]
scores = {}
for name in given["names"]:
    spec = importlib.util.spec_from_file_location(name, "%s/%s.py" % (folder, name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scores[name] = module.reward(
        prompts=prompts, completions=completions, completion_ids=given["ids"], solution=given["solution"],
        trainer_state=None, log_extra=lambda column, values: None, log_metric=lambda name, value: None)
print(json.dumps(scores))
"#;

/// Six rewards of TRL's own library. `AUDIO_THINKER_TRL_PYTHON` names an interpreter with `trl` and `math-verify`.
#[tokio::test(flavor = "multi_thread")]
async fn the_rewards_of_trl_score_as_when_they_are_called_directly() {
    let variable = "AUDIO_THINKER_TRL_PYTHON";
    let python = std::env::var(variable).unwrap_or_else(|_| "python3".into());
    let importable = Command::new(&python).args(["-c", "import trl.rewards, math_verify"]).output();
    if !importable.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python} can't import trl and math_verify; name one that can in {variable}");
        return;
    }
    let names = ["accuracy", "cosine", "overlong", "reasoning_accuracy", "repetition", "think_format"];
    let texts = [
        "<think> half of it </think> The answer is \\boxed{\\frac{1}{2}}",
        "<think> no idea </think> \\boxed{0.7}",
        "\\boxed{\\frac{1}{2}}",
        "<think> a <think> b </think> x = \\boxed{1/2}",
    ];
    let long = "word ".repeat(60);
    let mut items: Vec<RewardItem> =
        texts.iter().map(|text| item(0, text, &json!({"solution": "$\\frac{1}{2}$"}))).collect();
    items.push(item(0, &long, &json!({"solution": "a bark"})));
    items[3].completion_ids = vec![5; 35];
    let given = json!({
        "names": names,
        "texts": items.iter().map(|item| &item.completion).collect::<Vec<_>>(),
        "ids": items.iter().map(|item| &item.completion_ids).collect::<Vec<_>>(),
        "solution": items.iter().map(|item| &item.question.metadata["solution"]).collect::<Vec<_>>(),
    });
    let folder = elsewhere().join("trl");
    let mut direct = Command::new(&python)
        .args(["-c", DIRECTLY])
        .arg(&folder)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(direct.stdin.take().unwrap(), &given).unwrap();
    let direct: Value = serde_json::from_slice(&direct.wait_with_output().unwrap().stdout).unwrap();
    let batch = batch_of(items);
    for (name, conversational) in
        names.into_iter().flat_map(|name| [(name, ""), (name, "conversational = true")])
    {
        let options = format!("python = '{python}'\nstartup_timeout_seconds = 300\n{conversational}");
        let (scored, call) = score(open(&folder, &format!("{name}.py"), &options), batch.clone()).await;
        assert!(call.starts_with("trl: "), "{name}: {call} {:?}", scored.failure);
        let scores: Vec<Value> = scored.scores.iter().map(|score| json!(score)).collect();
        assert_eq!(json!(scores), direct[name], "{name}: {:?}", scored.failure);
        assert!(scored.scores.iter().any(Option::is_some), "{name}");
    }
}
