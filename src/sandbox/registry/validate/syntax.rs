//! The syntax of names, labels, keys and ports, with upstream's complaints
//! (apimachinery/pkg/util/validation/validation.go, v0.34.4).

/// What a rule has to say against a text; nothing where it holds.
pub(super) type Complaints = Vec<String>;

/// What a text must be.
pub(super) type Rule = fn(&str) -> Complaints;

const QUALIFIED_NAME: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/// The longest DNS label, label value and name part.
const SHORT_MAX: usize = 63;

/// The longest DNS subdomain.
const LONG_MAX: usize = 253;

fn max_len(most: usize) -> String {
    format!("must be no more than {most} characters")
}

fn with_regex(message: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

/// Starts and ends with one of the letters that `end` takes, with any that `inner` takes in between.
fn framed(text: &str, end: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [] => false,
        [only] => end(*only),
        [first, middle @ .., last] => end(*first) && end(*last) && middle.iter().all(|byte| inner(*byte)),
    }
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    framed(text, lower, |byte| lower(byte) || byte == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// A DNS label, such as a namespace's name.
pub(super) fn dns_label(text: &str) -> Complaints {
    let mut complaints = Vec::new();
    if text.len() > SHORT_MAX {
        complaints.push(max_len(SHORT_MAX));
    }
    if !is_label(text) {
        complaints.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
                must start and end with an alphanumeric character";
            with_regex(message, LABEL, &["my-name", "123-abc"])
        });
    }
    complaints
}

/// A DNS subdomain, such as a pod's name.
pub(super) fn dns_subdomain(text: &str) -> Complaints {
    let mut complaints = Vec::new();
    if text.len() > LONG_MAX {
        complaints.push(max_len(LONG_MAX));
    }
    if !is_subdomain(text) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
            and must start and end with an alphanumeric character";
        complaints.push(with_regex(message, &format!(r"{LABEL}(\.{LABEL})*"), &["example.com"]));
    }
    complaints
}

/// A DNS label that starts with a letter, such as a Service's name.
pub(super) fn dns_1035_label(text: &str) -> Complaints {
    let mut complaints = Vec::new();
    if text.len() > SHORT_MAX {
        complaints.push(max_len(SHORT_MAX));
    }
    if !is_label(text) || !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        let message = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
            alphabetic character, and end with an alphanumeric character";
        complaints.push(with_regex(message, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    complaints
}

/// A part of a URL, which all names must at least be.
pub(super) fn path_segment(text: &str) -> Complaints {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|bad| text.contains(**bad)).map(|bad| format!("may not contain '{bad}'")).collect()
}

/// What a name that is generated from a prefix will look like: the prefix may end with a hyphen.
pub(super) fn as_prefix(prefix: &str) -> String {
    match prefix.char_indices().rev().nth(1) {
        Some((at, _)) if prefix.ends_with('-') => format!("{}a", &prefix[..at]),
        _ => prefix.to_owned(),
    }
}

/// The key of a label.
pub(super) fn qualified_name(text: &str) -> Complaints {
    let message = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
        alphanumeric character";
    let examples = ["MyName", "my.name", "123-abc"];
    let mut complaints = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                complaints.push("prefix part must be non-empty".to_owned());
            } else {
                complaints.extend(dns_subdomain(prefix).into_iter().map(|one| format!("prefix part {one}")));
            }
            name
        }
        _ => {
            let regex = with_regex(message, QUALIFIED_NAME, &examples);
            return vec![format!(
                "a qualified name {regex} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else if name.len() > SHORT_MAX {
        complaints.push(format!("name part {}", max_len(SHORT_MAX)));
    }
    if !is_name_part(name) {
        complaints.push(format!("name part {}", with_regex(message, QUALIFIED_NAME, &examples)));
    }
    complaints
}

fn is_name_part(text: &str) -> bool {
    framed(text, |byte| byte.is_ascii_alphanumeric(), |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The value of a label.
pub(super) fn label_value(text: &str) -> Complaints {
    let mut complaints = Vec::new();
    if text.len() > SHORT_MAX {
        complaints.push(max_len(SHORT_MAX));
    }
    if !text.is_empty() && !is_name_part(text) {
        let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
            and must start and end with an alphanumeric character";
        complaints.push(with_regex(message, &format!("({QUALIFIED_NAME})?"), &["MyValue", "my_value", "12345"]));
    }
    complaints
}

/// A port's number.
pub(super) fn port_number(port: i64) -> Complaints {
    if (1..=65_535).contains(&port) { Vec::new() } else { vec![in_range(1, 65_535)] }
}

/// The complaint about a number that is out of its range.
pub(super) fn in_range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// A port's name.
pub(super) fn port_name(text: &str) -> Complaints {
    let rules = [
        (text.len() > 15, "must be no more than 15 characters"),
        (
            text.is_empty() || !text.bytes().all(|byte| lower(byte) || byte == b'-'),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (!text.bytes().any(|byte| byte.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (text.contains("--"), "must not contain consecutive hyphens"),
        (text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen"),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, complaint)| complaint.to_owned()).collect()
}

/// A percentage.
pub(super) fn percent(text: &str) -> Complaints {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let message = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![with_regex(message, "[0-9]+%", &["1%", "93%"])]
}

/// The name of an HTTP header.
pub(super) fn header_name(text: &str) -> Complaints {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![with_regex(message, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// The name of an environment variable, under the relaxed rule that 1.34 has.
pub(super) fn env_name(text: &str) -> Complaints {
    if text.bytes().all(|byte| (byte.is_ascii_graphic() || byte == b' ') && byte != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// A key of a `ConfigMap` or Secret.
pub(super) fn config_key(text: &str) -> Complaints {
    let mut complaints = Vec::new();
    if text.len() > LONG_MAX {
        complaints.push(max_len(LONG_MAX));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        let message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        complaints.push(with_regex(message, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match text {
        "." | ".." => complaints.push(format!("must not be '{text}'")),
        _ if text.starts_with("..") => complaints.push("must not start with '..'".to_owned()),
        _ => {}
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_words_are_kept() {
        let table: [(Complaints, &str); 8] = [
            (
                dns_label("A"),
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ),
            (dns_label("a.b"), "must not contain dots"),
            (
                dns_subdomain("a_b"),
                r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
            (
                dns_1035_label("1a"),
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ),
            (
                label_value("a b"),
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
            (
                qualified_name("a b"),
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ),
            (
                percent("25"),
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ),
            (port_number(0), "must be between 1 and 65535, inclusive"),
        ];
        for (complaints, expected) in table {
            assert_eq!(complaints, [expected]);
        }
    }

    #[test]
    fn what_is_fine_is_fine() {
        let long = "a".repeat(63);
        for text in ["a", "a-b", "0", &long] {
            assert!(
                dns_label(text).is_empty() && dns_subdomain(text).is_empty() && label_value(text).is_empty(),
                "{text}"
            );
        }
        assert!(dns_subdomain("a.b-c.d").is_empty() && qualified_name("example.com/a_B.c").is_empty());
        assert!(port_name("http-1").is_empty() && config_key("a_B.c").is_empty() && env_name("A B").is_empty());
        assert!(percent("100%").is_empty() && header_name("X-A").is_empty() && path_segment("A b").is_empty());
    }

    #[test]
    fn what_is_not_is_not() {
        let long = "a".repeat(64);
        for text in ["", "-a", "a-", "A", "a_b", "é", &long] {
            assert!(!dns_label(text).is_empty(), "{text}");
        }
        for text in ["", ".", "a..b", "a.", &"a".repeat(254)] {
            assert!(!dns_subdomain(text).is_empty(), "{text}");
        }
        for text in ["", "/a", "a/", "a/b/c", "A_/b", &long] {
            assert!(!qualified_name(text).is_empty(), "{text}");
        }
        for text in ["", "1", "a--b", "-a", "A", "abcdefghijklmnop"] {
            assert!(!port_name(text).is_empty(), "{text}");
        }
        assert!(!config_key("..").is_empty() && !config_key("a b").is_empty() && !env_name("a=b").is_empty());
        assert_eq!(path_segment(".."), ["may not be '..'"]);
        assert_eq!(path_segment("a/b"), ["may not contain '/'"]);
    }

    #[test]
    fn a_prefix_may_end_with_a_hyphen() {
        for (prefix, name) in [("a-", "a"), ("ab-", "aa"), ("a", "a"), ("-", "-"), ("", "")] {
            assert_eq!(as_prefix(prefix), name);
        }
    }
}
