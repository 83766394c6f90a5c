//! What every namespace holds: the `ServiceAccount` `default` and the `ConfigMap` `kube-root-ca.crt`, made again when
//! they are deleted or changed (`k/pkg/controller/serviceaccount/serviceaccounts_controller.go`,
//! k/pkg/controller/certificates/rootcacertpublisher/publisher.go, v1.34.4).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Controller, Key, Next};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    registry::{Part, Registry, WriteOptions},
    store::Change,
};

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIPTION_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
    endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
    distributions of Kubernetes clusters.";

const WATCHED: &[&Kind] = &[&kinds::NAMESPACE, &kinds::SERVICE_ACCOUNT, &kinds::CONFIG_MAP];

/// The controller.
pub struct ServiceAccounts {
    registry: Arc<Registry>,
    root_ca: String,
}

impl ServiceAccounts {
    /// The controller of these objects; `root_ca` is the certificate, as PEM, that clients in pods are to trust.
    #[must_use]
    pub const fn new(registry: Arc<Registry>, root_ca: String) -> Self {
        Self { registry, root_ca }
    }

    fn ensure_account(&self, namespace: &str) -> Result<(), ApiError> {
        if self.registry.store().get(&kinds::SERVICE_ACCOUNT, namespace, ACCOUNT).is_some() {
            return Ok(());
        }
        self.create(&kinds::SERVICE_ACCOUNT, namespace, json!({"metadata": {"name": ACCOUNT}}))
    }

    fn ensure_root_ca(&self, namespace: &str) -> Result<(), ApiError> {
        let data = json!({"ca.crt": self.root_ca});
        let Some(there) = self.registry.store().get(&kinds::CONFIG_MAP, namespace, ROOT_CA) else {
            let metadata = json!({"name": ROOT_CA, "annotations": {DESCRIPTION: DESCRIPTION_TEXT}});
            return self.create(&kinds::CONFIG_MAP, namespace, json!({"metadata": metadata, "data": data}));
        };
        let value = there.value();
        let described = value["metadata"]["annotations"][DESCRIPTION].as_str().is_some_and(|text| !text.is_empty());
        if value["data"] == data && described {
            return Ok(());
        }
        let options = WriteOptions::default();
        self.registry.change(&kinds::CONFIG_MAP, namespace, ROOT_CA, Part::Main, &options, |mut value| {
            value["data"] = data;
            value["metadata"]["annotations"][DESCRIPTION] = json!(DESCRIPTION_TEXT);
            Ok(value)
        })?;
        Ok(())
    }

    fn create(&self, kind: &'static Kind, namespace: &str, value: Value) -> Result<(), ApiError> {
        match self.registry.create(kind, namespace, value, &WriteOptions::default()) {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Controller for ServiceAccounts {
    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        WATCHED
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        let object = &change.object;
        let namespace = match (object.kind.kind, object.name.as_str()) {
            ("Namespace", name) => name,
            ("ServiceAccount", ACCOUNT) | ("ConfigMap", ROOT_CA) => &object.namespace,
            _ => return Vec::new(),
        };
        vec![Key::new("", namespace)]
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(namespace) = self.registry.store().get(&kinds::NAMESPACE, "", &key.name) else {
            return Ok(Next::Settled);
        };
        if !namespace.going {
            self.ensure_account(&key.name)?;
            self.ensure_root_ca(&key.name)?;
        }
        Ok(Next::Settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{controllers::test_cluster::TestCluster, registry::DeleteOptions};

    fn cluster() -> TestCluster {
        TestCluster::start(|registry| vec![Arc::new(ServiceAccounts::new(Arc::clone(registry), "PEM".into()))])
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_gets_its_account_and_certificate_again_and_again() {
        let cluster = cluster();
        cluster.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": "second"}}));
        cluster.settle().await;
        for (kind, name) in [(&kinds::SERVICE_ACCOUNT, ACCOUNT), (&kinds::CONFIG_MAP, ROOT_CA)] {
            let first = cluster.registry.get(kind, "second", name).unwrap();
            cluster.registry.delete(kind, "second", name, &DeleteOptions::default()).unwrap();
            cluster.settle().await;
            assert_ne!(cluster.registry.get(kind, "second", name).unwrap().uid, first.uid, "{name}");
        }
        assert!(
            cluster.registry.get(&kinds::CONFIG_MAP, "second", ROOT_CA).unwrap().value()["data"]["ca.crt"] == "PEM"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_certificate_is_put_right_and_other_maps_are_left_alone() {
        let cluster = cluster();
        cluster.create(&kinds::CONFIG_MAP, "shop", json!({"metadata": {"name": "own"}, "data": {"ca.crt": "x"}}));
        cluster.settle().await;
        for name in [ROOT_CA, "own"] {
            let options = WriteOptions::default();
            let changed =
                cluster.registry.change(&kinds::CONFIG_MAP, "shop", name, Part::Main, &options, |mut value| {
                    value["data"]["ca.crt"] = json!("forged");
                    value["data"]["more"] = json!("");
                    Ok(value)
                });
            changed.unwrap();
        }
        cluster.settle().await;
        let data = |name| cluster.registry.get(&kinds::CONFIG_MAP, "shop", name).unwrap().value()["data"].clone();
        assert_eq!(data(ROOT_CA), json!({"ca.crt": "PEM"}));
        assert_eq!(data("own")["ca.crt"], "forged");
    }
}
