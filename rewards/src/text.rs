//! The form in which texts are compared.

use unicode_normalization::UnicodeNormalization;

/// The text in one form: characters composed (NFC), and full-width letters, digits and signs (`Ｂ`, `（`, `：`) as the ASCII
/// ones they stand for.
pub(crate) fn fold(text: &str) -> String {
    let narrow = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '｡' => '。',
        c => c,
    };
    text.nfc().map(narrow).collect()
}
