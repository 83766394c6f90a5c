//! `pods/proxy` and `services/proxy`: requests that go on to a pod
//! (k/pkg/registry/core/pod/strategy.go and k/pkg/registry/core/service/storage/storage.go, `ResourceLocation`, v1.34.4).

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode, Uri,
    header::{CONNECTION, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    answer::{Answer, BoxError},
    call::Call,
};
use crate::sandbox::{
    error::ApiError,
    kinds,
    store::{Object, text_at},
};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// Heads that are about one connection alone.
const OF_THE_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What is to be reached: `[SCHEME:]NAME[:PORT]`.
struct Target<'a> {
    name: &'a str,
    port: &'a str,
}

/// Forwards a request.
pub(super) async fn answer(call: &Call<'_>) -> Result<Answer, ApiError> {
    let target = target(&call.path.name)?;
    let to = match call.resource.plural {
        "pods" => pod_address(call, &target)?,
        _ => service_address(call, &target)?,
    };
    let answer = forward(call, to).await;
    answer.map_err(|error| unavailable(format!("error trying to reach service: {error}")))
}

fn target(text: &str) -> Result<Target<'_>, ApiError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("http", *name, ""),
        [name, port] => ("http", *name, *port),
        [scheme, name, port] => (if scheme.is_empty() { "http" } else { *scheme }, *name, *port),
        _ => return Err(ApiError::bad_request(format!("invalid proxy request {text:?}"))),
    };
    match scheme {
        "http" => Ok(Target { name, port }),
        "https" => Err(ApiError::not_in_the_sandbox("proxying to pods that speak TLS")),
        _ => Err(ApiError::bad_request(format!("invalid proxy request {text:?}"))),
    }
}

fn pod_address(call: &Call<'_>, target: &Target<'_>) -> Result<SocketAddr, ApiError> {
    let pod = call.api.registry.get(&kinds::POD, &call.path.namespace, target.name)?;
    let value = pod.value();
    let ports = || {
        value["spec"]["containers"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|container| container["ports"].as_array().into_iter().flatten())
    };
    let port = match target.port {
        // The first port that a container states, or the usual one.
        "" => ports().find_map(|port| port["containerPort"].as_u64()).unwrap_or(80),
        text => match text.parse() {
            Ok(number) => number,
            Err(_) => ports()
                .find(|port| port["name"] == text)
                .and_then(|port| port["containerPort"].as_u64())
                .ok_or_else(|| ApiError::bad_request(format!("pod {:?} has no port named {text:?}", pod.name)))?,
        },
    };
    let address = address_of(call, &pod).ok_or_else(|| ApiError::bad_request("address not allowed"))?;
    socket(address, port)
}

fn address_of(call: &Call<'_>, pod: &Object) -> Option<IpAddr> {
    let known = call.api.pods().ok().and_then(|pods| pods.address(&pod.namespace, &pod.name));
    known.or_else(|| text_at(&pod.value()["status"], "podIP").parse().ok())
}

fn socket(address: IpAddr, port: u64) -> Result<SocketAddr, ApiError> {
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(SocketAddr::new(address, port)),
        _ => Err(ApiError::bad_request(format!("invalid port {port}"))),
    }
}

/// A ready endpoint of a Service, at random.
fn service_address(call: &Call<'_>, target: &Target<'_>) -> Result<SocketAddr, ApiError> {
    let registry = &call.api.registry;
    let namespace = &call.path.namespace;
    let service = registry.get(&kinds::SERVICE, namespace, target.name)?.value();
    let name = port_name(&service, target)?;
    let (_, slices) = registry.store().list(&kinds::ENDPOINT_SLICE, Some(namespace));
    let mut found = Vec::new();
    for slice in slices.iter().filter(|slice| of_service(slice, target.name)) {
        let slice = slice.value();
        let ports = slice["ports"].as_array().into_iter().flatten();
        let Some(port) = ports.filter(|port| text_at(port, "name") == name).find_map(|port| port["port"].as_u64())
        else {
            continue;
        };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] != false {
                found.extend(endpoint_address(call, endpoint).map(|address| (address, port)));
            }
        }
    }
    if found.is_empty() {
        return Err(unavailable(format!("no endpoints available for service {:?}", call.path.name)));
    }
    let (address, port) = found[pick(found.len())];
    socket(address, port)
}

fn of_service(slice: &Object, service: &str) -> bool {
    slice.labels.get("kubernetes.io/service-name").is_some_and(|name| name == service)
}

fn endpoint_address(call: &Call<'_>, endpoint: &Value) -> Option<IpAddr> {
    let pod = &endpoint["targetRef"];
    let of_pod = (pod["kind"] == "Pod")
        .then(|| call.api.pods().ok()?.address(&text_at(pod, "namespace"), &text_at(pod, "name")))
        .flatten();
    of_pod.or_else(|| endpoint["addresses"][0].as_str()?.parse().ok())
}

/// The name of the Service's port that is meant: by its name, by its number, or the only one.
fn port_name(service: &Value, target: &Target<'_>) -> Result<String, ApiError> {
    let ports = || service["spec"]["ports"].as_array().into_iter().flatten();
    let number: Option<u64> = target.port.parse().ok();
    let found = match (target.port, number) {
        ("", _) => Some(ports().next().map(|port| text_at(port, "name")).unwrap_or_default()),
        (_, Some(number)) => ports().find(|port| port["port"] == number).map(|port| text_at(port, "name")),
        (name, None) => Some(name.to_owned()),
    };
    found.ok_or_else(|| unavailable(format!("no service port {} found for service {:?}", target.port, target.name)))
}

/// A number below `count`, as good as random.
fn pick(count: usize) -> usize {
    let letters = crate::sandbox::names::letters(8);
    letters.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte))) % count
}

/// 503 (apimachinery/pkg/api/errors, `NewServiceUnavailable`).
fn unavailable(message: String) -> ApiError {
    ApiError { code: 503, reason: "ServiceUnavailable", message, details: json!({}) }
}

async fn forward(call: &Call<'_>, to: SocketAddr) -> Result<Answer, BoxError> {
    let stream = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(to)).await??;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer's body, or with its last reader.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a proxied connection broke off");
        }
    });
    let path = if call.path.rest.is_empty() { "/" } else { &call.path.rest };
    let uri: Uri =
        if call.raw_query.is_empty() { path.parse()? } else { format!("{path}?{}", call.raw_query).parse()? };
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = call.headers.clone();
    let headers = request.headers_mut();
    headers.remove(hyper::header::AUTHORIZATION);
    headers.remove(hyper::header::CONTENT_LENGTH);
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
    headers.insert(HOST, HeaderValue::from_str(&to.to_string())?);
    let answer = sender.send_request(request).await?;
    let (mut parts, body) = answer.into_parts();
    for name in OF_THE_CONNECTION {
        parts.headers.remove(name);
    }
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("the pod wants to switch protocols".into());
    }
    Ok(hyper::Response::from_parts(parts, body.map_err(|error| -> BoxError { error.into() }).boxed_unsync()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_name_and_maybe_a_port() {
        let of = |text| target(text).map(|target| (target.name.to_owned(), target.port.to_owned()));
        assert_eq!(of("web").unwrap(), ("web".to_owned(), String::new()));
        assert_eq!(of("web:8080").unwrap(), ("web".to_owned(), "8080".to_owned()));
        assert_eq!(of("http:web:admin").unwrap(), ("web".to_owned(), "admin".to_owned()));
        assert_eq!(of("https:web:443").unwrap_err().code, 501);
        assert_eq!(of("a:b:c:d").unwrap_err().code, 400);
    }

    #[test]
    fn a_services_port_is_meant_by_name_or_number() {
        let service = json!({"spec": {"ports": [{"name": "web", "port": 80}, {"name": "admin", "port": 81}]}});
        let of = |port| port_name(&service, &Target { name: "shop", port });
        assert_eq!(of("").unwrap(), "web");
        assert_eq!(of("81").unwrap(), "admin");
        assert_eq!(of("admin").unwrap(), "admin");
        assert_eq!(of("82").unwrap_err().code, 503);
    }
}
