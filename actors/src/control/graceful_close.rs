//! A connection that is closed so that its client gets to see the answer.
//!
//! Closing a socket with bytes unread makes the system tell the other side that all is lost, the answer included.
//! Who sends a body that is refused would see a broken connection and never learn why; so what still comes is read
//! and thrown away, for a moment. And a client that does not take its answer is not waited for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

/// Longest wait for a client to take any of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long what still comes is read after the answer.
const LINGER: Duration = Duration::from_secs(1);

/// The connection.
pub(super) struct Lingering {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    /// Since when there is nothing more to say.
    closing: Option<Instant>,
}

impl Lingering {
    pub fn new(stream: TcpStream) -> Self {
        // An answer that waits for the next packet would make a slider feel slow.
        let _ = stream.set_nodelay(true);
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(WRITE_TIMEOUT));
        Lingering { stream, closing: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, into)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(self.stream.as_mut().poll_shutdown(cx))?;
            self.closing = Some(Instant::now());
            self.stream.as_mut().set_read_timeout_pinned(Some(LINGER));
        }
        let mut scrap = [0; 8 * 1024];
        while self.closing.is_some_and(|since| since.elapsed() < LINGER) {
            let mut scrap = ReadBuf::new(&mut scrap);
            match ready!(self.stream.as_mut().poll_read(cx, &mut scrap)) {
                Ok(()) if !scrap.filled().is_empty() => {}
                // The other side has closed too, or takes too long.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
