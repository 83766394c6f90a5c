//! The Kubernetes HTTP API over the registry: for a `kube::Client` in this process, and on a loopback port for kubectl
//! and everybody else. One request in, one answer out; what is asked is told apart by `route`.
//!
//! * Taking requests: [`server`], `tls`, `tokens`, [`kubeconfig`], `client`; `query`, `body`, `duplicates`, `protobuf`,
//!   `negotiate`, `call`.
//! * What there is: `catalogue`, `discovery`, `openapi`, `rights`, `review`.
//! * Objects: `objects`, `list`, `selection`, `watch`, `patch`, `delete`, `events_view`, `autoscalers_view`;
//!   `show` and `table` for how
//!   they look.
//! * Parts of objects: `parts`, `logs`, `exec`, `proxy`, `metrics`; [`access`] is what they ask of the nodes.

pub mod access;
mod answer;
mod autoscalers_view;
mod body;
mod call;
mod catalogue;
mod client;
mod delete;
mod discovery;
mod duplicates;
mod events_view;
mod exec;
pub mod kubeconfig;
mod list;
mod logs;
mod metrics;
mod negotiate;
mod objects;
mod openapi;
mod parts;
mod patch;
mod protobuf;
mod proxy;
mod query;
mod review;
mod rights;
mod route;
mod selection;
pub mod server;
mod show;
mod table;
mod tls;
mod tokens;
mod watch;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::{
    Method, Request, StatusCode,
    body::Body,
    header::{HOST, UPGRADE},
    http::request::Parts,
    upgrade::OnUpgrade,
};

pub use answer::{Answer, ApiBody, BoxError};
pub use rights::{Caller, Denied};
pub use server::{ApiServer, ServeError};

use self::{
    access::{PodAccess, Usage},
    call::Call,
    catalogue::Backing,
    query::Query,
    rights::{Deed, Rights},
    route::{ObjectsPath, Route},
};
use super::{error::ApiError, random::Random, registry::Registry};

/// What the API reaches beyond the registry, and what it denies.
#[derive(Default)]
pub struct ApiOptions {
    /// The kubelets, for logs, programs and proxied requests. Without them those are refused.
    pub pods: Option<Arc<dyn PodAccess>>,
    /// Measurements, for `metrics.k8s.io`. Without them nothing has been measured.
    pub usage: Option<Arc<dyn Usage>>,
    /// What nobody may do; for tests that lack a right.
    pub denied: Vec<Denied>,
    /// How long writes of clients take. Without it no time at all.
    pub pace: Option<Pace>,
}

/// How long a write takes: a real API server answers once most of etcd have it on disk, so that two requests that are
/// sent at the same moment are carried out some milliseconds apart. Whoever watches sees two changes, not one.
#[derive(Debug)]
pub struct Pace {
    /// The least, in milliseconds. On a small cluster with a fast disk writes take 2 to 12 ms.
    pub least_ms: usize,
    /// The most, in milliseconds.
    pub most_ms: usize,
    /// Where between them a write falls.
    pub chance: Random,
}

impl Pace {
    pub(super) async fn wait(&self) {
        let spread = self.most_ms.saturating_sub(self.least_ms) + 1;
        // In microseconds, since the order of two writes is what matters.
        let micros = self.least_ms * 1_000 + self.chance.below(spread * 1_000);
        tokio::time::sleep(Duration::from_micros(micros as u64)).await;
    }
}

/// The API. Shared by all who take requests for it.
pub struct Api {
    registry: Arc<Registry>,
    pods: Option<Arc<dyn PodAccess>>,
    usage: Option<Arc<dyn Usage>>,
    rights: Rights,
    tokens: tokens::Tokens,
    pace: Option<Pace>,
}

impl Api {
    /// The API over a registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>, options: ApiOptions) -> Arc<Self> {
        Arc::new(Self {
            registry,
            pods: options.pods,
            usage: options.usage,
            rights: Rights::new(options.denied),
            tokens: tokens::Tokens::default(),
            pace: options.pace,
        })
    }

    /// Answers a request of the administrator. Refusals are answers too.
    pub fn handle<B>(&self, request: Request<B>) -> BoxFuture<'_, Answer>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.handle_as(Caller::admin(), request)
    }

    /// Answers a request of somebody.
    pub fn handle_as<B>(&self, caller: Caller, mut request: Request<B>) -> BoxFuture<'_, Answer>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let body = body.map_err(Into::into).boxed_unsync();
        Box::pin(async move {
            match self.answer(&caller, parts, body, upgrade).await {
                Ok(answer) => answer,
                Err(error) => answer::refusal(&error),
            }
        })
    }

    async fn answer(
        &self,
        caller: &Caller,
        parts: Parts,
        body: ApiBody,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Answer, ApiError> {
        let ok = |value| Ok(answer::json(StatusCode::OK, &value));
        let route = route::route(parts.uri.path());
        if let Route::Objects(path) = route {
            return self.objects(caller, parts, path, body, upgrade).await;
        }
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(ApiError::method_not_allowed());
        }
        let aggregated = negotiate::aggregated_discovery(&parts.headers);
        match route {
            Route::Root => ok(discovery::paths()),
            Route::Health => Ok(answer::bytes(StatusCode::OK, "text/plain; charset=utf-8", "ok")),
            Route::Version => ok(discovery::version()),
            Route::CoreVersions | Route::Groups if aggregated => {
                Ok(discovery::aggregated(route == Route::CoreVersions))
            }
            Route::CoreVersions => {
                let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                ok(discovery::core_versions(host))
            }
            Route::Groups => ok(discovery::groups()),
            Route::Group(group) => ok(discovery::group(&group)?),
            Route::Resources { group, version } => ok(discovery::resources(&group, &version)?),
            Route::OpenApiV2 => Ok(openapi::v2(&parts.headers)),
            Route::OpenApiV3 => ok(openapi::index()),
            Route::OpenApiV3Of { group, version } => openapi::of(&group, &version),
            Route::Objects(_) | Route::Nowhere => Err(ApiError::no_such_path()),
        }
    }

    async fn objects(
        &self,
        caller: &Caller,
        parts: Parts,
        path: ObjectsPath,
        body: ApiBody,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Answer, ApiError> {
        let resource = catalogue::find(&path.group, &path.version, &path.resource);
        let resource = resource.ok_or_else(|| match (path.group.as_str(), path.resource.as_str()) {
            ("", "bindings") => ApiError::not_in_the_sandbox("bindings of a namespace; post to pods/NAME/binding"),
            _ => ApiError::no_such_path(),
        })?;
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        let query = Query::parse(&raw_query);
        let review = matches!(resource.backing, Backing::AccessReview | Backing::RulesReview | Backing::SelfReview);
        if !review {
            let verb = route::verb(&parts.method, &path, query.flag("watch"));
            self.rights.check(caller, &deed(verb, &path))?;
        }
        check_scope(resource.namespaced, &parts.method, &path)?;
        let body = body::read(body).await?;
        let reads = review || matches!(parts.method, Method::GET | Method::HEAD);
        // An eviction takes its time by itself, between reading the budget and writing it.
        let reads = reads || matches!(path.subresource.as_str(), "proxy" | "eviction");
        if let Some(pace) = self.pace.as_ref().filter(|_| !reads) {
            pace.wait().await;
        }
        let mut call = Call {
            api: self,
            caller,
            method: parts.method,
            headers: parts.headers,
            query,
            raw_query,
            path,
            resource,
            body,
            upgrade,
        };
        match resource.backing {
            _ if review => review::answer(&call),
            Backing::Metrics => metrics::answer(&call),
            _ if !call.path.subresource.is_empty() => parts::answer(&mut call).await,
            _ => objects::answer(&call),
        }
    }

    /// The kubelets.
    fn pods(&self) -> Result<&Arc<dyn PodAccess>, ApiError> {
        self.pods.as_ref().ok_or_else(|| ApiError::not_in_the_sandbox("logs and programs of pods without a kubelet"))
    }
}

fn deed<'a>(verb: &'a str, path: &'a ObjectsPath) -> Deed<'a> {
    // A namespace counts as being in itself.
    let own = path.group.is_empty() && path.resource == "namespaces";
    Deed {
        verb,
        group: &path.group,
        resource: &path.resource,
        subresource: &path.subresource,
        namespace: if own { &path.name } else { &path.namespace },
        name: &path.name,
    }
}

/// Objects that live in a namespace are reached through it, but for lists of all; others are not.
fn check_scope(namespaced: bool, method: &Method, path: &ObjectsPath) -> Result<(), ApiError> {
    if !namespaced && !path.namespace.is_empty() {
        return Err(ApiError::no_such_path());
    }
    if namespaced && path.namespace.is_empty() {
        if !path.name.is_empty() {
            return Err(ApiError::no_such_path());
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(ApiError::method_not_allowed());
        }
    }
    Ok(())
}
