//! Recognizes a secret by the name of its key, header or environment variable.

/// Words that make any name that of a secret.
const ALWAYS: [&str; 13] = [
    "apikey",
    "apikeys",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "secret",
    "secrets",
];

/// Words before `key` that make it a secret; `answer_key` is none.
const KEYS: [&str; 13] = [
    "access",
    "account",
    "api",
    "auth",
    "client",
    "deploy",
    "encryption",
    "functions",
    "master",
    "private",
    "signing",
    "ssh",
    "subscription",
];

/// Words before `token` that make it a token of a tokenizer.
const VOCABULARY: [&str; 14] = [
    "audio", "bos", "cls", "end", "eos", "image", "mask", "pad", "sep", "special", "start", "stop", "think",
    "unk",
];

/// Further words that make the name of a header or an environment variable that of a secret.
const IN_HEADERS: [&str; 7] = ["auth", "jwt", "key", "pass", "pat", "session", "signature"];

/// Last words of names that are about a secret but hold none, as in `api_key_env`.
const ABOUT: [&str; 17] = [
    "budget",
    "count",
    "dir",
    "env",
    "file",
    "folder",
    "id",
    "ids",
    "len",
    "length",
    "limit",
    "name",
    "path",
    "parallelism",
    "type",
    "url",
    "var",
];

/// Whether a key of this name holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    if words.last().is_none_or(|last| ABOUT.contains(&last.as_str())) {
        return false;
    }
    let before = |index: usize| index.checked_sub(1).map_or("", |index| words[index].as_str());
    words.iter().enumerate().any(|(index, word)| match word.as_str() {
        "key" | "keys" => KEYS.contains(&before(index)),
        "token" => index + 1 == words.len() && !VOCABULARY.contains(&before(index)),
        word => ALWAYS.contains(&word),
    })
}

/// Whether a header or an environment variable of this name holds a secret.
pub(crate) fn is_secret_header(name: &str) -> bool {
    let words = words(name);
    is_secret_name(name)
        || words.last().is_some_and(|last| !ABOUT.contains(&last.as_str()))
            && words.iter().any(|word| IN_HEADERS.contains(&word.as_str()))
}

/// The words of a name in lower case: `X-Api-Key`, `api_key` and `apiKey` have the words `api` and `key`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() && after_lower {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("it is never empty").extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names_however_they_are_spelt() {
        for name in [
            "api_key",
            "apiKey",
            "API-KEY",
            "OPENAI_API_KEY",
            "apikey",
            "token",
            "HF_TOKEN",
            "access_token",
            "Authorization",
            "Proxy-Authorization",
            "db_password",
            "client_secret",
            "aws_secret_access_key",
            "Set-Cookie",
            "api_keys",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["X-Key", "OPENAI_KEY", "x-auth", "GITHUB_PAT", "DB_PASS"] {
            assert!(is_secret_header(name) && !is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn names_about_secrets_and_tokens_of_a_tokenizer_are_none() {
        for name in [
            "api_key_env",
            "max_tokens",
            "special_tokens",
            "eos_token",
            "token_id",
            "tokens_per_minute",
            "keep",
            "TOKENIZERS_PARALLELISM",
            "SSL_KEY_FILE",
            "content-type",
            "PATH",
            "monkey",
            "pattern",
            "passes",
        ] {
            assert!(!is_secret_header(name), "{name}");
        }
        assert!(!is_secret_name("answer_key"));
    }
}
