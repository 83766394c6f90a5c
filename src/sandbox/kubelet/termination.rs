//! The end of containers and pods: preStop inside the grace, SIGTERM, SIGKILL, the final status, the object's removal
//! (`k/pkg/kubelet/kuberuntime/{kuberuntime_container,kuberuntime_termination_order}.go`, k/pkg/kubelet/kubelet.go
//! `SyncTerminatingPod`, `k/pkg/kubelet/pod_workers.go` calculateEffectiveGracePeriod, v1.34.4).

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod};
use rustix::process::Signal;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    back_off::BackOff,
    facts::{Ended, Role, State},
    hook,
    pod_worker::{Stage, Worker},
    pods::PodHandle,
    power::Power,
    process::Process,
    recorder::Recorder,
    shared::Shared,
    tally::Purpose,
    time_now,
};
use crate::sandbox::{
    controllers::events::Severity,
    registry::{DeleteOptions, Propagation},
};

/// What a container always gets, even where preStop ate the whole grace (`minimumGracePeriodInSeconds`).
const LEAST_GRACE_SECONDS: i64 = 2;

/// The grace of a pod that states none.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// The stop of one container.
pub(super) struct Stop {
    shared: Arc<Shared>,
    pod: Arc<PodHandle>,
    container: Container,
    field: String,
    recorder: Recorder,
    process: Arc<Process>,
    power: watch::Receiver<Power>,
    grace_seconds: i64,
    message: String,
    /// Processes that have to be gone first.
    after: Vec<Arc<Process>>,
}

impl Stop {
    /// Stops the container and waits for its end.
    pub(super) async fn run(mut self) {
        self.recorder.container(&self.field, Severity::Normal, "Killing", &self.message);
        let mut left = self.grace_seconds;
        if let Some(hook) = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.clone())
            && left > 0
        {
            let start = Instant::now();
            let run = hook::run(&self.shared, &self.pod, &self.container, &hook);
            if let Ok(Err(why)) = timeout(seconds(left), run).await {
                tracing::debug!(pod = %self.pod.name, container = %self.container.name, why, "preStop failed");
                // The event does not tell why, so that no secret of the hook's answer gets into it.
                self.recorder.container(&self.field, Severity::Warning, "FailedPreStopHook", "PreStopHook failed");
            }
            left -= whole_seconds(start.elapsed());
        }
        if left > 0 && !self.after.is_empty() {
            let start = Instant::now();
            let others = async {
                for process in &self.after {
                    process.wait().await;
                }
            };
            _ = timeout(seconds(left), others).await;
            left -= whole_seconds(start.elapsed());
        }
        let left = left.max(LEAST_GRACE_SECONDS);
        self.kubelet_works().await;
        self.process.signal(Signal::TERM);
        if timeout(seconds(left), self.process.wait()).await.is_err() {
            self.kubelet_works().await;
            self.process.signal(Signal::KILL);
            self.process.wait().await;
        }
    }

    /// Nobody sends signals on a node that is off or paused, or without a kubelet.
    async fn kubelet_works(&mut self) {
        _ = self.power.wait_for(|power| power.works()).await;
    }
}

fn seconds(whole: i64) -> Duration {
    Duration::from_secs(u64::try_from(whole).unwrap_or(0))
}

/// Time spent counts in whole seconds, rounded down.
fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// The grace of a pod's termination: what the API says it is, else the pod's own; at least a second, also for a pod that
/// was removed by force (`calculateEffectiveGracePeriod`).
fn effective_grace(pod: &Pod) -> i64 {
    let asked = pod.metadata.deletion_grace_period_seconds;
    let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    asked.or(own).unwrap_or(DEFAULT_GRACE_SECONDS).max(1)
}

/// The grace of a container that fails a probe: the probe's own, where it has one.
fn probe_grace(pod: &Pod, container: &Container, purpose: Purpose) -> i64 {
    let probe = match purpose {
        Purpose::Startup => &container.startup_probe,
        Purpose::Liveness => &container.liveness_probe,
        Purpose::Readiness => &None,
    };
    let own = probe.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
    own.or_else(|| pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds))
        .unwrap_or(DEFAULT_GRACE_SECONDS)
}

impl Worker {
    /// A container that fails its liveness or startup probe is killed, to be started again where its pod says so.
    pub(super) fn kill_unhealthy(&mut self, index: usize, purpose: Purpose) {
        if self.stage != Stage::Living {
            return;
        }
        let slot = &self.slots[index];
        let mut message = format!("Container {} failed {} probe", slot.container.name, purpose.name().to_lowercase());
        if self.restart_policy() != "Never" || slot.role == Role::Sidecar {
            message.push_str(", will be restarted");
        }
        self.kill_one(index, &message, Some(purpose));
    }

    /// Containers whose image has changed are killed, to be started again.
    pub(super) fn kill_changed(&mut self) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let changed = slot.container.image != slot.started_image && slot.process.is_some() && !slot.being_killed;
            if changed {
                let message = format!("Container {} definition changed, will be restarted", slot.container.name);
                self.kill_one(index, &message, None);
            }
        }
    }

    /// Kills one container of a pod that lives on.
    pub(super) fn kill_one(&mut self, index: usize, message: &str, purpose: Option<Purpose>) {
        let slot = &mut self.slots[index];
        let Some(process) = slot.process.clone().filter(|_| !slot.being_killed) else { return };
        slot.being_killed = true;
        let pod = &self.seen.pod;
        let grace = match purpose {
            Some(purpose) => probe_grace(pod, &slot.container, purpose),
            None => effective_grace(pod),
        };
        let stop = self.stop(index, process, grace, message.to_owned(), Vec::new());
        self.kills.spawn(stop.run());
    }

    fn stop(&self, index: usize, process: Arc<Process>, grace: i64, message: String, after: Vec<Arc<Process>>) -> Stop {
        let slot = &self.slots[index];
        Stop {
            shared: Arc::clone(&self.shared),
            pod: Arc::clone(&self.handle),
            container: slot.container.clone(),
            field: slot.field.clone(),
            recorder: self.recorder.clone(),
            process,
            power: self.node.follow(),
            grace_seconds: grace,
            message,
            after,
        }
    }

    /// Begins the pod's termination: all containers at once, sidecars when the others are gone. Readiness goes on being
    /// probed, the other probes end.
    pub(super) fn begin_ending(&mut self) {
        let grace = effective_grace(&self.seen.pod);
        self.stage = Stage::Ending { grace };
        self.hooks.abort_all();
        self.write_status();
        for slot in &mut self.slots {
            slot.hook_runs = false;
            slot.watched.send_modify(|watched| watched.ending = true);
        }
        self.stop_all(grace);
    }

    fn stop_all(&mut self, grace: i64) {
        // Stops under way are begun anew with the grace that holds now.
        self.kills = JoinSet::new();
        for index in 0..self.slots.len() {
            let Some(process) = self.slots[index].process.clone() else { continue };
            let after = self.before_in_order(index);
            let message = format!("Stopping container {}", self.slots[index].container.name);
            let stop = self.stop(index, process, grace, message, after);
            self.kills.spawn(stop.run());
        }
    }

    /// What has to end before a container: main containers before sidecars, later sidecars before earlier ones.
    fn before_in_order(&self, index: usize) -> Vec<Arc<Process>> {
        if self.slots[index].role != Role::Sidecar {
            return Vec::new();
        }
        let later = self
            .slots
            .iter()
            .enumerate()
            .filter(|(at, slot)| slot.role == Role::Main || (slot.role == Role::Sidecar && *at > index));
        later.filter_map(|(_, slot)| slot.process.clone()).collect()
    }

    /// A second deletion may have shortened the grace; and when nothing runs any more, the pod is over.
    pub(super) async fn go_on_ending(&mut self) {
        let Stage::Ending { grace } = self.stage else { return };
        let shorter = effective_grace(&self.seen.pod);
        if self.seen.pod.metadata.deletion_timestamp.is_some() && shorter < grace {
            self.stage = Stage::Ending { grace: shorter };
            self.stop_all(shorter);
        }
        if self.slots.iter().all(|slot| slot.process.is_none()) {
            self.finish().await;
        }
    }

    async fn finish(&mut self) {
        self.stage = Stage::Over;
        self.own.over = true;
        self.stop_probes();
        self.kills = JoinSet::new();
        for slot in &mut self.slots {
            if let Some(ended) = slot.last_end.take() {
                slot.end(ended);
            } else if matches!(slot.facts.state, State::Waiting { .. })
                && let Some(last) = slot.facts.last.take()
            {
                slot.end(last);
            }
        }
        self.give_address_back();
        if std::mem::take(&mut self.scratch_used) {
            let folder = self.shared.options.scratch.join(&self.handle.uid);
            if let Err(error) = tokio::fs::remove_dir_all(&folder).await {
                tracing::warn!(folder = %folder.display(), %error, "a pod's folder was not removed");
            }
        }
    }

    fn give_address_back(&mut self) {
        self.own.pod_ip = None;
        if let Some(address) = self.handle.address() {
            self.shared.addresses.give_back(address);
        }
        self.handle.set_address(None);
    }

    /// Removes the object of a pod that is over, where its deletion was asked for.
    pub(super) fn delete_if_asked(&mut self) {
        let metadata = &self.seen.pod.metadata;
        if metadata.deletion_timestamp.is_none() || self.seen.gone {
            return;
        }
        let options = DeleteOptions {
            grace_seconds: Some(0),
            uid: metadata.uid.clone(),
            propagation: Propagation::Background,
            ..DeleteOptions::default()
        };
        let (namespace, name) = (&self.handle.namespace, &self.handle.name);
        if let Err(error) = self.shared.registry.remove::<Pod>(namespace, name, &options) {
            tracing::debug!(pod = %name, %error, "a pod that is over was not removed");
        }
    }

    /// The node has booted: what ran is gone. A pod that restarts begins from the front, with a new address.
    pub(super) fn rebooted(&mut self) {
        self.kills = JoinSet::new();
        self.hooks.abort_all();
        for slot in &mut self.slots {
            slot.hook_runs = false;
            slot.being_killed = false;
            slot.back_off = BackOff::default();
            let Some(process) = slot.process.take() else { continue };
            process.signal(Signal::KILL);
            let mut log = None;
            self.handle.change_seat(&slot.container.name, |seat| {
                seat.process = None;
                log.clone_from(&seat.log);
            });
            if let Some(log) = log {
                log.close();
            }
            // What containerd says of a container that it finds dead after a boot.
            let ended = Ended {
                code: 255,
                reason: "Unknown".to_owned(),
                message: None,
                started: slot.since,
                finished: time_now().0,
                id: slot.facts.id.clone().unwrap_or_default(),
            };
            slot.ended_at = Some(Instant::now());
            slot.counted_end = slot.ended_at;
            if self.stage == Stage::Living {
                slot.end(ended);
            } else {
                slot.last_end = Some(ended);
            }
        }
        if self.stage != Stage::Living || self.own.pod_ip.is_none() || self.restart_policy() == "Never" {
            return;
        }
        self.give_address_back();
        let message = "Pod sandbox changed, it will be killed and re-created.";
        self.recorder.pod(Severity::Normal, "SandboxChanged", message);
        for slot in self.slots.iter_mut().filter(|slot| slot.role == Role::Init) {
            if let State::Ended(ended) = &slot.facts.state {
                slot.facts.last = Some(ended.clone());
                slot.facts.state = State::waiting("PodInitializing");
            }
        }
        self.initialized = false;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn the_grace_is_the_apis_else_the_pods_own_and_at_least_a_second() {
        for (asked, own, wanted) in
            [(None, None, 30), (None, Some(7), 7), (Some(5), Some(7), 5), (Some(0), Some(7), 1), (None, Some(0), 1)]
        {
            let pod: Pod = from_value(json!({
                "metadata": {"deletionGracePeriodSeconds": asked},
                "spec": {"containers": [], "terminationGracePeriodSeconds": own},
            }))
            .unwrap();
            assert_eq!(effective_grace(&pod), wanted, "{asked:?} {own:?}");
        }
    }

    #[test]
    fn a_probes_own_grace_wins_for_its_kill() {
        let pod: Pod = from_value(json!({"spec": {"containers": [], "terminationGracePeriodSeconds": 9}})).unwrap();
        let container: Container =
            from_value(json!({"name": "c", "livenessProbe": {"terminationGracePeriodSeconds": 3}, "startupProbe": {}}))
                .unwrap();
        assert_eq!(probe_grace(&pod, &container, Purpose::Liveness), 3);
        assert_eq!(probe_grace(&pod, &container, Purpose::Startup), 9);
    }

    #[test]
    fn time_spent_counts_in_whole_seconds() {
        let counted = [0, 999, 1_000, 2_999].map(|ms| whole_seconds(Duration::from_millis(ms)));
        assert_eq!(counted, [0, 0, 1, 2]);
    }
}
