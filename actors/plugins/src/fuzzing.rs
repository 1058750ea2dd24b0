//! The entry of `fuzz/` into this crate: what a plug-in sends, as a line or as the body of a response.

use crate::protocol::{PluginMessage, is_message, parse, parse_body, read_answer};

/// Reads a text in each way that the text of a plug-in is read.
///
/// # Panics
/// If scores get lost, or a message for people has several lines.
pub fn parse_reply(text: &str) {
    is_message(text);
    for message in [parse(text), parse_body(text)] {
        match message {
            Ok(PluginMessage::Scores { scores, fields, .. }) => {
                let sent = scores.len();
                match read_answer(scores, &fields, sent) {
                    Ok(answer) => {
                        assert_eq!(answer.scores.len(), sent, "a score per completion");
                        assert!(answer.notes.extras.values().all(|values| values.len() == sent));
                    }
                    Err(failure) => assert!(failure.message.lines().count() <= 1, "{}", failure.message),
                }
            }
            Ok(PluginMessage::Ready { .. } | PluginMessage::Error { .. }) => {}
            Err(error) => assert!(error.to_string().lines().count() <= 1, "{error}"),
        }
    }
}
