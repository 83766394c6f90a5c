//! The verbs of the API on stored objects, the same for HTTP clients and for the sandbox's own controllers: create,
//! get, list, update, delete, with Kubernetes' rules for metadata, `status`, generations, finalizers and grace.
//!
//! * [`shape`]: that objects read as their types.
//! * [`defaults`], [`validate`], [`admission`]: what a kind's objects are given, and what is refused.
//! * [`unserved`]: what the real server takes and the sandbox refuses.
//! * [`deletion`]: grace, finalizers, propagation; [`delete_options`], how clients state them.
//! * [`patch`]: merge, JSON, strategic merge, apply.
//! * [`subresources`]: scale, binding, eviction.
//! * [`event_names`]: what the Events that the sandbox records are called.
//! * [`typed`]: the same verbs for k8s-openapi's types.

pub mod admission;
pub mod defaults;
pub mod delete_options;
pub mod deletion;
pub mod event_names;
mod json;
mod metadata;
pub mod patch;
pub mod shape;
pub mod subresources;
pub mod typed;
pub mod unserved;
pub mod validate;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    error::ApiError,
    kinds::{self, Kind},
    store::{Object, Store, Wanted},
};

pub use deletion::{DeleteOptions, Propagation};

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but the status, where the kind has a status of its own.
    Main,
    /// The status alone (with labels and annotations).
    Status,
}

impl Part {
    /// The subresource that it is written through; empty for the object itself.
    #[must_use]
    pub const fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
        }
    }
}

/// What a write is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace; empty where the kind has none.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// Which part of the object.
    pub part: Part,
}

/// Who moves the fields of `managedFields` with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracking {
    /// The registry, for a write through this subresource.
    By(&'static str),
    /// The new value has them already.
    Done,
}

/// What is known of an object's JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Form {
    /// Nothing: a client sent it.
    Any,
    /// It was written from the kind's own type.
    Typed,
}

impl Form {
    fn normalise(self, kind: &Kind, value: &mut Value) -> Result<(), ApiError> {
        match self {
            Self::Any => shape::normalise(kind, value).map(drop),
            Self::Typed => shape::normalise_typed(kind, value),
        }
    }
}

/// How a write is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Say what would be, and write nothing.
    pub dry_run: bool,
    /// Who writes, for `managedFields`.
    pub manager: String,
}

/// The verbs. Cheap to share.
pub struct Registry {
    store: Arc<Store>,
    pub(super) allocator: admission::Allocator,
    /// The events that the sandbox's own parts have recorded.
    pub(super) event_names: event_names::EventNames,
}

impl Registry {
    /// The verbs on a store.
    #[must_use]
    pub fn new(store: Arc<Store>, allocator: admission::Allocator) -> Self {
        Self { store, allocator, event_names: event_names::EventNames::default() }
    }

    /// What is stored, to read and to watch.
    #[must_use]
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// An object.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Arc<Object>, ApiError> {
        self.store.get(kind, namespace, name).ok_or_else(|| ApiError::not_found(kind.group, kind.plural, name))
    }

    /// Creates an object and returns it as it is stored.
    ///
    /// # Errors
    /// What Kubernetes would answer: a namespace that isn't there or is going (404, 403), a name that is taken (409), a
    /// body for another place (400), fields that are not allowed (422).
    pub fn create(
        &self,
        kind: &'static Kind,
        namespace: &str,
        value: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, ApiError> {
        check_type(kind, &value)?;
        self.create_in(kind, namespace, value, Form::Any, options)
    }

    /// As [`Self::create`], with what is known of the value.
    pub(in crate::sandbox) fn create_in(
        &self,
        kind: &'static Kind,
        namespace: &str,
        mut value: Value,
        form: Form,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, ApiError> {
        form.normalise(kind, &mut value)?;
        if kind.namespaced {
            self.check_namespace(kind, namespace, &value)?;
        }
        metadata::for_create(kind, namespace, &mut value)?;
        let name = super::store::text_at(&value["metadata"], "name");
        if kind.status && kind.kind != "Node" {
            value["status"] = metadata::fresh_status(kind);
        }
        defaults::apply(kind, &mut value);
        let mut services = self.hold_services(kind, Part::Main);
        admission::on_create(self, services.as_mut(), kind, namespace, &mut value)?;
        let errors = validate::create(kind, &value);
        if !errors.is_empty() {
            return Err(ApiError::invalid(kind.group, kind.kind, &name, &errors));
        }
        unserved::check(kind, &value)?;
        let taken = || ApiError::already_exists(kind.group, kind.plural, &name);
        if options.dry_run {
            if self.store.get(kind, namespace, &name).is_some() {
                return Err(taken());
            }
            return Ok(Arc::new(Object::new(kind, value, self.store.version())));
        }
        let written = self.store.write(kind, namespace, &name, |before| match before {
            Some(_) => Err(taken()),
            None => Ok(Wanted::Put(value)),
        })?;
        written.ok_or_else(|| ApiError::internal("a created object is not there"))
    }

    fn check_namespace(&self, kind: &Kind, namespace: &str, value: &Value) -> Result<(), ApiError> {
        let home = self
            .store
            .get(&kinds::NAMESPACE, "", namespace)
            .ok_or_else(|| ApiError::not_found("", "namespaces", namespace))?;
        if !home.going {
            return Ok(());
        }
        let name = super::store::text_at(&value["metadata"], "name");
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut error = ApiError::forbidden(kind.group, kind.plural, &name, why);
        error.details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        Err(error)
    }

    /// Replaces an object, or its status, by a value. Without a `resourceVersion` in it the write is unconditional.
    ///
    /// # Errors
    /// What Kubernetes would answer: 404, 409 for an old version, 400 for another object's body, 422.
    pub fn update(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        part: Part,
        value: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, ApiError> {
        check_type(kind, &value)?;
        let target = Target { kind, namespace, name, part };
        self.alter(target, options, Tracking::By(part.subresource()), Form::Any, move |_, _| Ok(value))
    }

    /// Changes an object, or its status, by a function of what it is, in one step: what patches and controllers use.
    /// A `resourceVersion` in the result must be the current one.
    ///
    /// # Errors
    /// What the function refuses, and as for [`Self::update`].
    pub fn change(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        part: Part,
        options: &WriteOptions,
        new: impl FnOnce(Value) -> Result<Value, ApiError>,
    ) -> Result<Arc<Object>, ApiError> {
        let target = Target { kind, namespace, name, part };
        self.change_at(target, options, Tracking::By(part.subresource()), new)
    }

    /// As [`Self::change`], with a say in who moves the managed fields.
    pub(super) fn change_at(
        &self,
        target: Target<'_>,
        options: &WriteOptions,
        tracking: Tracking,
        new: impl FnOnce(Value) -> Result<Value, ApiError>,
    ) -> Result<Arc<Object>, ApiError> {
        self.alter(target, options, tracking, Form::Any, |_, old| new(old.clone()))
    }

    /// As [`Self::change_at`], with what is known of the new value. The function sees the object and its JSON.
    pub(super) fn alter(
        &self,
        target: Target<'_>,
        options: &WriteOptions,
        tracking: Tracking,
        form: Form,
        new: impl FnOnce(&Object, &Value) -> Result<Value, ApiError>,
    ) -> Result<Arc<Object>, ApiError> {
        let Target { kind, namespace, name, part } = target;
        let mut dry = None;
        let mut services = self.hold_services(kind, part);
        let written = self.store.write(kind, namespace, name, |before| {
            let before = before.ok_or_else(|| ApiError::not_found(kind.group, kind.plural, name))?;
            let old = before.value();
            let mut value = new(before, &old)?;
            form.normalise(kind, &mut value)?;
            metadata::for_update(kind, namespace, name, &old, &mut value)?;
            keep_other_part(kind, part, &old, &mut value);
            defaults::apply(kind, &mut value);
            admission::on_update(services.as_mut(), kind, part, &old, &mut value)?;
            let errors = validate::update(kind, part, &value, &old);
            if !errors.is_empty() {
                return Err(ApiError::invalid(kind.group, kind.kind, name, &errors));
            }
            if part == Part::Main {
                unserved::check(kind, &value)?;
                metadata::bump_generation(kind, &old, &mut value);
            }
            if let Tracking::By(subresource) = tracking {
                patch::managed_fields::track(kind, part, subresource, &options.manager, &old, &mut value);
            }
            let ended = deletion::is_over(kind, &value);
            if options.dry_run {
                dry = Some(Arc::new(Object::new(kind, value, before.version)));
                return Ok(Wanted::Keep);
            }
            if ended {
                dry = Some(Arc::new(Object::new(kind, value, before.version)));
                return Ok(Wanted::Gone);
            }
            // An unchanged object keeps its version, as in etcd's clients.
            value["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            Ok(if value == old { Wanted::Keep } else { Wanted::Put(value) })
        })?;
        dry.or(written).ok_or_else(|| ApiError::not_found(kind.group, kind.plural, name))
    }

    /// Deletes an object. It may stay for a while, for its grace or its finalizers; then what comes back says so.
    ///
    /// # Errors
    /// 404, and 409 where a precondition does not hold.
    pub fn delete(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<deletion::Deleted, ApiError> {
        admission::on_delete(kind, name)?;
        deletion::delete(self, kind, namespace, name, options)
    }

    /// What Services have, kept from changing, where a write may give one something.
    fn hold_services(&self, kind: &Kind, part: Part) -> Option<admission::Holding<'_>> {
        (kind.kind == "Service" && part == Part::Main).then(|| self.allocator.hold(&self.store))
    }
}

/// A body must be of the kind that the URL is about; a client may leave both out.
fn check_type(kind: &Kind, value: &Value) -> Result<(), ApiError> {
    check_type_is(kind.kind, &[&kind.api_version()], value)
}

/// The same for what is no stored kind; the first of the versions is the one that is named.
fn check_type_is(kind: &str, api_versions: &[&str], value: &Value) -> Result<(), ApiError> {
    if !value.is_object() {
        return Err(ApiError::bad_request("the object provided is unrecognized (must be of type Object)"));
    }
    let wrong = |field: &str, wanted: &[&str]| match &value[field] {
        Value::Null => false,
        Value::String(found) => !found.is_empty() && !wanted.contains(&found.as_str()),
        _ => true,
    };
    if wrong("kind", &[kind]) || wrong("apiVersion", api_versions) {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({}, Kind={}) does not match the expected API version ({}, Kind={kind})",
            value["apiVersion"].as_str().unwrap_or_default(),
            value["kind"].as_str().unwrap_or_default(),
            api_versions.first().copied().unwrap_or_default(),
        )));
    }
    Ok(())
}

/// What is posted to a part of a pod must be of the part's kind, and of no other namespace than the pod
/// (apiserver/pkg/registry/rest/meta.go `EnsureObjectNamespaceMatchesRequestNamespace`).
fn check_posted(kind: &str, api_versions: &[&str], namespace: &str, value: &Value) -> Result<(), ApiError> {
    check_type_is(kind, api_versions, value)?;
    metadata::check_stated_namespace(namespace, &value["metadata"])
}

fn keep_other_part(kind: &Kind, part: Part, old: &Value, new: &mut Value) {
    match part {
        Part::Main if kind.status => match old.get("status") {
            Some(status) => new["status"] = status.clone(),
            None => {
                if let Some(object) = new.as_object_mut() {
                    object.shift_remove("status");
                }
            }
        },
        Part::Main => {}
        Part::Status => {
            let mut written = std::mem::replace(new, old.clone());
            // A Deployment's labels are its author's alone (k/pkg/registry/apps/deployment/strategy.go).
            let kept: &[&str] = if kind.kind == "Deployment" {
                &["annotations", "managedFields"]
            } else {
                &["labels", "annotations", "managedFields"]
            };
            for key in kept {
                let member = written["metadata"][*key].take();
                if !member.is_null() {
                    new["metadata"][*key] = member;
                }
            }
            if let Some(status) = json::remove(&mut written, "status") {
                new["status"] = status;
            }
        }
    }
}
