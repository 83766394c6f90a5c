//! The bytes of one connection, plain or under TLS, counted as they go, so that "no byte of an answer" and "nothing
//! was written" are facts and not guesses.
//!
//! What is read goes through one buffer for the whole thread: it is looked at before anybody else reads, so a
//! connection that waits needs none.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
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

/// What has gone over a connection for its present request.
#[derive(Debug, Default)]
pub(super) struct Counts {
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    first_write: Cell<Option<Instant>>,
}

impl Counts {
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
}

/// A connection's bytes, counted.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    counts: Rc<Counts>,
}

impl Wire {
    /// Counts what goes over `stream` in `counts`.
    pub(super) fn new(stream: Stream, counts: Rc<Counts>) -> Self {
        Self { stream, counts }
    }

    /// What has gone over it.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await?;
        self.flush().await
    }

    /// Waits for bytes and hands them to `take`; none at the end of the connection.
    pub(super) async fn read<R>(&mut self, mut take: impl FnMut(&[u8]) -> R) -> io::Result<R> {
        poll_fn(|cx| {
            INBOX.with_borrow_mut(|inbox| {
                let mut inbox = ReadBuf::new(inbox);
                ready!(Pin::new(&mut *self).poll_read(cx, &mut inbox))?;
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
        Pin::new(self).poll_read(&mut cx, &mut ReadBuf::new(&mut one)).is_pending()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, into),
        })?;
        let read = into.filled().len() - before;
        self.counts.bytes_in.set(self.counts.bytes_in.get() + read as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.counts.first_write.get().is_none() {
            self.counts.first_write.set(Some(Instant::now()));
        }
        let written = ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        })?;
        self.counts.bytes_out.set(self.counts.bytes_out.get() + written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
