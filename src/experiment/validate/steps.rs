//! Steps: keys that exclude each other, and what they refer to.

use super::{Validator, names, spec};
use crate::experiment::{
    schema::{Cordon, DeletePods, Drain, RollingUpdate, Scale, Step, Wait},
    tree::{Node, Path, Value},
    units::{Span, WorkloadKind},
};

impl Validator<'_> {
    pub(super) fn steps(&mut self) {
        for (path, step) in self.items::<Step>(&spec().key("steps")) {
            self.step(&path, &step);
        }
    }

    fn step(&mut self, path: &Path, step: &Step) {
        let body = path.key(step.verb());
        match step {
            Step::Drain(drain) => self.drain(&body, drain),
            Step::Cordon(cordon) | Step::Uncordon(cordon) => self.cordon(&body, cordon),
            Step::DeletePods(delete) => self.delete_pods(&body, delete),
            Step::RollingUpdate(update) => self.rolling_update(&body, update),
            Step::Scale(scale) => self.scale(&body, scale),
            Step::Wait(wait) => self.wait(&body, wait),
            Step::Parallel(members) | Step::Sequence(members) => {
                for (index, member) in members.iter().enumerate() {
                    self.step(&body.index(index), member);
                }
            }
        }
    }

    fn drain(&mut self, path: &Path, drain: &Drain) {
        self.step_name(path, drain.name.as_deref());
        self.node_pick(&path.key("nodes"), &drain.nodes);
        self.whole_seconds(path, drain.grace_period);
        self.above_zero(path, "timeout");
        if let Some(labels) = &drain.pod_selector {
            self.labels(&path.key("podSelector"), labels);
        }
    }

    fn cordon(&mut self, path: &Path, cordon: &Cordon) {
        self.step_name(path, cordon.name.as_deref());
        self.node_pick(&path.key("nodes"), &cordon.nodes);
    }

    fn delete_pods(&mut self, path: &Path, delete: &DeletePods) {
        self.step_name(path, delete.name.as_deref());
        self.pods_with(&path.key("selector"), &delete.selector);
        self.whole_seconds(path, delete.grace_period);
        if let Some(grace) = delete.grace_period.filter(|grace| delete.force && *grace != Span::default()) {
            let what = format!("`force` removes pods at once, but `gracePeriod` gives them {grace}");
            self.key_problem(path, "gracePeriod", what, "remove one of the two");
        }
    }

    fn rolling_update(&mut self, path: &Path, update: &RollingUpdate) {
        self.step_name(path, update.name.as_deref());
        self.applied_workload(&path.key("workload"), &update.workload);
        let changes = [("image", update.image.is_some()), ("env", update.env.is_some()), ("restart", update.restart)];
        self.exactly_one(path, "rollingUpdate", &changes);
        if let Some(image) = &update.image
            && (image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()))
        {
            self.problem(
                &path.key("image"),
                format!("{image:?} is not an image"),
                "write one such as evenkeel/demo:v2",
            );
        }
        for name in update.env.iter().flatten().map(|(name, _)| name).filter(|name| !names::is_env_name(name)) {
            let what = format!("{name:?} is not the name of an environment variable");
            self.key_problem(&path.key("env"), name, what, "write letters, digits and `_`, no digit first");
        }
        if update.restart && update.container.is_some() {
            let what = "`container` stands with `restart`, which is about the whole pod";
            return self.key_problem(path, "container", what, "remove `container`");
        }
        self.container(path, update);
    }

    fn container(&mut self, path: &Path, update: &RollingUpdate) {
        let Some(fact) = self.applied.workload(&update.workload) else { return };
        let containers = fact.template.containers.clone();
        let listed = super::listed(containers.iter().map(String::as_str));
        match &update.container {
            Some(name) if !containers.contains(name) => {
                let what = format!("{} has no container {name}", update.workload);
                self.problem(&path.key("container"), what, format!("write one of {listed}"));
            }
            None if containers.len() > 1 && !update.restart => {
                let what = format!("{} has the containers {listed}, and none is chosen", update.workload);
                self.problem(path, what, "add `container:` with one of them");
            }
            _ => {}
        }
    }

    fn scale(&mut self, path: &Path, scale: &Scale) {
        self.step_name(path, scale.name.as_deref());
        let at = path.key("workload");
        self.applied_workload(&at, &scale.workload);
        if scale.workload.kind == WorkloadKind::DaemonSet {
            let what = format!("{} cannot be scaled: it has one pod on each node", scale.workload);
            self.problem(&at, what, "write a deployment or statefulset");
        }
    }

    fn wait(&mut self, path: &Path, wait: &Wait) {
        self.step_name(path, wait.name.as_deref());
        let conditions = [
            ("time", wait.time.is_some()),
            ("rollout", wait.rollout.is_some()),
            ("podsReady", wait.pods_ready.is_some()),
            ("podsGone", wait.pods_gone.is_some()),
        ];
        self.exactly_one(path, "wait", &conditions);
        self.above_zero(path, "time");
        self.above_zero(path, "within");
        if wait.time.is_some() && self.root.at(&path.key("within")).is_some() {
            let what = "`within` stands with `time`, which always takes as long as it says";
            self.key_problem(path, "within", what, "remove `within`");
        }
        if let Some(workload) = &wait.rollout {
            self.applied_workload(&path.key("rollout"), workload);
        }
        if let Some(pods) = &wait.pods_ready {
            self.pods_with(&path.keys(&["podsReady", "selector"]), &pods.selector);
        }
        if let Some(labels) = &wait.pods_gone {
            self.pods_with(&path.key("podsGone"), labels);
        }
    }

    /// The names of all steps, also of those that have other problems; nothing where one cannot be told.
    pub(super) fn step_names(&self) -> Option<Vec<(String, Path)>> {
        fn collect(node: &Node, path: &Path, names: &mut Vec<(String, Path)>) -> Option<()> {
            for (index, item) in node.items().iter().enumerate() {
                let path = path.index(index);
                let Value::Map(entries) = &item.value else { return None };
                let [step] = entries.as_slice() else { return None };
                if !VERBS.contains(&step.key.as_str()) {
                    return None;
                }
                let body = path.key(&step.key);
                if matches!(step.value.value, Value::List(_)) {
                    collect(&step.value, &body, names)?;
                }
                let name = step.value.get("name").map_or(Some(step.key.as_str()), Node::text)?;
                names.push((name.to_owned(), path));
            }
            Some(())
        }
        let list = spec().key("steps");
        let mut names = Vec::new();
        collect(self.root.at(&list)?, &list, &mut names)?;
        Some(names)
    }
}

/// The keys of all steps.
const VERBS: [&str; 9] =
    ["drain", "cordon", "uncordon", "deletePods", "rollingUpdate", "scale", "wait", "parallel", "sequence"];
