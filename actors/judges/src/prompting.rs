//! How judges that are models are asked.

use rewards::judge::guard::Guard;
use rewards::judge::prompt::{Prompter, Scale, Wording};
use scenarios::{JudgeConfig, Prompting, Scoring};

/// How a model is asked under these settings; `own` are its tokenizer's special tokens.
pub fn prompter(config: &JudgeConfig, own: &[String]) -> Prompter {
    let special_tokens = config.special_tokens.iter().chain(own).cloned().collect();
    Prompter {
        wording: match config.prompting {
            Prompting::Instruct => Wording::Instruct,
            Prompting::Base => Wording::Base,
        },
        scale: match config.scoring {
            Scoring::Text => Scale::Tenths,
            Scoring::Logprobs => Scale::Digit,
        },
        guard: Guard { special_tokens, max_chars: config.max_chars },
    }
}
