//! The edit list of an MP4/M4A file: which part of the decoded audio is played.
//!
//! An AAC decoder needs some samples before it produces the signal. Encoders put these before the sound
//! (1024 with ffmpeg) and cut them off again with an edit. Symphonia reads edit lists but does not apply
//! them, so [`Edited`] does.

use super::decoder::{Block, ClipInfo, Decoder, Fault, Warning};
use super::error::Problem;
use super::input::Input;
use super::kind::Kind;
use super::mp4_boxes::{Edit, movie, sound_edit};
use super::packets::Packets;

/// Opens an MP4 file, cut to its edit list.
pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let edit = movie(&input)?.as_deref().and_then(sound_edit);
    let packets = Packets::open(Kind::Mp4, input)?;
    Ok(match edit {
        None if packets.pre_skip() > 0 => {
            let start = packets.pre_skip() as f64 / f64::from(packets.info().rate);
            Box::new(Edited::new(packets, &Edit { start, length: None }))
        }
        None => Box::new(packets),
        Some(edit) => Box::new(Edited::new(packets, &edit)),
    })
}
/// A decoder without the samples that an edit cuts.
struct Edited {
    inner: Packets,
    info: ClipInfo,
    /// Frames to drop at the start, and the frame of `inner` at which the sound ends.
    start: u64,
    end: u64,
    /// The frame of `inner` that comes next.
    position: u64,
}

impl Edited {
    fn new(inner: Packets, edit: &Edit) -> Self {
        let rate = f64::from(inner.info().rate);
        let frames = |seconds: f64| (seconds * rate).round() as u64;
        let start = frames(edit.start);
        let end = edit.length.map_or(u64::MAX, |length| start.saturating_add(frames(length)));
        let mut info = inner.info().clone();
        info.frames = info.frames.map(|all| all.min(end).saturating_sub(start));
        Self { inner, info, start, end, position: 0 }
    }
}

impl Decoder for Edited {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn next(&mut self, block: &mut Block) -> Result<bool, Fault> {
        if self.position >= self.end || !self.inner.next(block)? {
            return Ok(false);
        }
        let begins = self.position;
        self.position += block.frames() as u64;
        block.keep_front(self.end.saturating_sub(begins).min(usize::MAX as u64) as usize);
        block.drop_front(self.start.saturating_sub(begins).min(usize::MAX as u64) as usize);
        Ok(true)
    }

    fn seek(&mut self, frame: u64) -> Result<u64, Fault> {
        self.position = self.inner.seek(frame.saturating_add(self.start))?;
        Ok(self.position.saturating_sub(self.start))
    }

    fn warnings(&mut self) -> Vec<Warning> {
        self.inner.warnings()
    }
}
