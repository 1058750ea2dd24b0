//! How judges that are models are asked.

use rewards::judge::guard::Guard;
use rewards::judge::prompt::{Prompter, Scale, Wording};
use scenarios::{LocalJudgeConfig, OpenaiJudgeConfig, Prompting, Scoring};

/// The prompter of a model behind a server.
pub fn server_prompter(config: &OpenaiJudgeConfig) -> Prompter {
    prompter(config.prompting, config.scoring, config.max_chars, config.special_tokens.clone())
}

/// The prompter of a model in this process; `own` are its tokenizer's special tokens.
pub fn local_prompter(config: &LocalJudgeConfig, own: &[String]) -> Prompter {
    let special_tokens = config.special_tokens.iter().chain(own).cloned().collect();
    prompter(config.prompting, config.scoring, config.max_chars, special_tokens)
}

fn prompter(
    prompting: Prompting,
    scoring: Scoring,
    max_chars: usize,
    special_tokens: Vec<String>,
) -> Prompter {
    Prompter {
        wording: match prompting {
            Prompting::Instruct => Wording::Instruct,
            Prompting::Base => Wording::Base,
        },
        scale: match scoring {
            Scoring::Text => Scale::Tenths,
            Scoring::Logprobs => Scale::Digit,
        },
        guard: Guard { special_tokens, max_chars },
    }
}
