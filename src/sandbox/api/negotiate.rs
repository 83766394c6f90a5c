//! What a client wants to get: plain objects, a table for people, or metadata alone; in JSON or YAML
//! (apiserver/pkg/endpoints/handlers/negotiation/negotiate.go, v0.34.4).

use hyper::{HeaderMap, header::ACCEPT};

use crate::sandbox::error::ApiError;

/// In what form objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As they are.
    Plain,
    /// As rows (`as=Table`), under this version of `meta.k8s.io`.
    Table(&'static str),
    /// Their metadata (`as=PartialObjectMetadata` or its list), under this version of `meta.k8s.io`.
    Metadata(&'static str),
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What a client wants to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The form of objects.
    pub(super) shape: Shape,
    /// The writing.
    pub(super) format: Format,
}

/// The first clause of `Accept` that can be served.
///
/// # Errors
/// 406 where there is none, such as for protobuf alone.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Wanted, ApiError> {
    let clauses: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
        .collect();
    if clauses.is_empty() {
        return Ok(Wanted { shape: Shape::Plain, format: Format::Json });
    }
    clauses.iter().find_map(|clause| of_clause(clause)).ok_or_else(|| ApiError {
        code: 406,
        reason: "NotAcceptable",
        message: "only the following media types are accepted: application/json, application/yaml".to_owned(),
        details: serde_json::Value::Null,
    })
}

fn of_clause(clause: &str) -> Option<Wanted> {
    let mut parts = clause.split(';').map(str::trim);
    let format = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Format::Json,
        "application/yaml" => Format::Yaml,
        _ => return None,
    };
    let (mut form, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => form = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            _ => {}
        }
    }
    let version = match version {
        "v1beta1" => "v1beta1",
        _ if form.is_empty() => "v1",
        "v1" => "v1",
        _ => return None,
    };
    let shape = match (form, group) {
        ("", _) => Shape::Plain,
        ("Table", "meta.k8s.io") => Shape::Table(version),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io") => Shape::Metadata(version),
        _ => return None,
    };
    Some(Wanted { shape, format })
}

/// Whether a client asks for discovery in one piece, in which version (apidiscovery.k8s.io).
pub(super) fn aggregated_discovery(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |clause| {
            let has = |wanted: &str| clause.split(';').any(|part| part.trim() == wanted);
            has("g=apidiscovery.k8s.io") && has("v=v2") && has("as=APIGroupDiscoveryList")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Result<Wanted, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        wanted(&headers)
    }

    #[test]
    fn the_first_clause_that_can_be_served_counts() {
        let plain = Wanted { shape: Shape::Plain, format: Format::Json };
        let table = Wanted { shape: Shape::Table("v1"), format: Format::Json };
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                       application/json";
        assert_eq!(of(kubectl).unwrap(), table);
        assert_eq!(of("application/vnd.kubernetes.protobuf,application/json").unwrap(), plain);
        assert_eq!(of("application/json;as=Other;v=v1;g=meta.k8s.io, */*").unwrap(), plain);
        let metadata = of("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").unwrap();
        assert_eq!(metadata.shape, Shape::Metadata("v1"));
        assert_eq!(of("application/yaml").unwrap().format, Format::Yaml);
        assert_eq!(of("application/vnd.kubernetes.protobuf").unwrap_err().code, 406);
        assert_eq!(wanted(&HeaderMap::new()).unwrap(), plain);
    }
}
