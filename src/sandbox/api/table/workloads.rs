//! Deployments and their like, Jobs, autoscalers, budgets.

use serde_json::{Value, json};

use super::{AGE, NAME, Number, Printer, Text, age, containers, items, labels, name, number, selector, text, time};

const CONTAINERS: super::Column = ("Containers", Text, true);
const IMAGES: super::Column = ("Images", Text, true);
const SELECTOR: super::Column = ("Selector", Text, true);

pub(super) static DEPLOYMENTS: Printer = Printer {
    columns: &[
        NAME,
        ("Ready", Text, false),
        ("Up-to-date", Number, false),
        ("Available", Number, false),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object| {
        let status = &object["status"];
        with_template(
            object,
            vec![
                name(object),
                ready(object),
                json!(number(&status["updatedReplicas"])),
                json!(number(&status["availableReplicas"])),
                age(object),
            ],
        )
    },
};

pub(super) static SCALES: Printer = Printer {
    columns: &[NAME, ("Desired", Number, false), ("Available", Number, false), AGE],
    cells: |scale| {
        let (spec, status) = (&scale["spec"], &scale["status"]);
        vec![name(scale), json!(number(&spec["replicas"])), json!(number(&status["replicas"])), age(scale)]
    },
};

pub(super) static REPLICA_SETS: Printer = Printer {
    columns: &[
        NAME,
        ("Desired", Number, false),
        ("Current", Number, false),
        ("Ready", Number, false),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object| {
        let status = &object["status"];
        with_template(
            object,
            vec![
                name(object),
                json!(number(&object["spec"]["replicas"])),
                json!(number(&status["replicas"])),
                json!(number(&status["readyReplicas"])),
                age(object),
            ],
        )
    },
};

pub(super) static STATEFUL_SETS: Printer = Printer {
    columns: &[NAME, ("Ready", Text, false), AGE, CONTAINERS, IMAGES],
    cells: |object| {
        let mut cells = vec![name(object), ready(object), age(object)];
        cells.extend(containers(&object["spec"]["template"]["spec"]));
        cells
    },
};

pub(super) static DAEMON_SETS: Printer = Printer {
    columns: &[
        NAME,
        ("Desired", Number, false),
        ("Current", Number, false),
        ("Ready", Number, false),
        ("Up-to-date", Number, false),
        ("Available", Number, false),
        ("Node Selector", Text, false),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object| {
        let count = |key: &str| json!(number(&object["status"][key]));
        with_template(
            object,
            vec![
                name(object),
                count("desiredNumberScheduled"),
                count("currentNumberScheduled"),
                count("numberReady"),
                count("updatedNumberScheduled"),
                count("numberAvailable"),
                labels(&object["spec"]["template"]["spec"]["nodeSelector"]),
                age(object),
            ],
        )
    },
};

pub(super) static CONTROLLER_REVISIONS: Printer = Printer {
    columns: &[NAME, ("Controller", Text, false), ("Revision", Number, false), AGE],
    cells: |object| {
        let owner = items(&object["metadata"]["ownerReferences"]).find(|owner| owner["controller"] == true);
        let owner = owner.map_or_else(
            || "<none>".to_owned(),
            |owner| {
                let group = text(&owner["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
                let dot = if group.is_empty() { "" } else { "." };
                format!("{}{dot}{group}/{}", text(&owner["kind"]).to_lowercase(), text(&owner["name"]))
            },
        );
        vec![name(object), json!(owner), json!(number(&object["revision"])), age(object)]
    },
};

pub(super) static JOBS: Printer = Printer {
    columns: &[
        NAME,
        ("Status", Text, false),
        ("Completions", Text, false),
        ("Duration", Text, false),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object| {
        let status = &object["status"];
        let duration = time::between(status["startTime"].as_str(), status["completionTime"].as_str());
        let cells = vec![name(object), json!(job_status(object)), completions(object), json!(duration), age(object)];
        with_template(object, cells)
    },
};

pub(super) static AUTOSCALERS: Printer = Printer {
    columns: &[
        NAME,
        ("Reference", Text, false),
        ("Targets", Text, false),
        ("MinPods", Text, false),
        ("MaxPods", Text, false),
        ("Replicas", Text, false),
        AGE,
    ],
    cells: |object| {
        let spec = &object["spec"];
        let target = &spec["scaleTargetRef"];
        let least = spec["minReplicas"].as_i64().map_or_else(|| "<unset>".to_owned(), |least| least.to_string());
        vec![
            name(object),
            json!(format!("{}/{}", text(&target["kind"]), text(&target["name"]))),
            json!(targets(object)),
            json!(least),
            json!(number(&spec["maxReplicas"])),
            json!(number(&object["status"]["currentReplicas"])),
            age(object),
        ]
    },
};

pub(super) static BUDGETS: Printer = Printer {
    columns: &[
        NAME,
        ("Min Available", Text, false),
        ("Max Unavailable", Text, false),
        ("Allowed Disruptions", Number, false),
        AGE,
    ],
    cells: |object| {
        let bound = |key: &str| match &object["spec"][key] {
            Value::Null => json!("N/A"),
            Value::String(percent) => json!(percent),
            count => json!(count.to_string()),
        };
        vec![
            name(object),
            bound("minAvailable"),
            bound("maxUnavailable"),
            json!(number(&object["status"]["disruptionsAllowed"])),
            age(object),
        ]
    },
};

fn ready(object: &Value) -> Value {
    json!(format!("{}/{}", number(&object["status"]["readyReplicas"]), number(&object["spec"]["replicas"])))
}

fn with_template(object: &Value, mut cells: Vec<Value>) -> Vec<Value> {
    cells.extend(containers(&object["spec"]["template"]["spec"]));
    cells.push(selector(&object["spec"]["selector"]));
    cells
}

fn job_status(job: &Value) -> &'static str {
    let is = |kind: &str| items(&job["status"]["conditions"]).any(|one| one["type"] == kind && one["status"] == "True");
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if !job["metadata"]["deletionTimestamp"].is_null() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> Value {
    let succeeded = number(&job["status"]["succeeded"]);
    let spec = &job["spec"];
    json!(match (spec["completions"].as_i64(), number(&spec["parallelism"])) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    })
}

/// Metrics that are shown; more are counted.
const METRICS_SHOWN: usize = 2;

/// `formatHPAMetrics`, for the resource metrics that the sandbox measures.
fn targets(autoscaler: &Value) -> String {
    /// A metric that is an amount; `told` where it is said of an average that it is one, since it may be a value too.
    fn amount(metric: &Value, status: &Value, told: bool) -> String {
        let (target, now) = (&metric["target"], &status["current"]);
        let (key, mark) = match target["averageValue"].as_str() {
            Some(_) => ("averageValue", if told { " (avg)" } else { "" }),
            None => ("value", ""),
        };
        format!("{}/{}{mark}", now[key].as_str().unwrap_or("<unknown>"), text(&target[key]))
    }

    let current = &autoscaler["status"]["currentMetrics"];
    let all: Vec<String> = items(&autoscaler["spec"]["metrics"])
        .enumerate()
        .map(|(at, metric)| {
            let source = match text(&metric["type"]) {
                "ContainerResource" => "containerResource",
                "Pods" => return amount(&metric["pods"], &current[at]["pods"], false),
                "Object" => return amount(&metric["object"], &current[at]["object"], true),
                "External" => return amount(&metric["external"], &current[at]["external"], true),
                _ => "resource",
            };
            let (target, now) = (&metric[source]["target"], &current[at][source]["current"]);
            let name = text(&metric[source]["name"]);
            if let Some(average) = target["averageValue"].as_str() {
                return format!("{name}: {}/{average}", now["averageValue"].as_str().unwrap_or("<unknown>"));
            }
            let percent = |value: &Value, without: &str| {
                value["averageUtilization"].as_i64().map_or_else(|| without.to_owned(), |percent| format!("{percent}%"))
            };
            format!("{name}: {}/{}", percent(now, "<unknown>"), percent(target, "<auto>"))
        })
        .collect();
    // In `autoscaling/v1` there is a number instead.
    if let Some(target) = autoscaler["spec"]["targetCPUUtilizationPercentage"].as_i64() {
        let now = autoscaler["status"]["currentCPUUtilizationPercentage"].as_i64();
        return format!("cpu: {}/{target}%", now.map_or_else(|| "<unknown>".to_owned(), |now| format!("{now}%")));
    }
    if all.is_empty() {
        return "<none>".to_owned();
    }
    let shown = all[..all.len().min(METRICS_SHOWN)].join(", ");
    if all.len() > METRICS_SHOWN { format!("{shown} + {} more...", all.len() - METRICS_SHOWN) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_completions_depend_on_what_it_wants() {
        let of = |spec: Value| completions(&json!({"spec": spec, "status": {"succeeded": 1}}));
        assert_eq!(of(json!({"completions": 3})), "1/3");
        assert_eq!(of(json!({"parallelism": 2})), "1/1 of 2");
        assert_eq!(of(json!({})), "1/1");
    }

    #[test]
    fn an_autoscalers_targets_are_told_with_what_is() {
        let metric = |name: &str| {
            json!({"type": "Resource", "resource": {"name": name,
            "target": {"type": "Utilization", "averageUtilization": 50}}})
        };
        let mut autoscaler = json!({"spec": {"metrics": [metric("cpu")]}});
        assert_eq!(targets(&autoscaler), "cpu: <unknown>/50%");
        autoscaler["status"] = json!({"currentMetrics": [{"resource": {"current": {"averageUtilization": 7}}}]});
        assert_eq!(targets(&autoscaler), "cpu: 7%/50%");
        autoscaler["spec"]["metrics"] = json!([metric("cpu"), metric("memory"), metric("x")]);
        assert_eq!(targets(&autoscaler), "cpu: 7%/50%, memory: <unknown>/50% + 1 more...");
    }

    #[test]
    fn metrics_that_are_no_resources_are_told_as_amounts() {
        let metric = |kind: &str, key: &str, target: Value| json!({"type": kind, key: {"target": target}});
        let mut autoscaler = json!({"spec": {"metrics": [
            metric("Pods", "pods", json!({"type": "AverageValue", "averageValue": "100"})),
            metric("Object", "object", json!({"type": "Value", "value": "2k"})),
        ]}});
        assert_eq!(targets(&autoscaler), "<unknown>/100, <unknown>/2k");
        autoscaler["status"] = json!({"currentMetrics": [
            {"type": "Pods", "pods": {"current": {"averageValue": "7"}}},
            {"type": "Object", "object": {"current": {"value": "1500"}}},
        ]});
        assert_eq!(targets(&autoscaler), "7/100, 1500/2k");
        let external = json!([metric("External", "external", json!({"type": "AverageValue", "averageValue": "30"}))]);
        autoscaler["spec"]["metrics"] = external;
        autoscaler["status"]["currentMetrics"] = json!([{"external": {"current": {"averageValue": "9"}}}]);
        assert_eq!(targets(&autoscaler), "9/30 (avg)");
    }

    #[test]
    fn every_printer_has_a_cell_for_each_column() {
        for printer in [
            &DEPLOYMENTS,
            &SCALES,
            &REPLICA_SETS,
            &STATEFUL_SETS,
            &DAEMON_SETS,
            &CONTROLLER_REVISIONS,
            &JOBS,
            &AUTOSCALERS,
            &BUDGETS,
        ] {
            assert_eq!((printer.cells)(&json!({})).len(), printer.columns.len());
        }
    }
}
