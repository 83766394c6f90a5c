//! Values as YAML for people to read: blocks, with quotes only where a word could be taken for something else.
//!
//! Strings that need quotes are written as JSON writes them, which is YAML too; so what is shown can be copied.

use std::fmt::Write as _;

use serde_json::Value;

/// Spaces of one level.
const INDENT: usize = 2;
/// Deeper than this a value is written in one line: no experiment or plan is, and each level costs stack.
const DEEPEST: usize = 40;

/// The value as YAML, with a line end after each line.
#[must_use]
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

/// Writes a value at the beginning of a line.
fn block(out: &mut String, value: &Value, depth: usize) {
    let margin = " ".repeat(depth * INDENT);
    match value {
        Value::Object(map) if !map.is_empty() && depth < DEEPEST => {
            for (key, value) in map {
                let _ = write!(out, "{margin}{}:", word(key));
                after(out, value, depth);
            }
        }
        Value::Array(items) if !items.is_empty() && depth < DEEPEST => {
            for item in items {
                let mut inner = String::new();
                block(&mut inner, item, depth + 1);
                // The dash takes the place of the first line's indent.
                let rest = inner.get((depth + 1) * INDENT..).unwrap_or_default();
                let _ = write!(out, "{margin}- {rest}");
            }
        }
        scalar => {
            let _ = writeln!(out, "{margin}{}", one_line(scalar));
        }
    }
}

/// Writes a value behind its key.
fn after(out: &mut String, value: &Value, depth: usize) {
    let nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if nested {
        out.push('\n');
        block(out, value, depth + 1);
    } else {
        let _ = writeln!(out, " {}", one_line(value));
    }
}

fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        other => other.to_string(),
    }
}

/// A string, quoted unless it is plainly a word or a name.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '%' | ' ' | '(' | ')');
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    // What YAML 1.1 or 1.2 takes for something else than a string.
    let meant = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    let duration = text.ends_with(|c: char| c.is_ascii_alphabetic() || c == '%')
        && text.starts_with(|c: char| c.is_ascii_digit())
        && !text.contains(['e', 'E', 'x', 'o', '_', ' ']);
    if (begins || duration) && !meant && text.chars().all(plain) && !text.ends_with(' ') {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_blocks_with_dashes_in_the_place_of_the_indent() {
        let value = json!({
            "kind": "Experiment",
            "spec": {
                "ready": ["deployment/shop"],
                "load": [{"name": "new", "rate": "100/s", "connections": {"reused": 16}}, {"name": "b"}],
                "nothing": {},
                "steps": [[1, 2]],
            },
        });
        let yaml = "\
kind: Experiment
spec:
  ready:
    - deployment/shop
  load:
    - name: new
      rate: 100/s
      connections:
        reused: 16
    - name: b
  nothing: {}
  steps:
    - - 1
      - 2
";
        assert_eq!(text(&value), yaml);
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_quoted() {
        let table = [
            ("shop", "shop"),
            ("500ms", "500ms"),
            ("25%", "25%"),
            ("yes", "\"yes\""),
            ("8080", "\"8080\""),
            ("1e3", "\"1e3\""),
            ("0x1f", "\"0x1f\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("- a", "\"- a\""),
            ("two\nlines", "\"two\\nlines\""),
        ];
        for (given, written) in table {
            assert_eq!(word(given), written);
        }
    }
}
