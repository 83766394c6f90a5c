//! How errors are told to people: the whole chain of causes in one line.

use std::error::Error;

/// An error and its sources, joined by colons; a source whose words the error already has is not repeated.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

/// A text without what a terminal would obey: names and messages come from clusters and files.
#[must_use]
pub fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::{chain, printable};

    #[derive(Debug, thiserror::Error)]
    #[error("failed to {what}")]
    struct Outer {
        what: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}c\r\n\td"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\n\td");
    }

    #[test]
    fn a_cause_is_told_once() {
        let outer = |what| Outer { what, source: std::io::Error::other("disk full") };
        assert_eq!(chain(&outer("write")), "failed to write: disk full");
        assert_eq!(chain(&outer("write: disk full")), "failed to write: disk full");
    }
}
