//! The message of a gRPC call, with the number of its request in it where the lane asks for that.
//!
//! A message is bytes of some type that only the service knows, and lengths of its fields stand in front of them. So the
//! number must not change any length: it is as wide as what stands for it.

/// How what stands for a number begins.
const OPENS: &[u8] = b"{id";

/// What makes it wider, for a number of more digits.
const WIDENS: u8 = b'_';

/// How it ends.
const CLOSES: u8 = b'}';

/// A message in which each `{id}`, which may be as wide as `{id______}`, stands for the number of the request: in
/// decimal digits, as many as it is wide, with zeros in front, and the last of them where the number has more.
#[derive(Debug, Default)]
pub(super) struct Call {
    // The message between those that are as wide as the first; one piece where there is none.
    pieces: Vec<Vec<u8>>,
    width: Option<usize>,
}

impl Call {
    /// A call with this message.
    pub(super) fn new(message: &[u8]) -> Self {
        let Some(mark) = mark(message) else { return Self { pieces: vec![message.to_vec()], width: None } };
        let (mut pieces, mut piece, mut at) = (Vec::new(), Vec::new(), 0);
        while at < message.len() {
            if message[at..].starts_with(mark) {
                pieces.push(std::mem::take(&mut piece));
                at += mark.len();
            } else {
                piece.push(message[at]);
                at += 1;
            }
        }
        pieces.push(piece);
        Self { pieces, width: Some(mark.len()) }
    }

    /// The number of a request as it stands in the message; nothing where the message has no place for it.
    pub(super) fn id(&self, nth: u64) -> Option<String> {
        let width = self.width?;
        let digits = format!("{nth:0width$}");
        Some(digits[digits.len() - width..].to_owned())
    }

    /// The message with this number, which is as wide as the place for it.
    pub(super) fn message(&self, id: Option<&str>) -> Vec<u8> {
        self.pieces.join(id.unwrap_or_default().as_bytes())
    }
}

/// What stands for the number in a message, where it stands first.
fn mark(message: &[u8]) -> Option<&[u8]> {
    (0..message.len()).find_map(|at| {
        let found = &message[at..];
        let wide = found.strip_prefix(OPENS)?.iter().take_while(|byte| **byte == WIDENS).count();
        let end = OPENS.len() + wide;
        (found.get(end) == Some(&CLOSES)).then(|| &found[..=end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_as_wide_as_what_stands_for_it_so_the_message_keeps_its_length() {
        for (message, nth, id, wanted) in [
            ("\n\u{4}{id}", 7, Some("0007"), "\n\u{4}0007"),
            ("{id}{id}", 9_999, Some("9999"), "99999999"),
            ("{id}", 120_034, Some("0034"), "0034"),
            ("a{id______}b", 120_034, Some("0000120034"), "a0000120034b"),
            ("{id_}, and not {id}", 3, Some("00003"), "00003, and not {id}"),
            ("{id {id__", 3, None, "{id {id__"),
            ("", 3, None, ""),
        ] {
            let call = Call::new(message.as_bytes());
            let found = call.id(nth);
            assert_eq!(found.as_deref(), id, "{message:?}");
            let sent = call.message(found.as_deref());
            assert_eq!(String::from_utf8(sent).unwrap(), wanted);
            assert_eq!(wanted.len(), message.len(), "{message:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let message = [b"\x00\xff{id}".as_slice(), b"\xfe{"].concat();
        let call = Call::new(&message);
        assert_eq!(call.message(call.id(12).as_deref()), b"\x00\xff0012\xfe{");
    }
}
