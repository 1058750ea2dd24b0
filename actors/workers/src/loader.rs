//! The loader pool: audio files in, log-mel features out.
//!
//! Decoding blocks, so it runs on OS threads of its own behind a crossbeam channel; the actor in front hands
//! out the work and collects it. Decoded clips are kept, since every epoch asks for them again.
//!
//! - `LOAD-1` a clip that can't be read is an `Err` in its place; the others of the request are not affected.
//! - `LOAD-2` a decoder that panics costs its clip one more attempt; if it panics again, that is the clip's error.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel;
use dashmap::DashMap;
use model::audio::LogMel;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use runtime::Request;
use tokio::sync::oneshot;

use crate::error::ClipError;

/// Turns an audio file into features; the error is one line that names the file.
pub type AudioSource = Arc<dyn Fn(&Path) -> Result<LogMel, ClipError> + Send + Sync>;

/// A clip's features, or why it has none.
pub type Clip = Result<Arc<LogMel>, ClipError>;

/// The answer to [`LoaderMsg::Load`].
pub struct Loaded {
    /// In the order of the paths asked for.
    pub clips: Vec<Clip>,
    /// From the request's arrival to the last clip.
    pub seconds: f64,
}

/// What a loader pool is made of.
#[derive(Clone)]
pub struct LoaderArgs {
    /// How a file is read.
    pub source: AudioSource,
    /// Decoder threads.
    pub workers: usize,
    /// Clips kept in memory.
    pub cache_clips: usize,
}

/// Messages to the loader pool.
pub enum LoaderMsg {
    /// Load these files.
    Load(Request<Vec<PathBuf>, Loaded>),
}

/// The actor in front of the decoder threads.
pub struct Loader;

struct Job {
    path: PathBuf,
    done: oneshot::Sender<Result<LogMel, ClipError>>,
}

/// Dropping it closes the channel, which ends the threads.
pub struct LoaderState {
    jobs: channel::Sender<Job>,
    cache: Arc<DashMap<PathBuf, Arc<LogMel>>>,
    cache_clips: usize,
}

impl Actor for Loader {
    type Msg = LoaderMsg;
    type State = LoaderState;
    type Arguments = LoaderArgs;

    async fn pre_start(
        &self,
        _: ActorRef<LoaderMsg>,
        args: LoaderArgs,
    ) -> Result<LoaderState, ActorProcessingErr> {
        let (jobs, queue) = channel::unbounded::<Job>();
        for worker in 0..args.workers.max(1) {
            let (queue, source) = (queue.clone(), args.source.clone());
            std::thread::Builder::new().name(format!("decoder-{worker}")).spawn(move || {
                for job in queue {
                    decode(job, &source);
                }
            })?;
        }
        Ok(LoaderState { jobs, cache: Arc::default(), cache_clips: args.cache_clips })
    }

    async fn handle(
        &self,
        _: ActorRef<LoaderMsg>,
        message: LoaderMsg,
        state: &mut LoaderState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LoaderMsg::Load(request) => state.load(request),
        }
        Ok(())
    }
}

impl LoaderState {
    /// Answers from a task of its own, so that requests of several steps overlap.
    fn load(&self, request: Request<Vec<PathBuf>, Loaded>) {
        let Some((paths, reply)) = request.begin() else { return };
        let (jobs, cache, cache_clips) = (self.jobs.clone(), self.cache.clone(), self.cache_clips);
        tokio::spawn(async move {
            let arrived = Instant::now();
            let mut waiting = Vec::with_capacity(paths.len());
            for path in &paths {
                let kept = cache.get(path).map(|clip| clip.clone());
                waiting.push(match kept {
                    Some(clip) => Ok(clip),
                    None => Err(submit(&jobs, path)),
                });
            }
            let mut clips = Vec::with_capacity(paths.len());
            for (path, clip) in paths.iter().zip(waiting) {
                clips.push(match clip {
                    Ok(kept) => Ok(kept),
                    Err(done) => collect(&jobs, path, done).await.map(|features| {
                        let clip = Arc::new(features);
                        if cache.len() < cache_clips {
                            cache.insert(path.clone(), clip.clone());
                        }
                        clip
                    }),
                });
            }
            reply.send(Loaded { clips, seconds: arrived.elapsed().as_secs_f64() });
        });
    }
}

fn submit(jobs: &channel::Sender<Job>, path: &Path) -> oneshot::Receiver<Result<LogMel, ClipError>> {
    let (done, receiver) = oneshot::channel();
    // A closed channel drops the job, which the receiver sees.
    let _ = jobs.send(Job { path: path.to_owned(), done });
    receiver
}

async fn collect(
    jobs: &channel::Sender<Job>,
    path: &Path,
    done: oneshot::Receiver<Result<LogMel, ClipError>>,
) -> Result<LogMel, ClipError> {
    if let Ok(result) = done.await {
        return result;
    }
    tracing::warn!(path = %path.display(), "the decoder panicked; trying once more");
    submit(jobs, path).await.unwrap_or_else(|_| {
        Err(ClipError(format!(
            "{}: the decoder panicked twice; convert the file to WAV or leave it out",
            path.display()
        )))
    })
}

/// A panic drops `done` unanswered, which is how the actor learns of it; the thread goes on.
fn decode(job: Job, source: &AudioSource) {
    let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| source(&job.path)));
    if let Ok(result) = decoded {
        let _ = job.done.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::Slot;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn features() -> LogMel {
        LogMel { values: vec![0.0; 4], n_mels: 2, frames: 2, valid_frames: 2, truncated: false }
    }

    async fn pool(source: AudioSource) -> Slot<LoaderMsg> {
        let slot = Slot::new("loader", 4, Duration::from_secs(10));
        let args = LoaderArgs { source, workers: 2, cache_clips: 8 };
        slot.install(Actor::spawn(None, Loader, args).await.unwrap().0);
        slot
    }

    #[tokio::test]
    async fn a_decoder_that_panics_once_costs_nothing() {
        let panics_left = AtomicUsize::new(1);
        let slot = pool(Arc::new(move |_| {
            if panics_left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok()
            {
                panic!("on purpose");
            }
            Ok(features())
        }))
        .await;
        let loaded = slot.call(vec!["a.wav".into(), "b.wav".into()], LoaderMsg::Load).await.unwrap();
        assert!(loaded.clips.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn a_bad_clip_is_an_error_in_its_place_and_a_good_one_is_decoded_once() {
        let decoded = Arc::new(AtomicUsize::new(0));
        let counter = decoded.clone();
        let slot = pool(Arc::new(move |path| {
            counter.fetch_add(1, Ordering::SeqCst);
            match path.to_str() {
                Some("bad.wav") => Err(ClipError("bad.wav: empty".to_owned())),
                Some("worse.wav") => panic!("always"),
                _ => Ok(features()),
            }
        }))
        .await;
        let paths: Vec<PathBuf> = ["a.wav", "bad.wav", "worse.wav"].map(PathBuf::from).into();
        let loaded = slot.call(paths, LoaderMsg::Load).await.unwrap();
        assert!(loaded.clips[0].is_ok());
        assert_eq!(loaded.clips[1].as_ref().unwrap_err().to_string(), "bad.wav: empty");
        assert!(loaded.clips[2].as_ref().unwrap_err().to_string().contains("panicked twice"));
        // a.wav once, bad.wav once, worse.wav twice.
        assert_eq!(decoded.load(Ordering::SeqCst), 4);
        slot.call(vec!["a.wav".into()], LoaderMsg::Load).await.unwrap();
        assert_eq!(decoded.load(Ordering::SeqCst), 4);
    }
}
