//! Looking for a text in a body that comes in pieces, without keeping the body (Knuth, Morris and Pratt's search).

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

    /// A search through one body.
    pub(super) fn search(&self) -> Search<'_> {
        Search { needle: self, matched: 0 }
    }
}

/// A search through one body.
#[derive(Debug)]
pub(super) struct Search<'a> {
    needle: &'a Needle,
    matched: usize,
}

impl Search<'_> {
    /// Goes on with the next piece of the body.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let Needle { text, fallback } = self.needle;
        for &byte in piece {
            if self.found() {
                return;
            }
            while self.matched > 0 && byte != text[self.matched] {
                self.matched = fallback[self.matched - 1];
            }
            if byte == text[self.matched] {
                self.matched += 1;
            }
        }
    }

    /// Whether the text has come.
    pub(super) fn found(&self) -> bool {
        self.matched == self.needle.text.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(needle: &str, pieces: &[&str]) -> bool {
        let needle = Needle::new(needle);
        let mut search = needle.search();
        for piece in pieces {
            search.feed(piece.as_bytes());
        }
        search.found()
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

    proptest! {
        #[test]
        fn the_search_agrees_with_the_standard_one(needle in "[ab]{0,5}", text in "[ab]{0,24}", cut in 0usize..25) {
            let (head, tail) = text.split_at(cut.min(text.len()));
            prop_assert_eq!(found(&needle, &[head, tail]), text.contains(&needle));
        }
    }
}
