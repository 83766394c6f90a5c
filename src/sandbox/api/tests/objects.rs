//! Objects by the verbs.

use serde_json::{Value, json};

use super::rig::Rig;
use crate::sandbox::{
    api::{ApiOptions, Denied},
    kinds,
};

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn an_object_is_made_read_replaced_and_deleted() {
    let rig = Rig::new();
    let made = rig.call("POST", MAPS, &map("web")).await;
    assert_eq!(made.status, 201);
    let mut value = made.json();
    assert_eq!(rig.get(&format!("{MAPS}/web")).await.json(), value);
    value["data"]["a"] = json!("2");
    let replaced = rig.call("PUT", &format!("{MAPS}/web"), &value).await;
    assert_eq!((replaced.status, &replaced.json()["data"]["a"]), (200, &json!("2")));
    let stale = rig.call("PUT", &format!("{MAPS}/web"), &value).await;
    assert_eq!((stale.status, &stale.json()["reason"]), (409, &json!("Conflict")));
    let deleted = rig.call("DELETE", &format!("{MAPS}/web"), &Value::Null).await;
    let status = deleted.json();
    assert_eq!((deleted.status, &status["status"]), (200, &json!("Success")));
    assert_eq!((&status["details"]["kind"], &status["details"]["name"]), (&json!("configmaps"), &json!("web")));
    let gone = rig.get(&format!("{MAPS}/web")).await;
    assert_eq!((gone.status, &gone.json()["message"]), (404, &json!("configmaps \"web\" not found")));
}

#[tokio::test]
async fn bodies_come_as_yaml_and_protobuf_too() {
    let rig = Rig::new();
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\n".to_owned();
    assert_eq!(rig.call_with("POST", MAPS, "application/yaml", yaml).await.status, 201);
    // ConfigMap 1 {name 1: "p"}, in its envelope.
    let protobuf = "k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x05\x0a\x03\x0a\x01p".to_owned();
    let made = rig.call_with("POST", MAPS, "application/vnd.kubernetes.protobuf", protobuf).await;
    assert_eq!((made.status, &made.json()["metadata"]["name"]), (201, &json!("p")));
    let refused = rig.call_with("POST", MAPS, "application/cbor", "k8s".to_owned()).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (415, &json!("UnsupportedMediaType")));
    let shown = rig.get_as(&format!("{MAPS}/web"), "application/yaml").await;
    assert!(shown.text.contains("name: web"), "{}", shown.text);
    assert_eq!(rig.get_as(MAPS, "application/vnd.kubernetes.protobuf").await.status, 406);
    assert_eq!(rig.call_with("POST", MAPS, "application/json", "{\"a\":".to_owned()).await.status, 400);
    let long = "x".repeat(3 * 1024 * 1024 + 1);
    assert_eq!(rig.call_with("POST", MAPS, "application/json", long).await.status, 413);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let rig = Rig::new();
    assert_eq!(rig.call("POST", &format!("{MAPS}?dryRun=All"), &map("web")).await.status, 201);
    assert_eq!(rig.get(&format!("{MAPS}/web")).await.status, 404);
    assert_eq!(rig.call("POST", &format!("{MAPS}?dryRun=Some"), &map("web")).await.status, 422);
    rig.map("web", Value::Null);
    assert_eq!(rig.call("DELETE", &format!("{MAPS}/web"), &json!({"dryRun": ["All"]})).await.status, 200);
    assert_eq!(rig.get(&format!("{MAPS}/web")).await.status, 200);
}

#[tokio::test]
async fn a_list_is_what_is_stored_as_it_is() {
    let rig = Rig::new();
    rig.map("a", json!({"app": "x"}));
    rig.map("b", json!({"app": "y"}));
    let list = rig.get(MAPS).await.json();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert_eq!(list["metadata"]["resourceVersion"], rig.registry.store().version().to_string());
    assert_eq!(names(&list), ["a", "b"]);
    assert_eq!(names(&rig.get(&format!("{MAPS}?labelSelector=app%3Dy")).await.json()), ["b"]);
    assert_eq!(names(&rig.get("/api/v1/configmaps?fieldSelector=metadata.name%3Da").await.json()), ["a"]);
    assert_eq!(names(&rig.get("/api/v1/namespaces/default/configmaps").await.json()), Vec::<&str>::new());
    let page = rig.get(&format!("{MAPS}?limit=1")).await.json();
    assert_eq!((names(&page), &page["metadata"]["remainingItemCount"]), (vec!["a"], &json!(1)));
    let next = page["metadata"]["continue"].as_str().unwrap();
    assert_eq!(names(&rig.get(&format!("{MAPS}?limit=1&continue={next}")).await.json()), ["b"]);
    assert_eq!(rig.get(&format!("{MAPS}?fieldSelector=data.a%3D1")).await.status, 400);
}

#[tokio::test]
async fn a_long_list_goes_out_in_pieces_of_its_stated_length() {
    let rig = Rig::new();
    for at in 0..300 {
        let value = json!({"metadata": {"name": format!("m{at:03}")}, "data": {"x": "x".repeat(1000)}});
        rig.store(&kinds::CONFIG_MAP, "shop", value);
    }
    let answer = rig.send(hyper::Request::get(MAPS).body(http_body_util::Full::default()).unwrap()).await;
    let stated = hyper::body::Body::size_hint(answer.body()).exact();
    let read = super::rig::read(answer).await;
    assert_eq!(stated, Some(read.text.len() as u64));
    assert_eq!(names(&read.json()).len(), 300);
}

#[tokio::test]
async fn deleting_a_collection_takes_what_is_selected() {
    let rig = Rig::new();
    rig.map("a", json!({"app": "x"}));
    rig.map("b", json!({"app": "y"}));
    let deleted = rig.call("DELETE", &format!("{MAPS}?labelSelector=app%3Dx"), &Value::Null).await;
    assert_eq!((deleted.status, names(&deleted.json())), (200, vec!["a"]));
    assert_eq!(names(&rig.get(MAPS).await.json()), ["b"]);
}

#[tokio::test]
async fn a_pod_in_its_grace_is_the_answer_to_its_deletion() {
    let rig = Rig::new();
    let pod =
        json!({"metadata": {"name": "web"}, "spec": {"nodeName": "a", "containers": [{"name": "app", "image": "x"}]}});
    rig.store(&kinds::POD, "shop", pod);
    let path = "/api/v1/namespaces/shop/pods/web";
    let answer = rig.call("DELETE", &format!("{path}?gracePeriodSeconds=7"), &Value::Null).await;
    let waiting = answer.json();
    assert_eq!((answer.status, &waiting["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(7)));
    let wrong = json!({"preconditions": {"uid": "other"}});
    assert_eq!(rig.call("DELETE", path, &wrong).await.status, 409);
    assert_eq!(rig.call("DELETE", path, &json!({"propagationPolicy": "Sideways"})).await.status, 422);
    let gone = rig.call("DELETE", path, &json!({"gracePeriodSeconds": 0})).await;
    assert_eq!((gone.status, &gone.json()["kind"]), (200, &json!("Pod")));
    assert_eq!(rig.get(path).await.status, 404);
}

#[tokio::test]
async fn whoever_deletes_a_job_is_told_that_its_pods_stay() {
    let rig = Rig::new();
    let job = json!({"metadata": {"name": "once"}, "spec": {"template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "x"}]}}}});
    rig.store(&kinds::JOB, "shop", job);
    let path = "/apis/batch/v1/namespaces/shop/jobs/once";
    let silent = rig.call("DELETE", path, &Value::Null).await;
    assert!(silent.header("warning").starts_with("299 - \"child pods are preserved by default"), "{:?}", silent.answer);
    assert_eq!(silent.json()["metadata"]["finalizers"], json!(["orphan"]));
}

#[tokio::test]
async fn what_there_cannot_be_is_listed_empty_and_refused() {
    let rig = Rig::new();
    let list = rig.get("/apis/storage.k8s.io/v1/storageclasses").await.json();
    assert_eq!((&list["kind"], names(&list).len()), (&json!("StorageClassList"), 0));
    assert_eq!(rig.get("/apis/storage.k8s.io/v1/storageclasses/fast").await.status, 404);
    let made = rig.call("POST", "/apis/storage.k8s.io/v1/storageclasses", &json!({"metadata": {"name": "fast"}})).await;
    assert_eq!(made.status, 501);
    assert!(made.json()["message"].as_str().unwrap().contains("StorageClass"));
}

#[tokio::test]
async fn an_update_makes_a_lease_that_is_not_there() {
    let rig = Rig::new();
    let path = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/a";
    let lease = json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "me"}});
    assert_eq!(rig.call("PUT", path, &lease).await.status, 201);
    assert_eq!(rig.call("PUT", path, &lease).await.status, 200);
    assert_eq!(rig.call("PUT", &format!("{MAPS}/none"), &map("none")).await.status, 404);
    assert_eq!(rig.call("PUT", &format!("{MAPS}/none"), &map("other")).await.status, 400);
}

#[tokio::test]
async fn a_table_has_a_row_for_each_object() {
    let rig = Rig::new();
    rig.map("a", json!({"app": "x"}));
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = rig.get_as(MAPS, accept).await.json();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["object"]["metadata"]["labels"]["app"], "x");
    let whole = rig.get_as(&format!("{MAPS}/a?includeObject=Object"), accept).await.json();
    assert_eq!(whole["rows"][0]["object"]["kind"], "ConfigMap");
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = rig.get_as(MAPS, accept).await.json();
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("PartialObjectMetadataList"), &json!("PartialObjectMetadata"))
    );
}

#[tokio::test]
async fn rights_that_are_taken_away_are_missed() {
    let denied = vec![Denied { verb: "list".to_owned(), resource: "pods".to_owned(), ..Denied::default() }];
    let rig = Rig::with(ApiOptions { denied, ..ApiOptions::default() });
    let refused = rig.get("/api/v1/namespaces/shop/pods").await;
    assert_eq!((refused.status, &refused.json()["reason"]), (403, &json!("Forbidden")));
    assert_eq!(rig.get("/api/v1/nodes").await.status, 200);
    let review =
        |verb: &str| json!({"spec": {"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": "shop"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = rig.call("POST", path, &review("list")).await;
    assert_eq!((answer.status, &answer.json()["status"]["allowed"]), (201, &json!(false)));
    assert_eq!(rig.call("POST", path, &review("get")).await.json()["status"]["allowed"], true);
    assert_eq!(rig.call("POST", path, &json!({"spec": {}})).await.status, 422);
    let who = rig.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({})).await.json();
    assert_eq!(who["status"]["userInfo"]["username"], "kubernetes-admin");
}

#[tokio::test]
async fn events_are_seen_in_both_groups() {
    let rig = Rig::new();
    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "web", "namespace": "shop"},
        "note": "Started", "reason": "Started", "type": "Normal"});
    let path = "/apis/events.k8s.io/v1/namespaces/shop/events";
    let made = rig.call("POST", path, &event).await;
    assert_eq!((made.status, &made.json()["note"]), (201, &json!("Started")));
    let core = rig.get("/api/v1/namespaces/shop/events?fieldSelector=involvedObject.name%3Dweb").await.json();
    assert_eq!(core["items"][0]["message"], "Started");
    let list = rig.get(&format!("{path}?fieldSelector=regarding.name%3Dweb")).await.json();
    assert_eq!(
        (&list["items"][0]["apiVersion"], &list["items"][0]["note"]),
        (&json!("events.k8s.io/v1"), &json!("Started"))
    );
}

#[tokio::test]
async fn a_kube_client_works_in_process() {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Api, DeleteParams, ListParams, PostParams};
    let rig = Rig::new();
    let maps: Api<ConfigMap> = Api::namespaced(rig.api.client(), "shop");
    let value: ConfigMap = serde_json::from_value(map("web")).unwrap();
    let made = maps.create(&PostParams::default(), &value).await.unwrap();
    assert_eq!(made.metadata.name.as_deref(), Some("web"));
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 1);
    let again = maps.create(&PostParams::default(), &value).await.unwrap_err();
    assert!(matches!(again, kube::Error::Api(status) if status.code == 409));
    maps.delete("web", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("web").await.unwrap().is_none());
}

#[tokio::test]
async fn fields_that_a_kind_has_not_are_warned_of_or_refused() {
    let rig = Rig::new();
    let mut map = map("web");
    map["dota"] = json!({"a": "1"});
    let warned = rig.call("POST", MAPS, &map).await;
    assert_eq!((warned.status, warned.header("warning")), (201, "299 - \"unknown field \\\"dota\\\"\""));
    let refused = rig.call("POST", &format!("{MAPS}?fieldValidation=Strict"), &map).await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.json()["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dota\""
    );
    let patch = json!({"$retainKeys": ["data"], "dota": {"b": "2"}}).to_string();
    let path = format!("{MAPS}/web?fieldValidation=Strict");
    let refused = rig.call_with("PATCH", &path, "application/strategic-merge-patch+json", patch).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("strict decoding error: unknown field"), "{}", refused.text);
    assert_eq!(rig.call("POST", &format!("{MAPS}?fieldValidation=Loose"), &map).await.status, 422);
}

#[tokio::test]
async fn a_json_patch_is_held_against_the_fields_too() {
    let rig = Rig::new();
    rig.map("web", Value::Null);
    let patch = |op: Value| json!([op]).to_string();
    let unknown = patch(json!({"op": "add", "path": "/dota", "value": {"b": "2"}}));
    let json_patch = "application/json-patch+json";
    let path = |query: &str| format!("{MAPS}/web{query}");
    let refused = rig.call_with("PATCH", &path("?fieldValidation=Strict"), json_patch, unknown.clone()).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let cause = refused.json()["details"]["causes"][0].clone();
    assert_eq!(cause["field"], "patch");
    assert!(cause["message"].as_str().unwrap().ends_with("strict decoding error: unknown field \"dota\""), "{cause}");
    let warned = rig.call_with("PATCH", &path(""), json_patch, unknown.clone()).await;
    assert_eq!((warned.status, warned.header("warning")), (200, "299 - \"unknown field \\\"dota\\\"\""));
    let ignored = rig.call_with("PATCH", &path("?fieldValidation=Ignore"), json_patch, unknown).await;
    assert_eq!((ignored.status, ignored.header("warning")), (200, ""));
    let known = patch(json!({"op": "add", "path": "/data", "value": {"b": "2"}}));
    assert_eq!(rig.call_with("PATCH", &path("?fieldValidation=Strict"), json_patch, known).await.status, 200);
    let nowhere = patch(json!({"op": "remove", "path": "/data/none"}));
    let refused = rig.call_with("PATCH", &path("?fieldValidation=Strict"), json_patch, nowhere).await;
    assert_eq!((refused.status, &refused.json()["details"]), (422, &json!({})));
    assert_eq!(rig.call_with("PATCH", &format!("{MAPS}/none"), json_patch, "[]".to_owned()).await.status, 404);
}

#[tokio::test]
async fn keys_that_a_body_has_twice_are_warned_of_or_refused() {
    let rig = Rig::new();
    let json = r#"{"metadata": {"name": "NAME"}, "data": {"a": "1", "a": "2"}}"#;
    let yaml = "metadata:\n  name: NAME\ndata:\n  a: one\n  a: two\n";
    for (media_type, text, words) in [
        ("application/json", json, "duplicate field \"data.a\""),
        ("application/yaml", yaml, "yaml: unmarshal errors:\n  line 5: key \"a\" already set in map"),
    ] {
        let text = |name: &str| text.replace("NAME", name);
        let name = media_type.replace('/', "-");
        let strict = format!("{MAPS}?fieldValidation=Strict");
        let refused = rig.call_with("POST", &strict, media_type, text(&name)).await;
        let wanted =
            format!("ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: {words}");
        assert_eq!((refused.status, &refused.json()["message"]), (400, &json!(wanted)));
        let warned = rig.call_with("POST", MAPS, media_type, text(&name)).await;
        assert_eq!(warned.status, 201, "{}", warned.text);
        assert!(warned.header("warning").contains("already set") || warned.header("warning").contains("duplicate"));
        assert_ne!(warned.json()["data"]["a"], "1");
        let ignoring = format!("{MAPS}/{name}?fieldValidation=Ignore");
        let ignored = rig.call_with("PUT", &ignoring, media_type, text(&name)).await;
        assert_eq!((ignored.status, ignored.header("warning")), (200, ""), "{}", ignored.text);
    }
    let path = format!("{MAPS}/application-json?fieldValidation=Strict");
    let merge = "{\"data\": {\"a\": \"1\"}, \"data\": {\"a\": \"2\"}}".to_owned();
    let refused = rig.call_with("PATCH", &path, "application/merge-patch+json", merge).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("duplicate field"), "{}", refused.text);
    let apply = format!("{path}&fieldManager=me");
    let document = "apiVersion: v1\nkind: ConfigMap\n".to_owned() + &yaml.replace("NAME", "application-json");
    let refused = rig.call_with("PATCH", &apply, "application/apply-patch+yaml", document).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("error strict decoding YAML: error converting YAML to JSON"), "{}", refused.text);
}

#[tokio::test]
async fn options_of_a_deletion_that_cannot_be_read_delete_nothing() {
    let rig = Rig::new();
    rig.map("web", Value::Null);
    let path = format!("{MAPS}/web");
    for (options, words) in [
        (json!({"preconditions": {"uid": 5}, "dryRun": "All"}), "Preconditions.preconditions.uid"),
        (json!({"gracePeriodSeconds": "abc"}), "DeleteOptions.gracePeriodSeconds of type int64"),
        (json!({"kind": "Pod", "apiVersion": "v1"}), "decoded object cannot be converted to DeleteOptions"),
        (json!({"kind": "DeleteOptions", "apiVersion": "none/v1"}), "decoded object"),
        (json!({"kind": "Pod", "gracePeriodSeconds": 0}), "decoded object"),
        (json!([]), "must be of type Object"),
    ] {
        for path in [path.as_str(), MAPS] {
            let refused = rig.call("DELETE", path, &options).await;
            assert_eq!(refused.status, 400, "{options}: {}", refused.text);
            assert!(refused.text.contains(words), "{options}: {}", refused.text);
        }
    }
    assert_eq!(rig.get(&path).await.status, 200);
    // Old clients name the group of the object, others that of the options.
    for version in ["v1", "meta.k8s.io/v1", "apps/v1"] {
        let options = json!({"kind": "DeleteOptions", "apiVersion": version, "dryRun": ["All"]});
        assert_eq!(rig.call("DELETE", &path, &options).await.status, 200, "{version}");
    }
    assert_eq!(rig.call("DELETE", &path, &json!({})).await.status, 200);
    assert_eq!(rig.get(&path).await.status, 404);
}

#[tokio::test]
async fn options_that_are_refused_are_named_as_the_verb_has_them() {
    let rig = Rig::new();
    rig.map("web", Value::Null);
    let path = format!("{MAPS}/web");
    for (method, path, media_type, kind) in [
        ("POST", MAPS, "application/json", "CreateOptions"),
        ("PUT", path.as_str(), "application/json", "UpdateOptions"),
        ("PATCH", path.as_str(), "application/merge-patch+json", "PatchOptions"),
        ("DELETE", path.as_str(), "application/json", "DeleteOptions"),
    ] {
        for query in ["dryRun=Some", "fieldValidation=Loose"] {
            if method == "DELETE" && query.starts_with("fieldValidation") {
                continue;
            }
            let body = if method == "DELETE" { String::new() } else { map("web").to_string() };
            let refused = rig.call_with(method, &format!("{path}?{query}"), media_type, body).await;
            let details = refused.json()["details"].clone();
            assert_eq!((refused.status, &details["kind"]), (422, &json!(kind)), "{method} {query}: {}", refused.text);
        }
    }
}

#[tokio::test]
async fn an_object_is_patched_in_four_ways() {
    let rig = Rig::new();
    rig.map("web", json!({"a": "1"}));
    let path = format!("{MAPS}/web");
    let label = |value: &str| json!({"metadata": {"labels": {"a": value}}}).to_string();
    let json_patch = json!([{"op": "replace", "path": "/metadata/labels/a", "value": "2"}]).to_string();
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"a": "5"}}}).to_string();
    for (media_type, query, body, expected) in [
        ("application/json-patch+json", "", json_patch, "2"),
        ("application/merge-patch+json", "", label("3"), "3"),
        ("application/strategic-merge-patch+json", "", label("4"), "4"),
        ("application/apply-patch+yaml", "?fieldManager=me&force=true", apply.clone(), "5"),
    ] {
        let read = rig.call_with("PATCH", &format!("{path}{query}"), media_type, body).await;
        assert_eq!((read.status, &read.json()["metadata"]["labels"]["a"]), (200, &json!(expected)), "{media_type}");
    }
    let made =
        rig.call_with("PATCH", &format!("{MAPS}/new?fieldManager=me"), "application/apply-patch+yaml", apply).await;
    assert_eq!(made.status, 201);
    let nobody = rig.call_with("PATCH", &path, "application/apply-patch+yaml", label("6")).await;
    assert_eq!(nobody.status, 422);
    assert_eq!(rig.call("PATCH", &path, &json!({})).await.status, 415);
}

#[tokio::test]
async fn a_scale_is_read_replaced_and_patched() {
    let rig = Rig::new();
    let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app", "image": "x"}]}}}});
    rig.store(&kinds::DEPLOYMENT, "shop", deployment);
    let path = "/apis/apps/v1/namespaces/shop/deployments/web/scale";
    let mut scale = rig.get(path).await.json();
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    scale["spec"]["replicas"] = json!(3);
    assert_eq!(rig.call("PUT", path, &scale).await.json()["spec"]["replicas"], 3);
    let patch = json!({"spec": {"replicas": 4}}).to_string();
    let patched = rig.call_with("PATCH", path, "application/merge-patch+json", patch).await;
    assert_eq!((patched.status, &patched.json()["spec"]["replicas"]), (200, &json!(4)));
    assert_eq!(rig.get("/apis/batch/v1/namespaces/shop/jobs/x/scale").await.status, 404);
}

#[tokio::test]
async fn a_write_of_the_status_leaves_a_deployments_labels_alone() {
    let rig = Rig::new();
    let labels = json!({"app": "a"});
    let deployment = json!({"metadata": {"name": "a", "labels": labels}, "spec": {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
    }});
    rig.store(&kinds::DEPLOYMENT, "shop", deployment);
    rig.store(
        &kinds::POD,
        "shop",
        json!({"metadata": {"name": "a", "labels": labels}, "spec": {
        "containers": [{"name": "a", "image": "a"}]}}),
    );
    let patch = json!({"metadata": {"labels": {"new": "x"}, "annotations": {"new": "x"}}}).to_string();
    let merge = "application/merge-patch+json";
    for (path, labelled) in [
        ("/apis/apps/v1/namespaces/shop/deployments/a/status", false),
        ("/apis/apps/v1/namespaces/shop/deployments/a", true),
        ("/api/v1/namespaces/shop/pods/a/status", true),
    ] {
        let answer = rig.call_with("PATCH", path, merge, patch.clone()).await.json();
        assert_eq!(answer["metadata"]["annotations"]["new"], "x", "{path}");
        assert_eq!(answer["metadata"]["labels"]["new"] == "x", labelled, "{path}");
    }
}

#[tokio::test]
async fn a_service_with_ports_that_are_not_carried_is_warned_of() {
    let rig = Rig::new();
    let services = "/api/v1/namespaces/shop/services";
    let ports = json!([{"name": "web", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}});
    let words = "299 - \"spec.ports[1]: the evenkeel sandbox does not carry UDP; see docs/sandbox-fidelity.md\"";
    let made = rig.call("POST", services, &service).await;
    assert_eq!((made.status, made.header("warning")), (201, words));
    let path = format!("{services}/web");
    let patched = rig.call_with("PATCH", &path, "application/merge-patch+json", "{}".to_owned()).await;
    assert_eq!((patched.status, patched.header("warning")), (200, words));
    let mut tcp = rig.get(&path).await.json();
    tcp["spec"]["ports"].as_array_mut().unwrap().pop();
    let replaced = rig.call("PUT", &path, &tcp).await;
    assert_eq!((replaced.status, replaced.header("warning")), (200, ""));
}

#[tokio::test]
async fn what_a_real_pod_has_and_this_has_not_is_named() {
    let rig = Rig::new();
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app", "image": "x"}]}});
    rig.store(&kinds::POD, "shop", pod);
    let pods = "/api/v1/namespaces/shop/pods";
    for (method, part, words) in [
        ("POST", "attach", "does not serve attach"),
        ("POST", "portforward", "does not serve port-forward"),
        ("PATCH", "resize", "does not serve the resizing of pods"),
        ("PATCH", "ephemeralcontainers", "does not serve ephemeral containers"),
    ] {
        let refused = rig.call(method, &format!("{pods}/web/{part}"), &json!({})).await;
        assert_eq!(refused.status, 501, "{part}: {}", refused.text);
        assert!(refused.text.contains(words), "{part}: {}", refused.text);
        assert_eq!(rig.call(method, &format!("{pods}/none/{part}"), &json!({})).await.status, 404, "{part}");
    }
    assert_eq!(rig.call("POST", &format!("{pods}/web/other"), &json!({})).await.status, 404);
    assert_eq!(rig.call("POST", "/api/v1/namespaces/shop/bindings", &json!({})).await.status, 501);
    assert_eq!(rig.call("POST", &format!("{MAPS}/web/attach"), &json!({})).await.status, 404);
}

#[tokio::test]
async fn a_scale_is_shown_as_a_table_too() {
    let rig = Rig::new();
    let labels = json!({"app": "web"});
    let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "x"}]}}}});
    rig.store(&kinds::DEPLOYMENT, "shop", deployment);
    let path = "/apis/apps/v1/namespaces/shop/deployments/web/scale";
    let table = rig.get_as(path, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await.json();
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Desired", "Available", "Age"]);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..3], [json!("web"), json!(3), json!(0)]);
    assert_eq!(rig.get(path).await.json()["kind"], "Scale");
}

#[tokio::test]
async fn an_autoscaler_is_served_in_its_first_version_too() {
    let rig = Rig::new();
    let path = |version: &str| format!("/apis/autoscaling/{version}/namespaces/shop/horizontalpodautoscalers");
    let v1 = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    let strict = format!("{}?fieldValidation=Strict", path("v1"));
    let made = rig.call("POST", &strict, &v1).await;
    assert_eq!((made.status, &made.json()["apiVersion"]), (201, &json!("autoscaling/v1")), "{}", made.text);
    assert_eq!(made.json()["spec"]["targetCPUUtilizationPercentage"], 50);
    let (one, two) = (format!("{}/web", path("v1")), format!("{}/web", path("v2")));
    let stored = rig.get(&two).await.json();
    let metric = &stored["spec"]["metrics"][0]["resource"];
    assert_eq!((&metric["name"], &metric["target"]["averageUtilization"]), (&json!("cpu"), &json!(50)));
    // What v1 does not show stays.
    let memory = json!({"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "AverageValue", "averageValue": "64Mi"}}});
    let add = json!([{"op": "add", "path": "/spec/metrics/-", "value": memory}]).to_string();
    assert_eq!(rig.call_with("PATCH", &two, "application/json-patch+json", add).await.status, 200);
    for (media_type, percent) in [("application/merge-patch+json", 60), ("application/strategic-merge-patch+json", 70)]
    {
        let patch = json!({"spec": {"targetCPUUtilizationPercentage": percent}}).to_string();
        let patched = rig.call_with("PATCH", &one, media_type, patch).await;
        assert_eq!(
            (patched.status, &patched.json()["apiVersion"]),
            (200, &json!("autoscaling/v1")),
            "{}",
            patched.text
        );
        let metrics = rig.get(&two).await.json()["spec"]["metrics"].clone();
        assert_eq!(metrics[0]["resource"]["target"]["averageUtilization"], percent);
        assert_eq!(metrics[1]["resource"]["name"], "memory");
    }
    let list = rig.get(&path("v1")).await.json();
    assert_eq!((&list["kind"], names(&list)), (&json!("HorizontalPodAutoscalerList"), vec!["web"]));
    assert_eq!(list["items"][0]["apiVersion"], "autoscaling/v1");
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    assert_eq!(rig.get_as(&one, accept).await.json()["rows"][0]["cells"][2], "cpu: <unknown>/70%");
    let mut odd = v1.clone();
    odd["metadata"]["name"] = json!("odd");
    odd["spec"]["metrics"] = json!([]);
    let refused = rig.call("POST", &strict, &odd).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("unknown field"), "{}", refused.text);
    // kubectl takes the first version that discovery tells.
    assert_eq!(rig.get("/apis/autoscaling").await.json()["preferredVersion"]["version"], "v2");
    assert_eq!(rig.call("DELETE", &one, &Value::Null).await.status, 200);
    assert_eq!(rig.get(&two).await.status, 404);
}
