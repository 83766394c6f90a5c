//! The JSON Schema of an experiment file, generated from the types: for editors, and for the check of each file.

use schemars::Schema;
use serde_json::Value;

/// Where the committed schema is refreshed from, for the message of the test that finds it stale.
pub const REFRESH: &str = "evenkeel schema > schema/experiment.schema.json";

/// The schema as `schema/experiment.schema.json` has it, with a line feed at its end.
#[must_use]
pub fn schema_json() -> String {
    // Printed as a `Schema`, whose keys come in the order in which people read them.
    let text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    format!("{text}\n")
}

/// The schema itself.
pub(super) fn schema() -> Schema {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<super::schema::Experiment>();
    schema.ensure_object().values_mut().for_each(without_null);
    schema
}

/// A key that may be left out is not the same as a key without a value: that one is most often a slip, so the schema
/// and with it the check refuse it. The generator would allow `null` for every `Option`.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            if let Some(Value::Array(types)) = keys.get_mut("type") {
                types.retain(|one| one != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    keys.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(any)) = keys.get_mut("anyOf") {
                any.retain(|one| one.get("type").is_none_or(|kind| kind != "null"));
                if let [Value::Object(only)] = any.as_slice() {
                    let only = only.clone();
                    keys.remove("anyOf");
                    keys.extend(only);
                }
            }
            keys.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set to any value, the test below writes the file instead of comparing it.
    const UPDATE: &str = "UPDATE_SCHEMA";

    #[test]
    fn the_committed_schema_is_the_one_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/experiment.schema.json");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(path, schema_json()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == schema_json(),
            "schema/experiment.schema.json is stale: run `{REFRESH}`, or this test with {UPDATE}=1"
        );
    }

    #[test]
    fn a_key_without_a_value_is_not_allowed_by_the_schema() {
        fn assert_without_null(schema: &Value) {
            match schema {
                Value::Object(keys) => {
                    assert_ne!(keys.get("type"), Some(&Value::from("null")));
                    keys.values().for_each(assert_without_null);
                }
                Value::Array(items) => {
                    assert!(!items.contains(&Value::from("null")), "{items:?}");
                    items.iter().for_each(assert_without_null);
                }
                _ => {}
            }
        }
        assert_without_null(schema().as_value());
    }
}
