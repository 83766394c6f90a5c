use std::collections::BTreeSet;

use serde_json::json;

use super::*;

const IMAGE: &str = "evenkeel:0.1.0";

fn three() -> NonZeroU32 {
    NonZeroU32::new(3).unwrap()
}

fn on_two_nodes() -> Job {
    let nodes = ["worker".to_owned(), "worker2".to_owned()];
    manifest("shop", "evenkeel-agent-bcdfghjk", three(), &nodes, IMAGE)
}

#[test]
fn the_manifest_is_as_written_down() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&on_two_nodes()).unwrap());
}

#[test]
fn every_name_is_a_new_one_and_a_dns_label_also_with_an_index_behind_it() {
    let names: BTreeSet<String> = (0..1_000).map(|_| new_name()).collect();
    assert_eq!(names.len(), 1_000);
    for name in &names {
        assert!(crate::experiment::units::is_object_name(name), "{name}");
        assert_eq!(name.len(), NAME.len() + 9, "{name}");
    }
}

fn pod(index: u32, status: &serde_json::Value) -> (u32, Pod) {
    let metadata = json!({ "name": format!("a-{index}"), "annotations": { INDEX: index.to_string() } });
    let pod: Pod = serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap();
    (super::index(&pod).unwrap(), pod)
}

#[test]
fn the_agents_are_as_far_as_the_last_of_them() {
    let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
    let pending = json!({ "phase": "Pending" });
    let no_room = json!({ "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room" }] });
    let failed = json!({ "phase": "Failed", "reason": "Evicted" });
    let waiting = |why: &str| Progress::Waiting(why.to_owned());
    let table = [
        (vec![], waiting("0 of its 3 pods are there")),
        (vec![&ready, &ready], waiting("2 of its 3 pods are there")),
        (vec![&ready, &pending], waiting("pod a-1: it is Pending")),
        (
            vec![&no_room, &pending, &ready],
            Progress::Unschedulable("pod a-0: it cannot be scheduled where no step touches it: no room".to_owned()),
        ),
        (vec![&ready, &pending, &failed], Progress::Failed("pod a-2: the pod has ended (Evicted)".to_owned())),
        (vec![&ready, &ready, &ready], Progress::Ready),
    ];
    for (statuses, expected) in table {
        let pods = statuses.iter().zip(0..).map(|(status, index)| pod(index, status)).collect();
        assert_eq!(progress(&pods, three(), IMAGE), expected);
    }
}
