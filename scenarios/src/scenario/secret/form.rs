//! Recognizes a secret by its form, whatever its key is called.

use super::name::is_secret_header;

/// What the keys of well-known services begin with, and how many characters follow at least.
const PREFIXES: [(&str, usize); 23] = [
    ("AIza", 30),
    ("AKIA", 16),
    ("ASIA", 16),
    ("SG.", 20),
    ("dckr_pat_", 16),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghs_", 16),
    ("ghu_", 16),
    ("github_pat_", 16),
    ("glpat-", 16),
    ("gsk_", 16),
    ("hf_", 16),
    ("npm_", 20),
    ("nvapi-", 16),
    ("pypi-", 20),
    ("r8_", 20),
    ("rk_live_", 10),
    ("sk-", 16),
    ("sk_live_", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("ya29.", 16),
];

/// Characters between which a key can stand in a longer text.
const SEPARATORS: &str = "=,;:'\"()[]{}<>&?|";

/// Whether a text is a secret, or contains one, by its form.
pub(crate) fn has_secret_form(text: &str) -> bool {
    let words = || text.split(|c: char| c.is_whitespace() || SEPARATORS.contains(c));
    words().any(is_service_key)
        || is_authorization(text)
        || is_private_key(text)
        || has_address_with_secret(text)
}

/// Whether a value of a key for secrets is one, and not a reference to a variable or a switch.
pub(super) fn is_written_out(text: &str) -> bool {
    let text = text.trim();
    let reference = text.contains('$');
    let switch = text.len() <= 5 && text.chars().all(|c| c.is_ascii_digit())
        || ["true", "false", "none", "null", "yes", "no", "off", "on", "auto"]
            .contains(&text.to_lowercase().as_str());
    let special_token = text.starts_with('<') && text.ends_with('>');
    !(text.is_empty() || reference || switch || special_token)
}

/// Whether a text is the name of an environment variable. Keys of letters and digits are none, although they could be.
pub(crate) fn is_variable_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let has = |test: fn(&char) -> bool| text.chars().any(|c| test(&c));
    let like_a_key = text.len() >= 16
        && has(char::is_ascii_digit)
        && (has(char::is_ascii_lowercase) || !text.contains('_'));
    starts_well && text.chars().all(good) && !like_a_key && !has_secret_form(text)
}

fn is_service_key(word: &str) -> bool {
    let key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let known = PREFIXES.iter().any(|(prefix, least)| {
        word.strip_prefix(prefix).is_some_and(|rest| rest.len() >= *least && rest.chars().all(key))
    });
    // A JSON web token: three parts in base64, the first of which is an object.
    known
        || word.starts_with("eyJ")
            && word.len() > 30
            && word.matches('.').count() == 2
            && word.chars().all(key)
}

fn is_authorization(text: &str) -> bool {
    let Some((scheme, secret)) = text.trim().split_once(' ') else { return false };
    let known = ["bearer", "basic", "token"].contains(&scheme.to_lowercase().as_str());
    // Words are written in small letters, keys hardly ever.
    let no_word =
        secret.trim().chars().skip(1).any(|c| c.is_ascii_digit() || c.is_ascii_uppercase() || c == '=');
    known && secret.trim().len() >= 8 && no_word && !secret.contains(['$', ' '])
}

fn is_private_key(text: &str) -> bool {
    text.split_once("-----BEGIN ").is_some_and(|(_, rest)| rest.contains("PRIVATE KEY"))
}

/// Whether a text contains an address with a password, or with a key in its query.
fn has_address_with_secret(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let rest = rest.split(|c: char| c.is_whitespace() || "'\"<>".contains(c)).next().unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let login = authority.rsplit_once('@').map(|(login, _)| login);
        let password = login.is_some_and(|login| match login.split_once(':') {
            Some((_, password)) => is_written_out(password),
            None => login.len() >= 16 && is_written_out(login),
        });
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let key = |pair: &str| {
            pair.split_once('=').is_some_and(|(name, value)| is_secret_header(name) && is_written_out(value))
        };
        password || query.split(['&', '#']).any(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_services_are_known_by_their_form_within_a_text_too() {
        for text in [
            "sk-proj-0123456789abcdefghij",
            "hf_ABCDEFGHIJKLMNOPQRSTUV",
            "--key=ghp_0123456789abcdefABCD",
            "AKIAIOSFODNN7EXAMPLE",
            "Bearer hunter2hunter2",
            "basic dXNlcjpwYXNz",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "-----BEGIN RSA PRIVATE KEY-----\nMII",
            "http://me:hunter2@host/score",
            "https://0123456789abcdef0123@host",
            "https://host/score?n=1&api_key=hunter2",
        ] {
            assert!(has_secret_form(text), "{text}");
        }
        for text in [
            "Bearer ${TOKEN}",
            "http://me:${PASSWORD}@host",
            "http://127.0.0.1:8000/v1",
            "https://host/?page=2",
            "sk-learn",
            "accuracy + w_format * format",
            "basic instructions",
            "the token budget is 512",
            "hf_home",
        ] {
            assert!(!has_secret_form(text), "{text}");
        }
    }

    #[test]
    fn a_key_of_letters_and_digits_is_no_name_of_a_variable() {
        for name in ["OPENAI_API_KEY", "http_proxy", "KEY2", "_x", "A_VARIABLE_THAT_IS_LONG_2"] {
            assert!(is_variable_name(name), "{name}");
        }
        for text in
            ["", "2KEY", "A-B", "A=B", "a3f9c2d4e5b6a7f8", "A3F9C2D4E5B6A7F8", "sk_live_0123456789", "$HOME"]
        {
            assert!(!is_variable_name(text), "{text}");
        }
    }
}
