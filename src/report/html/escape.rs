//! The one way of foreign text into a page. Everything in a record is foreign: names, labels, messages, errors.

use std::fmt;

/// A text, escaped where it is written: for element content and for attributes in double quotes.
#[derive(Debug, Clone, Copy)]
pub struct E<'a>(pub &'a str);

impl fmt::Display for E<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = 0;
        for (at, c) in self.0.char_indices() {
            let safe = match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\'' => "&#39;",
                '\n' | '\t' => continue,
                // Control characters have no place in HTML; the override marks would turn the reading order.
                c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => "\u{fffd}",
                _ => continue,
            };
            f.write_str(&self.0[written..at])?;
            f.write_str(safe)?;
            written = at + c.len_utf8();
        }
        f.write_str(&self.0[written..])
    }
}

/// A sentence, escaped, with what stands between backticks as code.
#[derive(Debug, Clone, Copy)]
pub struct Sentence<'a>(pub &'a str);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.matches('`').count() % 2 == 1 {
            return E(self.0).fmt(f);
        }
        for (at, piece) in self.0.split('`').enumerate() {
            if at % 2 == 0 { E(piece).fmt(f)? } else { write!(f, "<code>{}</code>", E(piece))? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{E, Sentence};

    #[test]
    fn what_stands_between_backticks_is_code_and_a_lone_one_is_not() {
        assert_eq!(Sentence("say `a<b` twice").to_string(), "say <code>a&lt;b</code> twice");
        assert_eq!(Sentence("a ` b").to_string(), "a ` b");
    }

    #[test]
    fn nothing_that_markup_is_made_of_gets_through() {
        let table = [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' & more", "&quot; onload=&#39;x&#39; &amp; more"),
            ("a\u{0}b\u{202e}c\u{1b}d\u{9b}", "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}"),
            ("läuft\n– gut", "läuft\n– gut"),
            ("", ""),
        ];
        for (text, escaped) in table {
            assert_eq!(E(text).to_string(), escaped);
        }
    }
}
