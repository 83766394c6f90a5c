//! How many replicas the usage of some pods asks for
//! (`k/pkg/controller/podautoscaler/{replica_calculator,metrics/utilization}.go`, v1.34.4).

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

/// Usage that is off its target by less than this share changes nothing (`--horizontal-pod-autoscaler-tolerance`).
pub const TOLERANCE: f64 = 0.1;

/// A pod's CPU time counts with reserve for so long (`--horizontal-pod-autoscaler-cpu-initialization-period`).
pub const CPU_INITIALIZATION: Duration = Duration::from_secs(300);

/// A pod that became unready within so long after its start was never ready
/// (`--horizontal-pod-autoscaler-initial-readiness-delay`).
pub const INITIAL_READINESS: Duration = Duration::from_secs(30);

/// What a pod uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How much, in thousandths.
    pub milli: i64,
    /// When the window ended.
    pub at: Timestamp,
    /// The window that the usage is of.
    pub window: Duration,
}

/// A pod as the autoscaler sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// It is being deleted or has failed, and does not count.
    pub is_going: bool,
    /// It is pending.
    pub is_pending: bool,
    /// Its condition `Ready`: whether it is false, and since when it is as it is.
    pub readiness: Option<Readiness>,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// What it requests, in thousandths; only asked for where the target is a share of it.
    pub request_milli: i64,
    /// What it uses.
    pub sample: Option<Sample>,
}

/// The condition `Ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// It is `False`, and not merely unknown.
    pub is_false: bool,
    /// Since when.
    pub since: Timestamp,
}

/// What usage is to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// So many percent of what is requested.
    Utilization(i32),
    /// So much per pod, in thousandths.
    Average(i64),
}

/// What the usage asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    /// So many replicas.
    pub replicas: i32,
    /// Usage in percent of the requests, where that is the target.
    pub utilization: Option<i32>,
    /// Usage per pod, in thousandths.
    pub average_milli: i64,
}

/// How a pod's usage counts (`groupPods`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Counts,
    Unready,
    Missing,
    Ignored,
}

fn group(pod: &Pod, is_cpu: bool, now: Timestamp) -> Group {
    if pod.is_going {
        return Group::Ignored;
    }
    if pod.is_pending {
        return Group::Unready;
    }
    let Some(sample) = pod.sample else { return Group::Missing };
    if is_cpu && is_unready(pod, &sample, now) { Group::Unready } else { Group::Counts }
}

/// Whether the CPU time of a pod says nothing yet: it is starting.
fn is_unready(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let (Some(readiness), Some(started)) = (pod.readiness, pod.started) else { return true };
    let after = |at: Timestamp, delay: Duration| at.checked_add(delay).unwrap_or(Timestamp::MAX);
    if after(started, CPU_INITIALIZATION) > now {
        // A whole window must have passed since it became ready.
        return readiness.is_false || sample.at < after(readiness.since, sample.window);
    }
    readiness.is_false && after(started, INITIAL_READINESS) > readiness.since
}

/// The replicas that the usage of `pods`, all those that the target's selector matches, asks for.
///
/// # Errors
/// In upstream's words, when there is nothing to go by.
pub fn propose(
    pods: &[Pod],
    is_cpu: bool,
    target: Target,
    current: i32,
    now: Timestamp,
) -> Result<Proposal, &'static str> {
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count");
    }
    let groups: Vec<(&Pod, Group)> = pods.iter().map(|pod| (pod, group(pod, is_cpu, now))).collect();
    let of = |wanted: Group| groups.iter().filter(move |(_, group)| *group == wanted).map(|(pod, _)| *pod);
    let mut usage: BTreeMap<&str, i64> = BTreeMap::new();
    usage.extend(of(Group::Counts).filter_map(|pod| Some((pod.name.as_str(), pod.sample?.milli))));
    if usage.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)");
    }
    let requests: BTreeMap<&str, i64> = pods.iter().map(|pod| (pod.name.as_str(), pod.request_milli)).collect();
    let first = measure(&usage, &requests, target)?;
    let proposal = |replicas| Proposal { replicas, ..first.proposal };
    let adds_unready = of(Group::Unready).next().is_some() && first.ratio > 1.0;
    if !adds_unready && of(Group::Missing).next().is_none() {
        if is_within_tolerance(first.ratio) {
            return Ok(proposal(current));
        }
        return Ok(proposal(ceil(first.ratio, usage.len())));
    }
    if first.ratio < 1.0 {
        // So as not to scale down too far, those without a sample use as much as they may.
        usage.extend(of(Group::Missing).map(|pod| (pod.name.as_str(), fallback(pod, target))));
    } else if first.ratio > 1.0 || matches!(target, Target::Average(_)) {
        usage.extend(of(Group::Missing).map(|pod| (pod.name.as_str(), 0)));
    }
    if adds_unready {
        usage.extend(of(Group::Unready).map(|pod| (pod.name.as_str(), 0)));
    }
    let second = measure(&usage, &requests, target)?.ratio;
    let turned = (first.ratio < 1.0 && second > 1.0) || (first.ratio > 1.0 && second < 1.0);
    if is_within_tolerance(second) || turned {
        return Ok(proposal(current));
    }
    let replicas = ceil(second, usage.len());
    if (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current) {
        return Ok(proposal(current));
    }
    Ok(proposal(replicas))
}

fn fallback(pod: &Pod, target: Target) -> i64 {
    match target {
        Target::Utilization(percent) => pod.request_milli.saturating_mul(i64::from(percent.max(100))) / 100,
        Target::Average(milli) => milli,
    }
}

struct Measured {
    ratio: f64,
    proposal: Proposal,
}

/// How usage stands to its target. Utilization is cut to whole percents before anything is made of it.
fn measure(
    usage: &BTreeMap<&str, i64>,
    requests: &BTreeMap<&str, i64>,
    target: Target,
) -> Result<Measured, &'static str> {
    let total: i64 = usage.values().fold(0, |sum, milli| sum.saturating_add(*milli));
    let count = i64::try_from(usage.len()).unwrap_or(i64::MAX);
    match target {
        Target::Utilization(percent) => {
            let requested = usage.keys().filter_map(|name| requests.get(name));
            let requested: i64 = requested.fold(0, |sum, milli| sum.saturating_add(*milli));
            if requested == 0 {
                return Err("no metrics returned matched known pods");
            }
            let utilization = i32::try_from(total.saturating_mul(100) / requested).unwrap_or(i32::MAX);
            let proposal = Proposal { replicas: 0, utilization: Some(utilization), average_milli: total / count };
            Ok(Measured { ratio: f64::from(utilization) / f64::from(percent), proposal })
        }
        Target::Average(milli) => {
            let average = total / count;
            let proposal = Proposal { replicas: 0, utilization: None, average_milli: average };
            Ok(Measured { ratio: average as f64 / milli as f64, proposal })
        }
    }
}

/// Whether usage is near enough to its target to leave things as they are.
#[must_use]
pub fn is_within_tolerance(ratio: f64) -> bool {
    (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio)
}

/// The ratio of so many pods, rounded up.
fn ceil(ratio: f64, pods: usize) -> i32 {
    let wanted = (ratio * pods as f64).ceil();
    #[expect(clippy::cast_possible_truncation, reason = "a conversion from float saturates")]
    let wanted = wanted as i32;
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    /// A pod that has been ready for long and requests a whole core.
    fn pod(name: usize, milli: i64) -> Pod {
        Pod {
            name: name.to_string(),
            is_going: false,
            is_pending: false,
            readiness: Some(Readiness { is_false: false, since: at(0) }),
            started: Some(at(0)),
            request_milli: 1_000,
            sample: Some(Sample { milli, at: at(1_000), window: Duration::from_secs(15) }),
        }
    }

    fn pods(usage: &[i64]) -> Vec<Pod> {
        usage.iter().enumerate().map(|(name, milli)| pod(name, *milli)).collect()
    }

    fn replicas(pods: &[Pod], percent: i32) -> i32 {
        let current = i32::try_from(pods.len()).unwrap();
        propose(pods, true, Target::Utilization(percent), current, at(1_000)).unwrap().replicas
    }

    #[test]
    fn usage_in_percent_of_requests_decides_beyond_the_tolerance() {
        let table: [(&[i64], i32, i32); 9] = [
            (&[300, 500, 700], 50, 3),
            (&[500, 500, 500], 50, 3),
            (&[549, 549, 549], 50, 3),
            (&[551, 551, 551], 50, 3),
            (&[560, 560, 560], 50, 4),
            (&[440, 440, 440], 50, 3),
            (&[100, 100, 100], 50, 1),
            (&[1000, 1000, 1000], 20, 15),
            (&[0, 0, 0], 50, 0),
        ];
        for (usage, percent, wanted) in table {
            assert_eq!(replicas(&pods(usage), percent), wanted, "{usage:?} at {percent}%");
        }
    }

    #[test]
    fn the_proposal_tells_what_is_used() {
        let asked = propose(&pods(&[300, 500, 700]), true, Target::Utilization(25), 3, at(1_000)).unwrap();
        assert_eq!(asked, Proposal { replicas: 6, utilization: Some(50), average_milli: 500 });
        let plain = propose(&pods(&[300, 500, 700]), true, Target::Average(250), 3, at(1_000)).unwrap();
        assert_eq!(plain, Proposal { replicas: 6, utilization: None, average_milli: 500 });
    }

    #[test]
    fn pods_without_a_sample_use_nothing_upwards_and_everything_downwards() {
        let mut up = pods(&[1_000, 1_000, 1_000]);
        up[2].sample = None;
        // 200 % of two pods would be four; with a third at zero it is 133 %, which is four as well.
        assert_eq!(replicas(&up, 50), 4);
        up[1].sample = None;
        assert_eq!(replicas(&up, 50), 3, "one of three at double usage is no reason to grow");
        let mut down = pods(&[100, 100, 100, 100]);
        down[3].sample = None;
        // A quarter of the target, but the missing one counts in full: (30 + 100) / 4 = 32 % of 50 %.
        assert_eq!(replicas(&down, 50), 3);
        assert_eq!(replicas(&pods(&[100, 100, 100, 100]), 50), 1);
    }

    #[test]
    fn starting_pods_count_as_idle_upwards_and_not_at_all_downwards() {
        let starting = |mut pods: Vec<Pod>| {
            pods[2].started = Some(at(990));
            pods[2].readiness = Some(Readiness { is_false: true, since: at(990) });
            pods
        };
        assert_eq!(replicas(&starting(pods(&[1_000, 1_000, 1_000])), 50), 4);
        assert_eq!(replicas(&pods(&[1_000, 1_000, 1_000]), 50), 6);
        assert_eq!(replicas(&starting(pods(&[100, 100, 1_000])), 50), 1);
        assert_eq!(replicas(&pods(&[100, 100, 1_000]), 50), 3);
    }

    #[test]
    fn a_young_pod_counts_once_a_window_has_passed_since_it_became_ready() {
        let table = [
            // started, ready since, false, group
            (0, 0, false, Group::Counts),
            (900, 990, false, Group::Unready),
            (900, 985, false, Group::Counts),
            (900, 900, true, Group::Unready),
            (0, 20, true, Group::Unready),
            (0, 40, true, Group::Counts),
        ];
        for (started, since, is_false, wanted) in table {
            let mut one = pod(0, 100);
            one.started = Some(at(started));
            one.readiness = Some(Readiness { is_false, since: at(since) });
            assert_eq!(group(&one, true, at(1_000)), wanted, "{started} {since} {is_false}");
            assert_eq!(group(&one, false, at(1_000)), Group::Counts, "memory always counts");
        }
    }

    #[test]
    fn pods_that_go_do_not_count_and_pending_ones_are_idle() {
        let mut some = pods(&[1_000, 1_000, 0, 0]);
        some[2].is_going = true;
        some[3].is_pending = true;
        some[3].sample = None;
        assert_eq!(replicas(&some, 50), 4, "two at 200 %, one idle: 133 % of three pods");
        some[3].is_going = true;
        assert_eq!(replicas(&some, 50), 4, "two at 200 %");
    }

    #[test]
    fn without_pods_samples_or_requests_there_is_no_proposal() {
        let propose = |pods: &[Pod]| propose(pods, true, Target::Utilization(50), 1, at(1_000)).unwrap_err();
        assert_eq!(propose(&[]), "no pods returned by selector while calculating replica count");
        let mut silent = pods(&[0]);
        silent[0].sample = None;
        assert_eq!(propose(&silent), "did not receive metrics for targeted pods (pods might be unready)");
        let mut free = pods(&[10]);
        free[0].request_milli = 0;
        assert_eq!(propose(&free), "no metrics returned matched known pods");
    }
}
