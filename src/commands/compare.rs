//! `evenkeel compare`: reads the two sides from records, suites or kept verdicts, and says what changed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{print, refuse};
use crate::{
    cli::CompareArgs,
    exit_code::ExitCode,
    failure::chain,
    judge::{
        self,
        compare::{Change, Comparison, compare},
        verdict::Verdict,
    },
    record::reader,
    report::{comparison, terminal::Style},
};

/// The largest verdict that is read, in bytes; the longest run's has some hundred kilobytes.
const VERDICT_MAX: u64 = 16 * 1024 * 1024;

/// Verdicts by the experiment's name.
type Side = BTreeMap<String, Vec<Verdict>>;

pub(super) fn perform(args: &CompareArgs) -> ExitCode {
    let (before, after) = match (side(&args.before), side(&args.after)) {
        (Ok(before), Ok(after)) => (before, after),
        (before, after) => {
            let problems: Vec<String> = [before, after].into_iter().filter_map(Result::err).collect();
            return refuse(ExitCode::Usage, problems.join("\nerror: "));
        }
    };
    let comparisons: Vec<Comparison> = before
        .iter()
        .filter_map(|(name, runs)| {
            let other = after.get(name)?;
            let (runs, other): (Vec<&Verdict>, Vec<&Verdict>) = (runs.iter().collect(), other.iter().collect());
            Some(compare(name, &runs, &other, args.tolerance.fraction()))
        })
        .collect();
    if comparisons.is_empty() {
        let names = |side: &Side| side.keys().cloned().collect::<Vec<_>>().join(", ");
        return refuse(
            ExitCode::Usage,
            format!(
                "no experiment is in both: {} has {}, {} has {}",
                args.before.display(),
                names(&before),
                args.after.display(),
                names(&after)
            ),
        );
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        eprintln!("{name} is only in {}", args.before.display());
    }
    for name in after.keys().filter(|name| !before.contains_key(*name)) {
        eprintln!("{name} is only in {}", args.after.display());
    }
    if args.json {
        match serde_json::to_string_pretty(&comparisons) {
            Ok(json) => print(&(json + "\n")),
            Err(error) => return refuse(ExitCode::Internal, error),
        };
    } else {
        print(&comparison::text(&comparisons, Style::of_stdout()));
    }
    let any = |change: Change| comparisons.iter().any(|comparison| comparison.change == change);
    if any(Change::Worse) {
        ExitCode::Broken
    } else if any(Change::Unknown) {
        ExitCode::Inconclusive
    } else {
        ExitCode::Held
    }
}

/// One side: the record of a run, a folder with several, or a kept `verdict.json`.
fn side(path: &Path) -> Result<Side, String> {
    let verdicts = if path.is_file() {
        vec![kept(path)?]
    } else if path.join("events.jsonl").exists() {
        vec![judged(path)?]
    } else if path.join("verdict.json").exists() {
        vec![kept(&path.join("verdict.json"))?]
    } else {
        let folders = folders(path)?;
        folders.iter().map(|folder| judged(folder)).collect::<Result<_, _>>()?
    };
    if verdicts.is_empty() {
        return Err(format!(
            "{} is no run: name a folder with events.jsonl, a folder of such folders, or a verdict.json",
            path.display()
        ));
    }
    let mut side = Side::new();
    for verdict in verdicts {
        side.entry(verdict.experiment.clone()).or_default().push(verdict);
    }
    Ok(side)
}

fn folders(path: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("events.jsonl").exists())
        .collect();
    folders.sort();
    Ok(folders)
}

/// A record, judged by this version, so that both sides are judged alike.
fn judged(folder: &Path) -> Result<Verdict, String> {
    let record = reader::read(folder).map_err(|error| chain(&error))?;
    Ok(judge::judge(&record))
}

fn kept(path: &Path) -> Result<Verdict, String> {
    let told = |error: &dyn std::fmt::Display| format!("failed to read {} as a verdict.json: {error}", path.display());
    let size = std::fs::metadata(path).map_err(|error| told(&error))?.len();
    if size > VERDICT_MAX {
        return Err(told(&format!("it has {size} bytes, and {VERDICT_MAX} are the most")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    serde_json::from_str(&text).map_err(|error| told(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::tests::builder::Scene, record::event::Outcome};

    fn args(before: PathBuf, after: PathBuf) -> CompareArgs {
        CompareArgs { before, after, tolerance: "20%".parse().unwrap(), json: false }
    }

    /// A baseline as it is kept in git: a run of so many losses.
    fn baseline(folder: &Path, name: &str, losses: u32) -> PathBuf {
        let mut scene = Scene::three_pods();
        scene.lose_many(Outcome::Refused, 10.0, losses);
        let path = folder.join(name);
        std::fs::write(&path, serde_json::to_string(&judge::judge(&scene.record())).unwrap()).unwrap();
        path
    }

    #[test]
    fn worse_is_an_exit_code_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let good = baseline(folder.path(), "good.json", 0);
        let bad = baseline(folder.path(), "bad.json", 40);
        assert_eq!(perform(&args(good.clone(), good.clone())), ExitCode::Held);
        assert_eq!(perform(&args(bad.clone(), good.clone())), ExitCode::Held);
        assert_eq!(perform(&args(good.clone(), bad)), ExitCode::Broken);
        assert_eq!(perform(&args(good.clone(), folder.path().to_owned())), ExitCode::Usage, "a folder without a run");
        assert_eq!(perform(&args(good, folder.path().join("none.json"))), ExitCode::Usage);
    }

    #[test]
    fn what_is_no_verdict_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.json");
        for text in ["", "{}", "[1]"] {
            std::fs::write(&path, text).unwrap();
            assert!(side(&path).unwrap_err().contains("bad.json"));
        }
    }
}
