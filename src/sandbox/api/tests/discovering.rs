//! What the API tells about itself.

use serde_json::{Value, json};

use super::rig::Rig;

fn entry<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn resources_are_told_with_their_parts() {
    let rig = Rig::new();
    let list = rig.get("/apis/apps/v1").await.json();
    assert_eq!((&list["kind"], &list["groupVersion"]), (&json!("APIResourceList"), &json!("apps/v1")));
    let deployments = entry(&list["resources"], "deployments");
    assert_eq!(deployments["shortNames"], json!(["deploy"]));
    assert_eq!(deployments["categories"], json!(["all"]));
    let scale = entry(&list["resources"], "deployments/scale");
    assert_eq!(
        (&scale["group"], &scale["version"], &scale["kind"]),
        (&json!("autoscaling"), &json!("v1"), &json!("Scale"))
    );
    let core = rig.get("/api/v1").await.json();
    let eviction = entry(&core["resources"], "pods/eviction");
    assert_eq!((&eviction["group"], &eviction["version"]), (&json!("policy"), &json!("v1")));
    assert_eq!(rig.get("/apis/apps/v2").await.status, 404);
}

#[tokio::test]
async fn groups_are_told_in_the_order_of_preference() {
    let rig = Rig::new();
    let list = rig.get("/apis").await.json();
    let names: Vec<&str> = list["groups"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names[..2], ["apps", "events.k8s.io"]);
    assert!(names.contains(&"metrics.k8s.io"));
    let group = rig.get("/apis/policy").await.json();
    assert_eq!((&group["kind"], &group["preferredVersion"]["groupVersion"]), (&json!("APIGroup"), &json!("policy/v1")));
    assert_eq!(rig.get("/api").await.json()["versions"], json!(["v1"]));
    assert_eq!(rig.get("/version").await.json()["minor"], "34");
    assert_eq!(rig.get("/readyz?verbose").await.text, "ok");
}

#[tokio::test]
async fn discovery_comes_in_one_piece_for_those_who_ask_so() {
    let rig = Rig::new();
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let read = rig.get_as("/apis", accept).await;
    assert_eq!(read.header("content-type"), "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let list = read.json();
    let apps = list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "apps").unwrap();
    let resources = apps["versions"][0]["resources"].as_array().unwrap();
    let deployments = resources.iter().find(|one| one["resource"] == "deployments").unwrap();
    assert_eq!(deployments["responseKind"], json!({"group": "apps", "version": "v1", "kind": "Deployment"}));
    assert_eq!(deployments["scope"], "Namespaced");
    assert!(deployments["subresources"].as_array().unwrap().iter().any(|part| part["subresource"] == "scale"));
    let core = rig.get_as("/api", accept).await.json();
    assert_eq!(core["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn documents_tell_that_patches_are_validated() {
    let rig = Rig::new();
    let index = rig.get("/openapi/v3").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = rig.get(url).await.json();
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|one| one["name"] == "fieldValidation" && one["in"] == "query"));
}

#[tokio::test]
async fn paths_that_are_not_served_are_not_found() {
    let rig = Rig::new();
    for path in ["/metrics", "/api/v1/widgets", "/apis/none/v1/pods", "/api/v1/nodes/a/widgets", "/api/v1/pods/web"] {
        let read = rig.get(path).await;
        assert_eq!((read.status, &read.json()["kind"]), (404, &json!("Status")), "{path}");
    }
    assert_eq!(rig.call("POST", "/api/v1/pods", &json!({})).await.status, 405);
    assert_eq!(rig.call("DELETE", "/api/v1/namespaces", &Value::Null).await.status, 405);
    assert_eq!(rig.call("POST", "/version", &Value::Null).await.status, 405);
}
