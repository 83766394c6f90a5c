//! What became of a pod's health while nobody had deleted it: when its readiness was lost, and why its container ended.

use super::{
    cause::{Cause, EARLY_US, EXIT_SEEN_LATE_US, PROBE_US},
    endpoint::Stretch,
    life::{Life, is_running},
};
use crate::record::event::{ContainerSeen, KubeEventSeen, Micros, PodSeen};

/// What Kubernetes names a container that was killed for want of memory (`k/pkg/kubelet/kuberuntime`).
const OOM_KILLED: &str = "OOMKilled";

/// A pod that has just become ready can still be told of with the failures of its boot for so long.
const BOOT_TOLD_LATE_US: Micros = 5_000_000;

/// A liveness probe that has failed leads to a restart within the grace period, and this is the most that is looked at.
const LIVENESS_TO_END_MAX_US: Micros = 120_000_000;

impl<'a> Life<'a> {
    /// When it was not ready after it had been, though its container ran on and nobody had deleted it.
    #[must_use]
    pub fn unready(&self) -> Vec<Stretch> {
        let lost = |before: &PodSeen, after: &PodSeen| {
            before.ready && !after.ready && runs_undisturbed(after) && after.restarts == before.restarts
        };
        let begins = self.seen.windows(2).enumerate().filter(|(_, pair)| lost(pair[0].1, pair[1].1));
        begins
            .map(|(at, pair)| {
                let (from, first) = pair[1];
                let over = |pod: &PodSeen| pod.ready || !runs_undisturbed(pod) || pod.restarts != first.restarts;
                let until = self.seen[at + 2..].iter().find(|(_, pod)| over(pod)).map_or(Micros::MAX, |(at, _)| *at);
                (from, until)
            })
            .collect()
    }

    /// The stretch of failing probes that overlaps a time, if any: from one period before the first sign of it. Once the
    /// pod is ready again its probe has passed; an Event alone says no more than that one probe failed.
    #[must_use]
    pub fn failing(&self, from: Micros, to: Micros) -> Option<Stretch> {
        let unready = self.unready().into_iter().map(|(begin, end)| (begin, end.saturating_add(EARLY_US)));
        let told = self.probe_failures().map(|(at, _)| (at, at.saturating_add(PROBE_US)));
        let mut all = unready.chain(told).map(|(begin, end)| (begin.saturating_sub(PROBE_US), end));
        all.find(|(begin, end)| *begin <= to && from <= *end)
    }

    /// The Events of failing probes, of the time between its first readiness and its deletion.
    pub fn probe_failures(&self) -> impl Iterator<Item = (Micros, &'a KubeEventSeen)> + '_ {
        let since = self.first_ready().map_or(Micros::MAX, |ready| ready.saturating_add(BOOT_TOLD_LATE_US));
        let until = self.deleted.unwrap_or(Micros::MAX);
        let failures = self.events.iter().filter(move |(at, _)| (since..until).contains(at));
        failures.filter(|(_, event)| event.reason == "Unhealthy").copied()
    }

    /// Why the container ended, or was restarted, at a moment of [`Life::crashes`].
    #[must_use]
    pub fn why_ended(&self, crash: Micros) -> Cause {
        let out_of_memory = self.at(crash).is_some_and(|pod| match &pod.container {
            ContainerSeen::Terminated { reason, .. } => reason == OOM_KILLED,
            _ => pod.last_exit.as_ref().is_some_and(|exit| exit.reason == OOM_KILLED),
        });
        if out_of_memory {
            return Cause::OutOfMemory;
        }
        let grace = self.last.spec_grace_seconds.clamp(0, 120).saturating_mul(1_000_000);
        let earliest = crash.saturating_sub(grace.saturating_add(PROBE_US).min(LIVENESS_TO_END_MAX_US));
        let latest = crash.saturating_add(EXIT_SEEN_LATE_US);
        let by_probe =
            self.events.iter().any(|(at, event)| (earliest..=latest).contains(at) && tells_of_a_restart(event));
        if by_probe { Cause::LivenessRestart } else { Cause::ContainerCrashed }
    }

    /// The cause of what was lost to a pod whose probes failed: the restart where one followed, or the readiness.
    #[must_use]
    pub fn why_failing(&self, stretch: Stretch) -> Cause {
        let followed = |crash: &&Micros| stretch.0 <= **crash && **crash <= stretch.1.saturating_add(PROBE_US);
        let restart = self.crashes.iter().find(followed).map(|crash| self.why_ended(*crash));
        restart.filter(|cause| *cause == Cause::LivenessRestart).unwrap_or(Cause::ReadinessLost)
    }
}

fn runs_undisturbed(pod: &PodSeen) -> bool {
    is_running(&pod.container) && !pod.terminating && !pod.gone
}

/// The kubelet's words before it restarts a container (v1.34 `pkg/kubelet/kuberuntime/kuberuntime_manager.go`).
fn tells_of_a_restart(event: &KubeEventSeen) -> bool {
    let killing = event.reason == "Killing"
        && ["failed liveness probe", "failed startup probe"].iter().any(|words| event.message.contains(words));
    let failing = event.reason == "Unhealthy"
        && ["Liveness probe", "Startup probe"].iter().any(|words| event.message.starts_with(words));
    killing || failing
}
