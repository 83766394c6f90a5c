//! Rules for names and labels, as apimachinery/pkg/util/validation/validation.go has them.

use super::Validator;
use crate::experiment::{schema::Labels, tree::Path};

/// The longest DNS label, label name and label value.
const MAX_LABEL: usize = 63;

/// Whether a text is a DNS label as RFC 1123 has it.
pub(super) fn is_dns_label(name: &str) -> bool {
    name.len() <= MAX_LABEL
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// What follows "write" where a DNS label is asked for.
pub(super) const DNS_LABEL: &str =
    "write lower-case letters, digits and `-`, at most 63, beginning and ending with a letter or digit";

fn is_label_name(name: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= MAX_LABEL
        && edge(name.bytes().next())
        && edge(name.bytes().next_back())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => crate::experiment::units::is_object_name(prefix) && is_label_name(name),
        None => is_label_name(key),
    }
}

/// Whether a text can be the name of an environment variable of a container.
pub(super) fn is_env_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(plain)
}

impl Validator<'_> {
    pub(super) fn dns_label(&mut self, path: &Path, what: &str, name: &str) {
        if !is_dns_label(name) {
            self.problem(path, format!("{what} {name:?} is not a DNS label"), DNS_LABEL);
        }
    }

    pub(super) fn labels(&mut self, path: &Path, labels: &Labels) {
        for (key, value) in labels {
            if !is_label_key(key) {
                let instead = "write a name such as `app` or `app.kubernetes.io/name`";
                self.key_problem(path, key, format!("{key:?} is not a label's key"), instead);
            }
            if !value.is_empty() && !is_label_name(value) {
                let instead = "write letters, digits, `-`, `_` and `.`, at most 63";
                self.problem(&path.key(key), format!("{value:?} is not a label's value"), instead);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_upstream() {
        for key in ["app", "app.kubernetes.io/name", "A_b.c-d"] {
            assert!(is_label_key(key), "{key}");
        }
        for key in ["", "-app", "app-", "a b", "/name", "a/b/c", "Upper.io/x", &"x".repeat(64)] {
            assert!(!is_label_key(key), "{key}");
        }
    }

    #[test]
    fn names_follow_rfc_1123() {
        for name in ["a", "shop-1", "1"] {
            assert!(is_dns_label(name), "{name}");
        }
        for name in ["", "Shop", "-a", "a-", "a.b", "a_b", &"x".repeat(64)] {
            assert!(!is_dns_label(name), "{name}");
        }
    }
}
