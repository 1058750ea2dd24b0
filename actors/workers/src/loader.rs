//! The loader pool: audio files in, log-mel features out.
//!
//! Decoding blocks, so it runs on dedicated OS threads. The actor sends them jobs over a crossbeam channel and collects
//! the results. Decoded clips are cached within a limit of memory, because every epoch needs them again.
//!
//! - `LOAD-1` a clip that can't be read is an `Err` in its place; the others of the request are not affected.
//! - `LOAD-2` a decoder that panics costs its clip one more attempt; if it panics again, that is the clip's error.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use audio::{LogMel, Warning};
use crossbeam::channel;
use dashmap::DashMap;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use runtime::Request;
use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::error::ClipError;

/// A clip as a row of the data names it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClipRequest {
    /// Where the sound lies.
    pub path: PathBuf,
    /// The part of the file that is the clip, in seconds.
    pub start: f64,
    /// The end of that part, in seconds; `None` for the end of the file.
    pub end: Option<f64>,
    /// Which part of a clip that is too long for the model is heard: 0 for the first, 1 for the last.
    pub position: f64,
    /// What is heard of the clip.
    pub sound: Sound,
}

/// What is heard of a clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sound {
    /// The clip itself.
    #[default]
    Own,
    /// Silence of its length.
    Silence,
    /// White noise of its length, the same for the same file.
    Noise,
}

impl ClipRequest {
    /// Equal for equal requests.
    fn key(&self) -> ClipKey {
        let numbers = [self.start, self.end.unwrap_or(f64::INFINITY), self.position].map(f64::to_bits);
        (self.path.clone(), numbers, self.sound)
    }
}

type ClipKey = (PathBuf, [u64; 3], Sound);

/// What the model hears of a clip.
#[derive(Clone, Debug)]
pub struct HeardClip {
    /// The features for the model, shared by all who need the clip: of one window, or of several, one after another.
    pub windows: Vec<Arc<LogMel>>,
    /// Whether the clip goes on after as many windows as a clip may have.
    pub goes_on: bool,
    /// Where in the file they begin, in seconds.
    pub start: f64,
    /// What was odd about the file.
    pub warnings: Arc<[Warning]>,
}

impl From<LogMel> for HeardClip {
    /// A clip heard from its beginning.
    fn from(features: LogMel) -> Self {
        Self { windows: vec![Arc::new(features)], goes_on: false, start: 0.0, warnings: Arc::new([]) }
    }
}

/// Reads a clip and computes its features. The error is one line that names the file.
pub type AudioSource = Arc<dyn Fn(&ClipRequest) -> Clip + Send + Sync>;

/// A clip, or why it can't be heard.
pub type Clip = Result<HeardClip, ClipError>;

/// The answer to [`LoaderMsg::Load`].
pub struct Loaded {
    /// One clip per request, in their order.
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
    /// Most memory that their features may take, in bytes.
    pub cache_bytes: usize,
}

/// Messages to the loader pool.
pub enum LoaderMsg {
    /// Load the clips of a step.
    Load(Request<Vec<ClipRequest>, Loaded>),
}

/// The actor in front of the decoder threads.
pub struct Loader;

struct Job {
    request: ClipRequest,
    done: oneshot::Sender<Clip>,
}

/// When this is dropped, the channel closes and the threads end.
pub struct LoaderState {
    jobs: channel::Sender<Job>,
    cache: Arc<Cache>,
}

/// The clips kept in memory. When it is full, further clips are decoded each time they are needed.
struct Cache {
    clips: DashMap<ClipKey, HeardClip>,
    /// Bytes in all features kept.
    bytes: AtomicUsize,
    most_clips: usize,
    most_bytes: usize,
}

impl Cache {
    fn get(&self, key: &ClipKey) -> Option<HeardClip> {
        self.clips.get(key).map(|clip| clip.clone())
    }

    fn insert(&self, key: ClipKey, clip: HeardClip) {
        let bytes_of = |window: &Arc<LogMel>| {
            size_of_val(window.values.as_slice()) + window.samples.as_deref().map_or(0, size_of_val)
        };
        let bytes = clip.windows.iter().map(bytes_of).sum::<usize>();
        if self.clips.len() < self.most_clips && self.bytes.load(Ordering::Relaxed) + bytes <= self.most_bytes
        {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.clips.insert(key, clip);
        }
    }
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
        let cache = Cache {
            clips: DashMap::new(),
            bytes: AtomicUsize::new(0),
            most_clips: args.cache_clips,
            most_bytes: args.cache_bytes,
        };
        Ok(LoaderState { jobs, cache: Arc::new(cache) })
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
    fn load(&self, request: Request<Vec<ClipRequest>, Loaded>) {
        let Some((wanted, reply)) = request.begin() else { return };
        let (jobs, cache) = (self.jobs.clone(), self.cache.clone());
        let work = reply.work();
        let loading = async move {
            let arrived = Instant::now();
            let mut waiting = Vec::with_capacity(wanted.len());
            for one in &wanted {
                waiting.push(cache.get(&one.key()).ok_or_else(|| submit(&jobs, one)));
            }
            let mut clips = Vec::with_capacity(wanted.len());
            for (one, clip) in wanted.iter().zip(waiting) {
                clips.push(match clip {
                    Ok(cached) => Ok(cached),
                    Err(done) => collect(&jobs, one, done).await.inspect(|clip| {
                        cache.insert(one.key(), clip.clone());
                    }),
                });
            }
            reply.send(Loaded { clips, seconds: arrived.elapsed().as_secs_f64() });
        };
        tokio::spawn(loading.instrument(work));
    }
}

/// Sends a job to the decoder threads. The receiver fails if the decoder panics.
fn submit(jobs: &channel::Sender<Job>, request: &ClipRequest) -> oneshot::Receiver<Clip> {
    let (done, receiver) = oneshot::channel();
    // If the channel is closed, the job is dropped, and the receiver fails.
    let _ = jobs.send(Job { request: request.clone(), done });
    receiver
}

/// Waits for a clip, and submits it once more if its decoder panicked (LOAD-2).
async fn collect(jobs: &channel::Sender<Job>, request: &ClipRequest, done: oneshot::Receiver<Clip>) -> Clip {
    if let Ok(result) = done.await {
        return result;
    }
    let path = request.path.display();
    tracing::warn!(%path, "the decoder panicked; the clip is decoded once more");
    submit(jobs, request).await.unwrap_or_else(|_| {
        Err(ClipError(format!("{path}: the decoder panicked twice; convert the file to WAV or leave it out")))
    })
}

/// Decodes one clip. If the decoder panics, `job.done` is dropped without an answer, and the thread takes its next job.
fn decode(job: Job, source: &AudioSource) {
    let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| source(&job.request)));
    if let Ok(result) = decoded {
        let _ = job.done.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::Slot;
    use std::time::Duration;

    fn heard() -> HeardClip {
        LogMel {
            values: vec![0.0; 4],
            n_mels: 2,
            frames: 2,
            valid_frames: 2,
            truncated: false,
            samples: None,
        }
        .into()
    }

    fn request(path: &str) -> ClipRequest {
        ClipRequest { path: path.into(), ..ClipRequest::default() }
    }

    async fn pool(source: AudioSource) -> Slot<LoaderMsg> {
        let slot = Slot::new("loader", 4, Duration::from_secs(10));
        let args = LoaderArgs { source, workers: 2, cache_clips: 8, cache_bytes: 16 };
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
            Ok(heard())
        }))
        .await;
        let loaded = slot.call(vec![request("a.wav"), request("b.wav")], LoaderMsg::Load).await.unwrap();
        assert!(loaded.clips.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn a_bad_clip_is_an_error_in_its_place_and_a_good_one_is_decoded_once() {
        let decoded = Arc::new(AtomicUsize::new(0));
        let counter = decoded.clone();
        let slot = pool(Arc::new(move |request: &ClipRequest| {
            counter.fetch_add(1, Ordering::SeqCst);
            match request.path.to_str() {
                Some("bad.wav") => Err(ClipError("bad.wav: empty".to_owned())),
                Some("worse.wav") => panic!("always"),
                _ => Ok(heard()),
            }
        }))
        .await;
        let clips = ["a.wav", "bad.wav", "worse.wav"].map(request).into();
        let loaded = slot.call(clips, LoaderMsg::Load).await.unwrap();
        assert!(loaded.clips[0].is_ok());
        assert_eq!(loaded.clips[1].as_ref().unwrap_err().to_string(), "bad.wav: empty");
        assert!(loaded.clips[2].as_ref().unwrap_err().to_string().contains("panicked twice"));
        // a.wav once, bad.wav once, worse.wav twice.
        assert_eq!(decoded.load(Ordering::SeqCst), 4);
        slot.call(vec![request("a.wav")], LoaderMsg::Load).await.unwrap();
        assert_eq!(decoded.load(Ordering::SeqCst), 4);
        // Another part of it is another clip. The cache has room for one clip of 16 bytes, so it is not kept.
        let later = ClipRequest { start: 1.5, ..request("a.wav") };
        for times in [5, 6] {
            slot.call(vec![later.clone()], LoaderMsg::Load).await.unwrap();
            assert_eq!(decoded.load(Ordering::SeqCst), times);
        }
    }
}
