//! `evenkeel recover`: finishes runs that were interrupted, from what they wrote down on this machine, in the cluster,
//! or both. Doing it twice does no harm, and a second time there is nothing to do.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use kube::Client;
use serde::Serialize;

use crate::{
    cluster::{self, Cluster, ClusterError, On},
    exit_code::ExitCode,
    failure::chain,
    fault::{
        ledger::{
            Disk, Hold, Ledger,
            disk::Untaken,
            hold::{self, Left},
            index::{self, Entry},
            paper::{Paper, Slip, merged},
        },
        undo::{Undo, UndoStack},
    },
    record::{
        clock::{Clock, Sink},
        event::{UndoChange, UndoState, What},
    },
};

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Recovered {
    /// Everything that is known to have been changed is as it was; also where nothing was known.
    pub complete: bool,
    /// The runs that were finished, or tried to be.
    pub runs: Vec<RecoveredRun>,
    /// What stood in the way, each with what to try.
    pub problems: Vec<String>,
    /// Runs whose cluster is gone, and with it all that they changed.
    pub gone: Vec<String>,
    #[serde(skip)]
    code: Option<ExitCode>,
}

/// One run that was finished, or tried to be.
#[derive(Debug, Serialize)]
pub struct RecoveredRun {
    /// Its id.
    pub run: String,
    /// Its experiment.
    pub experiment: String,
    /// The cluster as `--on` names it.
    pub on: String,
    /// The copies that were found: `disk`, `cluster`.
    pub from: Vec<&'static str>,
    /// Each undo, and what came of it.
    pub undone: Vec<UndoChange>,
    /// All of it is as it was.
    pub complete: bool,
}

impl Recovered {
    /// How the command ends.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        self.code.unwrap_or(if self.complete { ExitCode::Held } else { ExitCode::NotUndone })
    }

    /// The same for people, each line ended.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for run in &self.runs {
            let copies = run.from.join(" and the ");
            lines.push(format!("{}: run {} of {} (from the {copies})", run.on, run.run, run.experiment));
            for change in &run.undone {
                let state = if change.state == UndoState::Verified { "ok" } else { "FAILED" };
                lines.push(format!("  {state} {}: {}", change.action, change.detail));
            }
        }
        lines.extend(self.gone.iter().cloned());
        lines.extend(self.problems.iter().map(|problem| format!("error: {problem}")));
        lines.push(match (self.complete, self.runs.is_empty() && self.gone.is_empty()) {
            (true, true) => "nothing to recover".to_owned(),
            (true, false) => "everything is as it was".to_owned(),
            (false, _) => "not everything is as it was; evenkeel recover tries again".to_owned(),
        });
        lines.iter().map(|line| crate::failure::printable(line) + "\n").collect()
    }

    fn refuse(&mut self, code: ExitCode, problem: String) {
        self.problems.push(problem);
        self.code = Some(self.code.map_or(code, |known| known.worst(code)));
    }
}

/// Recovers one cluster, or all that runs of this machine were interrupted on. `tell` hears each undo as it ends.
pub async fn recover(on: Option<On>, tell: &dyn Fn(&str)) -> Recovered {
    let mut entries: BTreeMap<String, Vec<(PathBuf, Entry)>> = BTreeMap::new();
    for (place, entry) in index::all() {
        entries.entry(entry.on.clone()).or_default().push((place, entry));
    }
    let wanted: Vec<String> = match &on {
        Some(on) => vec![on.to_string()],
        None => entries.keys().cloned().collect(),
    };
    let mut out = Recovered::default();
    for name in wanted {
        let entries = entries.remove(&name).unwrap_or_default();
        match name.parse() {
            // A sandbox ends with its process, and all that was done in it.
            Ok(On::Sandbox) => {}
            Ok(cluster) => recover_on(&cluster, entries, on.is_some(), tell, &mut out).await,
            Err(error) => {
                out.refuse(ExitCode::NotUndone, format!("the index of runs names a cluster {name:?}: {error}"));
            }
        }
    }
    out.complete = out.problems.is_empty() && out.runs.iter().all(|run| run.complete);
    out
}

/// A run that was found.
struct Found {
    disk: Option<(Disk, Paper)>,
    slip: Option<Slip>,
}

async fn recover_on(on: &On, entries: Vec<(PathBuf, Entry)>, named: bool, tell: &dyn Fn(&str), out: &mut Recovered) {
    let Some((mut papers, lost)) = take_up(entries, out) else { return };
    let cluster = match cluster::connect(on).await {
        Ok(cluster) => cluster,
        Err(ClusterError::Unknown { .. }) if matches!(on, On::Kind(_)) && !named => {
            papers.drain(..).for_each(|(_, paper, place)| forget(on, &paper, &place, out));
            return;
        }
        Err(error) => return out.refuse(ExitCode::Setup, chain(&error)),
    };
    keep_those_of(&cluster, &mut papers, out);
    let left = match find_left(&cluster, &papers, tell).await {
        Ok(left) => left,
        Err(problem) => return out.refuse(ExitCode::Setup, format!("{on}: {problem}")),
    };
    let slip = left.as_ref().map(|left| left.slip.clone());
    for (place, entry) in lost {
        if slip.as_ref().is_none_or(|slip| slip.run != entry.run) {
            let ledger = entry.ledger.display();
            out.problems.push(format!(
                "{on}: run {} was interrupted, its ledger {ledger} has been removed, and the cluster has no copy: look \
                 yourself whether nodes are cordoned and workloads as they were",
                entry.run
            ));
        }
        // Either the cluster's copy counts, or there is nothing that anybody could do with the entry.
        drop(index::forget(&place));
    }
    if papers.is_empty() && slip.is_none() {
        return;
    }
    let hold = match Hold::take_over(&cluster.client, left, &hold::new_run()).await {
        Ok(hold) => hold,
        Err(error) => return out.refuse(ExitCode::Setup, format!("{on}: {}", chain(&error))),
    };
    let mut slip = slip;
    for (disk, paper, _) in papers {
        let of_this = slip.take_if(|slip| slip.run == paper.head.run);
        let run = finish(&cluster, &hold, Found { disk: Some((disk, paper)), slip: of_this }, tell).await;
        out.runs.push(run);
    }
    if let Some(slip) = slip {
        out.runs.push(finish(&cluster, &hold, Found { disk: None, slip: Some(slip) }, tell).await);
    }
    if let Err(problem) = hold.release().await {
        out.problems.push(format!("{on}: {problem}"));
    }
}

type Papers = Vec<(Disk, Paper, PathBuf)>;

/// The ledgers on this disk, and the entries whose ledger is gone; nothing where a run is still under way.
fn take_up(entries: Vec<(PathBuf, Entry)>, out: &mut Recovered) -> Option<(Papers, Vec<(PathBuf, Entry)>)> {
    let (mut papers, mut lost) = (Vec::new(), Vec::new());
    for (place, entry) in entries {
        match Disk::take_up(&entry.ledger, Some(place.clone())) {
            Ok((disk, paper)) => papers.push((disk, paper, place)),
            Err(Untaken::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                lost.push((place, entry));
            }
            Err(Untaken::Alive) => {
                let (run, on) = (&entry.run, &entry.on);
                let problem = format!("run {run} on {on} is still under way on this machine; stop it with Ctrl-C");
                out.refuse(ExitCode::Setup, problem);
                return None;
            }
            Err(error) => {
                let (run, on, place) = (&entry.run, &entry.on, place.display());
                out.problems.push(format!("run {run} on {on}: {error}; once all is as it was, remove {place}"));
            }
        }
    }
    Some((papers, lost))
}

fn forget(on: &On, paper: &Paper, place: &std::path::Path, out: &mut Recovered) {
    let run = &paper.head.run;
    match index::forget(place) {
        Ok(()) => {
            out.gone.push(format!("{on}: the cluster of run {run} is gone, and with it all that the run changed"));
        }
        Err(error) => out.problems.push(format!("failed to remove {}: {error}", place.display())),
    }
}

/// Leaves out what was written down of another cluster of the same name.
fn keep_those_of(cluster: &Cluster, papers: &mut Papers, out: &mut Recovered) {
    for (disk, paper, place) in std::mem::take(papers) {
        if paper.head.cluster == cluster.identity {
            papers.push((disk, paper, place));
        } else if matches!(cluster.on, On::Kind(_)) {
            forget(&cluster.on, &paper, &place, out);
        } else {
            let by_hand: Vec<String> = paper.due.iter().map(Undo::by_hand).collect();
            out.problems.push(format!(
                "{}: run {} was on a cluster with another certificate authority; where it is this one after all, by \
                 hand: {}; then remove {}",
                cluster.on,
                paper.head.run,
                by_hand.join("; "),
                place.display()
            ));
        }
    }
}

/// The Lease that an interrupted run has left, once it is certain that the run is over.
async fn find_left(cluster: &Cluster, papers: &Papers, tell: &dyn Fn(&str)) -> Result<Option<Left>, String> {
    let client: &Client = &cluster.client;
    let Some(left) = hold::look(client).await.map_err(|error| chain(&error))? else { return Ok(None) };
    // Its ledger is on this machine and its lock is free: there is nothing to wait for.
    let dead = |paper: &Paper| left.is_held_by(&paper.head.run);
    if papers.iter().any(|(_, paper, _)| dead(paper)) {
        return Ok(Some(left));
    }
    tell(&format!("{}: seeing whether {} is over: this takes up to half a minute", cluster.on, left.holder()));
    left.is_over(client, &cluster.on.to_string()).await.map_err(|error| chain(&error))
}

/// Undoes what one run has left.
async fn finish(cluster: &Cluster, hold: &Arc<Hold>, found: Found, tell: &dyn Fn(&str)) -> RecoveredRun {
    let paper = found.disk.as_ref().map(|(_, paper)| paper);
    let due = merged(paper, found.slip.as_ref());
    let of_paper = paper.map(|paper| (paper.head.run.clone(), paper.head.experiment.clone()));
    let of_slip = found.slip.as_ref().map(|slip| (slip.run.clone(), slip.experiment.clone()));
    let (run, experiment) = of_paper.or(of_slip).unwrap_or_default();
    let mut from = Vec::new();
    from.extend(found.disk.is_some().then_some("disk"));
    from.extend(found.slip.is_some().then_some("cluster"));
    let (sink, mut events) = Sink::new(Clock::start());
    let ledger = Ledger::taken_up(found.disk.map(|(disk, _)| disk), Arc::clone(hold));
    let stack = UndoStack::resumed(cluster.client.clone(), sink, ledger, due);
    let work = async move {
        let report = stack.undo_all().await;
        stack.close(&report).await;
        report.complete
    };
    let watch = async {
        let mut undone = Vec::new();
        while let Some(event) = events.recv().await {
            if let What::Undo(change) = event.what {
                tell(&format!("{}: {}: {}", cluster.on, change.action, change.detail));
                undone.push(change);
            }
        }
        undone
    };
    let (complete, undone) = futures::join!(work, watch);
    RecoveredRun { run, experiment, on: cluster.on.to_string(), from, undone, complete }
}
