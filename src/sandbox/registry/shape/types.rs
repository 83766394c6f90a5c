//! Which type of k8s-openapi each served kind is read as.

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    coordination::v1::Lease,
    core::v1::{
        ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
    },
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Error, Value};

use crate::sandbox::kinds::Kind;

/// Reads an object as its type and gives what was read, as JSON; nothing for a kind without a type here.
pub(super) fn read(kind: &Kind, value: &Value) -> Result<Option<Value>, Error> {
    let read = match kind.kind {
        "ConfigMap" => through::<ConfigMap>,
        "Endpoints" => through::<Endpoints>,
        "Event" => through::<Event>,
        "Namespace" => through::<Namespace>,
        "Node" => through::<Node>,
        "PersistentVolumeClaim" => through::<PersistentVolumeClaim>,
        "Pod" => through::<Pod>,
        "Secret" => through::<Secret>,
        "ServiceAccount" => through::<ServiceAccount>,
        "Service" => through::<Service>,
        "ControllerRevision" => through::<ControllerRevision>,
        "DaemonSet" => through::<DaemonSet>,
        "Deployment" => through::<Deployment>,
        "ReplicaSet" => through::<ReplicaSet>,
        "StatefulSet" => through::<StatefulSet>,
        "HorizontalPodAutoscaler" => through::<HorizontalPodAutoscaler>,
        "Job" => through::<Job>,
        "Lease" => through::<Lease>,
        "EndpointSlice" => through::<EndpointSlice>,
        "PodDisruptionBudget" => through::<PodDisruptionBudget>,
        _ => return Ok(None),
    };
    read(value).map(Some)
}

fn through<T: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, Error> {
    serde_json::to_value(T::deserialize(value)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::kinds;

    #[test]
    fn every_served_kind_has_a_type() {
        for kind in kinds::ALL {
            let read = read(kind, &json!({"metadata": {"name": "a"}})).unwrap().unwrap();
            assert_eq!((&read["kind"], &read["apiVersion"]), (&json!(kind.kind), &json!(kind.api_version())));
        }
    }
}
