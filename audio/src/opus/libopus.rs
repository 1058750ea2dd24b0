//! The one place that calls libopus.
//!
//! The crate `unsafe-libopus` is libopus 1.3.1, translated to Rust by a program, and so takes pointers as C does. What it
//! needs to stay within its memory is ensured here: a layout that [`Head`] has checked, lengths that are those of the
//! slices, and a state that lives as long as its owner.
#![expect(unsafe_code, reason = "libopus takes pointers; their validity is argued at each call")]

use std::ptr::NonNull;

use unsafe_libopus::{
    OPUS_OK, OpusMSDecoder, opus_multistream_decode_float, opus_multistream_decoder_create,
    opus_multistream_decoder_destroy,
};

use super::head::Head;

/// The rate of all decoders, in Hz.
pub(super) const RATE: u32 = 48_000;

/// Most samples per channel in a packet: 120 ms.
pub(super) const MOST_FRAMES: usize = 5760;

/// A decoder of libopus, of one or several streams.
pub(super) struct Libopus {
    state: NonNull<OpusMSDecoder>,
    channels: usize,
}

// SAFETY: the state is memory that nothing else refers to; libopus keeps no global or thread-local state.
unsafe impl Send for Libopus {}
// SAFETY: no method takes `&self`.
unsafe impl Sync for Libopus {}

impl Libopus {
    /// `None` if libopus refuses the layout.
    pub fn new(head: &Head) -> Option<Self> {
        let mut error = OPUS_OK;
        let (channels, streams, coupled) = (head.channels as i32, head.streams.into(), head.coupled.into());
        // SAFETY: `mapping` has `channels` bytes, each 255 or below `streams + coupled`, as `Head::parse` has checked;
        // it is copied. `error` outlives the call.
        let state = unsafe {
            opus_multistream_decoder_create(
                RATE as i32,
                channels,
                streams,
                coupled,
                head.mapping.as_ptr(),
                &mut error,
            )
        };
        let state = NonNull::new(state).filter(|_| error == OPUS_OK)?;
        Some(Self { state, channels: head.channels })
    }

    /// Decodes a packet into `samples`, interleaved, which has room for [`MOST_FRAMES`] of all channels. Returns the
    /// number of samples per channel, or libopus' number of an error.
    pub fn decode(&mut self, packet: &[u8], samples: &mut [f32]) -> Result<usize, i32> {
        const BAD_ARGUMENT: i32 = -1;
        // An empty packet would mean a lost one.
        let length = i32::try_from(packet.len()).ok().filter(|&length| length > 0).ok_or(BAD_ARGUMENT)?;
        let frames = MOST_FRAMES.min(samples.len() / self.channels);
        if frames < MOST_FRAMES {
            return Err(BAD_ARGUMENT);
        }
        // SAFETY: the state is valid until `drop`. The packet is read for `length` bytes at most, and `samples` is written
        // for `frames` samples of `channels` at most, which fit in it as checked above.
        let count = unsafe {
            opus_multistream_decode_float(
                self.state.as_ptr(),
                packet.as_ptr(),
                length,
                samples.as_mut_ptr(),
                frames as i32,
                0,
            )
        };
        usize::try_from(count).ok().filter(|&count| count <= frames).ok_or(count)
    }
}

impl Drop for Libopus {
    fn drop(&mut self) {
        // SAFETY: `new` has made the state, and nothing else has freed it.
        unsafe { opus_multistream_decoder_destroy(self.state.as_ptr()) }
    }
}
