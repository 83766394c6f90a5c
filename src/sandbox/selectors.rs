//! Label selectors of k8s-openapi's types as the rules of [`crate::model::selector`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::model::selector::{LabelSelector, Operator, Requirement};

/// A selector to hold against labels; nothing where there is none (which matches nothing), or one with an operator
/// that Kubernetes does not know.
#[must_use]
pub fn read(selector: Option<&meta::LabelSelector>) -> Option<LabelSelector> {
    let selector = selector?;
    let mut match_expressions = Vec::new();
    for one in selector.match_expressions.iter().flatten() {
        let operator = match one.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return None,
        };
        let values = one.values.clone().unwrap_or_default();
        match_expressions.push(Requirement { key: one.key.clone(), operator, values });
    }
    Some(LabelSelector { match_labels: selector.match_labels.clone().unwrap_or_default(), match_expressions })
}
