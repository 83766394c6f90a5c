//! What a path is about (apiserver/pkg/endpoints/request/requestinfo.go, v0.34.4). Pure.

use hyper::Method;

use super::query::decode;

/// What a path is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`: the paths there are.
    Root,
    /// `/healthz`, `/livez`, `/readyz` and what stands below them.
    Health,
    /// `/version`.
    Version,
    /// `/api`: the versions of the core group.
    CoreVersions,
    /// `/apis`: the groups.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` and `/apis/GROUP/VERSION`: the resources.
    Resources {
        /// The group; empty for the core group.
        group: String,
        /// The version.
        version: String,
    },
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiV3,
    /// `/openapi/v3/api/v1` and `/openapi/v3/apis/GROUP/VERSION`.
    OpenApiV3Of {
        /// The group; empty for the core group.
        group: String,
        /// The version.
        version: String,
    },
    /// Objects.
    Objects(ObjectsPath),
    /// Nothing that is served.
    Nowhere,
}

/// A path to objects of one resource, to one of them, or to a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ObjectsPath {
    /// The group; empty for the core group.
    pub(super) group: String,
    /// The version.
    pub(super) version: String,
    /// The namespace; empty where the path names none.
    pub(super) namespace: String,
    /// The resource, such as `pods`.
    pub(super) resource: String,
    /// The name; empty for all of them.
    pub(super) name: String,
    /// Such as `status`; empty for the object itself.
    pub(super) subresource: String,
    /// What stands after the subresource, as it is in the URL, with its leading slash.
    pub(super) rest: String,
}

/// Reads a path.
pub(super) fn route(path: &str) -> Route {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let version = |group: &str, version: &str| (group.to_owned(), version.to_owned());
    match segments.as_slice() {
        [] => Route::Root,
        ["healthz" | "livez" | "readyz", ..] => Route::Health,
        ["version"] => Route::Version,
        ["api"] => Route::CoreVersions,
        ["apis"] => Route::Groups,
        ["apis", group] => Route::Group((*group).to_owned()),
        ["api", one] => {
            let (group, version) = version("", one);
            Route::Resources { group, version }
        }
        ["apis", group, one] => {
            let (group, version) = version(group, one);
            Route::Resources { group, version }
        }
        ["openapi", "v2"] => Route::OpenApiV2,
        ["openapi", "v3"] => Route::OpenApiV3,
        ["openapi", "v3", "api", one] => {
            let (group, version) = version("", one);
            Route::OpenApiV3Of { group, version }
        }
        ["openapi", "v3", "apis", group, one] => {
            let (group, version) = version(group, one);
            Route::OpenApiV3Of { group, version }
        }
        ["api", version, below @ ..] => objects("", version, below, path),
        ["apis", group, version, below @ ..] => objects(group, version, below, path),
        _ => Route::Nowhere,
    }
}

fn objects(group: &str, version: &str, below: &[&str], path: &str) -> Route {
    // A namespace is an object too: what stands below it is one of its parts, or objects in it.
    let (namespace, below) = match below {
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", below),
        ["namespaces", namespace, below @ ..] => (*namespace, below),
        _ => ("", below),
    };
    let Some(resource) = below.first() else { return Route::Nowhere };
    let segment = |at: usize| below.get(at).map(|segment| decode(segment)).unwrap_or_default();
    let rest = if below.len() > 3 { after_subresource(path, &below[3..]) } else { trailing_slash(path, below) };
    Route::Objects(ObjectsPath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: decode(namespace),
        resource: (*resource).to_owned(),
        name: segment(1),
        subresource: segment(2),
        rest,
    })
}

/// What follows the subresource, taken from the path itself, since empty segments matter to whom it is forwarded.
fn after_subresource(path: &str, rest: &[&str]) -> String {
    let tail: usize = rest.iter().map(|segment| segment.len() + 1).sum();
    // Doubled slashes make the tail longer than its segments say; then it is put together again.
    let at = path.trim_end_matches('/').len().saturating_sub(tail);
    let slash = if path.ends_with('/') { "/" } else { "" };
    match path.get(at..) {
        Some(tail) if tail.starts_with('/') && !tail.contains("//") => tail.to_owned(),
        _ => format!("/{}{slash}", rest.join("/")),
    }
}

fn trailing_slash(path: &str, below: &[&str]) -> String {
    if below.len() == 3 && path.ends_with('/') { "/".to_owned() } else { String::new() }
}

/// The verb that rights are asked for.
pub(super) fn verb(method: &Method, path: &ObjectsPath, watch: bool) -> &'static str {
    match *method {
        Method::GET | Method::HEAD if !path.name.is_empty() => "get",
        Method::GET | Method::HEAD if watch => "watch",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if path.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(group: &str, namespace: &str, resource: &str, name: &str, subresource: &str, rest: &str) -> Route {
        Route::Objects(ObjectsPath {
            group: group.to_owned(),
            version: "v1".to_owned(),
            namespace: namespace.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            rest: rest.to_owned(),
        })
    }

    #[test]
    fn paths_are_read_as_upstream_reads_them() {
        let table = [
            ("/api/v1/pods", path("", "", "pods", "", "", "")),
            ("/api/v1/namespaces/shop/pods/web-1", path("", "shop", "pods", "web-1", "", "")),
            ("/api/v1/namespaces", path("", "", "namespaces", "", "", "")),
            ("/api/v1/namespaces/shop", path("", "", "namespaces", "shop", "", "")),
            ("/api/v1/namespaces/shop/finalize", path("", "", "namespaces", "shop", "finalize", "")),
            ("/api/v1/namespaces/shop/pods/", path("", "shop", "pods", "", "", "")),
            (
                "/apis/apps/v1/namespaces/shop/deployments/web/scale",
                path("apps", "shop", "deployments", "web", "scale", ""),
            ),
            ("/api/v1/namespaces/shop/pods/web:8080/proxy/a/b", path("", "shop", "pods", "web:8080", "proxy", "/a/b")),
            ("/api/v1/namespaces/shop/pods/web/proxy/", path("", "shop", "pods", "web", "proxy", "/")),
            ("/api/v1/namespaces/shop/pods/web/proxy/a/", path("", "shop", "pods", "web", "proxy", "/a/")),
            ("/api/v1/namespaces/s/pods/https:web:1/proxy", path("", "s", "pods", "https:web:1", "proxy", "")),
            ("/api/v1/namespaces/s/configmaps/a%20b", path("", "s", "configmaps", "a b", "", "")),
            ("/readyz", Route::Health),
            ("/readyz/ping", Route::Health),
            ("/api", Route::CoreVersions),
            ("/apis/apps", Route::Group("apps".to_owned())),
            ("/apis/apps/v1", Route::Resources { group: "apps".to_owned(), version: "v1".to_owned() }),
            ("/openapi/v3/api/v1", Route::OpenApiV3Of { group: String::new(), version: "v1".to_owned() }),
            ("/metrics", Route::Nowhere),
            ("/", Route::Root),
        ];
        for (text, expected) in table {
            assert_eq!(route(text), expected, "{text}");
        }
    }

    #[test]
    fn verbs_are_those_of_rights() {
        let all = ObjectsPath { resource: "pods".to_owned(), ..ObjectsPath::default() };
        let one = ObjectsPath { name: "web".to_owned(), ..all.clone() };
        assert_eq!(verb(&Method::GET, &all, false), "list");
        assert_eq!(verb(&Method::GET, &all, true), "watch");
        assert_eq!(verb(&Method::GET, &one, false), "get");
        assert_eq!(verb(&Method::DELETE, &all, false), "deletecollection");
        assert_eq!(verb(&Method::DELETE, &one, false), "delete");
    }
}
