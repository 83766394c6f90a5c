//! A body in chunks: where its own framing ends and its content begins, however it is cut up on the way.

use super::{HEAD_BYTES_MAX, Unreadable};

const BAD_SIZE: Unreadable = Unreadable("the size of a chunk is no number");
const BAD_END: Unreadable = Unreadable("a chunk does not end where it should");
const TOO_LONG: Unreadable = Unreadable("what stands between the chunks is longer than 64 KiB");

/// Digits of a chunk's size: as many as a u64 has.
const DIGITS_MAX: u8 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the digits of a size.
    Size,
    /// In an extension, which says nothing to us.
    Extension,
    /// After the CR behind a size.
    SizeLf,
    /// In content, so many bytes of it to come.
    Content(u64),
    /// Before the CR behind content.
    ContentCr,
    /// Before the LF behind content.
    ContentLf,
    /// At the start of a trailer line.
    Trailer,
    /// In a trailer line.
    TrailerLine,
    /// After the CR of a trailer line.
    TrailerLf,
    /// After the CR of an empty trailer line.
    LastLf,
    /// The last chunk and its trailers have come.
    End,
}

/// How far a chunked body has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    at: At,
    size: u64,
    digits: u8,
    // Bytes of extensions or trailers since the last content.
    overhead: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { at: At::Size, size: 0, digits: 0, overhead: 0 }
    }
}

impl Chunks {
    /// Whether the last chunk and its trailers have come.
    pub(super) fn is_whole(&self) -> bool {
        self.at == At::End
    }

    /// The next piece of content (perhaps empty) at the start of `bytes`, and what follows it.
    pub(super) fn next<'b>(&mut self, bytes: &'b [u8]) -> Result<(&'b [u8], &'b [u8]), Unreadable> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if let At::Content(left) = self.at {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let left = left - here as u64;
                self.at = if left == 0 { At::ContentCr } else { At::Content(left) };
                return Ok(rest.split_at(here));
            }
            self.step(byte)?;
            rest = after;
            if self.is_whole() {
                break;
            }
        }
        Ok((&[], rest))
    }

    fn step(&mut self, byte: u8) -> Result<(), Unreadable> {
        self.at = match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.digits += 1;
                if self.digits > DIGITS_MAX {
                    return Err(BAD_SIZE);
                }
                self.size = (self.size << 4) | u64::from(digit);
                At::Size
            }
            (At::Size, _) if self.digits == 0 => return Err(BAD_SIZE),
            (At::Size | At::Extension, b'\r') => At::SizeLf,
            (At::Size, b';' | b' ' | b'\t') => At::Extension,
            (At::Size, _) => return Err(BAD_SIZE),
            (At::Extension | At::TrailerLine, b'\n') => return Err(BAD_END),
            (At::Extension, _) => self.longer(At::Extension)?,
            (At::SizeLf, b'\n') => {
                let size = self.size;
                (self.size, self.digits, self.overhead) = (0, 0, 0);
                if size == 0 { At::Trailer } else { At::Content(size) }
            }
            (At::ContentCr, b'\r') => At::ContentLf,
            (At::ContentLf, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::LastLf,
            (At::LastLf, b'\n') => At::End,
            (At::TrailerLine, b'\r') => At::TrailerLf,
            (At::TrailerLf, b'\n') => At::Trailer,
            (At::Trailer | At::TrailerLine, _) => self.longer(At::TrailerLine)?,
            _ => return Err(BAD_END),
        };
        Ok(())
    }

    fn longer(&mut self, at: At) -> Result<At, Unreadable> {
        self.overhead += 1;
        if self.overhead > HEAD_BYTES_MAX { Err(TOO_LONG) } else { Ok(at) }
    }
}
