//! The life of one pod, joined from all that the watch told of it: started, ready, deleted, SIGTERM, exited, gone.
//!
//! A life whose events contradict each other (gone and seen again, restarts that shrink) is marked and explains
//! nothing: its times cannot be trusted.

use crate::{
    experiment::units::Span,
    record::event::{ContainerSeen, KubeEventSeen, Micros, PodSeen, PreStop},
};

/// A graceful deletion takes the kubelet at least this long, and shows an ended container before the object goes;
/// an object that is gone sooner, without that, was removed by force.
const GRACEFUL_MIN_US: Micros = 1_000_000;

/// The answer to an eviction and the watch's word of the deletion come within this long of each other.
const ANSWER_SKEW_US: u64 = 5_000_000;

/// An Event about a pod comes by another watch than the pod itself, up to so long before or after.
const EVENT_SKEW_US: Micros = 5_000_000;

/// The exit code of a process that SIGKILL ended.
pub(super) const SIGKILL: i32 = 137;

/// How long the preStop hook keeps SIGTERM away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// There is none.
    Missing,
    /// It sleeps for so many microseconds.
    Sleeps(i64),
    /// It is there, and its time is not known.
    Unknown,
    /// The kubelet said that it failed: SIGTERM came at once.
    Failed,
}

/// The life of one pod.
#[derive(Debug, Clone)]
pub struct Life<'a> {
    /// The pod as it was seen last.
    pub last: &'a PodSeen,
    /// All that was seen of it, in order.
    pub seen: Vec<(Micros, &'a PodSeen)>,
    /// Since when its container runs; nothing when it ran before it was first seen.
    pub started: Option<Micros>,
    /// When it was first seen terminating, or gone.
    pub deleted: Option<Micros>,
    /// By when it had answered a request, where it names itself in answers.
    pub answered_by: Option<Micros>,
    /// When its container was first seen ended after the deletion, or the object gone.
    pub exited: Option<Micros>,
    /// When the object was gone.
    pub gone: Option<Micros>,
    /// The object was removed at once, with no grace for the container.
    pub forced: bool,
    /// It was evicted, rather than deleted.
    pub evicted: bool,
    /// When its container was seen ended or restarted though nobody had deleted the pod.
    pub crashes: Vec<Micros>,
    /// Its preStop hook.
    pub hook: Hook,
    /// What the cluster's Events said of it, in order.
    pub events: Vec<(Micros, &'a KubeEventSeen)>,
    /// What was seen of it does not contradict itself.
    pub coherent: bool,
}

impl<'a> Life<'a> {
    /// Joins what was seen of one pod, which must be in order and not empty. `evictions` are the moments at which an
    /// eviction of a pod of its name was accepted, `told` the cluster's Events about that name; a `StatefulSet` gives a
    /// name again.
    pub(super) fn of(
        seen: Vec<(Micros, &'a PodSeen)>,
        evictions: &[Micros],
        told: &[(Micros, &'a KubeEventSeen)],
    ) -> Option<Self> {
        let (_, last) = *seen.last()?;
        let first = |wanted: fn(&PodSeen) -> bool| seen.iter().find(|(_, pod)| wanted(pod)).map(|(at, _)| *at);
        let deleted = first(|pod| pod.terminating || pod.gone);
        let gone = first(|pod| pod.gone);
        let is_deleted = |at: Micros| deleted.is_some_and(|deleted| at >= deleted);
        let ended = seen.iter().find(|(at, pod)| is_deleted(*at) && has_ended(&pod.container)).map(|(at, _)| *at);
        let exited = ended.into_iter().chain(gone).min();
        let runs_at_first = seen.first().is_some_and(|(_, pod)| is_running(&pod.container));
        let started = if runs_at_first { None } else { first(|pod| is_running(&pod.container)) };
        let crashes = seen
            .windows(2)
            .filter(|pair| !is_deleted(pair[1].0))
            .filter(|pair| {
                let (before, after) = (pair[0].1, pair[1].1);
                after.restarts > before.restarts || (has_ended(&after.container) && !has_ended(&before.container))
            })
            .map(|pair| pair[1].0)
            .collect();
        let from = seen.first().map_or(Micros::MAX, |(at, _)| at.saturating_sub(EVENT_SKEW_US));
        let until = gone.map_or(Micros::MAX, |gone| gone.saturating_add(EVENT_SKEW_US));
        let events: Vec<_> = told.iter().filter(|(at, _)| (from..=until).contains(at)).copied().collect();
        let hook_failed = events.iter().any(|(_, event)| event.reason == "FailedPreStopHook");
        let hook = if hook_failed && last.pre_stop.is_some() { Hook::Failed } else { hook_of(last.pre_stop.as_ref()) };
        let forced = is_forced(&seen, deleted, gone, ended.is_some_and(|ended| gone.is_none_or(|gone| ended < gone)));
        let by_condition =
            seen.iter().any(|(_, pod)| pod.disruption_reason.as_deref() == Some("EvictionByEvictionAPI"));
        let by_answer = evictions.iter().any(|at| deleted.is_some_and(|deleted| at.abs_diff(deleted) < ANSWER_SKEW_US));
        let evicted = by_condition || by_answer;
        let coherent = seen.windows(2).all(|pair| can_follow(pair[0].1, pair[1].1));
        Some(Self {
            last,
            seen,
            started,
            deleted,
            answered_by: None,
            exited,
            gone,
            forced,
            evicted,
            crashes,
            hook,
            events,
            coherent,
        })
    }

    /// How its deletion came about, as a word.
    #[must_use]
    pub const fn how_it_went(&self) -> &'static str {
        if self.forced {
            "removed by force"
        } else if self.evicted {
            "evicted"
        } else {
            "deleted"
        }
    }

    /// When SIGTERM came, as far as it can be known: the deletion and then the hook, which the grace period bounds.
    /// A hook of unknown length has ended, at the latest, when the container was seen ended.
    #[must_use]
    pub fn sigterm(&self) -> Option<Micros> {
        let deleted = self.deleted?;
        match self.hook {
            Hook::Missing | Hook::Failed => Some(deleted),
            Hook::Sleeps(length) => {
                let grace = self.last.spec_grace_seconds.clamp(0, 86_400).saturating_mul(1_000_000);
                Some(deleted.saturating_add(length.min(grace.max(1_000_000))))
            }
            Hook::Unknown => Some(self.exited?.saturating_sub(super::cause::EXIT_SEEN_LATE_US).max(deleted)),
        }
    }

    /// The node it ran on.
    #[must_use]
    pub fn node(&self) -> Option<&'a str> {
        self.seen.iter().rev().find_map(|(_, pod)| pod.node.as_deref())
    }

    /// When it was first seen.
    #[must_use]
    pub fn first_seen(&self) -> Micros {
        self.seen.first().map_or(Micros::MAX, |(at, _)| *at)
    }

    /// When it was first seen ready.
    #[must_use]
    pub fn first_ready(&self) -> Option<Micros> {
        self.seen.iter().find(|(_, pod)| pod.ready).map(|(at, _)| *at)
    }

    /// The pod as it was last seen at a moment.
    #[must_use]
    pub fn at(&self, moment: Micros) -> Option<&'a PodSeen> {
        let until = self.seen.partition_point(|(at, _)| *at <= moment);
        until.checked_sub(1).and_then(|at| self.seen.get(at)).map(|(_, pod)| *pod)
    }
}

pub(super) fn is_running(container: &ContainerSeen) -> bool {
    matches!(container, ContainerSeen::Running { .. })
}

fn has_ended(container: &ContainerSeen) -> bool {
    matches!(container, ContainerSeen::Terminated { .. })
}

/// A pod is removed by force when its first grace period is zero, or when it vanishes running. The last lines of a
/// graceful deletion have a grace period of zero too, since the kubelet ends it so; they don't count.
fn is_forced(seen: &[(Micros, &PodSeen)], deleted: Option<Micros>, gone: Option<Micros>, ended: bool) -> bool {
    let ran = seen.iter().any(|(_, pod)| is_running(&pod.container));
    let Some(deleted) = deleted.filter(|_| ran && !ended) else { return false };
    let grace = seen.iter().find(|(_, pod)| pod.terminating && !pod.gone).and_then(|(_, pod)| pod.grace_seconds);
    grace == Some(0) || gone.is_some_and(|gone| gone.saturating_sub(deleted) < GRACEFUL_MIN_US)
}

/// Whether a pod can be seen so after it was seen so: none of these ever goes back.
fn can_follow(before: &PodSeen, after: &PodSeen) -> bool {
    let rank = |pod: &PodSeen| match pod.phase.as_str() {
        "Pending" => 0,
        "Running" | "Unknown" => 1,
        _ => 2,
    };
    let started = |pod: &PodSeen| match &pod.container {
        ContainerSeen::Running { started_at } | ContainerSeen::Terminated { started_at, .. } => {
            started_at.parse::<jiff::Timestamp>().ok()
        }
        ContainerSeen::None | ContainerSeen::Waiting { .. } => None,
    };
    let goes_back = match (started(before), started(after)) {
        (Some(before), Some(after)) => after < before,
        _ => false,
    };
    let died_and_runs =
        has_ended(&before.container) && is_running(&after.container) && after.restarts == before.restarts;
    !before.gone
        && (after.terminating || after.gone || !before.terminating)
        && after.restarts >= before.restarts
        && rank(after) >= rank(before)
        && (before.node.is_none() || before.node == after.node)
        && !goes_back
        && !died_and_runs
}

fn hook_of(hook: Option<&PreStop>) -> Hook {
    match hook {
        None => Hook::Missing,
        Some(PreStop::Sleep(milliseconds)) => {
            Hook::Sleeps(i64::try_from(*milliseconds).unwrap_or(i64::MAX).saturating_mul(1_000))
        }
        Some(PreStop::Exec(command)) => slept(command).map_or(Hook::Unknown, Hook::Sleeps),
        Some(PreStop::Http) => Hook::Unknown,
    }
}

/// The time that a command sleeps, in microseconds: the word after `sleep`, `/bin/sleep` or `demo-sleep`, in seconds
/// where it has no unit. Nothing where no such words are in it.
fn slept(command: &str) -> Option<i64> {
    let trim = |word: &'static [char]| move |text: &str| text.trim_matches(word).to_owned();
    let words: Vec<String> = command.split_whitespace().map(trim(&['"', '\'', ';', '&', '(', ')'])).collect();
    let at = words.iter().position(|word| word.rsplit(['/', '-']).next() == Some("sleep"))?;
    let time = words.get(at + 1)?;
    let span: Option<Span> = time.parse().ok().or_else(|| format!("{time}s").parse().ok());
    span.map(Span::micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_hook_is_read_from_the_usual_commands() {
        let table = [
            ("sleep 5", Some(5_000_000)),
            ("/bin/sh -c sleep 5", Some(5_000_000)),
            ("sh -c /bin/sleep 2.5; nginx -s quit", Some(2_500_000)),
            ("/evenkeel demo-sleep 200ms", Some(200_000)),
            ("sh -c 'sleep 10'", Some(10_000_000)),
            ("nginx -s quit", None),
            ("sleep", None),
            ("sleep $TIME", None),
        ];
        for (command, expected) in table {
            assert_eq!(slept(command), expected, "{command}");
        }
    }
}
