//! An answer that is printed while its tokens are drawn.

use std::io::{self, Write};

use model::Processor;

use crate::streams::outln;

/// The tokens of an answer, and how much of its text has been printed.
pub struct StreamedAnswer<'a> {
    processor: &'a Processor,
    ids: Vec<i64>,
    /// Number of bytes of the text that have been printed.
    shown: usize,
}

impl<'a> StreamedAnswer<'a> {
    /// An answer without tokens.
    pub fn new(processor: &'a Processor) -> StreamedAnswer<'a> {
        StreamedAnswer { processor, ids: Vec::new(), shown: 0 }
    }

    /// Adds a token and prints the new text. A character that is split between tokens is printed with its last token.
    pub fn push(&mut self, id: i64) {
        self.ids.push(id);
        let text = self.processor.decode(&self.ids);
        if !text.ends_with(char::REPLACEMENT_CHARACTER) {
            self.show(&text);
        }
    }

    /// Prints what is left, even an incomplete character, and a line break. Returns the whole text.
    pub fn finish(mut self) -> String {
        let text = self.processor.decode(&self.ids);
        self.show(&text);
        outln!("");
        text
    }

    fn show(&mut self, text: &str) {
        // If standard output is closed, the answer is still computed for the exit code.
        let new = text.get(self.shown..).unwrap_or_default();
        let _ = write!(io::stdout(), "{}", records::visible(new)).and_then(|()| io::stdout().flush());
        self.shown = text.len();
    }
}
