//! `pods/binding`: the scheduler's answer, which nobody can give twice
//! (k/pkg/registry/core/pod/storage/storage.go `BindingREST`, v1.34.4).

use serde_json::{Value, json};

use super::conditions::{self, Condition};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds,
    registry::{Registry, check_posted},
    store::{Wanted, text_at},
};

impl Registry {
    /// Gives a pod its node, by a `Binding`. The `Status` of success comes back.
    ///
    /// # Errors
    /// 404 without the pod; 409 for one that has a node, is being deleted, or waits for its scheduling gates; 400 for
    /// another pod's binding; 422 for a target that is no node.
    pub fn bind(&self, namespace: &str, name: &str, binding: &Value) -> Result<Value, ApiError> {
        check_posted("Binding", &["v1"], namespace, binding)?;
        let stated = text_at(&binding["metadata"], "name");
        if !stated.is_empty() && stated != name {
            return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
        }
        let node = target(name, binding)?;
        self.assign(namespace, name, &node, binding)?;
        Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
    }

    fn assign(&self, namespace: &str, name: &str, node: &str, binding: &Value) -> Result<(), ApiError> {
        let conflict = |why: String| ApiError::conflict("", "pods/binding", name, why);
        self.store().write(&kinds::POD, namespace, name, |before| {
            let before = before.ok_or_else(|| ApiError::not_found("", "pods", name))?;
            let mut pod = before.value();
            let uid = text_at(&binding["metadata"], "uid");
            if !uid.is_empty() && uid != before.uid {
                let why =
                    format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", before.uid);
                return Err(conflict(why));
            }
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                return Err(conflict(format!("pod {name} is being deleted, cannot be assigned to a host")));
            }
            if let Some(has) = &before.node {
                return Err(conflict(format!("pod {name} is already assigned to node {has:?}")));
            }
            if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
                return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")));
            }
            pod["spec"]["nodeName"] = json!(node);
            for map in ["annotations", "labels"] {
                for (key, value) in binding["metadata"][map].as_object().into_iter().flatten() {
                    pod["metadata"][map][key] = value.clone();
                }
            }
            let scheduled = Condition { kind: "PodScheduled", status: "True", reason: "", message: "" };
            conditions::set_on_pod(&mut pod, scheduled);
            Ok(Wanted::Put(pod))
        })?;
        Ok(())
    }
}

/// The node that a binding names (`ValidatePodBinding`).
fn target(name: &str, binding: &Value) -> Result<String, ApiError> {
    let (kind, node) = (text_at(&binding["target"], "kind"), text_at(&binding["target"], "name"));
    let mut errors = Vec::new();
    if !kind.is_empty() && kind != "Node" {
        errors.push(FieldError::not_supported("target.kind", &json!(kind), &["Node", "<empty>"]));
    }
    if node.is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    if errors.is_empty() { Ok(node) } else { Err(ApiError::invalid("", "Binding", name, &errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::fixture::{self, create, pod, value};

    fn binding(node: &str) -> Value {
        json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": node}})
    }

    #[test]
    fn a_pod_gets_its_node_once() {
        let registry = fixture::registry();
        create(&registry, &kinds::POD, "shop", &pod("a", &json!({})));
        registry.bind("shop", "a", &binding("n1")).unwrap();
        let bound = value(&registry, &kinds::POD, "shop", "a");
        assert_eq!(bound["spec"]["nodeName"], "n1");
        assert_eq!(conditions::status_of(&bound, "PodScheduled"), Some("True"));
        let error = registry.bind("shop", "a", &binding("n2")).unwrap_err();
        assert_eq!(error.code, 409);
        assert_eq!(
            error.message,
            "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n1\""
        );
    }

    #[test]
    fn a_gated_pod_and_an_odd_target_are_refused() {
        let registry = fixture::registry();
        create(&registry, &kinds::POD, "shop", &pod("a", &json!({"spec": {"schedulingGates": [{"name": "wait"}]}})));
        assert_eq!(registry.bind("shop", "a", &binding("n1")).unwrap_err().code, 409);
        assert_eq!(registry.bind("shop", "a", &binding("")).unwrap_err().code, 422);
        assert_eq!(registry.bind("shop", "a", &json!({})).unwrap_err().code, 422);
        for other in [json!({"kind": "Pod"}), json!({"metadata": {"namespace": "default"}, "target": {"name": "n1"}})] {
            assert_eq!(registry.bind("shop", "a", &other).unwrap_err().code, 400, "{other}");
        }
        assert_eq!(registry.bind("shop", "b", &json!({"target": {"name": "n1"}})).unwrap_err().code, 404);
    }
}
