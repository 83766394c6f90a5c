use serde_json::{Value, json};

use super::{
    super::bench::{Bench, NAMESPACE, pass},
    *,
};

fn bench(spec: &Value) -> (Bench, Jobs) {
    let bench = Bench::new();
    let mut whole = json!({
        "manualSelector": true, "selector": {"matchLabels": {"job": "work"}},
        "template": {
            "metadata": {"labels": {"job": "work"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "one"}]},
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    bench.create(&kinds::JOB, &json!({"metadata": {"name": "work"}, "spec": whole}));
    let controller = Jobs::new(Arc::clone(&bench.registry));
    (bench, controller)
}

fn status(bench: &Bench) -> Value {
    bench.status(&kinds::JOB, "work")
}

/// The types and reasons of the conditions that are true.
fn conditions_of(bench: &Bench) -> Vec<(String, String)> {
    let status = status(bench);
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    let is_true = all.iter().filter(|condition| condition["status"] == "True");
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    is_true.map(|condition| (text(condition, "type"), text(condition, "reason"))).collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect()
}

fn active(bench: &Bench) -> Vec<String> {
    let pods = bench.pods();
    pods.iter().filter(|pod| pods::is_active(pod)).map(|pod| pod.metadata.name.clone().unwrap()).collect()
}

/// The active pods' indexes, sorted.
fn indexes(bench: &Bench) -> Vec<i32> {
    let pods = bench.pods();
    let mut found: Vec<i32> =
        pods.iter().filter(|pod| pods::is_active(pod)).map(|pod| members::index_of(pod).unwrap()).collect();
    found.sort_unstable();
    found
}

fn of_index(bench: &Bench, index: i32) -> String {
    let pods = bench.pods();
    let found = pods.iter().find(|pod| pods::is_active(pod) && members::index_of(pod) == Some(index));
    found.unwrap().metadata.name.clone().unwrap()
}

#[test]
fn a_job_runs_its_pods_and_counts_each_success_once() {
    let (bench, controller) = bench(&json!({"parallelism": 2, "completions": 3}));
    bench.settle(&controller, "work");
    let first = active(&bench);
    assert_eq!(first.len(), 2);
    assert!(bench.pods().iter().all(|pod| members::is_tracked(pod)));
    assert_eq!((&status(&bench)["active"], &status(&bench)["ready"]), (&json!(2), &json!(0)));
    bench.ready(&first[0]);
    bench.finish(&first[1], 0);
    bench.settle(&controller, "work");
    let now = status(&bench);
    assert_eq!((&now["active"], &now["ready"], &now["succeeded"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(now["uncountedTerminatedPods"], json!({}));
    assert!(!members::is_tracked(&bench.get::<Pod>(&first[1])));
    for pod in active(&bench) {
        bench.finish(&pod, 0);
    }
    bench.settle(&controller, "work");
    let ended = status(&bench);
    assert_eq!((&ended["succeeded"], &ended["active"], &ended["failed"]), (&json!(3), &Value::Null, &Value::Null));
    assert_eq!(
        conditions_of(&bench),
        pairs(&[("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")])
    );
    assert!(ended["completionTime"].is_string() && ended["startTime"].is_string());
    assert!(bench.told("Completed", "Job completed"));
    assert_eq!(bench.pods().len(), 3);
}

#[test]
fn without_completions_one_success_is_enough_and_the_others_may_end() {
    let (bench, controller) = bench(&json!({"parallelism": 3}));
    bench.settle(&controller, "work");
    let pods = active(&bench);
    bench.finish(&pods[0], 0);
    bench.settle(&controller, "work");
    assert_eq!((active(&bench).len(), conditions_of(&bench)), (2, vec![]));
    bench.finish(&pods[1], 1);
    bench.finish(&pods[2], 0);
    bench.settle(&controller, "work");
    assert_eq!(conditions_of(&bench)[1].0, "Complete");
    assert_eq!(status(&bench)["failed"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_pod_is_replaced_after_ten_seconds_and_too_many_fail_the_job() {
    let (bench, controller) = bench(&json!({"backoffLimit": 1}));
    bench.settle(&controller, "work");
    bench.finish(&active(&bench)[0], 1);
    let Next::After(wait) = bench.settle(&controller, "work") else { panic!("nothing to wait for") };
    assert!(wait > Duration::from_secs(8) && wait <= Duration::from_secs(10), "{wait:?}");
    assert!(active(&bench).is_empty() && conditions_of(&bench).is_empty());
    pass(10).await;
    bench.settle(&controller, "work");
    bench.finish(&active(&bench)[0], 1);
    bench.settle(&controller, "work");
    assert_eq!(
        conditions_of(&bench),
        pairs(&[("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")])
    );
    assert_eq!(status(&bench)["failed"], 2);
    assert!(bench.told("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
}

#[test]
fn a_job_that_fails_deletes_its_pods_and_has_failed_once_they_are_gone() {
    let (bench, controller) = bench(&json!({"backoffLimit": 0, "parallelism": 2, "completions": 2}));
    bench.settle(&controller, "work");
    let pods = active(&bench);
    bench.ready(&pods[0]);
    bench.finish(&pods[1], 1);
    bench.settle(&controller, "work");
    assert_eq!(conditions_of(&bench), pairs(&[("FailureTarget", "BackoffLimitExceeded")]));
    assert_eq!((bench.leaving(), &status(&bench)["terminating"]), (vec![pods[0].clone()], &json!(1)));
    bench.gone(&pods[0]);
    bench.settle(&controller, "work");
    assert_eq!(conditions_of(&bench)[1], ("Failed".to_owned(), "BackoffLimitExceeded".to_owned()));
    assert_eq!(status(&bench)["failed"], 2, "a pod that the Job's end has killed counts as failed");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_job_and_waits_while_it_is_suspended() {
    let (bench, controller) = bench(&json!({"activeDeadlineSeconds": 30, "suspend": true}));
    bench.settle(&controller, "work");
    assert_eq!((active(&bench).len(), conditions_of(&bench)), (0, pairs(&[("Suspended", "JobSuspended")])));
    assert!(status(&bench)["startTime"].is_null());
    pass(60).await;
    bench.change(&kinds::JOB, "work", |job| job["spec"]["suspend"] = json!(false));
    bench.settle(&controller, "work");
    assert_eq!((active(&bench).len(), conditions_of(&bench)), (1, vec![]));
    assert!(bench.told("Suspended", "Job suspended") && bench.told("Resumed", "Job resumed"));
    pass(31).await;
    bench.settle(&controller, "work");
    bench.all_gone();
    bench.settle(&controller, "work");
    assert_eq!(conditions_of(&bench)[1], ("Failed".to_owned(), "DeadlineExceeded".to_owned()));
}

#[test]
fn suspending_deletes_active_pods_and_does_not_count_them() {
    let (bench, controller) = bench(&json!({"parallelism": 2, "completions": 2}));
    bench.settle(&controller, "work");
    for pod in active(&bench) {
        bench.ready(&pod);
    }
    bench.change(&kinds::JOB, "work", |job| job["spec"]["suspend"] = json!(true));
    bench.settle(&controller, "work");
    assert_eq!((active(&bench).len(), bench.leaving().len()), (0, 2));
    bench.all_gone();
    bench.settle(&controller, "work");
    let now = status(&bench);
    assert_eq!((&now["failed"], &now["active"], &now["terminating"]), (&Value::Null, &Value::Null, &json!(0)));
}

#[test]
fn an_indexed_job_has_one_pod_for_each_index() {
    let (bench, controller) = bench(&json!({"completionMode": "Indexed", "parallelism": 3, "completions": 4}));
    bench.settle(&controller, "work");
    assert_eq!(indexes(&bench), [0, 1, 2]);
    let pod = bench.get::<Pod>(&of_index(&bench, 1));
    assert!(pod.metadata.name.as_ref().unwrap().starts_with("work-1-"));
    assert_eq!(pod.spec.as_ref().unwrap().hostname.as_deref(), Some("work-1"));
    bench.finish(&of_index(&bench, 0), 0);
    bench.finish(&of_index(&bench, 1), 0);
    bench.settle(&controller, "work");
    assert_eq!((indexes(&bench), &status(&bench)["completedIndexes"]), (vec![2, 3], &json!("0,1")));
    bench.finish(&of_index(&bench, 3), 0);
    bench.finish(&of_index(&bench, 2), 0);
    bench.settle(&controller, "work");
    assert_eq!((&status(&bench)["completedIndexes"], &status(&bench)["succeeded"]), (&json!("0-3"), &json!(4)));
    assert_eq!(conditions_of(&bench)[1].0, "Complete");
}

#[test]
fn doubles_of_an_index_and_pods_without_one_are_deleted() {
    let (bench, controller) = bench(&json!({"completionMode": "Indexed", "parallelism": 2, "completions": 2}));
    bench.settle(&controller, "work");
    let owner = pods::controller_ref(&*bench.get::<Job>("work"));
    for (name, index) in [("double", json!("0")), ("beyond", json!("7")), ("without", json!("x"))] {
        bench.create(
            &kinds::POD,
            &json!({
                "metadata": {"name": name, "labels": {"job": "work"}, "annotations": {members::INDEX: index},
                    "finalizers": [members::FINALIZER], "ownerReferences": [owner]},
                "spec": {"containers": [{"name": "main", "image": "one"}], "restartPolicy": "Never"},
            }),
        );
    }
    bench.ready(&of_index(&bench, 1));
    bench.settle(&controller, "work");
    assert_eq!((indexes(&bench), bench.pods().len()), (vec![0, 1], 2));
    assert_eq!(status(&bench)["failed"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn failures_count_for_each_index_apart() {
    let (bench, controller) = bench(&json!({
        "completionMode": "Indexed", "parallelism": 2, "completions": 2, "backoffLimitPerIndex": 1,
    }));
    bench.settle(&controller, "work");
    let failed = of_index(&bench, 0);
    bench.finish(&failed, 1);
    bench.finish(&of_index(&bench, 1), 0);
    bench.settle(&controller, "work");
    assert!(members::is_tracked(&bench.get::<Pod>(&failed)), "it stays until its index has a new pod");
    assert!(indexes(&bench).is_empty());
    pass(11).await;
    bench.settle(&controller, "work");
    let second = bench.get::<Pod>(&of_index(&bench, 0));
    assert_eq!(second.metadata.annotations.as_ref().unwrap()[members::INDEX_FAILURES], "1");
    assert!(!members::is_tracked(&bench.get::<Pod>(&failed)));
    bench.finish(&of_index(&bench, 0), 1);
    bench.settle(&controller, "work");
    let ended = status(&bench);
    assert_eq!(
        (&ended["failedIndexes"], &ended["completedIndexes"], &ended["failed"]),
        (&json!("0"), &json!("1"), &json!(2))
    );
    assert_eq!(conditions_of(&bench), pairs(&[("FailureTarget", "FailedIndexes"), ("Failed", "FailedIndexes")]));
}

#[test]
fn more_failed_indexes_than_allowed_end_the_job_early() {
    let (bench, controller) = bench(&json!({
        "completionMode": "Indexed", "parallelism": 3, "completions": 9, "backoffLimitPerIndex": 0, "maxFailedIndexes": 1,
    }));
    bench.settle(&controller, "work");
    bench.finish(&of_index(&bench, 0), 1);
    bench.settle(&controller, "work");
    assert_eq!((conditions_of(&bench), &status(&bench)["failedIndexes"]), (vec![], &json!("0")));
    bench.finish(&of_index(&bench, 1), 1);
    bench.settle(&controller, "work");
    bench.all_gone();
    bench.settle(&controller, "work");
    assert_eq!(conditions_of(&bench)[1], ("Failed".to_owned(), "MaxFailedIndexesExceeded".to_owned()));
}

#[test]
fn the_failure_policy_ends_a_job_or_overlooks_a_failure() {
    let rules = json!({"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}},
    ]});
    let whole = json!({"podFailurePolicy": rules, "backoffLimit": 0});
    let (told, controller) = bench(&whole);
    told.settle(&controller, "work");
    let pod = active(&told)[0].clone();
    told.finish(&pod, 42);
    told.settle(&controller, "work");
    assert_eq!(conditions_of(&told), pairs(&[("FailureTarget", "PodFailurePolicy"), ("Failed", "PodFailurePolicy")]));
    let message =
        format!("Container main for pod shop/{pod} failed with exit code 42 matching FailJob rule at index 0");
    assert!(told.told("PodFailurePolicy", &message));

    let (ignored, controller) = bench(&whole);
    ignored.settle(&controller, "work");
    ignored.finish(&active(&ignored)[0], 7);
    ignored.settle(&controller, "work");
    assert_eq!((conditions_of(&ignored), &status(&ignored)["failed"]), (vec![], &Value::Null));

    let mut indexed = whole;
    indexed["podFailurePolicy"]["rules"][0] =
        json!({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [9]}});
    indexed["completionMode"] = json!("Indexed");
    indexed["backoffLimitPerIndex"] = json!(5);
    indexed["completions"] = json!(2);
    indexed["parallelism"] = json!(1);
    indexed["backoffLimit"] = json!(100);
    let (failing, controller) = bench(&indexed);
    failing.settle(&controller, "work");
    failing.finish(&of_index(&failing, 0), 9);
    failing.settle(&controller, "work");
    assert_eq!((indexes(&failing), &status(&failing)["failedIndexes"]), (vec![1], &json!("0")));
}

#[test]
fn with_a_success_policy_some_indexes_are_enough() {
    let policy = json!({"rules": [{"succeededIndexes": "0,1", "succeededCount": 1}]});
    let (bench, controller) = bench(&json!({
        "completionMode": "Indexed", "parallelism": 3, "completions": 3, "successPolicy": policy,
    }));
    bench.settle(&controller, "work");
    bench.ready(&of_index(&bench, 2));
    bench.finish(&of_index(&bench, 0), 0);
    bench.settle(&controller, "work");
    assert_eq!(conditions_of(&bench), pairs(&[("SuccessCriteriaMet", "SuccessPolicy")]));
    bench.all_gone();
    bench.settle(&controller, "work");
    assert_eq!(conditions_of(&bench)[1], ("Complete".to_owned(), "SuccessPolicy".to_owned()));
    let ended = status(&bench);
    assert_eq!((&ended["succeeded"], &ended["failed"]), (&json!(1), &Value::Null));
}

#[test]
fn a_deleted_pod_is_replaced_at_once_unless_the_policy_says_failed() {
    for (policy, replaced) in [("TerminatingOrFailed", 1), ("Failed", 0)] {
        let (bench, controller) = bench(&json!({"podReplacementPolicy": policy}));
        bench.settle(&controller, "work");
        let pod = active(&bench)[0].clone();
        bench.ready(&pod);
        bench.delete(&pod);
        let next = bench.settle(&controller, "work");
        // Upstream counts it as a failure, and so the replacement waits for its back-off.
        assert_eq!(matches!(next, Next::After(_)), replaced == 1, "{policy}");
        assert_eq!(status(&bench)["terminating"], 1);
    }
}

#[test]
fn fewer_parallel_pods_give_up_those_in_the_earliest_stage() {
    let (bench, controller) = bench(&json!({"parallelism": 2, "completions": 5}));
    bench.settle(&controller, "work");
    let pods = active(&bench);
    bench.ready(&pods[0]);
    bench.change(&kinds::JOB, "work", |job| job["spec"]["parallelism"] = json!(1));
    bench.settle(&controller, "work");
    assert_eq!((active(&bench), &status(&bench)["failed"]), (vec![pods[0].clone()], &Value::Null));
}

#[test]
fn a_job_of_another_manager_is_let_alone() {
    let (bench, controller) = bench(&json!({"managedBy": "example.com/queue"}));
    bench.settle(&controller, "work");
    assert_eq!((bench.pods().len(), status(&bench)), (0, json!({})));
}

#[test]
fn an_orphan_that_matches_is_adopted_with_its_finalizer_and_one_that_no_longer_does_is_freed() {
    let (bench, controller) = bench(&json!({}));
    bench.create(
        &kinds::POD,
        &json!({
            "metadata": {"name": "orphan", "labels": {"job": "work"}}, "spec": {"containers": [{"name": "main", "image": "one"}], "restartPolicy": "Never"},
        }),
    );
    bench.settle(&controller, "work");
    let adopted = bench.get::<Pod>("orphan");
    assert!(members::is_tracked(&adopted) && pods::controller_of(&adopted.metadata).is_some());
    assert_eq!(bench.pods().len(), 1);
    bench.change(&kinds::POD, "orphan", |pod| pod["metadata"]["labels"] = json!({}));
    bench.settle(&controller, "work");
    let freeing = OrphanPods::new(Arc::clone(&bench.registry));
    bench.settle(&freeing, "orphan");
    let freed = bench.get::<Pod>("orphan");
    assert!(!members::is_tracked(&freed) && pods::controller_of(&freed.metadata).is_none());
    let new = active(&bench).into_iter().find(|pod| pod != "orphan").unwrap();
    bench.settle(&freeing, &new);
    assert!(members::is_tracked(&bench.get::<Pod>(&new)), "the Job itself will count it");
}

#[test]
fn pods_of_a_job_that_is_gone_are_freed() {
    let (bench, controller) = bench(&json!({}));
    bench.settle(&controller, "work");
    let pod = active(&bench)[0].clone();
    bench.registry.remove::<Job>(NAMESPACE, "work", &DeleteOptions::default()).unwrap();
    bench.settle(&OrphanPods::new(Arc::clone(&bench.registry)), &pod);
    assert!(!members::is_tracked(&bench.get::<Pod>(&pod)));
}

#[tokio::test(start_paused = true)]
async fn an_ended_job_is_deleted_after_its_time() {
    let (bench, controller) = bench(&json!({"ttlSecondsAfterFinished": 5}));
    let finished = FinishedJobs::new(Arc::clone(&bench.registry));
    bench.settle(&controller, "work");
    assert_eq!(bench.settle(&finished, "work"), Next::Settled);
    bench.finish(&active(&bench)[0], 0);
    bench.settle(&controller, "work");
    assert!(matches!(bench.settle(&finished, "work"), Next::After(wait) if wait <= Duration::from_secs(5)));
    pass(5).await;
    bench.settle(&finished, "work");
    assert!(bench.get::<Job>("work").metadata.deletion_timestamp.is_some(), "it waits for its pods");
}

#[test]
fn a_job_that_is_being_deleted_frees_its_pods_and_makes_no_new_ones() {
    let (bench, controller) = bench(&json!({"parallelism": 2, "completions": 4}));
    bench.settle(&controller, "work");
    let options = DeleteOptions { propagation: Propagation::Foreground, ..DeleteOptions::default() };
    bench.registry.delete(&kinds::JOB, NAMESPACE, "work", &options).unwrap();
    bench.settle(&controller, "work");
    assert_eq!(bench.pods().len(), 2);
    assert!(bench.pods().iter().all(|pod| !members::is_tracked(pod)));
}
