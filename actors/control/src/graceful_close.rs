//! A connection that closes so that the client can still read the answer.
//!
//! Closing a socket that has unread bytes makes the kernel send a reset, and the client then loses the answer too. A
//! client whose body is refused would see a broken connection instead of the reason. So after the last answer, input is
//! read and discarded for up to a second before the socket is closed. Writes have a timeout, so that a client which
//! does not read its answer can't hold the connection open.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

/// Longest wait for a client to read a part of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long input is discarded after the last answer.
const DISCARD: Duration = Duration::from_secs(1);

pub(super) struct GracefulClose {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    /// When the write half was shut down.
    closing: Option<Instant>,
}

impl GracefulClose {
    pub fn new(stream: TcpStream) -> Self {
        // Without this, small answers wait for the next packet and the page's sliders feel slow.
        let _ = stream.set_nodelay(true);
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(WRITE_TIMEOUT));
        GracefulClose { stream, closing: None }
    }
}

impl AsyncRead for GracefulClose {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, into)
    }
}

impl AsyncWrite for GracefulClose {
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
            self.stream.as_mut().set_read_timeout_pinned(Some(DISCARD));
        }
        let mut discarded = [0; 8 * 1024];
        while self.closing.is_some_and(|since| since.elapsed() < DISCARD) {
            let mut discarded = ReadBuf::new(&mut discarded);
            match ready!(self.stream.as_mut().poll_read(cx, &mut discarded)) {
                Ok(()) if !discarded.filled().is_empty() => {}
                // The client has closed its half, or the time is up.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
