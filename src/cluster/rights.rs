//! What this client may not do, asked of the cluster itself before anything is touched.

use std::fmt;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};

use super::error::{ClusterError, attempt};

/// Questions asked at a time: fast, without crowding an API server whose priority and fairness would slow us down.
const AT_A_TIME: usize = 8;

/// One thing that must be allowed, in the words of RBAC.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessQuestion {
    /// The API group; empty for core.
    pub group: String,
    /// The resource in the plural, such as `pods`.
    pub resource: String,
    /// The subresource, such as `eviction`.
    pub subresource: Option<String>,
    /// The verb, such as `create`.
    pub verb: String,
    /// The namespace; all of them, or none, where left out.
    pub namespace: Option<String>,
}

impl fmt::Display for AccessQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(subresource) = &self.subresource {
            write!(f, "/{subresource}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => write!(f, " in the whole cluster"),
        }
    }
}

/// Asks for each right by a `SelfSubjectAccessReview`, and returns those that are not granted, in the order given.
///
/// # Errors
/// When the cluster cannot be asked.
pub async fn missing_rights(client: &Client, wanted: &[AccessQuestion]) -> Result<Vec<AccessQuestion>, ClusterError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answers: Vec<Option<AccessQuestion>> = stream::iter(wanted.iter().cloned())
        .map(|question| {
            let reviews = reviews.clone();
            async move {
                let review = review_of(&question);
                let what = format!("ask whether this client may {question}");
                let parameters = PostParams::default();
                let answer = attempt(&what, reviews.create(&parameters, &review)).await?;
                let allowed = answer.status.is_some_and(|status| status.allowed);
                Ok::<_, ClusterError>((!allowed).then_some(question))
            }
        })
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    Ok(answers.into_iter().flatten().collect())
}

fn review_of(question: &AccessQuestion) -> SelfSubjectAccessReview {
    let attributes = ResourceAttributes {
        group: Some(question.group.clone()),
        resource: Some(question.resource.clone()),
        subresource: question.subresource.clone(),
        verb: Some(question.verb.clone()),
        namespace: question.namespace.clone(),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() };
    SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_reads_as_kubectl_auth_asks_for_it() {
        let evict = AccessQuestion {
            resource: "pods".to_owned(),
            subresource: Some("eviction".to_owned()),
            verb: "create".to_owned(),
            namespace: Some("shop".to_owned()),
            ..AccessQuestion::default()
        };
        assert_eq!(evict.to_string(), "create pods/eviction in namespace shop");
        let scale = AccessQuestion { group: "apps".to_owned(), namespace: None, ..evict };
        assert_eq!(scale.to_string(), "create pods.apps/eviction in the whole cluster");
    }

    #[test]
    fn a_review_asks_exactly_what_was_wanted() {
        let question = AccessQuestion {
            group: "policy".to_owned(),
            resource: "poddisruptionbudgets".to_owned(),
            subresource: None,
            verb: "list".to_owned(),
            namespace: Some("shop".to_owned()),
        };
        let json = serde_json::to_value(review_of(&question)).unwrap();
        let wanted = serde_json::json!({
            "group": "policy", "resource": "poddisruptionbudgets", "verb": "list", "namespace": "shop"
        });
        assert_eq!(json["spec"]["resourceAttributes"], wanted);
    }
}
