//! A turn of a conversation.

use std::sync::Arc;

use audio::LogMel;

/// What the user said in one turn of a conversation, and what the assistant replied.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The user's text.
    pub user: String,
    /// The clips that stand before it.
    pub clips: Vec<Arc<LogMel>>,
    /// The assistant's reply; `None` for the last turn, which it is to reply to.
    pub reply: Option<String>,
}
