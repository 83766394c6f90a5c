//! The API itself: names, versions, patches, selectors, subresources, and how it refuses.

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, name, same, uid},
    scenarios,
    shapes::{deployment, pod, workload},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        a_name_is_made_from_its_prefix,
        a_name_that_is_taken_is_409,
        a_write_with_an_old_version_is_409,
        what_is_not_there_is_404_in_the_words_of_the_api,
        a_name_that_is_no_name_is_422,
        a_body_for_another_namespace_is_400,
        only_a_change_of_the_spec_is_a_new_generation,
        the_main_resource_does_not_write_the_status,
        the_status_subresource_writes_nothing_else,
        a_strategic_patch_merges_containers_by_name,
        a_json_patch_whose_test_fails_changes_nothing,
        two_appliers_of_one_field_are_in_conflict,
        what_an_applier_leaves_out_goes,
        lists_are_selected_by_labels_and_fields,
        a_list_comes_in_pages,
        a_watch_tells_of_everything_after_its_version,
        a_watch_of_a_selector_tells_of_objects_that_leave_it,
        a_pod_is_bound_once,
        an_unknown_field_is_refused_when_asked_strictly,
        an_unknown_field_that_a_json_patch_adds_is_refused_when_asked_strictly,
        a_divisor_that_is_left_out_is_zero,
        options_that_cannot_be_read_delete_nothing,
        a_dry_run_writes_nothing,
        a_collection_is_deleted_by_its_selector,
    ]
}

fn config(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"of": name}}, "data": data})
}

async fn a_name_is_made_from_its_prefix(ctx: Ctx) {
    let mut one = config("x", &json!({}));
    one["metadata"] = json!({"generateName": "some-"});
    let (first, second) = (ctx.create("configmaps", one.clone()).await, ctx.create("configmaps", one).await);
    for made in [&first, &second] {
        assert!(name(made).starts_with("some-") && name(made).len() == "some-".len() + 5, "{}", name(made));
    }
    assert!(name(&first) != name(&second) && uid(&first) != uid(&second));
}

async fn a_name_that_is_taken_is_409(ctx: Ctx) {
    ctx.create("configmaps", config("one", &json!({}))).await;
    let status = ctx.post("configmaps", &config("one", &json!({}))).await.refused(409);
    same(status["reason"].as_str(), Some("AlreadyExists"));
    same(status["message"].as_str(), Some("configmaps \"one\" already exists"));
    same(status["details"]["kind"].as_str(), Some("configmaps"));
}

async fn a_write_with_an_old_version_is_409(ctx: Ctx) {
    let old = ctx.create("configmaps", config("one", &json!({"a": "1"}))).await;
    ctx.merge("configmaps", "one", json!({"data": {"a": "2"}})).await.ok();
    let path = format!("{}/one", ctx.path("configmaps"));
    let status = ctx.send("PUT", &path, Some(("application/json", &old))).await.refused(409);
    same(status["reason"].as_str(), Some("Conflict"));
    same(
        status["message"].as_str(),
        Some(
            "Operation cannot be fulfilled on configmaps \"one\": the object has been modified; please apply your \
             changes to the latest version and try again",
        ),
    );
}

async fn what_is_not_there_is_404_in_the_words_of_the_api(ctx: Ctx) {
    let path = format!("{}/nobody", ctx.path("deployments"));
    let status = ctx.send("GET", &path, None).await.refused(404);
    same(status["message"].as_str(), Some("deployments.apps \"nobody\" not found"));
    same(status["details"]["group"].as_str(), Some("apps"));
    let status = ctx.send("GET", "/apis/apps/v1/nothings", None).await;
    same(status.code, 404);
}

async fn a_name_that_is_no_name_is_422(ctx: Ctx) {
    let status = ctx.post("configmaps", &config("No_Name", &json!({}))).await.refused(422);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("metadata.name: Invalid value: \"No_Name\": a lowercase RFC 1123 subdomain must consist of"),
        "{message}"
    );
}

async fn a_body_for_another_namespace_is_400(ctx: Ctx) {
    let mut one = config("one", &json!({}));
    one["metadata"]["namespace"] = json!("elsewhere");
    let status = ctx.post("configmaps", &one).await.refused(400);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("the namespace of the provided object does not match"), "{message}");
}

async fn only_a_change_of_the_spec_is_a_new_generation(ctx: Ctx) {
    let made = ctx.create("deployments", deployment("shop", 0, &json!({}))).await;
    same(made["metadata"]["generation"].as_i64(), Some(1));
    let labelled = ctx.merge("deployments", "shop", json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    same(labelled["metadata"]["generation"].as_i64(), Some(1));
    let changed = ctx.merge("deployments", "shop", json!({"spec": {"minReadySeconds": 1}})).await.ok();
    same(changed["metadata"]["generation"].as_i64(), Some(2));
    let again = ctx.merge("deployments", "shop", json!({"spec": {"minReadySeconds": 1}})).await.ok();
    same(again["metadata"]["generation"].as_i64(), Some(2));
}

async fn the_main_resource_does_not_write_the_status(ctx: Ctx) {
    ctx.create("replicasets", workload("ReplicaSet", "shop", 0, &json!({}))).await;
    let changed = ctx.merge("replicasets", "shop", json!({"status": {"replicas": 7}})).await.ok();
    same(changed["status"]["replicas"].as_i64(), Some(0));
}

async fn the_status_subresource_writes_nothing_else(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({"nodeSelector": {"no": "such-node"}}))).await;
    let path = format!("{}/one/status", ctx.path("pods"));
    let patch = json!({"spec": {"nodeName": "x"}, "status": {"message": "hello"}});
    let changed = ctx.send("PATCH", &path, Some(("application/merge-patch+json", &patch))).await.ok();
    same(changed["status"]["message"].as_str(), Some("hello"));
    assert!(changed["spec"]["nodeName"].is_null());
}

async fn a_strategic_patch_merges_containers_by_name(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 0, &json!({}))).await;
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "shop", "env": [{"name": "A", "value": "1"}]},
        {"name": "second", "image": "evenkeel/demo:v1"},
    ]}}}});
    let changed = ctx.patch("deployments", "shop", "application/strategic-merge-patch+json", patch).await.ok();
    let containers = changed["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
    same(containers.len(), 2);
    let shop = containers.iter().find(|container| container["name"] == "shop").unwrap();
    same(shop["image"].as_str(), Some("evenkeel/demo:v1"));
    same(shop["env"][0]["value"].as_str(), Some("1"));
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "second", "$patch": "delete"}]}}}});
    let changed = ctx.patch("deployments", "shop", "application/strategic-merge-patch+json", patch).await.ok();
    same(changed["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(1));
}

async fn a_json_patch_whose_test_fails_changes_nothing(ctx: Ctx) {
    ctx.create("configmaps", config("one", &json!({"a": "1"}))).await;
    let patch = json!([
        {"op": "replace", "path": "/data/a", "value": "2"},
        {"op": "test", "path": "/data/a", "value": "3"},
    ]);
    let answer = ctx.patch("configmaps", "one", "application/json-patch+json", patch).await;
    same(answer.code, 422);
    same(ctx.get("configmaps", "one").await.unwrap()["data"]["a"].as_str(), Some("1"));
}

async fn apply(ctx: &Ctx, manager: &str, force: bool, data: Value) -> crate::cluster::Answer {
    let path = format!("{}/one?fieldManager={manager}&force={force}", ctx.path("configmaps"));
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": data});
    ctx.send("PATCH", &path, Some(("application/apply-patch+yaml", &body))).await
}

async fn two_appliers_of_one_field_are_in_conflict(ctx: Ctx) {
    same(apply(&ctx, "first", false, json!({"a": "1", "b": "1"})).await.code, 201);
    let status = apply(&ctx, "second", false, json!({"a": "2"})).await.refused(409);
    same(status["reason"].as_str(), Some("Conflict"));
    let cause = &status["details"]["causes"][0];
    same(cause["reason"].as_str(), Some("FieldManagerConflict"));
    same(cause["field"].as_str(), Some(".data.a"));
    same(cause["message"].as_str(), Some("conflict with \"first\""));
    // The same value is no conflict, and forcing takes the field over.
    apply(&ctx, "second", false, json!({"a": "1"})).await.ok();
    let forced = apply(&ctx, "second", true, json!({"a": "2"})).await.ok();
    same(forced["data"]["a"].as_str(), Some("2"));
    same(forced["data"]["b"].as_str(), Some("1"));
}

async fn what_an_applier_leaves_out_goes(ctx: Ctx) {
    apply(&ctx, "first", false, json!({"a": "1", "b": "1"})).await.ok();
    apply(&ctx, "second", false, json!({"b": "1", "c": "1"})).await.ok();
    let left = apply(&ctx, "first", false, json!({})).await.ok();
    // `b` is the second's too.
    same(left["data"].clone(), json!({"b": "1", "c": "1"}));
}

async fn lists_are_selected_by_labels_and_fields(ctx: Ctx) {
    for one in ["a", "b", "c"] {
        ctx.create("configmaps", config(one, &json!({}))).await;
    }
    let names = |query: &'static str| {
        let ctx = ctx.clone();
        async move { ctx.list("configmaps", query).await.iter().map(name).collect::<Vec<_>>() }
    };
    same(names("labelSelector=of%20in%20(a,c)").await, vec!["a".to_owned(), "c".to_owned()]);
    same(names("labelSelector=of,of!%3Da").await, vec!["b".to_owned(), "c".to_owned()]);
    same(names("fieldSelector=metadata.name%3Db").await, vec!["b".to_owned()]);
    let path = format!("{}?fieldSelector=no.such%3Dx", ctx.path("configmaps"));
    ctx.send("GET", &path, None).await.refused(400);
}

async fn a_list_comes_in_pages(ctx: Ctx) {
    for one in ["a", "b", "c", "d", "e"] {
        ctx.create("configmaps", config(one, &json!({}))).await;
    }
    let selector = "labelSelector=of";
    let path = format!("{}?limit=2&{selector}", ctx.path("configmaps"));
    let (mut seen, mut next) = (Vec::new(), path.clone());
    loop {
        let page = ctx.send("GET", &next, None).await.ok();
        let items = page["items"].as_array().cloned().unwrap_or_default();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(name));
        match page["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
            Some(token) => next = format!("{path}&continue={token}"),
            None => break,
        }
    }
    same(seen, ["a", "b", "c", "d", "e"].map(ToOwned::to_owned).to_vec());
}

/// The events of a watch, until as many have come.
async fn watch(ctx: &Ctx, query: &str, count: usize) -> Vec<(String, String)> {
    let path = format!("{}?watch=1&timeoutSeconds=20&{query}", ctx.path("configmaps"));
    let lines = ctx.lines(&path, count).await;
    lines.iter().map(|event| (event["type"].as_str().unwrap_or_default().to_owned(), name(&event["object"]))).collect()
}

async fn a_watch_tells_of_everything_after_its_version(ctx: Ctx) {
    let first = ctx.create("configmaps", config("a", &json!({}))).await;
    ctx.create("configmaps", config("b", &json!({}))).await;
    ctx.merge("configmaps", "a", json!({"data": {"x": "1"}})).await.ok();
    ctx.delete("configmaps", "b", json!({})).await.ok();
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let events = watch(&ctx, &format!("resourceVersion={version}&labelSelector=of"), 3).await;
    let wanted = [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")];
    same(events, wanted.map(|(kind, name)| (kind.to_owned(), name.to_owned())).to_vec());
}

async fn a_watch_of_a_selector_tells_of_objects_that_leave_it(ctx: Ctx) {
    let first = ctx.create("configmaps", config("a", &json!({}))).await;
    ctx.merge("configmaps", "a", json!({"metadata": {"labels": {"of": "b"}}})).await.ok();
    ctx.merge("configmaps", "a", json!({"metadata": {"labels": {"of": "a"}}})).await.ok();
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let events = watch(&ctx, &format!("resourceVersion={version}&labelSelector=of%3Da"), 2).await;
    let wanted = [("DELETED", "a"), ("ADDED", "a")];
    same(events, wanted.map(|(kind, name)| (kind.to_owned(), name.to_owned())).to_vec());
}

async fn a_pod_is_bound_once(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({}))).await;
    let ready = ctx.ready_pods("one", 1, 60).await;
    let node = ready[0]["spec"]["nodeName"].clone();
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "one"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let path = format!("{}/one/binding", ctx.path("pods"));
    let status = ctx.send("POST", &path, Some(("application/json", &binding))).await.refused(409);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("is already assigned to node"), "{message}");
}

async fn an_unknown_field_is_refused_when_asked_strictly(ctx: Ctx) {
    let mut odd = deployment("shop", 0, &json!({}));
    odd["spec"]["replica"] = json!(3);
    let path = format!("{}?fieldValidation=Strict", ctx.path("deployments"));
    let status = ctx.send("POST", &path, Some(("application/json", &odd))).await.refused(400);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("strict decoding error: unknown field \"spec.replica\""), "{message}");
    ctx.create("deployments", odd).await;
}

async fn an_unknown_field_that_a_json_patch_adds_is_refused_when_asked_strictly(ctx: Ctx) {
    ctx.create("configmaps", config("one", &json!({"a": "1"}))).await;
    let path = format!("{}/one?fieldValidation=Strict", ctx.path("configmaps"));
    let patch = json!([{"op": "add", "path": "/dota", "value": {"a": "2"}}]);
    let status = ctx.send("PATCH", &path, Some(("application/json-patch+json", &patch))).await.refused(422);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("strict decoding error: unknown field \"dota\""), "{message}");
}

async fn a_divisor_that_is_left_out_is_zero(ctx: Ctx) {
    let source = json!({"resourceFieldRef": {"resource": "requests.cpu"}});
    let mut one = pod("one", &json!({}));
    one["spec"]["containers"][0]["env"] = json!([{"name": "CPUS", "valueFrom": source}]);
    let path = format!("{}?fieldValidation=Strict", ctx.path("pods"));
    let made = ctx.send("POST", &path, Some(("application/json", &one))).await.ok();
    let reference = &made["spec"]["containers"][0]["env"][0]["valueFrom"]["resourceFieldRef"];
    same(reference["divisor"].as_str(), Some("0"));
    // The kubelet works it out.
    ctx.ready_pods("one", 1, 60).await;
}

async fn options_that_cannot_be_read_delete_nothing(ctx: Ctx) {
    ctx.create("configmaps", config("one", &json!({}))).await;
    for options in [
        json!({"gracePeriodSeconds": "abc"}),
        json!({"preconditions": {"uid": 5}, "dryRun": ["All"]}),
        json!({"kind": "Pod", "apiVersion": "v1"}),
    ] {
        let answer = ctx.delete("configmaps", "one", options.clone()).await;
        assert!(answer.code >= 400, "{options}: {}", answer.code);
    }
    assert!(ctx.get("configmaps", "one").await.is_some());
}

async fn a_dry_run_writes_nothing(ctx: Ctx) {
    let path = format!("{}?dryRun=All", ctx.path("configmaps"));
    let made = ctx.send("POST", &path, Some(("application/json", &config("one", &json!({}))))).await.ok();
    assert!(!uid(&made).is_empty());
    assert!(ctx.get("configmaps", "one").await.is_none());
}

async fn a_collection_is_deleted_by_its_selector(ctx: Ctx) {
    for one in ["a", "b", "c"] {
        ctx.create("configmaps", config(one, &json!({}))).await;
    }
    let path = format!("{}?labelSelector=of%20in%20(a,b)", ctx.path("configmaps"));
    ctx.send("DELETE", &path, None).await.ok();
    let left: Vec<String> = ctx.list("configmaps", "labelSelector=of").await.iter().map(name).collect();
    same(left, vec!["c".to_owned()]);
}
