//! Label selectors as `Deployment` and `PodDisruptionBudget` have them, held against labels.
//!
//! The rules of apimachinery/pkg/labels/selector.go: all requirements must hold, and one without requirements matches
//! everything.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// `metav1.LabelSelector`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must be there with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements, all of which must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One of `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The label it is about.
    pub key: String,
    /// How its value is held against `values`.
    pub operator: Operator,
    /// The values; none for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The operators of `matchExpressions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The label is there, with one of the values.
    In,
    /// The label is not there, or with none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// A selector of equal labels alone.
    #[must_use]
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Self {
        Self { match_labels: labels.clone(), match_expressions: Vec::new() }
    }

    /// Whether an object with these labels is selected. The empty selector selects all.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        contains_all(labels, &self.match_labels) && self.match_expressions.iter().all(|one| one.holds_for(labels))
    }
}

impl Requirement {
    fn holds_for(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// Whether all of `wanted` are among `labels`, with equal values.
#[must_use]
pub fn contains_all(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Labels as kubectl writes them, `app=shop,tier=web`; `everything` where there are none.
#[must_use]
pub fn labels_in_words(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return "everything".to_owned();
    }
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.match_expressions.is_empty() {
            return f.write_str(&labels_in_words(&self.match_labels));
        }
        let mut parts: Vec<String> = self.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        parts.extend(self.match_expressions.iter().map(|one| match one.operator {
            Operator::In => format!("{} in ({})", one.key, one.values.join(",")),
            Operator::NotIn => format!("{} notin ({})", one.key, one.values.join(",")),
            Operator::Exists => one.key.clone(),
            Operator::DoesNotExist => format!("!{}", one.key),
        }));
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn selector(json: serde_json::Value) -> LabelSelector {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn each_operator_follows_upstream() {
        let shop = labels(&[("app", "shop"), ("tier", "web")]);
        let other = labels(&[("app", "store")]);
        let table = [
            (serde_json::json!({}), true, true),
            (serde_json::json!({"matchLabels": {"app": "shop"}}), true, false),
            (serde_json::json!({"matchLabels": {"app": "shop", "zone": "a"}}), false, false),
            (
                serde_json::json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop", "x"]}]}),
                true,
                false,
            ),
            (
                serde_json::json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}),
                false,
                true,
            ),
            (serde_json::json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), true, false),
            (serde_json::json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), false, true),
            (
                serde_json::json!({"matchLabels": {"app": "shop"},
                    "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
                false,
                false,
            ),
        ];
        for (json, for_shop, for_other) in table {
            let selector = selector(json);
            assert_eq!((selector.matches(&shop), selector.matches(&other)), (for_shop, for_other), "{selector}");
        }
    }
}
