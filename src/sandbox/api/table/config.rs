//! Config maps, secrets, service accounts, claims.

use serde_json::{Value, json};

use super::{AGE, NAME, Number, Printer, Text, age, items, name, text};

pub(super) static CONFIG_MAPS: Printer = Printer {
    columns: &[NAME, ("Data", Number, false), AGE],
    cells: |object| vec![name(object), json!(count(&object["data"]) + count(&object["binaryData"])), age(object)],
};

pub(super) static SECRETS: Printer = Printer {
    columns: &[NAME, ("Type", Text, false), ("Data", Number, false), AGE],
    cells: |object| vec![name(object), json!(text(&object["type"])), json!(count(&object["data"])), age(object)],
};

pub(super) static SERVICE_ACCOUNTS: Printer = Printer {
    columns: &[NAME, ("Secrets", Number, false), AGE],
    cells: |object| vec![name(object), json!(items(&object["secrets"]).count()), age(object)],
};

pub(super) static CLAIMS: Printer = Printer {
    columns: &[
        NAME,
        ("Status", Text, false),
        ("Volume", Text, false),
        ("Capacity", Text, false),
        ("Access Modes", Text, false),
        ("StorageClass", Text, false),
        ("VolumeAttributesClass", Text, false),
        AGE,
        ("VolumeMode", Text, true),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let deleted = !object["metadata"]["deletionTimestamp"].is_null();
        let bound = !text(&spec["volumeName"]).is_empty();
        let modes: Vec<&str> = items(&status["accessModes"]).map(|mode| mode_of(text(mode))).collect();
        vec![
            name(object),
            json!(if deleted { "Terminating" } else { text(&status["phase"]) }),
            json!(text(&spec["volumeName"])),
            json!(if bound { text(&status["capacity"]["storage"]) } else { "" }),
            json!(if bound { modes.join(",") } else { String::new() }),
            json!(text(&spec["storageClassName"])),
            json!(spec["volumeAttributesClassName"].as_str().unwrap_or("<unset>")),
            age(object),
            json!(spec["volumeMode"].as_str().unwrap_or("<unset>")),
        ]
    },
};

fn count(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

fn mode_of(mode: &str) -> &str {
    match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_shows_its_volume_once_it_is_bound() {
        let mut claim = json!({"metadata": {"name": "data"}, "spec": {"storageClassName": "standard"},
            "status": {"phase": "Pending", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}});
        let cells = (CLAIMS.cells)(&claim);
        assert_eq!(cells.len(), CLAIMS.columns.len());
        assert_eq!(cells[1..5], [json!("Pending"), json!(""), json!(""), json!("")]);
        claim["spec"]["volumeName"] = json!("pv-1");
        assert_eq!((CLAIMS.cells)(&claim)[2..5], [json!("pv-1"), json!("1Gi"), json!("RWO")]);
        let map = json!({"data": {"a": "", "b": ""}, "binaryData": {"c": ""}});
        assert_eq!((CONFIG_MAPS.cells)(&map)[1], 3);
    }
}
