//! Holding a body that comes in pieces against what was asked for, without keeping the body: a text in it (by Knuth,
//! Morris and Pratt's search), its length, its SHA-256, the id that its request sent.

use sha2::{Digest as _, Sha256};

/// The text that a body must contain.
#[derive(Debug)]
pub(super) struct Needle {
    text: Vec<u8>,
    // For each length of a match: how much of it is still a match when the next byte differs.
    fallback: Vec<usize>,
}

impl Needle {
    /// Prepares the search for `text`.
    pub(super) fn new(text: &str) -> Self {
        let text = text.as_bytes().to_vec();
        let mut fallback = vec![0; text.len()];
        let mut matched = 0;
        for at in 1..text.len() {
            while matched > 0 && text[at] != text[matched] {
                matched = fallback[matched - 1];
            }
            if text[at] == text[matched] {
                matched += 1;
            }
            fallback[at] = matched;
        }
        Self { text, fallback }
    }

    /// Goes on with the next piece of a body, of which so much has matched.
    fn advance(&self, matched: &mut usize, piece: &[u8]) {
        let Self { text, fallback } = self;
        for &byte in piece {
            if self.is_found(*matched) {
                return;
            }
            while *matched > 0 && byte != text[*matched] {
                *matched = fallback[*matched - 1];
            }
            if byte == text[*matched] {
                *matched += 1;
            }
        }
    }

    /// Whether the text has come.
    fn is_found(&self, matched: usize) -> bool {
        matched == self.text.len()
    }
}

/// What every body of a lane is held against.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// A text that it contains.
    pub(super) contains: Option<Needle>,
    /// Its length in bytes.
    pub(super) length: Option<u64>,
    /// Its SHA-256.
    pub(super) sha256: Option<[u8; 32]>,
}

/// One body being held against a [`Check`].
#[derive(Debug)]
pub(super) struct Checking<'c> {
    check: &'c Check,
    matched: usize,
    // The id that this request sent and the answer must contain, and how much of it has matched.
    echo: Option<(Needle, usize)>,
    hash: Option<Sha256>,
}

impl Check {
    /// A body of which nothing has come; `echo` must be in it beside what every body must have.
    pub(super) fn begin(&self, echo: Option<Needle>) -> Checking<'_> {
        let echo = echo.map(|needle| (needle, 0));
        Checking { check: self, matched: 0, echo, hash: self.sha256.map(|_| Sha256::new()) }
    }
}

impl Checking<'_> {
    /// Goes on with the next piece of the body.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        if let Some(needle) = &self.check.contains {
            needle.advance(&mut self.matched, piece);
        }
        if let Some((needle, matched)) = &mut self.echo {
            needle.advance(matched, piece);
        }
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
        }
    }

    /// What is wrong with a whole body of `length` bytes.
    pub(super) fn verdict(&self, length: u64) -> Result<(), String> {
        if self.check.contains.as_ref().is_some_and(|needle| !needle.is_found(self.matched)) {
            return Err(format!("the text asked for is not in the body of {length} bytes"));
        }
        if let Some(wanted) = self.check.length
            && wanted != length
        {
            return Err(format!("the body has {length} bytes instead of {wanted}"));
        }
        if let Some((needle, matched)) = &self.echo
            && !needle.is_found(*matched)
        {
            let id = String::from_utf8_lossy(&needle.text);
            return Err(format!("the id {id} that was sent is not in the body of {length} bytes"));
        }
        if let (Some(wanted), Some(hash)) = (self.check.sha256, &self.hash)
            && hash.clone().finalize().as_slice() != wanted
        {
            return Err(format!("the body of {length} bytes has another SHA-256 than the one asked for"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(needle: &str, pieces: &[&str]) -> bool {
        let needle = Needle::new(needle);
        let mut matched = 0;
        for piece in pieces {
            needle.advance(&mut matched, piece.as_bytes());
        }
        needle.is_found(matched)
    }

    #[test]
    fn a_text_is_found_across_pieces() {
        for (needle, pieces, wanted) in [
            ("", [].as_slice(), true),
            ("ok", &[], false),
            ("ok", &["ok"], true),
            ("ok", &["o", "k"], true),
            ("ok", &["o", "", "x", "k"], false),
            ("aab", &["aa", "ab"], true),
            ("abab", &["aba", "babb"], true),
            ("abab", &["aba", "ab"], false),
        ] {
            assert_eq!(found(needle, pieces), wanted, "{needle:?} in {pieces:?}");
        }
    }

    fn verdict(check: &Check, echo: Option<&str>, pieces: &[&str]) -> Result<(), String> {
        let mut checking = check.begin(echo.map(Needle::new));
        for piece in pieces {
            checking.feed(piece.as_bytes());
        }
        checking.verdict(pieces.iter().map(|piece| piece.len() as u64).sum())
    }

    #[test]
    fn a_body_is_held_against_its_text_its_length_its_sum_and_the_id_sent() {
        let sum = Some(Sha256::digest(b"even keel").into());
        let check = Check { contains: Some(Needle::new("keel")), length: Some(9), sha256: sum };
        assert_eq!(verdict(&check, None, &["even ", "keel"]), Ok(()));
        for (pieces, wanted) in [
            (["even ", "kee"], "text asked for"),
            (["even  ", "keel"], "10 bytes instead of 9"),
            (["Even ", "keel"], "SHA-256"),
        ] {
            let words = verdict(&check, None, &pieces).unwrap_err();
            assert!(words.contains(wanted), "{words}");
        }
        assert_eq!(verdict(&Check::default(), Some("17"), &["id 1", "7"]), Ok(()));
        assert!(verdict(&Check::default(), Some("17"), &["id 1", "8"]).unwrap_err().contains("17"));
        assert_eq!(verdict(&Check::default(), None, &[]), Ok(()));
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_the_standard_one(needle in "[ab]{0,5}", text in "[ab]{0,24}", cut in 0usize..25) {
            let (head, tail) = text.split_at(cut.min(text.len()));
            prop_assert_eq!(found(&needle, &[head, tail]), text.contains(&needle));
        }
    }
}
