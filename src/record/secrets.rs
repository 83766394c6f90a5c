//! What never gets into a record: the data of Secrets that an experiment applies. A record is sent round, and kept where
//! builds keep their artefacts.

use serde_json::Value;

use crate::experiment::schema::Experiment;

/// An experiment as it is recorded: what its Secrets hold is left out. Nothing that is judged is in there.
pub(super) fn without_secrets(experiment: &Experiment) -> Experiment {
    let mut experiment = experiment.clone();
    for object in &mut experiment.spec.given.apply {
        if object["kind"] != "Secret" {
            continue;
        }
        for key in ["data", "stringData"] {
            for value in object.get_mut(key).and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut())
            {
                *value = Value::from("(not recorded)");
            }
        }
        // kubectl keeps a whole copy of the object in an annotation.
        if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    experiment
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_data_of_a_secret_is_not_recorded_and_a_config_map_is() {
        let experiment: Experiment = serde_json::from_value(json!({
            "apiVersion": "evenkeel/v1", "kind": "Experiment", "metadata": {"name": "x"},
            "spec": {
                "given": {"namespace": "shop", "ready": ["deployment/shop"], "apply": [
                    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "annotations": {
                        "kubectl.kubernetes.io/last-applied-configuration": "hunter2"}},
                        "stringData": {"password": "hunter2"}, "data": {"token": "aHVudGVyMg=="}},
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "kept"}},
                ]},
                "load": [{"name": "a", "from": "inside", "service": "shop", "rate": "1/s", "connections": "new"}],
                "steps": [{"wait": {"time": "1s"}}],
                "expect": [{"lost": {"atMost": 0}}],
            }
        }))
        .unwrap();
        let text = serde_json::to_string(&without_secrets(&experiment)).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg") && text.contains("kept"), "{text}");
        assert!(text.contains("password"), "that there was one is seen: {text}");
    }
}
