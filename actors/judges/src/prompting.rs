//! The prompters of judges that are models, from their settings.

use rewards::judge::guard::Guard;
use rewards::judge::prompt::{Prompter, Scale, Wording};
use rewards::judge::task::prompt::TaskPrompter;
use scenarios::{LocalJudgeConfig, OpenaiJudgeConfig, Prompting, Scoring};

/// The prompter of a model behind a server.
pub fn server_prompter(config: &OpenaiJudgeConfig) -> Prompter {
    prompter(config.prompting, config.scoring, config.max_chars, config.special_tokens.clone())
}

/// The prompter of tasks to a model behind a server.
pub fn task_prompter(config: &OpenaiJudgeConfig) -> TaskPrompter {
    let guard = Guard { special_tokens: config.special_tokens.clone(), max_chars: config.max_chars };
    TaskPrompter { guard, hears: config.hears_clip }
}

/// The prompter of a model in this process. The tokenizer's special tokens are added to those of the scenario. A base
/// model, which has no chat template, is prompted as one.
pub fn local_prompter(config: &LocalJudgeConfig, tokenizer_tokens: &[String], is_base: bool) -> Prompter {
    let special_tokens = config.special_tokens.iter().chain(tokenizer_tokens).cloned().collect();
    let prompting = if is_base { Prompting::Base } else { config.prompting };
    prompter(prompting, config.scoring, config.max_chars, special_tokens)
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
