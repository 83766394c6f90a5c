//! Waits for a time or for a condition.

use super::{
    condition::{Condition, Unmet, until},
    error::StepError,
    stage::Stage,
    steps::Progress,
};
use crate::experiment::schema::Wait;

/// Runs a `wait` step.
pub(super) async fn run(step: &Wait, stage: &Stage, progress: &Progress) -> Result<String, StepError> {
    let condition = match (step.time, &step.rollout, &step.pods_ready, &step.pods_gone) {
        (Some(time), None, None, None) => {
            progress.begun(format!("wait {time}"), Vec::new());
            stage.abort.sleep(time.duration()).await.map_err(StepError::aborted("let time pass"))?;
            progress.effective(format!("{time} have passed"));
            return Ok(format!("{time} have passed"));
        }
        (None, Some(workload), None, None) => Condition::RolledOut(workload.clone()),
        (None, None, Some(pods), None) => Condition::PodsReady(pods.selector.clone(), pods.count),
        (None, None, None, Some(labels)) => Condition::NonTerminating(labels.clone()),
        _ => {
            return Err(StepError::NoEffect {
                attempted: "wait".into(),
                why: "exactly one of `time`, `rollout`, `podsReady` and `podsGone` must be given".into(),
            });
        }
    };
    let awaited = condition.in_words();
    let targets = step.rollout.iter().map(ToString::to_string).collect();
    progress.begun(format!("wait to {awaited}"), targets);
    let within = step.within.duration();
    let seen = until(stage, &condition, within).await.map_err(|unmet| match unmet {
        Unmet::TimeUp(standing) => StepError::NotReached { awaited, within, standing },
        Unmet::Never(why) => StepError::NeverReached { awaited, why },
        Unmet::Aborted => StepError::Aborted { doing: awaited },
    })?;
    progress.effective(seen.clone());
    Ok(seen)
}
