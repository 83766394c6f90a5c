//! The size that the scheduler is made for: ten thousand pods over a thousand nodes. What a run takes is asked of the
//! optimised build only; the rest is that all find a place, evenly.

use super::*;

#[test]
#[ignore = "takes seconds; scripts measure it in the optimised build"]
fn ten_thousand_pods_find_their_nodes_among_a_thousand() {
    let registry = fixture::registry();
    for number in 0..1000 {
        node(&registry, &format!("n{number}"), &zone(["a", "b", "c"][number % 3]));
    }
    let labels = json!({"app": "api"});
    let set = json!({"metadata": {"name": "api"}, "spec": {"replicas": 4, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "demo"}]}}}});
    let uid = create(&registry, &kinds::REPLICA_SET, "shop", &set).uid.clone();
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api", "uid": uid, "controller": true});
    for number in 0..10_000 {
        add_pod(&registry, &format!("p{number}"), &json!({"metadata": {"ownerReferences": [owner]}}));
    }
    let start = tokio::time::Instant::now();
    place_all(&registry);
    let took = start.elapsed();
    let mut on_node = std::collections::HashMap::new();
    for pod in registry.store().list(&kinds::POD, None).1 {
        *on_node.entry(pod.node.clone().unwrap()).or_insert(0) += 1;
    }
    let (least, most) = (on_node.values().min().unwrap(), on_node.values().max().unwrap());
    assert!(on_node.len() == 1000 && most - least <= 6, "{least} to {most}");
    eprintln!("{took:?} for 10,000 pods, {least} to {most} on a node");
    assert!(cfg!(debug_assertions) || took.as_secs() < 8, "{took:?}");
}
