//! One stored object: its bytes, what lists and indexes ask of it, and its typed form, read once per version.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::sandbox::kinds::Kind;

/// An owner, from `metadata.ownerReferences`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its uid.
    pub uid: String,
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// It is the managing controller.
    pub controller: bool,
    /// With foreground deletion it waits for this object.
    pub blocks: bool,
}

/// An object in one version. Never changed.
pub struct Object {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its `resourceVersion`.
    pub version: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its owners.
    pub owners: Vec<Owner>,
    /// `spec.nodeName` of a pod.
    pub node: Option<String>,
    /// It has a `deletionTimestamp`.
    pub going: bool,
    bytes: Bytes,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} at {}", self.kind.kind, self.namespace, self.name, self.version)
    }
}

impl Object {
    /// An object from its JSON, whose `metadata.resourceVersion` is set to `version`.
    #[must_use]
    pub fn new(kind: &'static Kind, mut value: Value, version: u64) -> Self {
        value["metadata"]["resourceVersion"] = json!(version.to_string());
        let metadata = &value["metadata"];
        let labels = metadata["labels"].as_object().into_iter().flatten();
        Self {
            kind,
            namespace: text_at(metadata, "namespace"),
            name: text_at(metadata, "name"),
            uid: text_at(metadata, "uid"),
            version,
            labels: labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
            owners: metadata["ownerReferences"].as_array().into_iter().flatten().map(owner_of).collect(),
            going: !metadata["deletionTimestamp"].is_null(),
            node: (kind.kind == "Pod").then(|| text_at(&value["spec"], "nodeName")).filter(|name| !name.is_empty()),
            bytes: serde_json::to_vec(&value).unwrap_or_default().into(),
            typed: OnceLock::new(),
        }
    }

    /// The same object under another version, as the event of its deletion has it.
    #[must_use]
    pub fn at_version(&self, version: u64) -> Self {
        Self::new(self.kind, self.value(), version)
    }

    /// Its namespace and name.
    #[must_use]
    pub fn place(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// Its JSON as text.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether a text is in its JSON: a cheap look that spares most readers [`Self::value`].
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        std::str::from_utf8(&self.bytes).is_ok_and(|json| json.contains(text))
    }

    /// Its JSON.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// Its metadata alone, which spares reading the rest.
    #[must_use]
    pub fn metadata(&self) -> Value {
        #[derive(Default, Deserialize)]
        struct Head {
            #[serde(default)]
            metadata: Value,
        }
        serde_json::from_slice::<Head>(&self.bytes).unwrap_or_default().metadata
    }

    /// Its typed form, which is kept. Nothing where it isn't of that type, which validation rules out.
    #[must_use]
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        if let Some(known) = self.typed.get() {
            return Arc::clone(known).downcast().ok();
        }
        let made: Arc<T> = Arc::new(serde_json::from_slice(&self.bytes).ok()?);
        let kept = self.typed.get_or_init(|| made);
        Arc::clone(kept).downcast().ok()
    }

    /// The managing controller.
    #[must_use]
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }
}

/// A text of an object, empty where there is none.
#[must_use]
pub fn text_at(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// An owner from its reference.
#[must_use]
pub fn owner_of(reference: &Value) -> Owner {
    Owner {
        uid: text_at(reference, "uid"),
        api_version: text_at(reference, "apiVersion"),
        kind: text_at(reference, "kind"),
        name: text_at(reference, "name"),
        controller: reference["controller"] == true,
        blocks: reference["blockOwnerDeletion"] == true,
    }
}
