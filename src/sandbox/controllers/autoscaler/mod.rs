//! Horizontal pod autoscalers: every 15 s from the usage of pods to a number of replicas
//! (`k/pkg/controller/podautoscaler/horizontal.go`, v1.34.4).
//!
//! * [`read`]: objects for the arithmetic, which is in [`crate::model::autoscale`].
//! * [`metric`]: one metric.

pub mod metric;
pub mod read;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        autoscaling::v2::{
            HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus, MetricStatus,
        },
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector as ApiSelector, Time},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Controller, Key, Next, events::Severity, pods};
use crate::{
    model::{
        autoscale::rate::{Behavior, Bounds, Memory},
        selector::LabelSelector,
    },
    sandbox::{
        error::ApiError,
        kinds::{self, Kind},
        metrics::PodMetrics,
        names,
        registry::{Registry, WriteOptions},
        store::Change,
    },
};
use metric::{View, Wish};

/// How often an autoscaler looks at its target (`--horizontal-pod-autoscaler-sync-period`).
pub const PERIOD: Duration = Duration::from_secs(15);

/// Who records its events.
const COMPONENT: &str = "horizontal-pod-autoscaler";

/// What is remembered of an autoscaler.
struct Remembered {
    due: Instant,
    memory: Memory,
}

/// The controller.
pub struct Autoscalers {
    registry: Arc<Registry>,
    usage: Arc<dyn PodMetrics>,
    period: Duration,
    remembered: Mutex<HashMap<Key, Remembered>>,
}

impl Autoscalers {
    /// A controller on this registry that looks every `period` at what pods use.
    #[must_use]
    pub fn new(registry: Arc<Registry>, usage: Arc<dyn PodMetrics>, period: Duration) -> Self {
        Self { registry, usage, period, remembered: Mutex::default() }
    }
}

impl Controller for Autoscalers {
    fn name(&self) -> &'static str {
        "horizontal-pod-autoscaler"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: [&Kind; 1] = [&kinds::HORIZONTAL_POD_AUTOSCALER];
        &WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        vec![Key::of(&change.object)]
    }

    /// Changes of an autoscaler do not bring its next look forward, and a failed look is not repeated before its time.
    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let found = self.registry.find::<HorizontalPodAutoscaler>(&key.namespace, &key.name);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(autoscaler) = found else {
            remembered.remove(key);
            return Ok(Next::Settled);
        };
        let now = Instant::now();
        let known = remembered
            .entry(key.clone())
            .or_insert_with(|| Remembered { due: now + self.period, memory: Memory::default() });
        if now < known.due {
            return Ok(Next::After(known.due - now));
        }
        known.due = now + self.period;
        let mut look = Look {
            registry: &self.registry,
            usage: &*self.usage,
            status: autoscaler.status.clone().unwrap_or_default(),
            autoscaler: &autoscaler,
            memory: &mut known.memory,
            now: names::now(),
        };
        look.run();
        look.write();
        Ok(Next::After(self.period))
    }
}

/// One look of an autoscaler at its target.
struct Look<'a> {
    registry: &'a Registry,
    usage: &'a dyn PodMetrics,
    autoscaler: &'a HorizontalPodAutoscaler,
    status: HorizontalPodAutoscalerStatus,
    memory: &'a mut Memory,
    now: Timestamp,
}

/// What is scaled.
struct Target {
    kind: &'static Kind,
    name: String,
    replicas: i32,
    /// Its selector as the scale subresource tells it.
    selector_text: String,
    selector: LabelSelector,
}

impl Look<'_> {
    fn namespace(&self) -> &str {
        self.autoscaler.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn run(&mut self) {
        let target = match self.target() {
            Ok(target) => target,
            Err(error) => {
                self.tell(Severity::Warning, "FailedGetScale", &error);
                let message = format!("the HPA controller was unable to get the target's current scale: {error}");
                self.set("AbleToScale", false, "FailedGetScale", message);
                return;
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        self.set("AbleToScale", true, "SucceededGetScale", message.to_owned());
        let current = target.replicas;
        self.memory.begin(current, self.now);
        let spec = self.autoscaler.spec.clone().unwrap_or_default();
        let bounds = Bounds { min: spec.min_replicas.unwrap_or(1), max: spec.max_replicas };
        let behavior = spec.behavior.as_ref().map(read::behavior);
        let mut statuses = self.status.current_metrics.take();
        let decided = if current == 0 && bounds.min != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            self.set("ScalingActive", false, "ScalingDisabled", message.to_owned());
            statuses = None;
            None
        } else if current > bounds.max {
            statuses = None;
            Some((bounds.max, "Current number of replicas above Spec.MaxReplicas".to_owned()))
        } else if current < bounds.min {
            statuses = None;
            Some((bounds.min, "Current number of replicas below Spec.MinReplicas".to_owned()))
        } else {
            match self.by_metrics(&target, behavior.as_ref(), bounds) {
                Ok((measured, decided)) => {
                    statuses = Some(measured);
                    decided
                }
                Err(error) => {
                    self.status.current_metrics = statuses;
                    self.status.current_replicas = Some(current);
                    self.tell(Severity::Warning, "FailedComputeMetricsReplicas", &error);
                    return;
                }
            }
        };
        self.status.current_metrics = statuses;
        self.status.current_replicas = Some(current);
        match decided {
            Some((wanted, reason)) => self.rescale(&target, behavior.as_ref(), wanted, &reason),
            None => self.status.desired_replicas = current,
        }
    }

    /// The object that is scaled.
    fn target(&self) -> Result<Target, String> {
        let reference = self.autoscaler.spec.clone().unwrap_or_default().scale_target_ref;
        let api_version = reference.api_version.unwrap_or_default();
        let (group, _) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = kinds::by_kind(&api_version, &reference.kind).filter(|kind| kind.scale);
        let kind = kind.ok_or_else(|| format!("no matches for kind {:?} in group {group:?}", reference.kind))?;
        self.scale_of(kind, &reference.name).map_err(|error| error.message)
    }

    fn scale_of(&self, kind: &'static Kind, name: &str) -> Result<Target, ApiError> {
        let scale = self.registry.scale(kind, self.namespace(), name)?;
        let object = self.registry.get(kind, self.namespace(), name)?.value();
        let selector: ApiSelector = serde_json::from_value(object["spec"]["selector"].clone()).unwrap_or_default();
        Ok(Target {
            kind,
            name: name.to_owned(),
            replicas: i32::try_from(scale["spec"]["replicas"].as_i64().unwrap_or(0)).unwrap_or(i32::MAX),
            selector_text: scale["status"]["selector"].as_str().unwrap_or_default().to_owned(),
            selector: pods::selector(&selector)?,
        })
    }

    /// What the metrics ask for, after the limits; nothing to be done where that is what there is.
    #[expect(clippy::type_complexity, reason = "the statuses, and the number with its reason where there is one")]
    fn by_metrics(
        &mut self,
        target: &Target,
        behavior: Option<&Behavior>,
        bounds: Bounds,
    ) -> Result<(Vec<MetricStatus>, Option<(i32, String)>), String> {
        let current = target.replicas;
        let pods = self.pods_of(target)?;
        let (wish, statuses) = self.wish(&pods, current)?;
        let reason = if wish.replicas > current {
            format!("{} above target", wish.name)
        } else {
            "All metrics below target".to_owned()
        };
        let became = self.memory.normalize(behavior, bounds, current, wish.replicas, self.now);
        self.set("AbleToScale", true, became.stabilized.0, became.stabilized.1.to_owned());
        let (is_limited, limit, message) = became.limited;
        self.set("ScalingLimited", is_limited, limit, message.to_owned());
        Ok((statuses, (became.replicas != current).then_some((became.replicas, reason))))
    }

    /// The pods of the target, which must not be another autoscaler's too (`validateAndParseSelector`).
    fn pods_of(&mut self, target: &Target) -> Result<Vec<Arc<Pod>>, String> {
        if target.selector_text.is_empty() {
            self.tell(Severity::Warning, "SelectorRequired", "selector is required");
            let message = "the HPA target's scale is missing a selector";
            self.set("ScalingActive", false, "InvalidSelector", message.to_owned());
            return Err("selector is required".to_owned());
        }
        let selected = |selector: &LabelSelector, pod: &Pod| selector.matches(pods::labels(&pod.metadata));
        let mut pods = self.registry.all::<Pod>(Some(self.namespace()));
        pods.retain(|pod| selected(&target.selector, pod));
        let mut others = Vec::new();
        for other in self.registry.all::<HorizontalPodAutoscaler>(Some(self.namespace())) {
            let look = Look {
                registry: self.registry,
                usage: self.usage,
                autoscaler: &other,
                status: HorizontalPodAutoscalerStatus::default(),
                memory: &mut Memory::default(),
                now: self.now,
            };
            let Ok(theirs) = look.target() else { continue };
            if pods.iter().any(|pod| selected(&theirs.selector, pod)) {
                others.push(format!("{}/{}", self.namespace(), other.metadata.name.as_deref().unwrap_or_default()));
            }
        }
        if others.len() > 1 {
            let message = format!(
                "pods by selector {} are controlled by multiple HPAs: [{}]",
                target.selector_text,
                others.join(" ")
            );
            self.tell(Severity::Warning, "AmbiguousSelector", &message);
            self.set("ScalingActive", false, "AmbiguousSelector", message.clone());
            return Err(message);
        }
        Ok(pods)
    }

    /// The largest of what the metrics ask for; one that cannot be read keeps the target from shrinking
    /// (`computeReplicasForMetrics`).
    fn wish(&mut self, pods: &[Arc<Pod>], current: i32) -> Result<(Wish, Vec<MetricStatus>), String> {
        let specs = self.autoscaler.spec.clone().unwrap_or_default().metrics.filter(|all| !all.is_empty());
        let specs = specs.unwrap_or_else(|| vec![metric::by_default()]);
        let namespace = self.namespace().to_owned();
        let view = View { namespace: &namespace, pods, usage: self.usage, current, now: self.now };
        let (mut largest, mut statuses, mut failures) = (None::<Wish>, Vec::with_capacity(specs.len()), Vec::new());
        for spec in &specs {
            match view.wish(spec) {
                Ok(wish) => {
                    statuses.push(wish.status.clone());
                    if largest.as_ref().is_none_or(|known| known.replicas == 0 || wish.replicas > known.replicas) {
                        largest = Some(wish);
                    }
                }
                Err(failure) => {
                    self.tell(Severity::Warning, failure.reason, &failure.message);
                    statuses.push(MetricStatus::default());
                    failures.push(failure);
                }
            }
        }
        let would_shrink = largest.as_ref().is_some_and(|wish| wish.replicas < current);
        if let Some(first) = failures.first()
            && (largest.is_none() || would_shrink)
        {
            let message = format!("the HPA was unable to compute the replica count: {}", first.message);
            self.set("ScalingActive", false, first.reason, message);
            let (count, text) = (failures.len(), first.text());
            return Err(format!("invalid metrics ({count} invalid out of {}), first error is: {text}", specs.len()));
        }
        let wish = largest.ok_or_else(|| "there are no metrics".to_owned())?;
        let message = format!("the HPA was able to successfully calculate a replica count from {}", wish.name);
        self.set("ScalingActive", true, "ValidMetricFound", message);
        Ok((wish, statuses))
    }

    fn rescale(&mut self, target: &Target, behavior: Option<&Behavior>, wanted: i32, reason: &str) {
        let scale: Value = json!({"spec": {"replicas": wanted}});
        let options = WriteOptions { manager: COMPONENT.to_owned(), ..WriteOptions::default() };
        let done = self.registry.set_scale(target.kind, self.namespace(), &target.name, &scale, &options);
        if let Err(error) = done {
            let message = format!("New size: {wanted}; reason: {reason}; error: {}", error.message);
            self.tell(Severity::Warning, "FailedRescale", &message);
            let message = format!("the HPA controller was unable to update the target scale: {}", error.message);
            self.set("AbleToScale", false, "FailedUpdateScale", message);
            return;
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        self.set("AbleToScale", true, "SucceededRescale", message);
        self.tell(Severity::Normal, "SuccessfulRescale", &format!("New size: {wanted}; reason: {reason}"));
        self.memory.changed(behavior, target.replicas, wanted, self.now);
        self.status.desired_replicas = wanted;
        self.status.last_scale_time = Some(Time(self.now));
    }

    fn tell(&self, severity: Severity, reason: &str, message: &str) {
        pods::record(self.registry, self.autoscaler, severity, COMPONENT, reason, message);
    }

    /// Sets a condition; its time is of the last change of its status.
    fn set(&mut self, kind: &str, is_true: bool, reason: &str, message: String) {
        let conditions = self.status.conditions.get_or_insert_default();
        let status = if is_true { "True" } else { "False" };
        let at = conditions.iter().position(|condition| condition.type_ == kind).unwrap_or_else(|| {
            let new = HorizontalPodAutoscalerCondition {
                type_: kind.to_owned(),
                ..HorizontalPodAutoscalerCondition::default()
            };
            conditions.push(new);
            conditions.len() - 1
        });
        let condition = &mut conditions[at];
        if condition.status != status {
            condition.last_transition_time = Some(Time(self.now));
        }
        status.clone_into(&mut condition.status);
        condition.reason = Some(reason.to_owned());
        condition.message = Some(message);
    }

    /// Writes the status where it has changed.
    fn write(&self) {
        if self.autoscaler.status.as_ref() == Some(&self.status) {
            return;
        }
        let name = self.autoscaler.metadata.name.as_deref().unwrap_or_default();
        let written = self.registry.change_status::<HorizontalPodAutoscaler>(self.namespace(), name, |stored| {
            if stored.metadata.uid == self.autoscaler.metadata.uid {
                stored.status = Some(self.status.clone());
            }
            Ok(())
        });
        if let Err(error) = written
            && !error.is_not_found()
        {
            self.tell(Severity::Warning, "FailedUpdateStatus", &error.message);
        }
    }
}
