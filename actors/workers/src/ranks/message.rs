//! What rank 0 orders the other ranks to do, in bytes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::grpo_share::GrpoShare;
use crate::sft_pass::SftShare;
use crate::train_group::{SftGroup, TrainGroup};

/// An order of rank 0 with its groups, which are borrowed where it is sent and owned where it arrives.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order<G, S> {
    /// Open a replica of an arm, and take rank 0's weights.
    Open(Opening),
    /// Take part in a GRPO step.
    Grpo { arm: String, share: Box<GrpoShare>, groups: Vec<G> },
    /// Take part in a supervised step.
    Sft { arm: String, share: SftShare, groups: Vec<S> },
    /// Take the optimizer step of a fit of the projector, whose gradient rank 0 has computed, at this learning rate.
    Align { arm: String, lr: f64 },
    /// The arm has ended.
    Close { arm: String },
    /// The run has ended.
    End,
}

/// An order as rank 0 sends it.
pub(crate) type LeavingOrder<'a> = Order<&'a TrainGroup, &'a SftGroup>;

/// An order as a follower gets it.
pub(crate) type ArrivingOrder = Order<TrainGroup, SftGroup>;

/// What a follower opens its replica of an arm by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// The name of the arm and its seed, as the run names them.
    pub arm: String,
    /// The seed of the arm.
    pub seed: u64,
    /// A scenario with this arm alone, every setting resolved.
    pub scenario: String,
    /// The number of libtorch threads; 0 leaves the choice to libtorch.
    pub threads: usize,
    /// The version of the weights that rank 0 begins with; it sets this itself.
    pub policy_version: u64,
    /// AdamW's steps so far, if rank 0 sends its moments; it sets this itself.
    pub moments: Option<u64>,
    /// Whether the ranks try to add up by NCCL; rank 0 sets this itself.
    pub nccl: bool,
}

/// The bytes of a message.
pub(crate) fn encode(message: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(message).expect("plain numbers and text, and lists whose length is known")
}

/// The message of some bytes; `None` if no rank of this program sent it.
pub(crate) fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Option<M> {
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use audio::LogMel;
    use model::{Completion, Finish, Prompt};

    use super::*;

    #[test]
    fn a_group_arrives_bit_for_bit() {
        let clip = LogMel {
            values: vec![0.1, -0.2],
            n_mels: 1,
            frames: 2,
            valid_frames: 1,
            truncated: true,
            samples: None,
        };
        let completion = Completion {
            ids: vec![5, 1],
            logprobs: vec![-0.3, f32::NAN],
            forced: 1..2,
            finish: Finish::Length,
        };
        let group = TrainGroup {
            prompt: Prompt { ids: vec![7, 8], clips: vec![Arc::new(clip.clone())] },
            completions: vec![completion],
            advantages: vec![0.1 + 0.2],
            mode_advantages: Vec::new(),
            think_tokens: vec![1],
        };
        let found: TrainGroup = decode(&encode(&&group)).unwrap();
        assert_eq!((found.prompt.ids, found.prompt.clips), (vec![7, 8], vec![Arc::new(clip)]));
        assert_eq!(found.advantages[0].to_bits(), (0.1f64 + 0.2).to_bits());
        let Completion { ids, logprobs, forced, finish } = &found.completions[0];
        assert_eq!((ids.as_slice(), forced.clone(), *finish), ([5, 1].as_slice(), 1..2, Finish::Length));
        assert!(logprobs[0].to_bits() == (-0.3f32).to_bits() && logprobs[1].is_nan());
        assert_eq!(found.think_tokens, [1]);
    }

    #[test]
    fn foreign_bytes_are_no_order() {
        for bytes in [&b""[..], b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n"] {
            assert!(decode::<ArrivingOrder>(bytes).is_none(), "{bytes:?}");
        }
    }
}
