//! Protobuf's encoding: fields with their numbers, and what stands in them.

use super::broken;
use crate::sandbox::error::ApiError;

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// A number, in seven bits a byte.
    Number(u64),
    /// Bytes, of a text or a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes, which no served message has.
    Fixed,
}

/// The fields of a message, one after another; it ends at the first that is broken.
pub(super) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    fn number(&mut self) -> Result<u64, ApiError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, left) = self.left.split_first().ok_or_else(|| broken("it ends within a number"))?;
            self.left = left;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(broken("a number is too long"))
    }

    fn bytes(&mut self, count: u64) -> Result<&'a [u8], ApiError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (bytes, left) = self.left.split_at_checked(count).ok_or_else(|| broken("it ends within a field"))?;
        self.left = left;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<(u64, Read<'a>), ApiError> {
        let key = self.number()?;
        let read = match key & 7 {
            0 => Read::Number(self.number()?),
            1 => self.bytes(8).map(|_| Read::Fixed)?,
            2 => {
                let count = self.number()?;
                Read::Bytes(self.bytes(count)?)
            }
            5 => self.bytes(4).map(|_| Read::Fixed)?,
            _ => return Err(broken("a field has an unknown type")),
        };
        Ok((key >> 3, read))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u64, Read<'a>), ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.left = &[];
        }
        Some(field)
    }
}
