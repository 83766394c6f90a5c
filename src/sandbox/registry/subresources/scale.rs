//! `scale`: how many replicas something has, in one shape for all that have them
//! (k/pkg/registry/apps/deployment/storage/storage.go `ScaleREST`, v1.34.4).

use serde_json::{Value, json};

use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds::Kind,
    registry::{Part, Registry, Target, Tracking, WriteOptions},
    store::text_at,
};

impl Registry {
    /// The `autoscaling/v1` Scale of an object.
    ///
    /// # Errors
    /// 404 without the object, or for a kind that has no scale.
    pub fn scale(&self, kind: &'static Kind, namespace: &str, name: &str) -> Result<Value, ApiError> {
        if !kind.scale {
            return Err(ApiError::no_such_path());
        }
        Ok(of(&self.get(kind, namespace, name)?.value()))
    }

    /// Sets the replicas of an object by a Scale; the new Scale comes back.
    ///
    /// # Errors
    /// 404; 409 for an old `resourceVersion` or another uid; 422 for a negative number; 400 for another object's Scale.
    pub fn set_scale(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        scale: &Value,
        options: &WriteOptions,
    ) -> Result<Value, ApiError> {
        if !kind.scale {
            return Err(ApiError::no_such_path());
        }
        if !scale.is_object() || scale["kind"].as_str().is_some_and(|kind| kind != "Scale") {
            return Err(ApiError::bad_request("expected input object type to be Scale"));
        }
        let stated = text_at(&scale["metadata"], "name");
        if !stated.is_empty() && stated != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({stated}) does not match the name on the URL ({name})"
            )));
        }
        let replicas = wanted(name, scale)?;
        let target = Target { kind, namespace, name, part: Part::Main };
        let changed = self.change_at(target, options, Tracking::By("scale"), |mut object| {
            let (uid, own) = (text_at(&scale["metadata"], "uid"), text_at(&object["metadata"], "uid"));
            if !uid.is_empty() && uid != own {
                let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {own}");
                return Err(ApiError::conflict(kind.group, &format!("{}/scale", kind.plural), name, why));
            }
            let version = text_at(&scale["metadata"], "resourceVersion");
            if !version.is_empty() {
                object["metadata"]["resourceVersion"] = json!(version);
            }
            object["spec"]["replicas"] = json!(replicas);
            Ok(object)
        })?;
        Ok(of(&changed.value()))
    }
}

fn wanted(name: &str, scale: &Value) -> Result<i64, ApiError> {
    let stated = &scale["spec"]["replicas"];
    let replicas = match stated {
        Value::Null => 0,
        other => other
            .as_i64()
            .filter(|number| i32::try_from(*number).is_ok())
            .ok_or_else(|| ApiError::bad_request(format!("spec.replicas: {other} is not a 32-bit number")))?,
    };
    if replicas < 0 {
        let error = FieldError::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(ApiError::invalid("autoscaling", "Scale", name, &[error]));
    }
    Ok(replicas)
}

fn of(object: &Value) -> Value {
    let from = &object["metadata"];
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !from[key].is_null() {
            metadata[key] = from[key].clone();
        }
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)},
    });
    // Zero is left out of the spec, as upstream's `omitempty` does.
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    if replicas != 0 {
        scale["spec"]["replicas"] = json!(replicas);
    }
    let selector = selector_text(&object["spec"]["selector"]);
    if !selector.is_empty() {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// A label selector as text, its requirements by key (`LabelSelectorAsSelector().String()`).
fn selector_text(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<(String, String)> =
        labels.map(|(key, value)| (key.clone(), format!("{key}={}", value.as_str().unwrap_or_default()))).collect();
    for one in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text_at(one, "key");
        let mut values: Vec<&str> = one["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let text = match one["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.clone(),
        };
        parts.push((key, text));
    }
    parts.sort_by(|one, other| one.0.cmp(&other.0));
    parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{
        fixture::{self, create, value},
        kinds,
    };

    #[test]
    fn replicas_are_read_and_set_through_the_scale() {
        let registry = fixture::registry();
        let labels = json!({"app": "api"});
        let deployment = json!({"metadata": {"name": "api"}, "spec": {"replicas": 3, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "demo"}]}}}});
        create(&registry, &kinds::DEPLOYMENT, "shop", &deployment);
        let mut scale = registry.scale(&kinds::DEPLOYMENT, "shop", "api").unwrap();
        assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(3), &json!("app=api")));
        let set =
            |scale: &Value| registry.set_scale(&kinds::DEPLOYMENT, "shop", "api", scale, &WriteOptions::default());
        scale["spec"]["replicas"] = json!(5);
        assert_eq!(set(&scale).unwrap()["spec"]["replicas"], 5);
        assert_eq!(value(&registry, &kinds::DEPLOYMENT, "shop", "api")["metadata"]["generation"], 2);
        assert_eq!(set(&scale).unwrap_err().code, 409);
        scale["metadata"]["resourceVersion"] = json!("");
        scale["spec"]["replicas"] = json!(-1);
        assert_eq!(set(&scale).unwrap_err().code, 422);
        scale["spec"] = json!({});
        assert_eq!(set(&scale).unwrap()["spec"], json!({}));
        assert_eq!(registry.scale(&kinds::POD, "shop", "api").unwrap_err().code, 404);
    }

    #[test]
    fn a_selector_is_written_by_key() {
        let selector = json!({"matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [{"key": "ab", "operator": "In", "values": ["y", "x"]}, {"key": "c", "operator": "Exists"}]});
        assert_eq!(selector_text(&selector), "a=1,ab in (x,y),b=2,c");
    }
}
