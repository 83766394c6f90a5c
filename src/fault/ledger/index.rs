//! Where the ledgers of runs under way are on this machine: small files under `$XDG_STATE_HOME/evenkeel/runs`, one for
//! each run, removed when it has undone everything.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The largest entry that is read: a path and two names.
const ENTRY_MAX: u64 = 64 << 10;

/// Entries that are looked at; each is an interrupted run.
const ENTRIES_MAX: usize = 1_000;

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    pub run: String,
    /// The cluster as `--on` names it.
    pub on: String,
    /// Its ledger, as an absolute path.
    pub ledger: PathBuf,
}

/// The folder of the index: `$XDG_STATE_HOME/evenkeel/runs`, or below `~/.local/state`.
fn folder() -> io::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let none = || io::Error::new(io::ErrorKind::NotFound, "neither XDG_STATE_HOME nor HOME names a folder");
    Ok(state.ok_or_else(none)?.join("evenkeel/runs"))
}

/// Enters a run; returns where. It is on the disk when this returns.
pub(super) fn add(entry: &Entry, experiment: &str) -> io::Result<PathBuf> {
    let folder = folder()?;
    // Other users need not know which clusters somebody tests.
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(format!("{}-{experiment}.json", entry.run));
    let mut file = File::create_new(&path)?;
    file.write_all(&serde_json::to_vec(entry)?)?;
    file.sync_all()?;
    File::open(&folder)?.sync_all()?;
    Ok(path)
}

/// Forgets a run. One that is forgotten already is fine.
pub fn forget(place: &Path) -> io::Result<()> {
    match fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All runs that are known, with the places of their entries, in the order of their names. What is not an entry is
/// passed over.
#[must_use]
pub fn all() -> Vec<(PathBuf, Entry)> {
    let Ok(files) = folder().and_then(fs::read_dir) else { return Vec::new() };
    let mut found: Vec<(PathBuf, Entry)> = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .take(ENTRIES_MAX)
        .filter_map(|path| Some((path.clone(), read(&path)?)))
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn read(path: &Path) -> Option<Entry> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(ENTRY_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
