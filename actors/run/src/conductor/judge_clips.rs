//! The clips of completions, for judges that hear them: decoded once per clip of a step, as the policy hears it.

use std::collections::HashMap;
use std::sync::Arc;

use audio::{Hearing, SAMPLE_RATE};
use evaluation::sound::downmix;
use judges::JudgeClip;
use rewards::{JudgeTask, RewardItem};
use scenarios::{OpenaiJudgeConfig, judge_servers, task_servers};

use crate::context::ArmContext;

/// The clip of each completion; `None` for all if no judge hears clips, and for those that can't be decoded. `starts` says
/// for each where in its file the policy began to hear, in seconds.
pub(crate) async fn judge_clips(
    arm: &ArmContext,
    tasks: impl Iterator<Item = Arc<JudgeTask>>,
    items: &[RewardItem],
    starts: impl Fn(usize) -> f64,
) -> Vec<Option<Arc<JudgeClip>>> {
    let mut clips = vec![None; items.len()];
    let Some(seconds) = heard_seconds(arm, tasks) else { return clips };
    // The policy hears its window, and a judge no more than its server takes.
    let window = match arm.config.loader.window {
        scenarios::AudioWindow::All => None,
        _ => arm.processor.window_seconds(),
    };
    let seconds = window.map_or(seconds, |window| seconds.min(window as f64));
    let samples = ((seconds * f64::from(SAMPLE_RATE)) as usize).max(1);
    let mut decoded = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        let (path, start) = (item.question.audio_path.clone(), starts(place));
        let key = (path.clone(), start.to_bits(), item.question.end.map(f64::to_bits));
        if !decoded.contains_key(&key) {
            let hearing = Hearing {
                downmix: downmix(&arm.config),
                start,
                end: item.question.end,
                samples: Some(samples),
                position: 0.0,
                fallback: arm.config.audio.fallback.clone(),
            };
            let heard = tokio::task::spawn_blocking(move || audio::load(&path, &hearing)).await;
            let clip = match heard {
                Ok(Ok(clip)) => Some(Arc::new(JudgeClip(clip.samples))),
                Ok(Err(error)) => {
                    arm.warn_repeated(
                        arm.slots.judge.count_failure("clip", &error.to_string()),
                        &format!("a judge can't hear a clip: {error}"),
                    );
                    None
                }
                Err(_) => None,
            };
            decoded.insert(key.clone(), clip);
        }
        clips[place] = decoded[&key].clone();
    }
    clips
}

/// The most that any judge of the arm hears of a clip, in seconds; `None` if none hears any.
fn heard_seconds(arm: &ArmContext, tasks: impl Iterator<Item = Arc<JudgeTask>>) -> Option<f64> {
    let judge = &arm.config.judge;
    let of_tasks = tasks.flat_map(|task| task_servers(judge, &task).unwrap_or_default());
    let servers = judge_servers(judge).into_iter().chain(of_tasks);
    let heard =
        servers.filter(|server: &OpenaiJudgeConfig| server.hears_clip).map(|server| server.clip_seconds);
    heard.reduce(f64::max)
}
