//! Who calls, and what they may not do. Everybody may do everything, as with kind's own kubeconfig, but for what a test
//! takes away (apiserver/pkg/endpoints/handlers/responsewriters/errors.go, v0.34.4).

use serde_json::Value;

use crate::sandbox::error::ApiError;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name, such as `kubernetes-admin`.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
}

impl Caller {
    /// The administrator of the sandbox, named as on kind.
    #[must_use]
    pub fn admin() -> Self {
        let groups = ["kubeadm:cluster-admins", "system:authenticated"].map(str::to_owned).to_vec();
        Self { name: "kubernetes-admin".to_owned(), groups }
    }

    /// A service account.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        Self { name: format!("system:serviceaccount:{namespace}:{name}"), groups }
    }
}

/// Something that nobody may do. `*` and an empty text stand for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Denied {
    /// Such as `list`.
    pub verb: String,
    /// The API group. Empty is the core group here; `*` is any.
    pub group: String,
    /// Such as `pods` or `pods/eviction`.
    pub resource: String,
    /// In this namespace alone, where one is given.
    pub namespace: String,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deed<'a> {
    pub(super) verb: &'a str,
    pub(super) group: &'a str,
    pub(super) resource: &'a str,
    pub(super) subresource: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl Deed<'_> {
    fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// What nobody may do.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights(Vec<Denied>);

impl Rights {
    pub(super) fn new(denied: Vec<Denied>) -> Self {
        Self(denied)
    }

    /// Whether everything is allowed.
    pub(super) fn are_full(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is allowed.
    pub(super) fn allow(&self, deed: &Deed<'_>) -> bool {
        let is = |rule: &str, asked: &str| rule == "*" || rule == asked;
        let any = |rule: &str, asked: &str| rule.is_empty() || is(rule, asked);
        let resource = deed.full_resource();
        !self.0.iter().any(|denied| {
            any(&denied.verb, deed.verb)
                && is(&denied.group, deed.group)
                && any(&denied.resource, &resource)
                && any(&denied.namespace, deed.namespace)
        })
    }

    /// Refuses what is not allowed.
    pub(super) fn check(&self, caller: &Caller, deed: &Deed<'_>) -> Result<(), ApiError> {
        if self.allow(deed) { Ok(()) } else { Err(forbidden(caller, deed)) }
    }
}

fn forbidden(caller: &Caller, deed: &Deed<'_>) -> ApiError {
    let Deed { verb, group, resource, namespace, name, .. } = deed;
    let scope = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    let why = format!(
        "User {:?} cannot {verb} resource {:?} in API group {group:?} {scope}",
        caller.name,
        deed.full_resource(),
    );
    let mut error = ApiError::forbidden(group, resource, name, &why);
    if error.details.is_null() {
        error.details = Value::Object(serde_json::Map::new());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_is_taken_away_is_missed_in_upstreams_words() {
        let rights =
            Rights::new(vec![Denied { verb: "list".to_owned(), resource: "pods".to_owned(), ..Denied::default() }]);
        let deed = Deed { verb: "list", group: "", resource: "pods", subresource: "", namespace: "shop", name: "" };
        let error = rights.check(&Caller::admin(), &deed).unwrap_err();
        assert_eq!((error.code, error.reason), (403, "Forbidden"));
        assert_eq!(
            error.message,
            "pods is forbidden: User \"kubernetes-admin\" cannot list resource \"pods\" in API group \"\" in the \
             namespace \"shop\""
        );
        assert!(rights.allow(&Deed { verb: "get", ..deed }));
        assert!(rights.allow(&Deed { group: "metrics.k8s.io", ..deed }));
        assert!(rights.allow(&Deed { subresource: "status", ..deed }));
        let all = Deed { namespace: "", name: "", ..deed };
        assert!(rights.check(&Caller::admin(), &all).unwrap_err().message.ends_with("at the cluster scope"));
    }

    #[test]
    fn a_part_of_an_object_is_a_right_of_its_own() {
        let rights = Rights::new(vec![Denied { resource: "pods/eviction".to_owned(), ..Denied::default() }]);
        let deed = Deed {
            verb: "create",
            group: "",
            resource: "pods",
            subresource: "eviction",
            namespace: "shop",
            name: "web",
        };
        let error = rights.check(&Caller::admin(), &deed).unwrap_err();
        assert_eq!(
            error.message,
            "pods \"web\" is forbidden: User \"kubernetes-admin\" cannot create resource \"pods/eviction\" in API \
             group \"\" in the namespace \"shop\""
        );
        assert!(rights.allow(&Deed { subresource: "", ..deed }));
    }
}
