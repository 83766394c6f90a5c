//! The rights of experiments as roles: what `kubectl apply` takes, and what a platform team can read.
//!
//! What lies in a namespace that a run makes itself is granted in the whole cluster, since a Role cannot stand in a
//! namespace that is not there yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{PlanProblem, Right, rights};
use crate::experiment::schema::Experiment;

/// Verbs by API group and resource.
type Rules = BTreeMap<(String, String), BTreeSet<String>>;

/// The roles that these experiments need together, as YAML documents: a `ClusterRole` and, for each namespace that
/// stands, a Role.
///
/// # Errors
/// Objects whose kind is not known, so neither are the rights for them.
pub fn roles(experiments: &[Experiment], name: &str) -> Result<String, Vec<PlanProblem>> {
    let mut places: BTreeMap<Option<String>, Rules> = BTreeMap::new();
    let mut problems = Vec::new();
    for experiment in experiments {
        let given = &experiment.spec.given;
        match rights::needed(experiment) {
            Ok(rights) => {
                for Right { namespace, api_group, resource, verbs } in rights {
                    let made = !given.apply.is_empty() && namespace.as_deref() == Some(given.namespace.as_str());
                    let rules = places.entry(namespace.filter(|_| !made)).or_default();
                    rules.entry((api_group, resource)).or_default().extend(verbs);
                }
            }
            Err(unknown) => problems.extend(unknown),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let everywhere = places.get(&None).cloned().unwrap_or_default();
    let mut text = String::new();
    for (namespace, mut rules) in places {
        if namespace.is_some() {
            // What is granted in the whole cluster need not be granted once more.
            for (what, verbs) in &mut rules {
                verbs.retain(|verb| everywhere.get(what).is_none_or(|granted| !granted.contains(verb)));
            }
            rules.retain(|_, verbs| !verbs.is_empty());
        }
        if !rules.is_empty() {
            role(&mut text, namespace.as_deref(), name, &rules);
        }
    }
    Ok(text)
}

/// One role. Resources of a group with the same verbs share a rule.
fn role(text: &mut String, namespace: Option<&str>, name: &str, rules: &Rules) {
    let mut shared: BTreeMap<(&str, &BTreeSet<String>), Vec<&str>> = BTreeMap::new();
    for ((group, resource), verbs) in rules {
        shared.entry((group, verbs)).or_default().push(resource);
    }
    let (kind, place) = match namespace {
        Some(namespace) => ("Role", format!("\n  namespace: {}", quoted(namespace))),
        None => ("ClusterRole", String::new()),
    };
    let quoted_name = quoted(name);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {quoted_name}{place}\nrules:\n"
    );
    for ((group, verbs), resources) in shared {
        let _ = write!(
            text,
            "  - apiGroups: [{}]\n    resources: [{}]\n    verbs: [{}]\n",
            quoted(group),
            listed(resources.iter().copied()),
            listed(verbs.iter().map(String::as_str)),
        );
    }
}

/// As JSON has it, which is YAML as well, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn listed<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(quoted).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn experiment(apply: bool) -> Experiment {
        let apply = if apply {
            json!([{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}}])
        } else {
            json!([])
        };
        let whole = json!({
            "apiVersion": "evenkeel/v1", "kind": "Experiment", "metadata": {"name": "x"},
            "spec": {
                "given": {"namespace": "shop", "apply": apply, "ready": ["deployment/shop"]},
                "load": [{"name": "a", "from": "inside", "service": "shop", "rate": "1/s", "connections": "new"}],
                "steps": [{"cordon": {"nodes": {"names": ["a"]}}}, {"scale": {"workload": "deployment/shop",
                    "replicas": 2}}],
                "expect": [{"lost": {"atMost": 0}}],
            }
        });
        serde_json::from_value(whole).unwrap()
    }

    /// Every right of the roles, read back as YAML.
    fn granted(text: &str) -> BTreeSet<(String, String, String, String)> {
        let mut all = BTreeSet::new();
        for document in text.split("---\n").filter(|document| !document.is_empty()) {
            let role: Value = serde_saphyr::from_str(document).unwrap();
            let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            let texts = |list: &Value| -> Vec<String> {
                list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
            };
            for rule in role["rules"].as_array().unwrap() {
                for group in texts(&rule["apiGroups"]) {
                    for resource in texts(&rule["resources"]) {
                        for verb in texts(&rule["verbs"]) {
                            all.insert((namespace.clone(), group.clone(), resource.clone(), verb));
                        }
                    }
                }
            }
        }
        all
    }

    #[test]
    fn roles_grant_what_the_run_asks_for_and_nothing_else() {
        for apply in [false, true] {
            let experiment = experiment(apply);
            let granted = granted(&roles(std::slice::from_ref(&experiment), "evenkeel").unwrap());
            let asked: BTreeSet<(String, String, String, String)> = rights::needed(&experiment)
                .unwrap()
                .into_iter()
                .flat_map(|right| {
                    let place = right.namespace.filter(|name| !(apply && name == "shop")).unwrap_or_default();
                    let (group, resource) = (right.api_group, right.resource);
                    right.verbs.into_iter().map(move |verb| (place.clone(), group.clone(), resource.clone(), verb))
                })
                .collect();
            let is_granted_everywhere = |right: &(String, String, String, String)| {
                granted.contains(&(String::new(), right.1.clone(), right.2.clone(), right.3.clone()))
            };
            for right in &asked {
                assert!(granted.contains(right) || is_granted_everywhere(right), "{right:?} is asked for");
            }
            for right in &granted {
                assert!(asked.contains(right), "{right:?} is granted and never asked for");
            }
        }
    }

    #[test]
    fn a_standing_namespace_gets_a_role_of_its_own_and_one_that_is_made_none() {
        let standing = roles(&[experiment(false)], "evenkeel").unwrap();
        assert!(standing.contains("kind: Role\n") && standing.contains("namespace: \"shop\""), "{standing}");
        let made = roles(&[experiment(true)], "evenkeel").unwrap();
        assert!(!made.contains("namespace: \"shop\""), "{made}");
    }

    #[test]
    fn a_name_cannot_become_another_key() {
        let text = roles(&[experiment(false)], "a\nrules: []").unwrap();
        let first: Value = serde_saphyr::from_str(text.split("---\n").nth(1).unwrap()).unwrap();
        assert_eq!(first["metadata"]["name"], "a\nrules: []");
    }
}
