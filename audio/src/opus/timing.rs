//! Which decoded samples of an Opus track are heard, and where its packets are.

use symphonia::core::packet::Packet;
use symphonia::core::units::{TimeBase, Timestamp};

use super::super::decoder::Block;
use super::head::packet_frames;
use super::libopus::RATE;

/// Samples @ 48 kHz that are decoded before those that are wanted, for the decoder to converge after a seek: 400 ms. After
/// the 80 ms of RFC 7845, section 4.6, what is left of the difference is at -25 dB.
const PRE_ROLL: u64 = 19_200;

/// The length of all packets is a multiple of this many samples @ 48 kHz: 2.5 ms.
const SHORTEST: u64 = 120;

/// The frames of a track: samples per channel @ 48 kHz.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    /// Where the first packet begins, in units of `base`.
    origin: i64,
    base: TimeBase,
    /// Frames to drop at the start.
    pre_skip: u64,
    /// Frames to drop at the end of the last packet.
    padding: u64,
    /// Frames that are still to be dropped.
    skip: u64,
    /// Frames of a corrupt packet, to be replaced by silence.
    silence: u64,
}

impl Timing {
    pub fn new(base: Option<TimeBase>, pre_skip: u64) -> Self {
        let base = base.unwrap_or_default();
        Self { origin: 0, base, pre_skip, padding: 0, skip: pre_skip, silence: 0 }
    }

    /// The track begins with this packet.
    pub fn begin(&mut self, first: &Packet) {
        self.origin = first.pts.get();
    }

    /// The last packet ends with padding of this length, in nanoseconds.
    pub fn pad(&mut self, nanoseconds: u64) {
        self.padding = (nanoseconds as f64 * f64::from(RATE) / 1e9).round() as u64;
    }

    /// Whether [`Self::trim`] must know the last packet.
    pub fn is_padded(&self) -> bool {
        self.padding > 0
    }

    /// How many frames of a track that ends here, as the container counts them, are heard.
    pub fn heard(&self, end: u64) -> u64 {
        let all = i128::from(end) - i128::from(self.origin) - i128::from(self.pre_skip);
        all.clamp(0, u64::MAX.into()) as u64
    }

    /// Removes from the block of a packet what is not heard.
    pub fn trim(&mut self, block: &mut Block, is_last: bool) {
        if is_last {
            block.keep_front(block.frames().saturating_sub(self.padding.min(usize::MAX as u64) as usize));
        }
        let dropped = self.skip.min(block.frames() as u64);
        block.drop_front(dropped as usize);
        self.skip -= dropped;
    }

    /// A packet could not be decoded.
    pub fn lose(&mut self, packet: &Packet) {
        self.silence = packet_frames(&packet.data).saturating_sub(packet.trim_end.get());
    }

    /// Fills a block with silence in place of a lost packet; false if none was lost.
    pub fn fill_lost(&mut self, block: &mut Block, channels: usize) -> bool {
        let frames = std::mem::take(&mut self.silence) as usize;
        block.clear(RATE, channels);
        block.channels.iter_mut().for_each(|channel| channel.resize(frames, 0.0));
        self.trim(block, false);
        frames > 0
    }

    /// The frame, counted from the start of the first packet, with which decoding begins in order to hear `frame`.
    pub fn decode_from(&self, frame: u64) -> u64 {
        frame.saturating_add(self.pre_skip).saturating_sub(PRE_ROLL)
    }

    /// The time of a frame, counted as by [`Self::decode_from`].
    pub fn time_of(&self, frame: u64) -> Timestamp {
        let per_second = f64::from(self.base.denom.get()) / f64::from(self.base.numer.get());
        let ticks = (frame as f64 * per_second / f64::from(RATE)).floor() as i64;
        Timestamp::new(self.origin.saturating_add(ticks))
    }

    /// The frame of a packet, counted as by [`Self::decode_from`]. Matroska counts in milliseconds; packets begin at
    /// multiples of 2.5 ms.
    pub fn frame_of(&self, time: Timestamp) -> u64 {
        let seconds = f64::from(self.base.numer.get()) / f64::from(self.base.denom.get());
        let ticks = time.get().saturating_sub(self.origin) as f64;
        let shortest = (ticks * seconds * f64::from(RATE) / SHORTEST as f64).round();
        (shortest.max(0.0) as u64).saturating_mul(SHORTEST)
    }

    /// Decoding goes on with a frame that is counted as by [`Self::decode_from`]. Returns the frame that is heard next.
    pub fn restart(&mut self, frame: u64) -> u64 {
        self.silence = 0;
        self.skip = self.pre_skip.saturating_sub(frame);
        frame.saturating_sub(self.pre_skip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds() -> Timing {
        let mut timing = Timing::new(TimeBase::try_new(1, 1000), 312);
        timing.begin(&Packet::new(1, Timestamp::new(-7), 20u64.into(), Vec::new()));
        timing
    }

    fn block(frames: usize) -> Block {
        Block { rate: RATE, channels: vec![(0..frames).map(|i| i as f32).collect()] }
    }

    #[test]
    fn packets_are_found_from_rounded_times() {
        let timing = milliseconds();
        // Packets of 2.5 ms begin 0, 2.5 and 5 ms after the first, at -7 ms.
        let times = [-7, -5, -4, -2, 993].map(|time| timing.frame_of(Timestamp::new(time)));
        assert_eq!(times, [0, 120, 120, 240, 48_000]);
        assert_eq!(timing.time_of(48_000), Timestamp::new(993));
    }

    #[test]
    fn pre_skip_and_padding_are_dropped() {
        let mut timing = milliseconds();
        timing.pad(6_500_000);
        let mut first = block(240);
        timing.trim(&mut first, false);
        assert_eq!(first.frames(), 0);
        // 72 more at the start; 312 at the end.
        let mut last = block(960);
        timing.trim(&mut last, true);
        assert_eq!((last.channels[0][0], last.frames()), (72.0, 960 - 312 - 72));
    }

    #[test]
    fn after_a_seek_only_the_rest_of_the_pre_skip_is_dropped() {
        let mut timing = milliseconds();
        assert_eq!(timing.decode_from(100), 0);
        assert_eq!(timing.restart(0), 0);
        assert_eq!(timing.skip, 312);
        // 400 ms before: 48 000 + 312 - 19 200.
        assert_eq!(timing.decode_from(48_000), 29_112);
        assert_eq!(timing.restart(240), 0);
        assert_eq!(timing.skip, 72);
        assert_eq!(timing.restart(43_200), 42_888);
        assert_eq!(timing.skip, 0);
    }

    #[test]
    fn a_lost_packet_is_silent_for_its_length() {
        let mut timing = milliseconds();
        timing.restart(960);
        // CELT, 20 ms.
        timing.lose(&Packet::new(1, Timestamp::new(0), 20u64.into(), vec![19 << 3]));
        let mut lost = block(3);
        assert!(timing.fill_lost(&mut lost, 2));
        assert_eq!(lost.channels, [vec![0.0; 960], vec![0.0; 960]]);
        assert!(!timing.fill_lost(&mut lost, 2));
    }
}
