use serde_json::{Value, json};

use super::{
    super::bench::{Bench, NAMESPACE, pass},
    *,
};
use crate::sandbox::metrics::{ContainerUsage, PodUsage};

/// What every pod uses, in thousandths of a core, as the test says.
#[derive(Default)]
struct Told(Mutex<Option<i64>>);

impl Told {
    fn say(&self, milli: i64) {
        *self.0.lock().unwrap() = Some(milli);
    }
}

impl PodMetrics for Told {
    fn usage(&self, _: &str, _: &str) -> Option<PodUsage> {
        let cpu_nanos = (*self.0.lock().unwrap())? * 1_000_000;
        let one = ContainerUsage { container: "main".to_owned(), cpu_nanos, memory_bytes: 1_024 };
        Some(PodUsage { at: names::now(), window: Duration::from_secs(15), containers: vec![one] })
    }
}

fn cpu(percent: i32) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

/// A `ReplicaSet` of ready pods that each request a whole core, and an autoscaler of it.
fn bench(replicas: i32, spec: &Value) -> (Bench, Autoscalers, Arc<Told>) {
    let bench = Bench::new();
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "one"}]}});
    bench.create(
        &kinds::REPLICA_SET,
        &json!({
            "metadata": {"name": "web"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        }),
    );
    let mut whole = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"},
        "minReplicas": 1, "maxReplicas": 20, "metrics": [cpu(50)],
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    bench.create(&kinds::HORIZONTAL_POD_AUTOSCALER, &json!({"metadata": {"name": "web"}, "spec": whole}));
    let told = Arc::new(Told::default());
    let controller = Autoscalers::new(Arc::clone(&bench.registry), Arc::clone(&told) as _, PERIOD);
    follow(&bench);
    (bench, controller, told)
}

/// Lets there be as many pods as the `ReplicaSet` says, long started and ready.
fn follow(bench: &Bench) {
    let wanted = bench.value(&kinds::REPLICA_SET, "web")["spec"]["replicas"].as_u64().unwrap();
    for number in 0..wanted {
        let name = format!("web-{number}");
        if bench.registry.find::<Pod>(NAMESPACE, &name).is_none() {
            bench.create(
                &kinds::POD,
                &json!({
                    "metadata": {"name": name, "labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "main", "image": "one", "resources": {"requests": {"cpu": "1"}}}]},
                }),
            );
            bench.ready(&name);
            let started = |pod: &mut Pod| {
                pod.status.get_or_insert_default().start_time = Some(Time(Timestamp::UNIX_EPOCH));
                Ok(())
            };
            bench.registry.change_status::<Pod>(NAMESPACE, &name, started).unwrap();
        }
    }
    for pod in bench.living() {
        if pod.trim_start_matches("web-").parse::<u64>().unwrap() >= wanted {
            bench.delete(&pod);
        }
    }
    bench.all_gone();
}

/// Waits for the next look, and returns the number of replicas that is asked for then.
async fn look(bench: &Bench, controller: &Autoscalers) -> i64 {
    let key = Key::new(NAMESPACE, "web");
    let Next::After(wait) = controller.reconcile(&key).unwrap() else { panic!("it always looks again") };
    tokio::time::advance(wait).await;
    controller.reconcile(&key).unwrap();
    follow(bench);
    bench.value(&kinds::REPLICA_SET, "web")["spec"]["replicas"].as_i64().unwrap()
}

fn condition(bench: &Bench, kind: &str) -> (String, String, String) {
    let status = bench.status(&kinds::HORIZONTAL_POD_AUTOSCALER, "web");
    let all = status["conditions"].as_array().unwrap();
    let found = all.iter().find(|condition| condition["type"] == kind).unwrap();
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

#[tokio::test(start_paused = true)]
async fn it_looks_first_after_its_period_and_then_every_period() {
    let (bench, controller, told) = bench(2, &json!({}));
    told.say(1_000);
    let key = Key::new(NAMESPACE, "web");
    assert_eq!(controller.reconcile(&key).unwrap(), Next::After(PERIOD));
    pass(10).await;
    assert_eq!(controller.reconcile(&key).unwrap(), Next::After(Duration::from_secs(5)), "a change does not hurry it");
    assert_eq!(bench.value(&kinds::REPLICA_SET, "web")["spec"]["replicas"], 2);
    pass(5).await;
    assert_eq!(controller.reconcile(&key).unwrap(), Next::After(PERIOD));
    assert_eq!(bench.value(&kinds::REPLICA_SET, "web")["spec"]["replicas"], 4);
}

#[tokio::test(start_paused = true)]
async fn usage_above_the_target_adds_replicas_and_the_status_says_why() {
    let (bench, controller, told) = bench(2, &json!({}));
    told.say(750);
    assert_eq!(look(&bench, &controller).await, 3);
    let message = "New size: 3; reason: cpu resource utilization (percentage of request) above target";
    assert!(bench.told("SuccessfulRescale", message), "{:?}", bench.events());
    let status = bench.status(&kinds::HORIZONTAL_POD_AUTOSCALER, "web");
    assert_eq!((&status["currentReplicas"], &status["desiredReplicas"]), (&json!(2), &json!(3)));
    assert_eq!(
        status["currentMetrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": 75, "averageValue": "750m"}}}])
    );
    assert_eq!(
        condition(&bench, "AbleToScale"),
        (
            "True".into(),
            "SucceededRescale".into(),
            "the HPA controller was able to update the target scale to 3".into()
        )
    );
    assert_eq!(condition(&bench, "ScalingActive").1, "ValidMetricFound");
    assert_eq!(
        condition(&bench, "ScalingLimited"),
        ("False".into(), "DesiredWithinRange".into(), "the desired count is within the acceptable range".into())
    );
    told.say(520);
    assert_eq!(look(&bench, &controller).await, 3, "that is near enough");
    assert_eq!(condition(&bench, "AbleToScale").1, "ReadyForNewScale");
}

#[tokio::test(start_paused = true)]
async fn it_grows_to_the_double_at_most_and_shrinks_after_five_minutes() {
    let (bench, controller, told) = bench(3, &json!({"maxReplicas": 10}));
    told.say(2_000);
    assert_eq!(look(&bench, &controller).await, 6);
    assert_eq!(condition(&bench, "ScalingLimited").1, "ScaleUpLimit");
    assert_eq!(look(&bench, &controller).await, 10);
    assert_eq!(condition(&bench, "ScalingLimited").1, "TooManyReplicas");
    told.say(10);
    for _ in 0..20 {
        assert_eq!(look(&bench, &controller).await, 10);
    }
    assert_eq!(condition(&bench, "AbleToScale").1, "ScaleDownStabilized");
    assert_eq!(look(&bench, &controller).await, 1);
    assert!(bench.told("SuccessfulRescale", "New size: 1; reason: All metrics below target"));
}

#[tokio::test(start_paused = true)]
async fn its_own_rules_replace_upstreams() {
    let behavior = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"}});
    let (bench, controller, told) = bench(2, &json!({"behavior": behavior}));
    told.say(2_000);
    assert_eq!(look(&bench, &controller).await, 3);
    assert_eq!(look(&bench, &controller).await, 3, "one pod a minute");
    for _ in 0..3 {
        look(&bench, &controller).await;
    }
    assert_eq!(bench.value(&kinds::REPLICA_SET, "web")["spec"]["replicas"], 4);
    told.say(1);
    assert_eq!(look(&bench, &controller).await, 4, "it never shrinks");
}

#[tokio::test(start_paused = true)]
async fn a_number_outside_the_bounds_is_corrected_without_metrics() {
    for (replicas, wanted, reason) in [
        (1, 2, "Current number of replicas below Spec.MinReplicas"),
        (9, 5, "Current number of replicas above Spec.MaxReplicas"),
    ] {
        let (bench, controller, _) = bench(replicas, &json!({"minReplicas": 2, "maxReplicas": 5}));
        assert_eq!(look(&bench, &controller).await, wanted);
        assert!(bench.told("SuccessfulRescale", &format!("New size: {wanted}; reason: {reason}")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_of_no_replicas_is_let_alone() {
    let (bench, controller, told) = bench(0, &json!({}));
    told.say(2_000);
    assert_eq!(look(&bench, &controller).await, 0);
    assert_eq!(condition(&bench, "ScalingActive").1, "ScalingDisabled");
}

#[tokio::test(start_paused = true)]
async fn without_metrics_or_target_nothing_is_done_and_the_conditions_say_so() {
    let (silent, controller, _) = bench(2, &json!({}));
    assert_eq!(look(&silent, &controller).await, 2);
    let why = "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API";
    assert_eq!(
        condition(&silent, "ScalingActive"),
        (
            "False".into(),
            "FailedGetResourceMetric".into(),
            format!("the HPA was unable to compute the replica count: {why}")
        )
    );
    assert!(silent.told(
        "FailedComputeMetricsReplicas",
        &format!(
            "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {why}"
        ),
    ));

    let gone = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone"}});
    let (lost, controller, _) = bench(2, &gone);
    look(&lost, &controller).await;
    let (status, reason, message) = condition(&lost, "AbleToScale");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "FailedGetScale"));
    assert!(message.ends_with("current scale: deployments.apps \"gone\" not found"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn of_several_metrics_the_largest_counts_and_a_broken_one_only_blocks_shrinking() {
    let adapter = json!({"type": "Pods", "pods": {"metric": {"name": "requests"},
        "target": {"type": "AverageValue", "averageValue": "10"}}});
    let (both, controller, told) = bench(4, &json!({"metrics": [cpu(50), cpu(25), adapter]}));
    told.say(400);
    assert_eq!(look(&both, &controller).await, 7, "40 % is 1.6 times 25 %");
    told.say(1);
    for _ in 0..25 {
        assert_eq!(look(&both, &controller).await, 7);
    }
    assert_eq!(condition(&both, "ScalingActive").1, "FailedGetPodsMetric");
}

#[tokio::test(start_paused = true)]
async fn pods_without_requests_have_no_utilization_but_a_usage() {
    let average = json!({"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "AverageValue", "averageValue": "512"}}});
    for (metric, wanted) in [(cpu(50), 2), (average, 4)] {
        let (bench, controller, told) = bench(2, &json!({"metrics": [metric]}));
        told.say(2_000);
        for pod in bench.living() {
            bench.force(&kinds::POD, &pod, |pod| pod["spec"]["containers"][0]["resources"] = json!({}));
        }
        assert_eq!(look(&bench, &controller).await, wanted);
        if wanted == 2 {
            let message = condition(&bench, "ScalingActive").2;
            assert!(message.ends_with("missing request for cpu in container main of Pod web-0"), "{message}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_autoscalers_of_the_same_pods_do_nothing() {
    let (bench, controller, told) = bench(2, &json!({}));
    let spec = bench.value(&kinds::HORIZONTAL_POD_AUTOSCALER, "web")["spec"].clone();
    bench.create(&kinds::HORIZONTAL_POD_AUTOSCALER, &json!({"metadata": {"name": "other"}, "spec": spec}));
    told.say(2_000);
    assert_eq!(look(&bench, &controller).await, 2);
    assert_eq!(condition(&bench, "ScalingActive").1, "AmbiguousSelector");
}
