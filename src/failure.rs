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

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to {what}")]
    struct Outer {
        what: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn a_cause_is_told_once() {
        let outer = |what| Outer { what, source: std::io::Error::other("disk full") };
        assert_eq!(chain(&outer("write")), "failed to write: disk full");
        assert_eq!(chain(&outer("write: disk full")), "failed to write: disk full");
    }
}
