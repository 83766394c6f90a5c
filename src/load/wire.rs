//! The bytes of one connection, plain or under TLS, counted as they go, so that "no byte of an answer" and "nothing
//! was written" are facts and not guesses.
//!
//! What is read goes through one buffer for the whole thread: it is looked at before anybody else reads, so a
//! connection that waits needs none.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

/// Bytes that are taken from a connection at once.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static INBOX: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A way for bytes.
#[derive(Debug)]
pub(super) enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Under TLS; what is counted is what it carries.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection's bytes, and what is known of those of its present request.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    bytes_in: u64,
    bytes_out: u64,
    first_write: Option<Instant>,
}

impl Wire {
    /// Counts what goes over `stream`.
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, bytes_in: 0, bytes_out: 0, first_write: None }
    }

    /// Begins a request: from here on its bytes are counted, and its first write is noted.
    pub(super) fn begin_request(&mut self) {
        (self.bytes_in, self.bytes_out, self.first_write) = (0, 0, None);
    }

    /// Bytes read since the request began.
    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Bytes that the kernel took since the request began.
    pub(super) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// When the request's first byte was about to be written.
    pub(super) fn first_write(&self) -> Option<Instant> {
        self.first_write
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.first_write.get_or_insert_with(Instant::now);
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.bytes_out += written as u64;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        if let Stream::Tls(stream) = &mut self.stream {
            poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await?;
        }
        Ok(())
    }

    /// Waits for bytes and hands them to `take`; none at the end of the connection.
    pub(super) async fn read<R>(&mut self, mut take: impl FnMut(&[u8]) -> R) -> io::Result<R> {
        poll_fn(|cx| {
            INBOX.with_borrow_mut(|inbox| {
                let mut inbox = ReadBuf::new(inbox);
                ready!(self.poll_read(cx, &mut inbox))?;
                self.bytes_in += inbox.filled().len() as u64;
                Poll::Ready(Ok(take(inbox.filled())))
            })
        })
        .await
    }

    /// Whether it has neither been closed nor said anything while nobody asked, as far as is known here. It looks only
    /// at what the event loop has heard, so it costs no system call.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut one = [0];
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_read(&mut cx, &mut ReadBuf::new(&mut one)).is_pending()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, into),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }
}
