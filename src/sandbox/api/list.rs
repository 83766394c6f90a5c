//! Lists: which objects, in which version, in how many pages
//! (apiserver/pkg/storage/{etcd3/store,continue}.go, apimachinery/pkg/apis/meta/internalversion/validation, v0.34.4).
//!
//! An earlier version is what is there now less the changes since, as far as the log of changes reaches; so a list in
//! pages is consistent, and one whose pages come too late is told so.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{query::Query, selection::Selection};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds::Kind,
    store::{Fallen, Object, Op, Store},
};

/// One page of a list.
pub(super) struct Page {
    /// The objects.
    pub(super) objects: Vec<Arc<Object>>,
    /// The version that they are of.
    pub(super) version: u64,
    /// Where the next page begins.
    pub(super) next: Option<String>,
    /// How many objects come after this page, where that is known without looking at each.
    pub(super) remaining: Option<usize>,
}

impl Page {
    /// `metadata` of the list.
    pub(super) fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if let Some(next) = &self.next {
            metadata["continue"] = json!(next);
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        metadata
    }
}

/// Which version a list is to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Latest,
    NotOlderThan(u64),
    Exact(u64),
}

/// Where a page begins.
struct Continue {
    version: Option<u64>,
    start: (String, String),
}

/// A list as the query asks for it; nothing is stored of a kind that isn't given.
///
/// # Errors
/// 400 and 422 for what the query may not ask; 410 for a version that is not kept any more; 504 for one to come.
pub(super) fn list(store: &Store, kind: Option<&Kind>, selection: &Selection, query: &Query) -> Result<Page, ApiError> {
    let asked = asked_version(query)?;
    let limit = match query.number("limit")? {
        Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    // A list from "any" version comes from the cache, which has always ignored the limit.
    let limit = if query.get("resourceVersion") == Some("0") { usize::MAX } else { limit };
    let from = query.get("continue").map(|token| continue_from(token, query)).transpose()?;
    let asked = match &from {
        None => asked,
        Some(Continue { version: Some(version), .. }) => Version::Exact(*version),
        Some(Continue { version: None, .. }) => Version::Latest,
    };
    let Some(kind) = kind else {
        return Ok(Page { objects: Vec::new(), version: store.version(), next: None, remaining: None });
    };
    let (version, objects) = at_version(store, kind, selection, asked).map_err(|error| match &from {
        Some(from) if error.code == 410 => too_old_to_continue(&from.start),
        _ => error,
    })?;
    let first = from.as_ref().map_or(0, |from| {
        objects.partition_point(|object| object.place() <= (from.start.0.as_str(), from.start.1.as_str()))
    });
    Ok(page(objects, first, version, selection, limit))
}

fn page(all: Vec<Arc<Object>>, first: usize, version: u64, selection: &Selection, limit: usize) -> Page {
    if first == 0 && limit == usize::MAX && selection.is_everything() {
        return Page { objects: all, version, next: None, remaining: None };
    }
    let mut objects: Vec<Arc<Object>> = Vec::new();
    for (at, object) in all.iter().enumerate().skip(first) {
        if !selection.matches(object) {
            continue;
        }
        if let Some(last) = objects.last().filter(|_| objects.len() >= limit) {
            let next = Some(token(Some(version), last.place()));
            let remaining = selection.is_everything().then(|| all.len() - at);
            return Page { objects, version, next, remaining };
        }
        objects.push(Arc::clone(object));
    }
    Page { objects, version, next: None, remaining: None }
}

fn asked_version(query: &Query) -> Result<Version, ApiError> {
    let text = query.get("resourceVersion").unwrap_or_default();
    let matching = query.get("resourceVersionMatch");
    let refuse = |error: FieldError| Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error]));
    if query.get("sendInitialEvents").is_some() {
        return refuse(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    let field = "resourceVersionMatch";
    if let Some(matching) = matching {
        if text.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            return refuse(FieldError::forbidden(field, why));
        }
        if query.get("continue").is_some() {
            return refuse(FieldError::forbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let known = ["Exact", "NotOlderThan", ""];
            return refuse(FieldError::not_supported(field, &json!(matching), &known));
        }
        if matching == "Exact" && text == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            return refuse(FieldError::forbidden(field, why));
        }
    }
    let version = version_of(text)?;
    let limited = query.number("limit")?.is_some_and(|limit| limit > 0);
    Ok(match (version, matching) {
        (0, _) => Version::Latest,
        (version, Some("Exact")) => Version::Exact(version),
        // The old meaning of a version with a limit.
        (version, None) if limited => Version::Exact(version),
        (version, _) => Version::NotOlderThan(version),
    })
}

/// A version as a query has it; 0 where it has none.
pub(super) fn version_of(text: &str) -> Result<u64, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let error = FieldError::invalid("resourceVersion", &json!(text), "must be a number");
        ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error])
    })
}

fn at_version(
    store: &Store,
    kind: &Kind,
    selection: &Selection,
    asked: Version,
) -> Result<(u64, Vec<Arc<Object>>), ApiError> {
    let namespace = Some(selection.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let (now, objects) = latest(store, kind, selection, namespace, asked);
    match asked {
        Version::NotOlderThan(version) | Version::Exact(version) if version > now => Err(too_large(version, now)),
        Version::Exact(version) if version < now => {
            let before = taken_back(store, kind, namespace, version, now, objects);
            Ok((version, before.map_err(|fallen| ApiError::expired(fallen.to_string()))?))
        }
        _ => Ok((now, objects)),
    }
}

/// What is there now, by the shortest way.
fn latest(
    store: &Store,
    kind: &Kind,
    selection: &Selection,
    namespace: Option<&str>,
    asked: Version,
) -> (u64, Vec<Arc<Object>>) {
    if !matches!(asked, Version::Exact(_)) {
        // The version is read first: a change in between is then seen again by a watch from there, not missed.
        let version = store.version();
        match (selection.node(), selection.name(), namespace) {
            (Some(node), ..) if kind.plural == "pods" => {
                let mut pods = store.pods_on(node);
                pods.retain(|pod| namespace.is_none_or(|namespace| pod.namespace == namespace));
                return (version, pods);
            }
            (_, Some(name), namespace) if namespace.is_some() || !kind.namespaced => {
                let found = store.get(kind, namespace.unwrap_or_default(), name);
                return (version, found.into_iter().collect());
            }
            _ => {}
        }
    }
    store.list(kind, namespace)
}

/// The objects as they were: those of now, less the changes since.
fn taken_back(
    store: &Store,
    kind: &Kind,
    namespace: Option<&str>,
    version: u64,
    now: u64,
    objects: Vec<Arc<Object>>,
) -> Result<Vec<Arc<Object>>, Fallen> {
    let changes = store.changes(kind, version, usize::MAX)?;
    let mut then: BTreeMap<(String, String), Arc<Object>> =
        objects.into_iter().map(|object| ((object.namespace.clone(), object.name.clone()), object)).collect();
    let in_scope = |object: &Object| namespace.is_none_or(|namespace| object.namespace == namespace);
    for change in changes.iter().rev().filter(|change| change.object.version <= now && in_scope(&change.object)) {
        let place = (change.object.namespace.clone(), change.object.name.clone());
        match (&change.before, change.op) {
            (Some(before), Op::Modified | Op::Deleted) => then.insert(place, Arc::clone(before)),
            _ => then.remove(&place),
        };
    }
    Ok(then.into_values().collect())
}

/// 504: a version that is yet to come (apiserver/pkg/storage/errors.go).
fn too_large(asked: u64, now: u64) -> ApiError {
    let mut error = ApiError::timeout(format!("Timeout: Too large resource version: {asked}, current: {now}"));
    error.details = json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    error
}

fn token(version: Option<u64>, last: (&str, &str)) -> String {
    let version = version.map_or_else(|| json!(-1), |version| json!(version));
    let text = json!({"v": "meta.k8s.io/v1", "rv": version, "start": format!("{}/{}\u{0}", last.0, last.1)});
    URL_SAFE_NO_PAD.encode(text.to_string())
}

fn continue_from(token: &str, query: &Query) -> Result<Continue, ApiError> {
    if query.get("resourceVersion").is_some_and(|version| version != "0") {
        let message = "specifying resource version is not allowed when using continue";
        return Err(ApiError::bad_request(message));
    }
    let wrong = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|_| wrong("it is not base64"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| wrong("it is not JSON"))?;
    if value["v"] != "meta.k8s.io/v1" {
        return Err(wrong(&format!("server does not recognize this encoded version {}", value["v"])));
    }
    let start = value["start"].as_str().and_then(|start| start.strip_suffix('\u{0}')).and_then(|it| it.split_once('/'));
    let (namespace, name) = start.ok_or_else(|| wrong("encoded start key empty (version meta.k8s.io/v1)"))?;
    let version = match value["rv"].as_i64() {
        Some(-1) => None,
        Some(version) if version > 0 => u64::try_from(version).ok(),
        _ => return Err(wrong("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")),
    };
    Ok(Continue { version, start: (namespace.to_owned(), name.to_owned()) })
}

/// 410 with a token for whoever would rather have the rest as it is now.
fn too_old_to_continue(start: &(String, String)) -> ApiError {
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new \
                   list without the continue parameter, or use the continue token in this response to retrieve the \
                   remainder of the results. Continuing with the provided token results in an inconsistent list - \
                   objects that were created, modified, or deleted between the time the first chunk was returned and \
                   now may show up in the list.";
    let mut error = ApiError::expired(message);
    error.details = json!({"continue": token(None, (&start.0, &start.1))});
    error
}

/// Takes the token of [`too_old_to_continue`] to where a `Status` has it: its metadata.
pub(super) fn place_token(status: &mut Value) {
    let Some(details) = status["details"].as_object_mut() else { return };
    let Some(token) = details.shift_remove("continue") else { return };
    let empty = details.is_empty();
    status["metadata"]["continue"] = token;
    if let Some(status) = status.as_object_mut().filter(|_| empty) {
        status.shift_remove("details");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{kinds, store::Wanted};

    fn store_with(names: &[&str]) -> Store {
        let store = Store::new(kinds::ALL);
        for name in names {
            put(&store, name, "1");
        }
        store
    }

    fn put(store: &Store, name: &str, data: &str) {
        let value = json!({"metadata": {"name": name, "namespace": "shop"}, "data": {"x": data}});
        store.write::<()>(&kinds::CONFIG_MAP, "shop", name, |_| Ok(Wanted::Put(value))).unwrap();
    }

    fn drop_from(store: &Store, name: &str) {
        store.write::<()>(&kinds::CONFIG_MAP, "shop", name, |_| Ok(Wanted::Gone)).unwrap();
    }

    fn ask(store: &Store, query: &str) -> Result<Page, ApiError> {
        let query = Query::parse(query);
        let selection = Selection::of(&query, "", "configmaps", "shop").unwrap();
        list(store, Some(&kinds::CONFIG_MAP), &selection, &query)
    }

    fn names(page: &Page) -> Vec<&str> {
        page.objects.iter().map(|object| object.name.as_str()).collect()
    }

    #[test]
    fn pages_of_one_list_are_of_one_version() {
        let store = store_with(&["a", "b", "c", "d"]);
        let first = ask(&store, "limit=2").unwrap();
        assert_eq!((names(&first), first.remaining, first.version), (vec!["a", "b"], Some(2), 5));
        drop_from(&store, "c");
        put(&store, "d", "2");
        put(&store, "e", "1");
        let next = first.next.unwrap();
        let second = ask(&store, &format!("limit=2&continue={next}")).unwrap();
        assert_eq!((names(&second), second.version, second.next.as_deref()), (vec!["c", "d"], 5, None));
        assert_eq!(second.objects[1].value()["data"]["x"], "1");
    }

    #[test]
    fn an_exact_version_is_served_while_it_is_kept() {
        let store = store_with(&["a", "b"]);
        drop_from(&store, "a");
        let then = ask(&store, "resourceVersion=3&resourceVersionMatch=Exact").unwrap();
        assert_eq!((names(&then), then.version), (vec!["a", "b"], 3));
        let now = ask(&store, "resourceVersion=2&resourceVersionMatch=NotOlderThan").unwrap();
        assert_eq!((names(&now), now.version), (vec!["b"], 4));
        assert_eq!(ask(&store, "resourceVersion=9").map(|page| page.version).unwrap_err().code, 504);
    }

    #[test]
    fn a_page_that_comes_too_late_is_offered_the_rest_as_it_is() {
        let store = store_with(&["a", "b", "c"]);
        let next = ask(&store, "limit=1").unwrap().next.unwrap();
        for round in 0..9_000 {
            put(&store, "b", &round.to_string());
        }
        let error = ask(&store, &format!("limit=1&continue={next}")).map(|_| ()).unwrap_err();
        assert_eq!((error.code, error.reason), (410, "Expired"));
        let mut status = error.to_status();
        place_token(&mut status);
        let token = status["metadata"]["continue"].as_str().unwrap();
        let rest = ask(&store, &format!("continue={token}")).unwrap();
        assert_eq!(names(&rest), ["b", "c"]);
    }

    #[test]
    fn what_may_not_be_asked_is_refused() {
        let store = store_with(&["a"]);
        for (query, code) in [
            ("resourceVersionMatch=Exact", 422),
            ("resourceVersion=1&resourceVersionMatch=Near", 422),
            ("resourceVersion=0&resourceVersionMatch=Exact", 422),
            ("resourceVersion=x", 422),
            ("limit=x", 400),
            ("continue=%%%", 400),
            ("continue=e30", 400),
            ("sendInitialEvents=true", 422),
        ] {
            assert_eq!(ask(&store, query).map(|_| ()).map_err(|error| error.code), Err(code), "{query}");
        }
    }

    #[test]
    fn a_selected_page_does_not_count_what_remains() {
        let store = store_with(&["a", "b", "c"]);
        let page = ask(&store, "limit=1&fieldSelector=metadata.name!=a").unwrap();
        assert_eq!((names(&page), page.remaining, page.next.is_some()), (vec!["b"], None, true));
    }
}
