//! What every step has whatever it does: its verb, its name, its place.

use super::schema::{Expectation, Step};

impl Step {
    /// The key that it is written under.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Drain(_) => "drain",
            Self::Cordon(_) => "cordon",
            Self::Uncordon(_) => "uncordon",
            Self::DeletePods(_) => "deletePods",
            Self::RollingUpdate(_) => "rollingUpdate",
            Self::Scale(_) => "scale",
            Self::Wait(_) => "wait",
            Self::Parallel(_) => "parallel",
            Self::Sequence(_) => "sequence",
        }
    }

    /// Its name in expectations and reports: the one given, or the verb.
    #[must_use]
    pub fn name(&self) -> &str {
        let given = match self {
            Self::Drain(step) => step.name.as_deref(),
            Self::Cordon(step) | Self::Uncordon(step) => step.name.as_deref(),
            Self::DeletePods(step) => step.name.as_deref(),
            Self::RollingUpdate(step) => step.name.as_deref(),
            Self::Scale(step) => step.name.as_deref(),
            Self::Wait(step) => step.name.as_deref(),
            Self::Parallel(_) | Self::Sequence(_) => None,
        };
        given.unwrap_or(self.verb())
    }

    /// The steps inside `parallel` or `sequence`; none in any other.
    #[must_use]
    pub fn members(&self) -> &[Self] {
        match self {
            Self::Parallel(steps) | Self::Sequence(steps) => steps,
            _ => &[],
        }
    }
}

/// All steps with their places in the file, such as `1` or `2.1`, each group before its members.
#[must_use]
pub fn with_places(steps: &[Step]) -> Vec<(String, &Step)> {
    fn walk<'a>(prefix: &str, steps: &'a [Step], all: &mut Vec<(String, &'a Step)>) {
        for (index, step) in steps.iter().enumerate() {
            let place = format!("{prefix}{}", index + 1);
            all.push((place.clone(), step));
            walk(&format!("{place}."), step.members(), all);
        }
    }
    let mut all = Vec::new();
    walk("", steps, &mut all);
    all
}

impl Expectation {
    /// The key that it is written under.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Lost(_) => "lost",
            Self::Latency(_) => "latency",
            Self::Outage(_) => "outage",
            Self::Budget(_) => "budget",
            Self::Finished(_) => "finished",
            Self::Recovered(_) => "recovered",
            Self::Finding(_) => "finding",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_one_and_go_down_into_groups() {
        let steps: Vec<Step> = serde_json::from_value(serde_json::json!([
            {"wait": {"time": "1s"}},
            {"parallel": [{"wait": {"name": "short", "time": "1s"}}, {"sequence": [{"wait": {"time": "2s"}}]}]},
        ]))
        .unwrap();
        let places: Vec<(String, &str)> =
            with_places(&steps).into_iter().map(|(place, step)| (place, step.name())).collect();
        let wanted = [("1", "wait"), ("2", "parallel"), ("2.1", "short"), ("2.2", "sequence"), ("2.2.1", "wait")];
        assert_eq!(places, wanted.map(|(place, name)| (place.to_owned(), name)));
    }
}
