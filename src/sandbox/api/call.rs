//! One request about objects, taken apart.

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode, header::USER_AGENT, upgrade::OnUpgrade};
use serde_json::Value;

use super::{
    Api,
    answer::Answer,
    catalogue::Resource,
    negotiate::{self, Wanted},
    query::Query,
    rights::Caller,
    route::ObjectsPath,
    show::{self, Include},
};
use crate::sandbox::{error::ApiError, kinds::Kind, registry::WriteOptions, store::Object};

/// The longest name of a manager.
const MANAGER_MAX: usize = 128;

/// One request about objects.
pub(super) struct Call<'a> {
    pub(super) api: &'a Api,
    pub(super) caller: &'a Caller,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    pub(super) raw_query: String,
    pub(super) path: ObjectsPath,
    pub(super) resource: &'static Resource,
    pub(super) body: Bytes,
    pub(super) upgrade: Option<OnUpgrade>,
}

impl Call<'_> {
    /// The kind that is stored.
    ///
    /// # Errors
    /// 405 where nothing is.
    pub(super) fn stored(&self) -> Result<&'static Kind, ApiError> {
        self.resource.stored().ok_or_else(ApiError::method_not_allowed)
    }

    /// What the client wants to get.
    pub(super) fn wanted(&self) -> Result<Wanted, ApiError> {
        negotiate::wanted(&self.headers)
    }

    /// One object as the answer.
    pub(super) fn show(&self, status: StatusCode, object: &std::sync::Arc<Object>) -> Result<Answer, ApiError> {
        let include = Include::of(self.query.get("includeObject"))?;
        Ok(show::one(status, self.wanted()?, include, self.resource, object))
    }

    /// JSON as the answer, in the writing that the client wants.
    pub(super) fn value(&self, status: StatusCode, value: &Value) -> Result<Answer, ApiError> {
        Ok(show::value(status, self.wanted()?.format, value))
    }

    /// How the write is to be done.
    ///
    /// # Errors
    /// 422 for values of `dryRun` and `fieldManager` that are not allowed.
    pub(super) fn write_options(&self) -> Result<WriteOptions, ApiError> {
        Ok(WriteOptions { dry_run: self.query.dry_run(self.options_kind())?, manager: self.manager()? })
    }

    /// The kind of the options that the query is read as.
    pub(super) fn options_kind(&self) -> &'static str {
        match self.method {
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            Method::DELETE => "DeleteOptions",
            _ => "CreateOptions",
        }
    }

    /// Who writes: the query says so, or else the client's name (apiserver/pkg/endpoints/handlers/create.go,
    /// `managerOrUserAgent`).
    fn manager(&self) -> Result<String, ApiError> {
        if let Some(manager) = self.query.get("fieldManager") {
            if manager.len() > MANAGER_MAX {
                let why = format!("may not be more than {MANAGER_MAX} bytes");
                let value = Value::from(manager);
                let error = crate::sandbox::error::FieldError::invalid("fieldManager", &value, why);
                return Err(ApiError::invalid("meta.k8s.io", self.options_kind(), "", &[error]));
            }
            return Ok(manager.to_owned());
        }
        let agent = self.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let name = agent.split('/').next().unwrap_or_default();
        Ok(name.chars().filter(char::is_ascii).take(MANAGER_MAX).collect())
    }

    /// 404 of the object that the path names.
    pub(super) fn not_found(&self) -> ApiError {
        ApiError::not_found(self.resource.group, self.resource.plural, &self.path.name)
    }
}
