//! Pods that their grace period was too short for: the kubelet ended them by SIGKILL when it was over, or their preStop
//! hook took all of it. An observation: it explains no loss by itself and changes no verdict.

use serde_json::json;

use super::{
    evidence::NAMED_MAX,
    facts::{Facts, seconds},
    life::{Hook, Life, SIGKILL},
    remedy::{GRACE_FOR_PROCESS_S, merge},
    verdict::{Finding, Patch},
};
use crate::record::event::{ContainerSeen, Micros};

/// A pod was ended by SIGKILL when its grace period was over, or its preStop hook used all of it.
pub const KILLED_AT_GRACE_END: &str = "killed-at-grace-end";

/// The kubelet's timer and the watch of the pod's deletion are not of one clock: a kill may be seen so much sooner.
const KILL_SEEN_EARLY_US: Micros = 500_000;

/// One pod whose grace period was over before it had ended.
struct Killed<'f, 'a> {
    life: &'f Life<'a>,
    deleted: Micros,
    exited: Micros,
    grace_s: i64,
    hook_us: i64,
    exit_code: i32,
}

/// The finding; nothing where every pod ended in its time.
pub(super) fn killed_at_grace_end(facts: &Facts<'_>) -> Option<Finding> {
    if facts.timeline.contradicts_itself {
        return None;
    }
    let killed: Vec<Killed> = facts.timeline.lives.iter().filter_map(|life| killed(facts, life)).collect();
    let (first, by_hook) = (killed.first()?, killed.iter().find(|one| one.hook_used_it_up()));
    let mut evidence: Vec<String> = killed.iter().take(NAMED_MAX).map(Killed::told).collect();
    if killed.len() > NAMED_MAX {
        evidence.push(format!("{} more pods", killed.len() - NAMED_MAX));
    }
    let worst = by_hook.unwrap_or(first);
    Some(Finding {
        id: KILLED_AT_GRACE_END.to_owned(),
        claim: match by_hook {
            Some(_) => "preStop hooks used up the grace period, so that the process had no time to end by itself",
            None => "pods were ended by SIGKILL, since they had not ended within their grace period",
        }
        .to_owned(),
        evidence,
        advice: worst.advice(),
        patch: worst.patch(facts),
        lost: 0,
    })
}

/// A pod that was deleted while the load ran, with grace, and had not ended when that was over.
fn killed<'f, 'a>(facts: &Facts<'a>, life: &'f Life<'a>) -> Option<Killed<'f, 'a>> {
    if life.forced || !life.coherent {
        return None;
    }
    let deleted = facts.timeline.deleted(life)?;
    // What the deletion gave; at its end the kubelet sets it to zero.
    let given = life.seen.iter().find(|(_, pod)| pod.terminating && !pod.gone).and_then(|(_, pod)| pod.grace_seconds);
    let grace_s = given.unwrap_or(life.last.spec_grace_seconds).clamp(0, 86_400);
    let (exited, exit_code) = life.seen.iter().find_map(|(at, pod)| match &pod.container {
        // Want of memory has a finding of its own.
        ContainerSeen::Terminated { exit_code, reason, .. } if *at >= deleted && reason != "OOMKilled" => {
            Some((*at, *exit_code))
        }
        _ => None,
    })?;
    let hook_us = if let Hook::Sleeps(length) = life.hook { length } else { 0 };
    let killed = Killed { life, deleted, exited, grace_s, hook_us, exit_code };
    let over = killed.took().saturating_add(KILL_SEEN_EARLY_US) >= grace_s.saturating_mul(1_000_000);
    (over && grace_s > 0 && (exit_code == SIGKILL || killed.hook_used_it_up())).then_some(killed)
}

impl Killed<'_, '_> {
    fn took(&self) -> Micros {
        self.exited.saturating_sub(self.deleted)
    }

    fn hook_used_it_up(&self) -> bool {
        self.hook_us >= self.grace_s.saturating_mul(1_000_000)
    }

    /// What the hook took, in whole seconds.
    fn hook_s(&self) -> i64 {
        self.hook_us.saturating_add(999_999) / 1_000_000
    }

    fn told(&self) -> String {
        let hook = if self.hook_us > 0 {
            format!(", of which its preStop hook sleeps {}", seconds(self.hook_us))
        } else {
            String::new()
        };
        let signal = if self.exit_code == SIGKILL { " (SIGKILL)" } else { "" };
        format!(
            "pod {}: deleted at {} with a grace period of {} s{hook}; its container was seen ended {} later, with exit \
             code {}{signal}",
            self.life.last.name,
            seconds(self.deleted),
            self.grace_s,
            seconds(self.took()),
            self.exit_code
        )
    }

    /// The grace period that leaves the process its time after a hook of a known length. A longer one for a process
    /// that had time, and did not end, would be a guess.
    fn grace_needed_s(&self) -> Option<i64> {
        let needed = self.hook_s().saturating_add(GRACE_FOR_PROCESS_S);
        (self.hook_us > 0 && needed > self.grace_s).then_some(needed)
    }

    fn advice(&self) -> String {
        let (grace, hook) = (self.grace_s, self.hook_s());
        match self.grace_needed_s() {
            Some(needed) => format!(
                "set terminationGracePeriodSeconds: {needed} ({hook} s for the hook, and {GRACE_FOR_PROCESS_S} s for the \
                 process after it; {grace} now), or let the hook sleep less"
            ),
            None => format!(
                "let the process end on SIGTERM: it had {} s for it; if it needs longer, set \
                 terminationGracePeriodSeconds above that ({grace} now)",
                grace.saturating_sub(hook)
            ),
        }
    }

    fn patch(&self, facts: &Facts<'_>) -> Option<Patch> {
        // A deletion that gave less than the template says is not cured by the template.
        let needed = self.grace_needed_s().filter(|_| self.grace_s >= self.life.last.spec_grace_seconds)?;
        merge(
            facts,
            self.life,
            json!({ "spec": { "template": { "spec": { "terminationGracePeriodSeconds": needed } } } }),
        )
    }
}
