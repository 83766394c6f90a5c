//! `PodDisruptionBudgets`: what their status allows at each moment.

use k8s_openapi::{api::policy::v1::PodDisruptionBudget, apimachinery::pkg::apis::meta::v1::LabelSelector};

use super::book::Projection;
use crate::{
    experiment::schema::Labels,
    record::event::{BudgetSeen, Note, NoteKind, What},
};

pub(super) struct Budgets;

impl Projection for Budgets {
    type Object = PodDisruptionBudget;
    type Seen = BudgetSeen;

    fn key(budget: &PodDisruptionBudget) -> String {
        budget.metadata.name.clone().unwrap_or_default()
    }

    fn seen(budget: &PodDisruptionBudget) -> BudgetSeen {
        budget_seen(budget)
    }

    fn changed(seen: BudgetSeen) -> What {
        What::Budget(seen)
    }

    fn gone(seen: BudgetSeen) -> What {
        What::Note(Note { kind: NoteKind::Info, text: format!("poddisruptionbudget/{} is gone", seen.name) })
    }
}

/// A budget as it is recorded.
#[must_use]
pub fn budget_seen(budget: &PodDisruptionBudget) -> BudgetSeen {
    let (spec, status) = (budget.spec.clone().unwrap_or_default(), budget.status.clone().unwrap_or_default());
    BudgetSeen {
        name: budget.metadata.name.clone().unwrap_or_default(),
        selector: spec.selector.as_ref().map(labels_of).unwrap_or_default(),
        current_healthy: status.current_healthy,
        desired_healthy: status.desired_healthy,
        disruptions_allowed: status.disruptions_allowed,
        expected_pods: status.expected_pods,
        observed: status.observed_generation.unwrap_or(0) >= budget.metadata.generation.unwrap_or(0),
    }
}

/// A selector as labels: `matchLabels`, and of `matchExpressions` those that say the same in other words.
fn labels_of(selector: &LabelSelector) -> Labels {
    let mut labels = selector.match_labels.clone().unwrap_or_default();
    for one in selector.match_expressions.iter().flatten() {
        if let ("In", Some([value])) = (one.operator.as_str(), one.values.as_deref()) {
            labels.insert(one.key.clone(), value.clone());
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn budget(generation: i64, allowed: i32) -> PodDisruptionBudget {
        serde_json::from_value(json!({
            "metadata": {"name": "shop", "generation": generation},
            "spec": {"selector": {"matchLabels": {"app": "shop"},
                "matchExpressions": [{"key": "tier", "operator": "In", "values": ["web"]},
                    {"key": "zone", "operator": "In", "values": ["a", "b"]}]}},
            "status": {"currentHealthy": 3, "desiredHealthy": 2, "disruptionsAllowed": allowed, "expectedPods": 4,
                "observedGeneration": 2},
        }))
        .unwrap()
    }

    #[test]
    fn a_budget_is_what_its_status_says() {
        let seen = budget_seen(&budget(2, 1));
        let wanted = BudgetSeen {
            name: "shop".to_owned(),
            selector: [("app", "shop"), ("tier", "web")].map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            current_healthy: 3,
            desired_healthy: 2,
            disruptions_allowed: 1,
            expected_pods: 4,
            observed: true,
        };
        assert_eq!(seen, wanted);
    }

    #[test]
    fn counts_about_an_older_spec_are_marked() {
        assert!(!budget_seen(&budget(3, 1)).observed);
        assert!(
            !budget_seen(&serde_json::from_value(json!({"metadata": {"name": "new", "generation": 1}})).unwrap())
                .observed
        );
    }
}
