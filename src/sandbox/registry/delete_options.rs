//! `DeleteOptions` as clients write them, in the body of a deletion or within an `Eviction`: read as Go's decoder reads
//! them, so that an option that cannot be read never counts as one that was left out
//! (apimachinery/pkg/apis/meta/v1/types.go `DeleteOptions`, v0.34.4).

use serde_json::Value;

use super::{Propagation, json::json_type};

/// What a client has stated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// `gracePeriodSeconds`.
    pub grace_seconds: Option<i64>,
    /// `preconditions.uid`.
    pub uid: Option<String>,
    /// `preconditions.resourceVersion`.
    pub resource_version: Option<String>,
    /// `orphanDependents`, the older way to say whether dependents stay.
    pub orphan_dependents: Option<bool>,
    /// `propagationPolicy`, which may be any text.
    pub propagation_policy: Option<String>,
    /// `dryRun`, whose members may be any text.
    pub dry_run: Vec<String>,
}

impl Stated {
    /// Reads the options. `at` is the path to them with a dot at its end, empty where they are the whole body.
    ///
    /// # Errors
    /// Go's words for a member that is of another type.
    pub fn read(options: &Value, at: &str) -> Result<Self, String> {
        if !options.is_object() && !options.is_null() {
            let place = at.trim_end_matches('.');
            let into = if place.is_empty() {
                "Go value of type v1.DeleteOptions".to_owned()
            } else {
                format!("Go struct field Eviction.{place} of type v1.DeleteOptions")
            };
            return Err(format!("json: cannot unmarshal {} into {into}", json_type(options)));
        }
        let member = Member { owner: "DeleteOptions", at };
        let preconditions = member
            .of(options, "preconditions", "v1.Preconditions", |value| value.is_object().then(|| value.clone()))?;
        let preconditions = preconditions.unwrap_or_default();
        let below = format!("{at}preconditions.");
        let precondition = Member { owner: "Preconditions", at: &below };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts = |value: &Value| value.as_array()?.iter().map(text).collect::<Option<Vec<String>>>();
        // Its only effect is on objects that cannot be read from etcd, which there are none of.
        member.of(options, "ignoreStoreReadErrorWithClusterBreakingPotential", "bool", Value::as_bool)?;
        Ok(Self {
            grace_seconds: member.of(options, "gracePeriodSeconds", "int64", Value::as_i64)?,
            uid: precondition.of(&preconditions, "uid", "types.UID", text)?,
            resource_version: precondition.of(&preconditions, "resourceVersion", "string", text)?,
            orphan_dependents: member.of(options, "orphanDependents", "bool", Value::as_bool)?,
            propagation_policy: member.of(options, "propagationPolicy", "v1.DeletionPropagation", text)?,
            dry_run: member.of(options, "dryRun", "[]string", texts)?.unwrap_or_default(),
        })
    }

    /// What is to become of dependents; nothing where the client did not say so in a known word.
    #[must_use]
    pub fn propagation(&self) -> Option<Propagation> {
        match (self.orphan_dependents, self.propagation_policy.as_deref()) {
            (Some(true), _) | (_, Some("Orphan")) => Some(Propagation::Orphan),
            (_, Some("Foreground")) => Some(Propagation::Foreground),
            (Some(false), _) | (_, Some("Background")) => Some(Propagation::Background),
            _ => None,
        }
    }
}

/// The members of one struct.
struct Member<'a> {
    owner: &'a str,
    at: &'a str,
}

impl Member<'_> {
    /// A member, or nothing where it is left out or null.
    fn of<T>(
        &self,
        from: &Value,
        name: &str,
        go: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = from.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        if let Some(read) = read(value) {
            return Ok(Some(read));
        }
        // Where a member of a list is to blame it is that one which Go names.
        let (culprit, go) = match value.as_array().filter(|_| go == "[]string") {
            Some(items) => (items.iter().find(|item| !item.is_string()).unwrap_or(value), "string"),
            None => (value, go),
        };
        let found = match culprit {
            Value::Number(number) if go == "int64" => format!("number {number}"),
            other => json_type(other).to_owned(),
        };
        let (owner, at) = (self.owner, self.at);
        Err(format!("json: cannot unmarshal {found} into Go struct field {owner}.{at}{name} of type {go}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_read_as_they_are_written() {
        let stated = Stated::read(
            &json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}, "propagationPolicy": "Foreground",
                "orphanDependents": null, "dryRun": ["All"], "unknown": 1}),
            "",
        );
        let wanted = Stated {
            grace_seconds: Some(0),
            uid: Some("u".to_owned()),
            propagation_policy: Some("Foreground".to_owned()),
            dry_run: vec!["All".to_owned()],
            ..Stated::default()
        };
        assert_eq!(stated.as_ref(), Ok(&wanted));
        assert_eq!(wanted.propagation(), Some(Propagation::Foreground));
        assert_eq!(Stated::read(&Value::Null, ""), Ok(Stated::default()));
        assert_eq!(Stated::default().propagation(), None);
    }

    #[test]
    fn what_is_of_another_type_is_refused_in_gos_words() {
        for (options, why) in [
            (json!([]), "array into Go value of type v1.DeleteOptions"),
            (
                json!({"gracePeriodSeconds": "abc"}),
                "string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
            ),
            (
                json!({"gracePeriodSeconds": 1.5}),
                "number 1.5 into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
            ),
            (
                json!({"preconditions": {"uid": 5}, "dryRun": "All"}),
                "number into Go struct field Preconditions.preconditions.uid of type types.UID",
            ),
            (json!({"dryRun": "All"}), "string into Go struct field DeleteOptions.dryRun of type []string"),
            (json!({"dryRun": [1]}), "number into Go struct field DeleteOptions.dryRun of type string"),
            (
                json!({"orphanDependents": "no"}),
                "string into Go struct field DeleteOptions.orphanDependents of type bool",
            ),
        ] {
            assert_eq!(Stated::read(&options, ""), Err(format!("json: cannot unmarshal {why}")), "{options}");
        }
        assert_eq!(
            Stated::read(&json!({"gracePeriodSeconds": "x"}), "deleteOptions.").unwrap_err(),
            "json: cannot unmarshal string into Go struct field DeleteOptions.deleteOptions.gracePeriodSeconds of type int64"
        );
    }
}
