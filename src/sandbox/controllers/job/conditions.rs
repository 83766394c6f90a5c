//! Conditions of Jobs (`k/pkg/controller/job/job_controller.go`, `k/pkg/controller/job/util/utils.go`, v1.34.4).

use jiff::Timestamp;
use k8s_openapi::{
    api::batch::v1::{Job, JobCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

/// All pods succeeded, or enough of them.
pub const COMPLETE: &str = "Complete";
/// It has failed.
pub const FAILED: &str = "Failed";
/// It will be complete once its pods are gone.
pub const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
/// It will have failed once its pods are gone.
pub const FAILURE_TARGET: &str = "FailureTarget";
/// It is suspended.
pub const SUSPENDED: &str = "Suspended";

/// A true condition that begins now.
#[must_use]
pub fn new(kind: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    with_status(kind, true, reason, message, now)
}

fn with_status(kind: &str, is_true: bool, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: kind.to_owned(),
        status: if is_true { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()).filter(|text| !text.is_empty()),
        message: Some(message.to_owned()).filter(|text| !text.is_empty()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// A condition that is true.
#[must_use]
pub fn find_true<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut found = conditions.filter(|condition| condition.type_ == kind && condition.status == "True");
    found.next()
}

/// The condition with which a Job has ended.
#[must_use]
pub fn finished(job: &Job) -> Option<&JobCondition> {
    find_true(job, COMPLETE).or_else(|| find_true(job, FAILED))
}

/// Sets a condition; whether that changed anything. A false one that isn't there is not added
/// (`ensureJobConditionStatus`).
pub fn ensure(job: &mut Job, kind: &str, is_true: bool, reason: &str, message: &str, now: Timestamp) -> bool {
    let wanted = with_status(kind, is_true, reason, message, now);
    let conditions = job.status.get_or_insert_default().conditions.get_or_insert_default();
    let changed = match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(known) => {
            let same =
                known.status == wanted.status && known.reason == wanted.reason && known.message == wanted.message;
            if !same {
                *known = wanted;
            }
            !same
        }
        None if is_true => {
            conditions.push(wanted);
            true
        }
        None => false,
    };
    if conditions.is_empty() {
        job.status.get_or_insert_default().conditions = None;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_false_condition_is_not_added_and_an_equal_one_keeps_its_time() {
        let (early, late) = (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
        let mut job = Job::default();
        assert!(!ensure(&mut job, SUSPENDED, false, "JobResumed", "Job resumed", early));
        assert!(job.status.as_ref().unwrap().conditions.is_none());
        assert!(ensure(&mut job, SUSPENDED, true, "JobSuspended", "Job suspended", early));
        assert!(!ensure(&mut job, SUSPENDED, true, "JobSuspended", "Job suspended", late));
        assert_eq!(find_true(&job, SUSPENDED).unwrap().last_transition_time, Some(Time(early)));
        assert!(ensure(&mut job, SUSPENDED, false, "JobResumed", "Job resumed", late));
        assert!(find_true(&job, SUSPENDED).is_none() && finished(&job).is_none());
    }
}
