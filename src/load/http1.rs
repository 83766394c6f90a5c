//! Reading an HTTP/1.1 answer that comes in pieces of any size, as a pure state machine: bytes go in, and it says
//! whether the answer is whole.
//!
//! It keeps nothing of an answer but what is asked of it, so a connection costs no buffer while it waits.

mod chunked;
mod head;

#[cfg(test)]
mod tests;

use self::{chunked::Chunks, head::parse};
use super::body::{Check, Checking, Needle};

/// The longest head that is read, its trailers included; a longer one is not HTTP to us. Keeps memory flat.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What is known of an answer as soon as its head has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The status, where the head came.
    pub(super) status: Option<u16>,
    /// Whether it said `Connection: close`.
    pub(super) says_close: bool,
    /// Whether the connection may carry another request afterwards.
    pub(super) keeps_alive: bool,
}

/// What came is not HTTP, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come.
    Open,
    /// It is whole.
    Whole,
}

/// How the end of a body is told.
#[derive(Debug)]
enum Part {
    Head,
    Sized(u64),
    Chunked(Chunks),
    UntilClose,
    Done,
}

/// One answer on its way in.
#[derive(Debug)]
pub(super) struct Reading<'c> {
    part: Part,
    // What has come of a head that did not come in one piece.
    begun: Vec<u8>,
    wanted_status: u16,
    check: &'c Check,
    echo: Option<Needle>,
    checking: Option<Checking<'c>>,
    length: u64,
    head: Head,
}

impl<'c> Reading<'c> {
    /// An answer of which nothing has come. Its body is held against `check`, and must contain `echo`, where its status
    /// is the one wanted.
    pub(super) fn new(wanted_status: u16, check: &'c Check, echo: Option<Needle>) -> Self {
        Self {
            part: Part::Head,
            begun: Vec::new(),
            wanted_status,
            check,
            echo,
            checking: None,
            length: 0,
            head: Head::default(),
        }
    }

    /// What the head said.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Whether the head has come with the status that was wanted.
    pub(super) fn is_as_asked(&self) -> bool {
        self.head.status == Some(self.wanted_status)
    }

    /// What the body was found to be, where it was to be held against something.
    pub(super) fn checked(&self) -> Result<(), String> {
        self.checking.as_ref().map_or(Ok(()), |checking| checking.verdict(self.length))
    }

    /// The next bytes have come; `pod` learns the name of the pod that answers.
    pub(super) fn feed(&mut self, bytes: &[u8], pod: &mut Option<String>) -> Result<Progress, Unreadable> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match &mut self.part {
                Part::Head => match self.feed_head(rest, pod)? {
                    Some(after) => rest = after,
                    None => return Ok(Progress::Open),
                },
                Part::Sized(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    let (piece, after) = rest.split_at(here);
                    *left -= here as u64;
                    if *left == 0 {
                        self.part = Part::Done;
                    }
                    self.take(piece);
                    rest = after;
                }
                Part::Chunked(chunks) => {
                    let (piece, after) = chunks.next(rest)?;
                    if chunks.is_whole() {
                        self.part = Part::Done;
                    }
                    self.take(piece);
                    rest = after;
                }
                Part::UntilClose => {
                    self.take(rest);
                    rest = &[];
                }
                Part::Done => {
                    // Nobody asked for more than one answer: what follows would be taken for that of the next request.
                    self.head.keeps_alive = false;
                    rest = &[];
                }
            }
        }
        Ok(if matches!(self.part, Part::Done) { Progress::Whole } else { Progress::Open })
    }

    /// The connection has been closed from the other side: whether that is how the answer was to end.
    pub(super) fn closed(&self) -> bool {
        matches!(self.part, Part::UntilClose | Part::Done)
    }

    fn take(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        if let Some(checking) = &mut self.checking {
            checking.feed(piece);
        }
    }

    /// What follows the head, once that is whole.
    fn feed_head<'b>(&mut self, bytes: &'b [u8], pod: &mut Option<String>) -> Result<Option<&'b [u8]>, Unreadable> {
        let before = self.begun.len();
        let parsed = if before == 0 {
            parse(bytes, pod)?
        } else {
            self.begun.extend_from_slice(bytes);
            parse(&self.begun, pod)?
        };
        let Some(parsed) = parsed else {
            if before == 0 {
                self.begun.extend_from_slice(bytes);
            }
            let too_long = self.begun.len() > HEAD_BYTES_MAX;
            return if too_long { Err(Unreadable("the head of the answer is longer than 64 KiB")) } else { Ok(None) };
        };
        self.begun = Vec::new();
        // What came before did not end the head, so it ends in these bytes.
        let after = bytes.get(parsed.length.saturating_sub(before)..).unwrap_or_default();
        // 1xx come before the answer; 101 ends the conversation in HTTP, which nobody asked for.
        if (100..200).contains(&parsed.status) && parsed.status != 101 {
            return Ok(Some(after));
        }
        self.head =
            Head { status: Some(parsed.status), says_close: parsed.says_close, keeps_alive: parsed.keeps_alive };
        self.checking = (parsed.status == self.wanted_status).then(|| self.check.begin(self.echo.take()));
        self.part = match parsed.body {
            head::Body::Sized(0) => Part::Done,
            head::Body::Sized(length) => Part::Sized(length),
            head::Body::Chunked => Part::Chunked(Chunks::default()),
            head::Body::UntilClose => {
                self.head.keeps_alive = false;
                Part::UntilClose
            }
        };
        Ok(Some(after))
    }
}
