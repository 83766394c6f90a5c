//! The query of a URL, read as the API server reads it (apimachinery/pkg/runtime/converter.go, v0.34.4).

use crate::sandbox::error::ApiError;

/// Parameters that are read; more are ignored, as nobody needs them.
const PARAMETERS_MAX: usize = 1_024;

/// Names and values, decoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands after the `?`.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX);
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
                })
                .collect(),
        )
    }

    /// A parameter's first value; empty ones are as good as none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(super) fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a flag is set: to anything but `false` and `0`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.all(name).next().is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    /// A number.
    ///
    /// # Errors
    /// 400, in Go's words, where it is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = |_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(wrong)
    }

    /// Whether nothing but dry runs is asked for (`dryRun=All`); `options` is the kind of the request's options.
    ///
    /// # Errors
    /// 422 for any other value.
    pub(super) fn dry_run(&self, options: &str) -> Result<bool, ApiError> {
        dry_run(self.all("dryRun").filter(|value| !value.is_empty()), options)
    }
}

/// Reads `dryRun` from a query or from options (apimachinery/pkg/apis/meta/v1/validation, `ValidateDryRun`).
pub(super) fn dry_run<'a>(values: impl Iterator<Item = &'a str>, options: &str) -> Result<bool, ApiError> {
    let mut dry = false;
    for value in values {
        if value != "All" {
            let values = serde_json::json!([value]);
            let error = crate::sandbox::error::FieldError::not_supported("dryRun", &values, &["All"]);
            return Err(ApiError::invalid("meta.k8s.io", options, "", &[error]));
        }
        dry = true;
    }
    Ok(dry)
}

/// Decodes `%41` and the like; what isn't an encoding stays as it is.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("labelSelector=app%3Dshop%2Ctier%21%3Dweb&watch=1&limit=500&x=a+b&bad=%zz&empty=");
        assert_eq!(query.get("labelSelector"), Some("app=shop,tier!=web"));
        assert_eq!(query.get("x"), Some("a b"));
        assert_eq!(query.get("bad"), Some("%zz"));
        assert_eq!(query.get("empty"), None);
        assert_eq!(query.number("limit").unwrap(), Some(500));
        assert_eq!(query.number("x").unwrap_err().code, 400);
        assert!(query.flag("watch"));
        assert!(!Query::parse("watch=false").flag("watch"));
        assert!(Query::parse("watch").flag("watch"));
    }

    #[test]
    fn a_dry_run_is_all_or_refused() {
        assert!(Query::parse("dryRun=All").dry_run("CreateOptions").unwrap());
        assert!(!Query::parse("").dry_run("CreateOptions").unwrap());
        let refused = Query::parse("dryRun=Some").dry_run("PatchOptions").unwrap_err();
        assert_eq!((refused.code, &refused.details["kind"]), (422, &serde_json::json!("PatchOptions")));
    }
}
