//! The verbs for k8s-openapi's types, as the sandbox's own controllers use them.

use std::sync::Arc;

use k8s_openapi::{Metadata, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{DeleteOptions, Form, Part, Registry, Target, Tracking, WriteOptions, deletion::Deleted};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    store::Object,
};

/// A type that the sandbox serves.
pub trait Served:
    k8s_openapi::Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
    /// Its kind.
    ///
    /// # Panics
    /// Never for the types that the controllers use: a test goes through them.
    #[must_use]
    fn served() -> &'static Kind {
        kinds::by_kind(Self::API_VERSION, Self::KIND).expect("the controllers use served kinds only")
    }
}

impl<T> Served for T where
    T: k8s_openapi::Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
}

fn read<K: Served>(object: &Object) -> Result<Arc<K>, ApiError> {
    object.typed().ok_or_else(|| ApiError::internal(format!("{object:?} cannot be read as {}", K::KIND)))
}

fn write<K: Served>(object: &K) -> Result<Value, ApiError> {
    serde_json::to_value(object).map_err(ApiError::internal)
}

impl Registry {
    /// An object, read as its type. 404 where it isn't there.
    pub fn read<K: Served>(&self, namespace: &str, name: &str) -> Result<Arc<K>, ApiError> {
        read(&*self.get(K::served(), namespace, name)?)
    }

    /// An object, or nothing.
    #[must_use]
    pub fn find<K: Served>(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store().get(K::served(), namespace, name)?.typed()
    }

    /// All objects of a type, or those of one namespace.
    #[must_use]
    pub fn all<K: Served>(&self, namespace: Option<&str>) -> Vec<Arc<K>> {
        self.store().list(K::served(), namespace).1.iter().filter_map(|object| object.typed()).collect()
    }

    /// The objects of a type that have this uid as their managing controller.
    #[must_use]
    pub fn controlled_by<K: Served>(&self, uid: &str) -> Vec<Arc<K>> {
        let owned = self.store().owned_by(K::served(), uid);
        let controlled = owned.iter().filter(|object| object.controller().is_some_and(|owner| owner.uid == uid));
        controlled.filter_map(|object| object.typed()).collect()
    }

    /// Creates an object in its own namespace.
    pub fn create_as<K: Served>(&self, object: &K) -> Result<Arc<K>, ApiError> {
        let namespace = object.metadata().namespace.clone().unwrap_or_default();
        read(&*self.create_in(K::served(), &namespace, write(object)?, Form::Typed, &WriteOptions::default())?)
    }

    /// Replaces an object, under its `resourceVersion`.
    pub fn update_as<K: Served>(&self, object: &K) -> Result<Arc<K>, ApiError> {
        self.replace(object, Part::Main)
    }

    /// Replaces an object's status, under its `resourceVersion`.
    pub fn update_status_as<K: Served>(&self, object: &K) -> Result<Arc<K>, ApiError> {
        self.replace(object, Part::Status)
    }

    fn replace<K: Served>(&self, object: &K, part: Part) -> Result<Arc<K>, ApiError> {
        let metadata = object.metadata();
        let (namespace, name) =
            (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        let target = Target { kind: K::served(), namespace: &namespace, name: &name, part };
        let tracking = Tracking::By(part.subresource());
        read(&*self.alter(target, &WriteOptions::default(), tracking, Form::Typed, |_, _| write(object))?)
    }

    /// Changes an object's status in one step, whatever its version.
    pub fn change_status<K: Served>(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut K) -> Result<(), ApiError>,
    ) -> Result<Arc<K>, ApiError> {
        self.change_part(namespace, name, Part::Status, change)
    }

    /// Changes an object in one step, whatever its version.
    pub fn change_as<K: Served>(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut K) -> Result<(), ApiError>,
    ) -> Result<Arc<K>, ApiError> {
        self.change_part(namespace, name, Part::Main, change)
    }

    fn change_part<K: Served>(
        &self,
        namespace: &str,
        name: &str,
        part: Part,
        change: impl FnOnce(&mut K) -> Result<(), ApiError>,
    ) -> Result<Arc<K>, ApiError> {
        let target = Target { kind: K::served(), namespace, name, part };
        let tracking = Tracking::By(part.subresource());
        let changed = self.alter(target, &WriteOptions::default(), tracking, Form::Typed, |before, _| {
            let mut object = K::clone(&*read::<K>(before)?);
            change(&mut object)?;
            write(&object)
        })?;
        read(&changed)
    }

    /// Deletes an object.
    pub fn remove<K: Served>(&self, namespace: &str, name: &str, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        self.delete(K::served(), namespace, name, options)
    }
}
