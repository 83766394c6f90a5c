//! Expectations: what they name must exist, and no two of them may bound the same.

use std::collections::BTreeMap;

use super::{Validator, listed, spec};
use crate::experiment::{
    findings,
    schema::{ExpectBudget, ExpectFinished, Expectation, Lane},
    tree::Path,
};

impl Validator<'_> {
    pub(super) fn expect(&mut self) {
        let lanes = self.lane_names();
        let mut first_seen: BTreeMap<String, (Path, Expectation)> = BTreeMap::new();
        for (path, expectation) in self.items::<Expectation>(&spec().key("expect")) {
            self.expectation(&path.key(expectation.key()), &expectation, lanes.as_deref());
            let subject = subject(&expectation);
            match first_seen.get(&subject) {
                Some((first, same)) if *same == expectation => {
                    let what = format!("this is expected already, on line {}", self.line_of(first));
                    self.problem(&path, what, "remove one of the two");
                }
                Some((first, _)) => {
                    let what = format!("line {} already bounds {subject}, differently", self.line_of(first));
                    self.problem(&path, what, "keep the one that is meant");
                }
                None => {
                    first_seen.insert(subject, (path, expectation));
                }
            }
        }
    }

    fn expectation(&mut self, path: &Path, expectation: &Expectation, lanes: Option<&[String]>) {
        let lane = match expectation {
            Expectation::Lost(lost) => {
                let bounds = [
                    ("atMost", lost.at_most.is_some()),
                    ("share", lost.share.is_some()),
                    ("bound95", lost.bound95.is_some()),
                ];
                self.exactly_one(path, "lost", &bounds);
                if lost.bound95.is_some_and(|bound| bound.fraction() <= 0.0) {
                    let what = "no number of requests shows that nothing is ever lost";
                    self.problem(&path.key("bound95"), what, "write a rate above 0%, such as 0.1%");
                }
                lost.lane.as_deref()
            }
            Expectation::Latency(latency) => {
                self.above_zero(path, "atMost");
                latency.lane.as_deref()
            }
            Expectation::Outage(outage) => outage.lane.as_deref(),
            Expectation::Budget(budget) => return self.expected_budget(path, budget),
            Expectation::Finished(finished) => return self.expected_finish(path, finished),
            Expectation::Recovered(_) => return self.above_zero(path, "within"),
            Expectation::Finding(finding) => return self.expected_finding(path, &finding.id),
        };
        self.lane_of(path, lane, lanes);
        let known = self.items::<Lane>(&spec().key("load"));
        if let Some((_, lane)) = known.iter().find(|(_, known)| known.control && Some(known.name.as_str()) == lane) {
            let what = format!("lane {} is a control, of which nothing is expected", lane.name);
            self.problem(&path.key("lane"), what, "name a lane that is judged, or leave it out for all of them");
        }
    }

    fn expected_budget(&mut self, path: &Path, expected: &ExpectBudget) {
        let at = path.key("name");
        self.object_name(&at, &expected.name);
        if self.applied.is_empty() {
            return;
        }
        let budget = self.applied.budgets.iter().map(|(_, budget)| budget).find(|one| one.name == expected.name);
        let Some(budget) = budget.cloned() else {
            if !self.applied.is_partial {
                let budgets = listed(self.applied.budgets.iter().map(|(_, budget)| budget.name.as_str()));
                let what = format!("PodDisruptionBudget {} is not among the applied objects", expected.name);
                self.problem(&at, what, format!("write one of {budgets}, or add its manifest to `apply`"));
            }
            return;
        };
        let selects = |labels| budget.selector.as_ref().is_some_and(|selector| selector.matches(labels));
        if !self.applied.is_partial && !self.applied.pod_labels.iter().any(selects) {
            let selector = budget.selector.as_ref().map_or("nothing".to_owned(), ToString::to_string);
            let what = format!("PodDisruptionBudget {} selects {selector}, so no applied pod", budget.name);
            let instead =
                format!("give it the labels of one of the pod templates: {}", self.applied.pod_labels_in_words());
            self.problem(&at, what, instead);
        }
    }

    fn expected_finish(&mut self, path: &Path, expected: &ExpectFinished) {
        self.above_zero(path, "within");
        let Some(steps) = self.step_names() else { return };
        let named: Vec<&Path> = steps.iter().filter(|(name, _)| *name == expected.step).map(|(_, path)| path).collect();
        match named.as_slice() {
            [_] => {}
            [] => {
                let quoted: Vec<String> = steps.iter().map(|(name, _)| format!("{name:?}")).collect();
                let instead = format!("write one of {}", listed(quoted.iter().map(String::as_str)));
                self.problem(&path.key("step"), format!("there is no step {:?}", expected.step), instead);
            }
            several => {
                let mut lines: Vec<usize> = several.iter().map(|path| self.line_of(path)).collect();
                lines.sort_unstable();
                let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
                let what = format!("several steps are called {:?}: lines {}", expected.step, lines.join(", "));
                self.problem(&path.key("step"), what, "give the one that is meant a `name:` of its own");
            }
        }
    }

    fn expected_finding(&mut self, path: &Path, id: &str) {
        if findings::is_known(id) {
            return;
        }
        let ids: Vec<&str> = findings::FINDINGS.iter().map(|(id, _)| *id).collect();
        let instead = super::super::check::words::did_you_mean(id, &ids);
        self.problem(&path.key("id"), format!("there is no finding `{id}`"), instead);
    }
}

/// What an expectation is about, in words: two about the same say the same twice, or contradict each other.
fn subject(expectation: &Expectation) -> String {
    let within = |lane: &Option<String>, phase: Option<&str>| {
        let lane = lane.as_ref().map(|lane| format!(" in lane {lane}")).unwrap_or_default();
        let phase = phase.map(|phase| format!(" during {phase}")).unwrap_or_default();
        format!("{lane}{phase}")
    };
    match expectation {
        Expectation::Lost(lost) => {
            let unit = match (lost.share, lost.bound95) {
                (Some(_), _) => "the share of lost requests",
                (None, Some(_)) => "the loss rate",
                (None, None) => "the number of lost requests",
            };
            format!("{unit}{}", within(&lost.lane, lost.phase.map(super::super::schema::Phase::as_str)))
        }
        Expectation::Latency(latency) => format!(
            "the response time's {:?}{}",
            latency.percentile,
            within(&latency.lane, latency.phase.map(super::super::schema::Phase::as_str))
        ),
        Expectation::Outage(outage) => format!("the longest outage{}", within(&outage.lane, None)),
        Expectation::Budget(budget) => format!("budget {}", budget.name),
        Expectation::Finished(finished) => format!("step {:?}", finished.step),
        Expectation::Recovered(_) => "recovery".to_owned(),
        Expectation::Finding(finding) => format!("finding {}", finding.id),
    }
}
