//! The lines and interrupts of a conversation. Standard input is read by a thread of its own, so that Ctrl-C is heard while
//! the prompt waits for a line.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::failure::{Failure, INTERRUPTED};
use crate::streams::leave;

/// What a conversation waits for.
pub enum Event {
    /// A line, without its end.
    Line(String),
    /// Ctrl-C at the prompt.
    Interrupt,
    /// Ctrl-D, or the end of a file.
    End,
}

/// The events of a conversation.
pub struct Events {
    received: Receiver<Event>,
    answering: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Events {
    /// Starts to read lines and to wait for Ctrl-C.
    pub fn start() -> Result<Events, Failure> {
        let (events, received) = channel();
        let (answering, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let failed =
            |error: std::io::Error| Failure::Running(format!("the conversation can't be read: {error}"));
        let lines = events.clone();
        let read = std::thread::Builder::new().name("lines".into()).spawn(move || read_lines(&lines));
        read.map_err(failed)?;
        let mut signals = Signals::new([SIGINT]).map_err(failed)?;
        let (is_answering, to_stop) = (answering.clone(), stop.clone());
        let wait = move || {
            for _ in &mut signals {
                if !is_answering.load(Ordering::SeqCst) {
                    // Nobody receives it at the end of the process.
                    let _ = events.send(Event::Interrupt);
                } else if to_stop.swap(true, Ordering::SeqCst) {
                    // The first has not been followed, for example because a long clip is still encoded.
                    leave(INTERRUPTED);
                }
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
        Ok(Events { received, answering, stop })
    }

    /// Waits for the next event.
    pub fn next(&self) -> Event {
        self.received.recv().unwrap_or(Event::End)
    }

    /// Does something that Ctrl-C may stop: `work` can ask whether it is to stop. Returns its result, and whether it was
    /// interrupted.
    pub fn interruptible<T>(&self, work: impl FnOnce(&dyn Fn() -> bool) -> T) -> (T, bool) {
        self.answering.store(true, Ordering::SeqCst);
        let done = work(&|| self.stop.load(Ordering::SeqCst));
        self.answering.store(false, Ordering::SeqCst);
        (done, self.stop.swap(false, Ordering::SeqCst))
    }
}

fn read_lines(events: &Sender<Event>) {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        // An input that can't be read is at its end.
        let read = input.read_until(b'\n', &mut line).unwrap_or(0);
        let event = match read {
            0 => Event::End,
            _ => Event::Line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()),
        };
        if events.send(event).is_err() || read == 0 {
            return;
        }
    }
}
