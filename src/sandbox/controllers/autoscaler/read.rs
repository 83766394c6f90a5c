//! From the API's objects to the autoscaler's arithmetic: rules of behaviour, pods with their usage and requests.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::{
        autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior},
        core::v1::{Container, Pod, ResourceRequirements},
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::super::pods;
use crate::{
    model::{
        autoscale::{
            proposal::{self, Readiness, Sample},
            rate::{Amount, Behavior, Policy, Rules, Select},
        },
        quantity,
    },
    sandbox::metrics::PodUsage,
};

/// The rules of an autoscaler that has any, with upstream's own in place of those that it leaves out
/// (k/pkg/apis/autoscaling/v2/defaults.go).
#[must_use]
pub fn behavior(of: &HorizontalPodAutoscalerBehavior) -> Behavior {
    Behavior { up: rules(of.scale_up.as_ref(), Rules::up()), down: rules(of.scale_down.as_ref(), Rules::down()) }
}

fn rules(of: Option<&HPAScalingRules>, defaults: Rules) -> Rules {
    let Some(of) = of else { return defaults };
    let seconds = |count: i32| Duration::from_secs(u64::try_from(count).unwrap_or(0));
    let select = match of.select_policy.as_deref() {
        Some("Min") => Select::Min,
        Some("Disabled") => Select::Disabled,
        _ => Select::Max,
    };
    let policy = |policy: &k8s_openapi::api::autoscaling::v2::HPAScalingPolicy| {
        let amount = if policy.type_ == "Pods" { Amount::Pods(policy.value) } else { Amount::Percent(policy.value) };
        Policy { amount, period: seconds(policy.period_seconds) }
    };
    Rules {
        window: of.stabilization_window_seconds.map_or(defaults.window, seconds),
        select,
        policies: of.policies.as_ref().map_or(defaults.policies, |all| all.iter().map(policy).collect()),
    }
}

/// Which usage is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The resource, such as `cpu`.
    pub resource: &'a str,
    /// Of this container alone.
    pub container: Option<&'a str>,
}

impl Wanted<'_> {
    /// A pod's usage in thousandths; nothing where it isn't measured.
    ///
    /// # Errors
    /// In upstream's words, when the container is not among those measured.
    pub fn sample(&self, pod: &Pod, usage: &PodUsage) -> Result<Option<Sample>, String> {
        let counted = usage.containers.iter().filter(|one| self.container.is_none_or(|name| one.container == name));
        let milli = |one: &crate::sandbox::metrics::ContainerUsage| match self.resource {
            "cpu" => Some(one.cpu_nanos.div_euclid(1_000_000) + i64::from(one.cpu_nanos.rem_euclid(1_000_000) != 0)),
            "memory" => Some(one.memory_bytes.saturating_mul(1_000)),
            _ => None,
        };
        let milli: Option<Vec<i64>> = counted.map(milli).collect();
        let Some(milli) = milli else { return Ok(None) };
        if milli.is_empty() {
            let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
            return Err(format!(
                "failed to get container metrics: container {} not present in metrics for pod {}/{}",
                self.container.unwrap_or_default(),
                namespace.unwrap_or_default(),
                name.unwrap_or_default(),
            ));
        }
        let milli = milli.into_iter().fold(0_i64, i64::saturating_add);
        Ok(Some(Sample { milli, at: usage.at, window: usage.window }))
    }

    /// What a pod requests, in thousandths (`calculateRequests`).
    ///
    /// # Errors
    /// In upstream's words, when a container requests nothing.
    pub fn request(&self, pod: &Pod) -> Result<i64, String> {
        let Some(spec) = &pod.spec else { return Ok(0) };
        let of_pod = spec.resources.as_ref().filter(|_| self.container.is_none());
        if let Some(request) = of_pod.and_then(|resources| self.requested(resources)) {
            return Ok(request);
        }
        let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
        let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
        let all = spec.containers.iter().chain(sidecars);
        let counted = all.filter(|container| self.container.is_none_or(|name| container.name == name));
        counted.into_iter().try_fold(0_i64, |sum, container| {
            let request = container.resources.as_ref().and_then(|resources| self.requested(resources));
            let request = request.ok_or_else(|| {
                let pod = pod.metadata.name.as_deref().unwrap_or_default();
                format!("missing request for {} in container {} of Pod {pod}", self.resource, container.name)
            })?;
            Ok(sum.saturating_add(request))
        })
    }

    fn requested(&self, resources: &ResourceRequirements) -> Option<i64> {
        let requests: &BTreeMap<String, Quantity> = resources.requests.as_ref()?;
        quantity::milli_value(&requests.get(self.resource)?.0)
    }
}

/// A pod for the arithmetic.
#[must_use]
pub fn pod(of: &Pod, request_milli: i64, sample: Option<Sample>) -> proposal::Pod {
    let status = of.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    let readiness = ready.next().map(|condition| Readiness {
        is_false: condition.status == "False",
        since: condition.last_transition_time.as_ref().map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
    });
    proposal::Pod {
        name: of.metadata.name.clone().unwrap_or_default(),
        is_going: of.metadata.deletion_timestamp.is_some() || pods::phase(of) == "Failed",
        is_pending: pods::phase(of) == "Pending",
        readiness,
        started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
        request_milli,
        sample,
    }
}
