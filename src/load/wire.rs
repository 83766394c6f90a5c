//! A TCP stream that counts, so that "no byte of an answer" and "nothing was written" are facts and not guesses.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

/// What has gone over one connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    first_write: Cell<Option<Instant>>,
}

impl Wire {
    /// Begins a request: from here on its bytes are counted, and its first write is noted.
    pub(super) fn begin_request(&self) {
        self.bytes_in.set(0);
        self.bytes_out.set(0);
        self.first_write.set(None);
    }

    /// Bytes read since the request began.
    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in.get()
    }

    /// Bytes that the kernel took since the request began.
    pub(super) fn bytes_out(&self) -> u64 {
        self.bytes_out.get()
    }

    /// When the request's first byte was about to be written.
    pub(super) fn first_write(&self) -> Option<Instant> {
        self.first_write.get()
    }

    fn about_to_write(&self) {
        if self.first_write.get().is_none() {
            self.first_write.set(Some(Instant::now()));
        }
    }

    fn wrote(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }
}

/// A stream that tells its [`Wire`] what goes over it.
pub(super) struct CountedStream {
    stream: TcpStream,
    wire: Rc<Wire>,
}

impl CountedStream {
    /// Counts what goes over `stream` in `wire`.
    pub(super) fn new(stream: TcpStream, wire: Rc<Wire>) -> Self {
        Self { stream, wire }
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        self.wire.bytes_in.set(self.wire.bytes_in.get() + read as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.about_to_write();
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.wire.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.about_to_write();
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.wire.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
