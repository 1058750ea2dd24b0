//! The loader pool: audio files in, log-mel features out.
//!
//! Decoding blocks, so it runs on dedicated OS threads. The actor sends them jobs over a crossbeam channel and collects
//! the results. Decoded clips are cached, because every epoch needs them again.
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

/// Reads an audio file and computes its features. The error is one line that names the file.
pub type AudioSource = Arc<dyn Fn(&Path) -> Result<LogMel, ClipError> + Send + Sync>;

/// A clip's features, or why it has none.
pub type Clip = Result<Arc<LogMel>, ClipError>;

/// The answer to [`LoaderMsg::Load`].
pub struct Loaded {
    /// One clip per requested path, in their order.
    pub clips: Vec<Clip>,
    /// Time from the request's arrival to the last clip, in seconds.
    pub seconds: f64,
}

/// The arguments of a [`Loader`].
#[derive(Clone)]
pub struct LoaderArgs {
    /// Reads a file; called on the decoder threads.
    pub source: AudioSource,
    /// Number of decoder threads, at least 1.
    pub workers: usize,
    /// Number of clips to cache in memory.
    pub cache_clips: usize,
}

/// Messages to the loader pool.
pub enum LoaderMsg {
    /// Load the clips of a step from these files.
    Load(Request<Vec<PathBuf>, Loaded>),
}

/// The actor in front of the decoder threads.
pub struct Loader;

struct Job {
    path: PathBuf,
    done: oneshot::Sender<Result<LogMel, ClipError>>,
}

/// When this is dropped, the channel closes and the threads end.
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
    /// Answers in a separate task, so that requests of several steps overlap.
    fn load(&self, request: Request<Vec<PathBuf>, Loaded>) {
        let Some((paths, reply)) = request.begin() else { return };
        let (jobs, cache, cache_clips) = (self.jobs.clone(), self.cache.clone(), self.cache_clips);
        tokio::spawn(async move {
            let arrived = Instant::now();
            let mut waiting = Vec::with_capacity(paths.len());
            for path in &paths {
                let cached = cache.get(path).map(|clip| clip.clone());
                waiting.push(match cached {
                    Some(clip) => Ok(clip),
                    None => Err(submit(&jobs, path)),
                });
            }
            let mut clips = Vec::with_capacity(paths.len());
            for (path, clip) in paths.iter().zip(waiting) {
                clips.push(match clip {
                    Ok(cached) => Ok(cached),
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

/// Sends a job to the decoder threads. The receiver fails if the decoder panics.
fn submit(jobs: &channel::Sender<Job>, path: &Path) -> oneshot::Receiver<Result<LogMel, ClipError>> {
    let (done, receiver) = oneshot::channel();
    // If the channel is closed, the job is dropped, and the receiver fails.
    let _ = jobs.send(Job { path: path.to_owned(), done });
    receiver
}

/// Waits for a clip, and submits it once more if its decoder panicked (LOAD-2).
async fn collect(
    jobs: &channel::Sender<Job>,
    path: &Path,
    done: oneshot::Receiver<Result<LogMel, ClipError>>,
) -> Result<LogMel, ClipError> {
    if let Ok(result) = done.await {
        return result;
    }
    tracing::warn!(path = %path.display(), "the decoder panicked; the clip is decoded once more");
    submit(jobs, path).await.unwrap_or_else(|_| {
        Err(ClipError(format!(
            "{}: the decoder panicked twice; convert the file to WAV or leave it out",
            path.display()
        )))
    })
}

/// Decodes one clip. If the decoder panics, `job.done` is dropped without an answer, and the thread takes its next job.
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
    async fn a_clip_whose_decoder_panics_once_is_loaded() {
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
