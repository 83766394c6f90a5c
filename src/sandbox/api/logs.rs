//! `pods/log` (k/pkg/registry/core/pod/{rest/log,strategy}.go, v1.34.4).

use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::{StatusCode, body::Frame};
use serde_json::Value;

use super::{
    access::{ContainerRef, LogOptions},
    answer::{self, Answer, BoxError},
    call::Call,
    query::Query,
};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds,
    store::{Object, text_at},
};

/// Answers with a container's log.
pub(super) async fn answer(call: &Call<'_>) -> Result<Answer, ApiError> {
    let pod = call.api.registry.get(&kinds::POD, &call.path.namespace, &call.path.name)?;
    let options = options(&call.query, &pod.name)?;
    let container = container(&pod, call.query.get("container"))?;
    if pod.node.is_none() {
        // Nobody has anything to tell yet.
        return Ok(answer::bytes(StatusCode::OK, "text/plain", bytes::Bytes::new()));
    }
    let log = call.api.pods()?.logs(&container, &options).await?;
    let frames = log.map(|piece| piece.map(Frame::data).map_err(|error| -> BoxError { error.into() }));
    Ok(answer::with_body(StatusCode::OK, "text/plain", StreamBody::new(frames).boxed_unsync()))
}

fn options(query: &Query, pod: &str) -> Result<LogOptions, ApiError> {
    let mut errors = Vec::new();
    let mut number = |name: &str, least: i64| -> Result<Option<u64>, ApiError> {
        let Some(number) = query.number(name)? else { return Ok(None) };
        if number < least {
            let why = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
            errors.push(FieldError::invalid(name, &Value::from(number), why));
        }
        Ok(u64::try_from(number).ok())
    };
    let tail_lines = number("tailLines", 0)?;
    let limit_bytes = number("limitBytes", 1)?;
    let since_seconds = number("sinceSeconds", 1)?;
    let since_time = query.get("sinceTime").map(str::to_owned);
    if since_seconds.is_some() && since_time.is_some() {
        errors.push(FieldError::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if let Some(time) = since_time.as_deref().filter(|time| time.parse::<jiff::Timestamp>().is_err()) {
        errors.push(FieldError::invalid("sinceTime", &Value::from(time), "must be a time in RFC 3339"));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("", "PodLogOptions", pod, &errors));
    }
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        since_seconds,
        since_time,
        tail_lines,
        limit_bytes,
    })
}

/// The container that is meant: the only one, or the one that is named.
pub(super) fn container(pod: &Object, named: Option<&str>) -> Result<ContainerRef, ApiError> {
    let value = pod.value();
    let names = |list: &str| -> Vec<String> {
        value["spec"][list].as_array().into_iter().flatten().map(|one| text_at(one, "name")).collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let container = match (named, main.as_slice()) {
        (Some(named), _) if main.iter().chain(&init).any(|name| name == named) => named.to_owned(),
        (Some(named), _) => {
            let message = format!("container {named} is not valid for pod {}", pod.name);
            return Err(ApiError::bad_request(message));
        }
        (None, [only]) => only.clone(),
        (None, many) => {
            let choice = if many.is_empty() { String::new() } else { format!(", choose one of: [{}]", many.join(" ")) };
            let first = match init.as_slice() {
                [] => String::new(),
                some => format!(" or one of the init containers: [{}]", some.join(" ")),
            };
            let message = format!("a container name must be specified for pod {}{choice}{first}", pod.name);
            return Err(ApiError::bad_request(message));
        }
    };
    Ok(ContainerRef { namespace: pod.namespace.clone(), pod: pod.name.clone(), uid: pod.uid.clone(), container })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_named_where_there_are_several() {
        let pod = |names: &[&str]| {
            let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            let spec = json!({"containers": containers, "initContainers": [{"name": "setup"}]});
            Object::new(&kinds::POD, json!({"metadata": {"name": "web", "uid": "u"}, "spec": spec}), 1)
        };
        assert_eq!(container(&pod(&["app"]), None).unwrap().container, "app");
        assert_eq!(container(&pod(&["app", "side"]), Some("setup")).unwrap().container, "setup");
        assert_eq!(
            container(&pod(&["app", "side"]), None).unwrap_err().message,
            "a container name must be specified for pod web, choose one of: [app side] or one of the init containers: \
             [setup]"
        );
        assert_eq!(container(&pod(&["app"]), Some("db")).unwrap_err().message, "container db is not valid for pod web");
    }

    #[test]
    fn options_are_checked() {
        let of = |query: &str| options(&Query::parse(query), "web");
        let read = of("tailLines=10&follow=true&sinceSeconds=5").unwrap();
        assert_eq!((read.tail_lines, read.follow, read.since_seconds), (Some(10), true, Some(5)));
        assert_eq!(of("tailLines=-1").unwrap_err().code, 422);
        assert_eq!(of("limitBytes=0").unwrap_err().code, 422);
        assert_eq!(of("sinceSeconds=5&sinceTime=2024-01-01T00:00:00Z").unwrap_err().code, 422);
        assert_eq!(of("tailLines=many").unwrap_err().code, 400);
    }
}
