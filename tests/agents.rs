//! The Job of the agents on a cluster that checks it as Kubernetes does: it is accepted, its pods stand where they were
//! told to, one that fails leaves the others alone, and its undo takes all of them along.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use evenkeel::{
    agent::{job, pod},
    fault::undo::{Undo, carry_out},
    sandbox::{Options, Sandbox},
};
use futures::TryStreamExt;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::json;

const NAMESPACE: &str = "default";
const PATIENCE: Duration = Duration::from_secs(60);

/// Watches the Job's pods until they are as wanted.
async fn until(pods: &Api<Pod>, name: &str, wanted: impl Fn(&BTreeMap<u32, Pod>) -> bool) -> BTreeMap<u32, Pod> {
    let mut seen = Box::pin(watcher(pods.clone(), watcher::Config::default().labels(&pod::selector(name))));
    let mut all = BTreeMap::new();
    let watched = async {
        while let Some(event) = seen.try_next().await.unwrap() {
            if let watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) = event {
                all.insert(job::index(&pod).unwrap(), pod);
            }
            if wanted(&all) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, watched).await.expect("the pods become as wanted");
    all
}

fn is_ready(pod: &Pod) -> bool {
    pod::progress(pod, "") == pod::Progress::Ready
}

#[tokio::test]
async fn a_job_of_three_agents_stands_where_it_is_told_to_loses_only_what_fails_and_is_removed_with_its_pods() {
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_evenkeel"));
    let sandbox = Sandbox::start(Options { status_only: true, ..Options::new(executable) }).await.unwrap();
    let client = sandbox.client();
    let (jobs, pods): (Api<Job>, Api<Pod>) =
        (Api::namespaced(client.clone(), NAMESPACE), Api::namespaced(client.clone(), NAMESPACE));
    let (name, nodes) = (job::new_name(), ["sandbox-worker2".to_owned(), "sandbox-control-plane".to_owned()]);
    let three = NonZeroU32::new(3).unwrap();
    let manifest = job::manifest(NAMESPACE, &name, three, &nodes, "evenkeel/demo:v1");
    let created = jobs.create(&PostParams::default(), &manifest).await.unwrap();
    assert_eq!(created.spec.unwrap().backoff_limit_per_index, Some(0));

    let all = until(&pods, &name, |all| all.len() == 3 && all.values().all(is_ready)).await;
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    let on = |pod: &Pod| pod.spec.as_ref().unwrap().node_name.clone().unwrap();
    let used: BTreeSet<String> = all.values().map(on).collect();
    assert_eq!(used, BTreeSet::from(nodes), "spread over all of them");

    // One fails, as its kubelet would say; no other takes its place, and none goes with it.
    let failed = json!({ "status": { "phase": "Failed", "reason": "Evicted" } });
    let second = all[&1].metadata.name.clone().unwrap();
    pods.patch_status(&second, &PatchParams::default(), &Patch::Merge(&failed)).await.unwrap();
    let mut seen = Box::pin(watcher::watch_object(jobs.clone(), &name));
    let noted = async {
        loop {
            let Some(job) = seen.try_next().await.unwrap().flatten() else { continue };
            let status = job.status.unwrap_or_default();
            if status.failed_indexes.as_deref() == Some("1") {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, noted).await.expect("its controller notes it");
    assert_eq!((status.active, status.conditions.unwrap_or_default().len()), (Some(2), 0), "the job goes on");
    let left = pods.list(&ListParams::default().labels(&pod::selector(&name))).await.unwrap();
    assert_eq!(left.iter().filter(|pod| is_ready(pod)).count(), 2);

    let undo = Undo::RemoveObject {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        plural: "jobs".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.clone(),
    };
    assert!(undo.is_sound());
    assert_eq!(carry_out(&client, &undo).await.unwrap(), "gone");
    let left = pods.list(&ListParams::default().labels(&pod::selector(&name))).await.unwrap();
    assert!(left.items.is_empty(), "its pods went before it");
    sandbox.stop().await;
}
