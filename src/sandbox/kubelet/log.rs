//! What a container has written: the latest MiB of it, line by line with times, for `kubectl logs`.
//!
//! Readers go at their own pace; one that has fallen behind what is kept goes on with the oldest line there is.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::sandbox::names;

/// What is kept of one container's output.
const KEPT_BYTES: usize = 1024 * 1024;

/// A longer line is stored in pieces, as containerd does.
const LINE_MAX: usize = 16 * 1024;

/// What a line costs beside its text.
const LINE_COST: usize = 64;

/// A line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub at: Timestamp,
    /// Its text.
    pub text: Bytes,
    /// It came from standard error.
    pub stderr: bool,
    /// The line goes on in the next one.
    pub partial: bool,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the first kept line.
    first: u64,
    closed: bool,
}

/// The output of one instance of a container.
pub struct Log {
    ring: Mutex<Ring>,
    wake: watch::Sender<()>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ring = self.lock();
        write!(f, "Log of {} lines, {} bytes", ring.lines.len(), ring.bytes)
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { ring: Mutex::default(), wake: watch::Sender::new(()) }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Line) {
        let mut ring = self.lock();
        ring.bytes += line.text.len() + LINE_COST;
        ring.lines.push_back(line);
        while ring.bytes > KEPT_BYTES
            && let Some(oldest) = ring.lines.pop_front()
        {
            ring.bytes -= oldest.text.len() + LINE_COST;
            ring.first += 1;
        }
        drop(ring);
        self.wake.send_replace(());
    }

    /// Nothing will be added any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.send_replace(());
    }

    /// The end of what was written, at most so many bytes of it and so many lines, as one text.
    #[must_use]
    pub fn tail(&self, bytes_max: usize, lines_max: usize) -> String {
        let ring = self.lock();
        let skipped = ring.lines.len().saturating_sub(lines_max);
        let mut text = String::new();
        for line in ring.lines.iter().skip(skipped) {
            text.push_str(&String::from_utf8_lossy(&line.text));
            text.push('\n');
        }
        let mut start = text.len().saturating_sub(bytes_max);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text.split_off(start)
    }
}

/// Cuts a stream of bytes into lines of a log.
pub struct Writer {
    log: Arc<Log>,
    stderr: bool,
    rest: BytesMut,
}

impl Writer {
    /// A writer of one stream.
    #[must_use]
    pub fn new(log: Arc<Log>, stderr: bool) -> Self {
        Self { log, stderr, rest: BytesMut::new() }
    }

    /// Adds bytes as they came.
    pub fn write(&mut self, bytes: &[u8]) {
        self.rest.put_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let mut line = self.rest.split_to(end + 1);
            line.truncate(end);
            self.push(line.freeze(), false);
        }
        while self.rest.len() > LINE_MAX {
            let piece = self.rest.split_to(LINE_MAX).freeze();
            self.push(piece, true);
        }
    }

    fn push(&self, mut text: Bytes, partial: bool) {
        while text.len() > LINE_MAX {
            let piece = text.split_to(LINE_MAX);
            self.log.push(Line { at: names::now(), text: piece, stderr: self.stderr, partial: true });
        }
        self.log.push(Line { at: names::now(), text, stderr: self.stderr, partial });
    }

    /// The stream has ended; a last line need not have an end.
    pub fn finish(&mut self) {
        if !self.rest.is_empty() {
            let rest = self.rest.split().freeze();
            self.push(rest, true);
        }
    }
}

/// Which part of a log, as in the query of `pods/log`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on until the container ends.
    pub follow: bool,
    /// The instance before the present one.
    pub previous: bool,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Only so many of the latest lines.
    pub tail_lines: Option<usize>,
    /// Only lines from this time on (`sinceTime`, or now − `sinceSeconds`).
    pub since: Option<Timestamp>,
    /// End after so many bytes.
    pub limit_bytes: Option<usize>,
}

/// A reader of a log.
pub struct LogReader {
    log: Arc<Log>,
    wake: watch::Receiver<()>,
    next: u64,
    options: LogOptions,
    left: usize,
    line_begins: bool,
}

impl LogReader {
    /// A reader of a part of a log.
    #[must_use]
    pub fn new(log: Arc<Log>, options: LogOptions) -> Self {
        let wake = log.wake.subscribe();
        let next = {
            let ring = log.lock();
            // As in a container runtime's log files, each piece of a long line counts.
            let skipped = options.tail_lines.map_or(0, |most| ring.lines.len().saturating_sub(most));
            ring.first + skipped as u64
        };
        let left = options.limit_bytes.unwrap_or(usize::MAX);
        Self { log, wake, next, options, left, line_begins: true }
    }

    /// The next piece of the log; nothing at its end. Cancel safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Marked as seen before the look, so that a line in between wakes the wait below.
            self.wake.borrow_and_update();
            if self.left == 0 {
                return None;
            }
            let (chunk, closed) = self.take();
            if !chunk.is_empty() {
                return Some(chunk);
            }
            if closed || !self.options.follow || self.wake.changed().await.is_err() {
                return None;
            }
        }
    }

    /// The log as a stream.
    pub fn into_stream(self) -> impl futures::Stream<Item = Bytes> + Send {
        futures::stream::unfold(self, |mut reader| async move { reader.next().await.map(|chunk| (chunk, reader)) })
    }

    fn take(&mut self) -> (Bytes, bool) {
        let mut chunk = BytesMut::new();
        let log = Arc::clone(&self.log);
        let ring = log.lock();
        self.next = self.next.max(ring.first);
        let skipped = usize::try_from(self.next - ring.first).unwrap_or(usize::MAX);
        for line in ring.lines.iter().skip(skipped) {
            self.next += 1;
            if self.options.since.is_none_or(|since| line.at >= since) {
                self.print(line, &mut chunk);
            }
            if chunk.len() > LINE_MAX {
                return (self.limited(chunk), false);
            }
        }
        let closed = ring.closed;
        drop(ring);
        (self.limited(chunk), closed)
    }

    fn print(&mut self, line: &Line, chunk: &mut BytesMut) {
        if self.options.timestamps && self.line_begins {
            chunk.put_slice(line.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string().as_bytes());
        }
        chunk.put_slice(&line.text);
        if !line.partial {
            chunk.put_u8(b'\n');
        }
        self.line_begins = !line.partial;
    }

    fn limited(&mut self, mut chunk: BytesMut) -> Bytes {
        chunk.truncate(self.left);
        self.left -= chunk.len();
        chunk.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(text: &str) -> Arc<Log> {
        let log = Arc::new(Log::default());
        let mut writer = Writer::new(Arc::clone(&log), false);
        writer.write(text.as_bytes());
        writer.finish();
        log
    }

    async fn all(log: &Arc<Log>, options: LogOptions) -> String {
        let mut reader = LogReader::new(Arc::clone(log), options);
        let mut text = String::new();
        while let Some(chunk) = reader.next().await {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn a_log_is_what_was_written_or_its_end() {
        let log = log_of("one\ntwo\nthree\nfo");
        assert_eq!(all(&log, LogOptions::default()).await, "one\ntwo\nthree\nfo");
        let tail = |lines| LogOptions { tail_lines: Some(lines), ..LogOptions::default() };
        assert_eq!(all(&log, tail(1)).await, "fo");
        assert_eq!(all(&log, tail(0)).await, "");
        assert_eq!(all(&log, tail(99)).await, "one\ntwo\nthree\nfo");
        assert_eq!(all(&log, LogOptions { limit_bytes: Some(5), ..LogOptions::default() }).await, "one\nt");
        assert_eq!(log.tail(6, 10), "ee\nfo\n");
    }

    #[tokio::test]
    async fn a_follower_gets_what_comes_until_the_end() {
        let log = log_of("one\n");
        let mut reader =
            LogReader::new(Arc::clone(&log), LogOptions { follow: true, timestamps: true, ..LogOptions::default() });
        let first = reader.next().await.unwrap();
        assert!(first.ends_with(b"Z one\n"), "{first:?}");
        let mut writer = Writer::new(Arc::clone(&log), true);
        let (second, ()) = tokio::join!(reader.next(), async { writer.write(b"two\n") });
        assert!(second.unwrap().ends_with(b" two\n"));
        log.close();
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test]
    async fn only_the_latest_mib_is_kept_and_long_lines_come_whole() {
        let log = Arc::new(Log::default());
        let mut writer = Writer::new(Arc::clone(&log), false);
        writer.write(&vec![b'x'; LINE_MAX * 3]);
        writer.write(b"\n");
        assert_eq!(all(&log, LogOptions::default()).await.len(), LINE_MAX * 3 + 1);
        for _ in 0..100 {
            writer.write(&[b'y'; LINE_MAX]);
            writer.write(b"\n");
        }
        let kept = all(&log, LogOptions::default()).await.len();
        assert!(kept <= KEPT_BYTES && kept > KEPT_BYTES / 2, "{kept}");
    }
}
