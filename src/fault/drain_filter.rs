//! Which pods a drain evicts, which it leaves, and which make it refuse: `kubectl drain`'s filters, in its order
//! (kubectl/pkg/drain/filters.go v0.34.4). Pure.
//!
//! The first filter that does not let a pod through decides, and only the last message survives, as upstream: a
//! warning about `emptyDir` is lost where a later filter has nothing to say. Its filter for pods that terminate for
//! too long belongs to an option that a drain step does not have.

use crate::experiment::schema::Drain;

/// What the filters look at in a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its controller.
    pub controller: Controller,
    /// Its phase is Succeeded or Failed.
    pub finished: bool,
    /// It has the annotation `kubernetes.io/config.mirror`: the kubelet made it from a file.
    pub mirror: bool,
    /// It uses a volume of type `emptyDir`.
    pub empty_dir: bool,
}

/// What a pod's controller is, as far as a drain cares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Controller {
    /// It has none: nobody makes it again.
    #[default]
    None,
    /// A `DaemonSet` that exists.
    DaemonSet,
    /// A `DaemonSet` that is gone.
    OrphanOfDaemonSet,
    /// A `DaemonSet` that could not be looked up, and why.
    UnknownDaemonSet(String),
    /// Anything else.
    Other,
}

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is evicted; perhaps with a warning.
    Evict(Option<&'static str>),
    /// It stays where it is; perhaps with a warning.
    Leave(Option<&'static str>),
    /// The node is not drained at all: why, and what to set.
    Refuse(String),
}

/// The options that the filters depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub ignore_daemonsets: bool,
    pub delete_emptydir_data: bool,
    pub force: bool,
}

impl From<&Drain> for Options {
    fn from(drain: &Drain) -> Self {
        Self {
            ignore_daemonsets: drain.ignore_daemonsets,
            delete_emptydir_data: drain.delete_emptydir_data,
            force: drain.force,
        }
    }
}

/// What becomes of a pod under these options.
pub(super) fn fate(pod: &Candidate, options: Options) -> Fate {
    let mut last = Fate::Evict(None);
    for filter in [daemon_set, mirror, local_storage, unreplicated] {
        last = filter(pod, options);
        if !matches!(last, Fate::Evict(_)) {
            break;
        }
    }
    last
}

fn daemon_set(pod: &Candidate, options: Options) -> Fate {
    match &pod.controller {
        Controller::None | Controller::Other => Fate::Evict(None),
        _ if pod.finished => Fate::Evict(None),
        Controller::OrphanOfDaemonSet if options.force => {
            Fate::Evict(Some("its DaemonSet is gone, nobody makes it again"))
        }
        Controller::OrphanOfDaemonSet => Fate::Refuse("its DaemonSet is gone; set `force` to evict it".into()),
        Controller::UnknownDaemonSet(why) => Fate::Refuse(format!("its DaemonSet could not be looked up: {why}")),
        Controller::DaemonSet if options.ignore_daemonsets => Fate::Leave(Some("it belongs to a DaemonSet")),
        Controller::DaemonSet => Fate::Refuse(
            "it belongs to a DaemonSet, which would make it again on the same node; set `ignoreDaemonsets`".into(),
        ),
    }
}

fn mirror(pod: &Candidate, _: Options) -> Fate {
    if pod.mirror { Fate::Leave(None) } else { Fate::Evict(None) }
}

fn local_storage(pod: &Candidate, options: Options) -> Fate {
    match (pod.empty_dir && !pod.finished, options.delete_emptydir_data) {
        (false, _) => Fate::Evict(None),
        (true, true) => Fate::Evict(Some("the data in its emptyDir volumes is lost")),
        (true, false) => {
            Fate::Refuse("it keeps data in an emptyDir volume; set `deleteEmptydirData` to lose that data".into())
        }
    }
}

fn unreplicated(pod: &Candidate, options: Options) -> Fate {
    match (pod.controller == Controller::None && !pod.finished, options.force) {
        (false, _) => Fate::Evict(None),
        (true, true) => Fate::Evict(Some("it has no controller, nobody makes it again")),
        (true, false) => Fate::Refuse("it has no controller and would not come back; set `force` to evict it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome in one word, `!` for a warning.
    fn word(pod: &Candidate, options: Options) -> &'static str {
        match fate(pod, options) {
            Fate::Evict(None) => "evict",
            Fate::Evict(Some(_)) => "evict!",
            Fate::Leave(None) => "leave",
            Fate::Leave(Some(_)) => "leave!",
            Fate::Refuse(_) => "refuse",
        }
    }

    #[test]
    fn each_pod_meets_the_fate_that_kubectl_gives_it() {
        use Controller::{DaemonSet, None as Bare, OrphanOfDaemonSet, Other, UnknownDaemonSet};
        let unknown = || UnknownDaemonSet("403".into());
        // Controller, finished, mirror, emptyDir; then the fate without options, with ignoreDaemonsets, with
        // deleteEmptydirData, with force, with all three.
        let table = [
            (Other, false, false, false, ["evict", "evict", "evict", "evict", "evict"]),
            (DaemonSet, false, false, false, ["refuse", "leave!", "refuse", "refuse", "leave!"]),
            (DaemonSet, true, false, false, ["evict", "evict", "evict", "evict", "evict"]),
            (OrphanOfDaemonSet, false, false, false, ["refuse", "refuse", "refuse", "evict", "evict"]),
            (OrphanOfDaemonSet, true, false, false, ["evict", "evict", "evict", "evict", "evict"]),
            (unknown(), false, false, false, ["refuse", "refuse", "refuse", "refuse", "refuse"]),
            (Bare, false, true, false, ["leave", "leave", "leave", "leave", "leave"]),
            // A mirror pod is left before its emptyDir is looked at.
            (Bare, false, true, true, ["leave", "leave", "leave", "leave", "leave"]),
            (Other, false, false, true, ["refuse", "refuse", "evict", "refuse", "evict"]),
            (Other, true, false, true, ["evict", "evict", "evict", "evict", "evict"]),
            (Bare, false, false, false, ["refuse", "refuse", "refuse", "evict!", "evict!"]),
            (Bare, true, false, false, ["evict", "evict", "evict", "evict", "evict"]),
            // emptyDir is asked for before the controller: force alone does not help.
            (Bare, false, false, true, ["refuse", "refuse", "refuse", "refuse", "evict!"]),
            // A DaemonSet's pod is left before its emptyDir is looked at.
            (DaemonSet, false, false, true, ["refuse", "leave!", "refuse", "refuse", "leave!"]),
        ];
        let options =
            |ignore_daemonsets, delete_emptydir_data, force| Options { ignore_daemonsets, delete_emptydir_data, force };
        let columns = [
            options(false, false, false),
            options(true, false, false),
            options(false, true, false),
            options(false, false, true),
            options(true, true, true),
        ];
        for (controller, finished, mirror, empty_dir, fates) in table {
            let pod = Candidate { controller, finished, mirror, empty_dir };
            assert_eq!(columns.map(|options| word(&pod, options)), fates, "{pod:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_option_that_lifts_it() {
        let refusal = |pod| match fate(&pod, Options::default()) {
            Fate::Refuse(why) => why,
            other => panic!("{other:?}"),
        };
        let base = Candidate { controller: Controller::Other, ..Candidate::default() };
        assert!(refusal(Candidate { controller: Controller::DaemonSet, ..base.clone() }).contains("ignoreDaemonsets"));
        assert!(refusal(Candidate { empty_dir: true, ..base }).contains("deleteEmptydirData"));
        assert!(refusal(Candidate::default()).contains("force"));
    }
}
