//! One metric of an autoscaler: what is measured, what it asks for, and how the status tells it
//! (`computeReplicasForMetric` of `k/pkg/controller/podautoscaler/horizontal.go`, v1.34.4). Only usage of CPU and memory is
//! measured; whatever needs an adapter fails as it does in a cluster without one.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        autoscaling::v2::{
            ContainerResourceMetricStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
            ResourceMetricSource, ResourceMetricStatus,
        },
        core::v1::Pod,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector},
};

use super::read::{self, Wanted};
use crate::{
    model::{
        autoscale::proposal::{self, Proposal, Target},
        quantity,
    },
    sandbox::metrics::PodMetrics,
};

/// What a metric asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// So many replicas.
    pub replicas: i32,
    /// The metric in the words of conditions and events.
    pub name: String,
    /// What is measured, for the status.
    pub status: MetricStatus,
}

/// Why a metric asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason of the condition and event, such as `FailedGetResourceMetric`.
    pub reason: &'static str,
    /// The message of the event, which the condition has too.
    pub message: String,
    /// What it was about, before the message.
    pub about: String,
}

impl Failure {
    /// The whole error.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.about, self.message)
    }
}

/// The pods of an autoscaler's target, and who measures them.
pub struct View<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The pods that the target selects.
    pub pods: &'a [Arc<Pod>],
    /// Their usage.
    pub usage: &'a dyn PodMetrics,
    /// Replicas asked for at present.
    pub current: i32,
    /// The time.
    pub now: Timestamp,
}

impl View<'_> {
    /// What a metric asks for.
    ///
    /// # Errors
    /// Why it asks for nothing.
    pub fn wish(&self, spec: &MetricSpec) -> Result<Wish, Failure> {
        match (spec.type_.as_str(), &spec.resource, &spec.container_resource) {
            ("Resource", Some(metric), _) => self.resource(&metric.name, None, &metric.target),
            ("ContainerResource", _, Some(metric)) => {
                self.resource(&metric.name, Some(&metric.container), &metric.target)
            }
            ("Pods" | "Object" | "External", ..) => Err(self.without_adapter(spec)),
            (other, ..) => Err(Failure {
                reason: "InvalidMetricSourceType",
                message: format!("unknown metric source type {other:?}"),
                about: String::new(),
            }),
        }
    }

    fn resource(&self, name: &str, container: Option<&str>, target: &MetricTarget) -> Result<Wish, Failure> {
        let wanted = Wanted { resource: name, container };
        let (reason, about) = if container.is_some() {
            ("FailedGetContainerResourceMetric", format!("failed to get {name} container metric value: "))
        } else {
            ("FailedGetResourceMetric", format!("failed to get {name} resource metric value: "))
        };
        let of = if container.is_some() { "container resource" } else { "resource" };
        let fails = |message: String| Failure { reason, message, about: about.clone() };
        let (target, what, words) = match (&target.average_value, target.average_utilization) {
            (Some(average), _) => {
                let milli = quantity::milli_value(&average.0).filter(|milli| *milli > 0).unwrap_or(1);
                (Target::Average(milli), "usage", format!("{name} resource"))
            }
            (None, Some(percent)) => {
                let words = format!("{name} {of} utilization (percentage of request)");
                (Target::Utilization(percent.max(1)), "utilization", words)
            }
            (None, None) => {
                let message = "invalid resource metric source: neither an average utilization target nor an average value target was set";
                return Err(fails(message.to_owned()));
            }
        };
        let proposal =
            self.propose(wanted, target).map_err(|error| fails(format!("failed to get {name} {what}: {error}")))?;
        Ok(Wish { replicas: proposal.replicas, name: words, status: status(name, container, proposal) })
    }

    fn propose(&self, wanted: Wanted<'_>, target: Target) -> Result<Proposal, String> {
        let mut measured = false;
        let mut pods = Vec::with_capacity(self.pods.len());
        let mut missing_request = None;
        for pod in self.pods {
            let usage = self.usage.usage(self.namespace, pod.metadata.name.as_deref().unwrap_or_default());
            measured |= usage.is_some();
            let sample = match usage.map(|usage| wanted.sample(pod, &usage)).transpose() {
                Ok(sample) => sample.flatten(),
                Err(error) => return Err(format!("unable to get metrics for resource {}: {error}", wanted.resource)),
            };
            let request = match (target, wanted.request(pod)) {
                (Target::Average(_), _) => 0,
                (Target::Utilization(_), Ok(request)) => request,
                (Target::Utilization(_), Err(error)) => {
                    missing_request.get_or_insert(error);
                    0
                }
            };
            pods.push(read::pod(pod, request, sample));
        }
        if !measured {
            let why = "no metrics returned from resource metrics API";
            return Err(format!("unable to get metrics for resource {}: {why}", wanted.resource));
        }
        let is_cpu = wanted.resource == "cpu";
        if let Some(missing) = missing_request {
            // Requests are looked at only where there is usage to hold against them.
            proposal::propose(&pods, is_cpu, Target::Average(1), self.current, self.now)?;
            return Err(missing);
        }
        Ok(proposal::propose(&pods, is_cpu, target, self.current, self.now)?)
    }

    /// Upstream's answer where no adapter serves `custom.metrics.k8s.io` or `external.metrics.k8s.io`.
    fn without_adapter(&self, spec: &MetricSpec) -> Failure {
        let custom =
            "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";
        let named = |name: Option<&String>| name.cloned().unwrap_or_default();
        match spec.type_.as_str() {
            "Pods" => Failure {
                reason: "FailedGetPodsMetric",
                message: format!(
                    "unable to get metric {}: {custom}",
                    named(spec.pods.as_ref().map(|pods| &pods.metric.name))
                ),
                about: "failed to get pods metric value: ".to_owned(),
            },
            "Object" => {
                let object = spec.object.as_ref();
                let described = object.map(|object| &object.described_object);
                Failure {
                    reason: "FailedGetObjectMetric",
                    message: format!(
                        "unable to get metric {}: {} on {} {}/{custom}",
                        named(object.map(|object| &object.metric.name)),
                        named(described.map(|one| &one.kind)),
                        self.namespace,
                        named(described.map(|one| &one.name)),
                    ),
                    about: "failed to get object metric value: ".to_owned(),
                }
            }
            _ => {
                let name = named(spec.external.as_ref().map(|external| &external.metric.name));
                let selector = spec.external.as_ref().and_then(|external| external.metric.selector.as_ref());
                let selector = selector.map_or_else(|| "nil".to_owned(), selector_in_go);
                Failure {
                    reason: "FailedGetExternalMetric",
                    message: format!(
                        "unable to get external metric {}/{name}/{selector}: unable to fetch metrics from external metrics API: the server could not find the requested resource (get {name}.external.metrics.k8s.io)",
                        self.namespace,
                    ),
                    about: format!("failed to get {name} external metric value: "),
                }
            }
        }
    }
}

/// A selector as Go prints it.
fn selector_in_go(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},"));
    let requirements = selector.match_expressions.iter().flatten().map(|one| {
        let values = one.values.clone().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator)
    });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.collect::<String>(),
        requirements.collect::<String>(),
    )
}

/// The metric of an autoscaler that names none: 80 % of the requested CPU (k/pkg/apis/autoscaling/v2/defaults.go).
pub(super) fn by_default() -> MetricSpec {
    let target =
        MetricTarget { type_: "Utilization".to_owned(), average_utilization: Some(80), ..MetricTarget::default() };
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource { name: "cpu".to_owned(), target }),
        ..MetricSpec::default()
    }
}

fn status(name: &str, container: Option<&str>, proposal: Proposal) -> MetricStatus {
    let current = MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(Quantity(milli(proposal.average_milli))),
        value: None,
    };
    match container {
        None => MetricStatus {
            type_: "Resource".to_owned(),
            resource: Some(ResourceMetricStatus { name: name.to_owned(), current }),
            ..MetricStatus::default()
        },
        Some(container) => MetricStatus {
            type_: "ContainerResource".to_owned(),
            container_resource: Some(ContainerResourceMetricStatus {
                name: name.to_owned(),
                container: container.to_owned(),
                current,
            }),
            ..MetricStatus::default()
        },
    }
}

/// Thousandths as a decimal quantity: `250m`, `2`, `5k`.
fn milli(thousandths: i64) -> String {
    if thousandths == 0 {
        return "0".to_owned();
    }
    let (mut value, mut suffixes) = (thousandths, ["m", "", "k", "M", "G", "T", "P"].into_iter());
    let mut suffix = suffixes.next().unwrap_or_default();
    while value % 1_000 == 0 {
        let Some(next) = suffixes.next() else { break };
        value /= 1_000;
        suffix = next;
    }
    format!("{value}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::milli;

    #[test]
    fn quantities_are_written_in_their_largest_whole_unit() {
        let table = [(0, "0"), (250, "250m"), (2_000, "2"), (2_500, "2500m"), (5_000_000, "5k"), (1_024_000, "1024")];
        for (thousandths, text) in table {
            assert_eq!(milli(thousandths), text);
        }
    }
}
