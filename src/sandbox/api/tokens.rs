//! Tokens: the administrator's, and those that service accounts ask for
//! (k/pkg/registry/core/serviceaccount/storage/token.go, v1.34.4). They are random texts that this process remembers.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hyper::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use super::{answer::Answer, body, call::Call, rights::Caller};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds, names,
};

/// Tokens that are valid at once.
const TOKENS_MAX: usize = 4_096;

/// The shortest life of a token.
const LIFE_MIN: i64 = 600;

/// The longest life of a token.
const LIFE_MAX: i64 = 1 << 32;

/// The life of a token that states none.
const LIFE: i64 = 3_600;

/// The tokens of service accounts.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, (Caller, Instant)>>);

impl Tokens {
    /// Who has a token, while it is valid.
    pub(super) fn caller(&self, token: &str) -> Option<Caller> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, until) = tokens.get(token)?;
        (Instant::now() < *until).then(|| caller.clone())
    }

    fn issue(&self, caller: Caller, life: Duration) -> Result<String, ApiError> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tokens.retain(|_, (_, until)| now < *until);
        if tokens.len() >= TOKENS_MAX {
            return Err(ApiError::too_many_requests("too many service account tokens are valid at once", None, None));
        }
        let token = fresh();
        tokens.insert(token.clone(), (caller, now + life));
        Ok(token)
    }
}

/// A new token: 244 random bits.
pub(super) fn fresh() -> String {
    format!("{}{}", names::uid(), names::uid()).replace('-', "")
}

/// Whether two tokens are the same, in a time that does not tell how much of them is.
pub(super) fn same(one: &str, other: &str) -> bool {
    let different = one.bytes().zip(other.bytes()).fold(0, |different, (a, b)| different | (a ^ b));
    one.len() == other.len() && different == 0
}

/// Answers a `TokenRequest`.
pub(super) fn request(call: &Call<'_>) -> Result<Answer, ApiError> {
    let account = call.api.registry.get(&kinds::SERVICE_ACCOUNT, &call.path.namespace, &call.path.name)?;
    let mut request = body::object(&call.headers, &call.body)?;
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(LIFE);
    if !(LIFE_MIN..=LIFE_MAX).contains(&seconds) {
        let why = if seconds < LIFE_MIN {
            "may not specify a duration less than 10 minutes"
        } else {
            "may not specify a duration larger than 2^32 seconds"
        };
        let error = FieldError::invalid("spec.expirationSeconds", &json!(seconds), why);
        return Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", "", &[error]));
    }
    let life = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let dry = call.query.dry_run("CreateOptions")?;
    let caller = Caller::service_account(&account.namespace, &account.name);
    let token = if dry { String::new() } else { call.api.tokens.issue(caller, life)? };
    request["kind"] = json!("TokenRequest");
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["metadata"] = json!({
        "name": account.name,
        "namespace": account.namespace,
        "creationTimestamp": names::now_seconds(),
    });
    if request["spec"]["audiences"].as_array().is_none_or(Vec::is_empty) {
        request["spec"]["audiences"] = json!(["https://kubernetes.default.svc.cluster.local"]);
    }
    request["spec"]["expirationSeconds"] = json!(seconds);
    request["status"] = json!({"token": token, "expirationTimestamp": names::in_seconds(life)});
    call.value(StatusCode::CREATED, &request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd"));
        assert!(!same("abc", "ab"));
        assert!(!same("", "a"));
        assert_ne!(fresh(), fresh());
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_valid_for_its_life() {
        let tokens = Tokens::default();
        let token = tokens.issue(Caller::service_account("shop", "web"), Duration::from_secs(600)).unwrap();
        assert_eq!(tokens.caller(&token).unwrap().name, "system:serviceaccount:shop:web");
        tokio::time::advance(Duration::from_secs(601)).await;
        assert_eq!(tokens.caller(&token), None);
    }
}
