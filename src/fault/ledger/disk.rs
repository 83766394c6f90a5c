//! The copy on disk: a file of the run's folder, whose lines are synced before an act begins, and locked while its run
//! lives: who gets the lock knows that the run is over, on this machine without waiting.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    LedgerError,
    index::{self, Entry},
    paper::{self, Head, Line, Paper, Settled},
};
use crate::fault::undo::Undo;

/// The file's name.
pub const UNDO_FILE: &str = "undo.jsonl";

/// The largest that is read: [`paper::ENTRIES_MAX`] entries are smaller.
const FILE_MAX: u64 = 16 << 20;

/// An open file, locked.
pub struct Disk {
    path: PathBuf,
    file: Arc<Mutex<File>>,
    // Its line in the index, where it has one.
    known_as: Option<PathBuf>,
}

/// Why a file cannot be taken up again.
#[derive(Debug, thiserror::Error)]
pub enum Untaken {
    /// Its run is under way, on this machine.
    #[error("its run is still under way on this machine")]
    Alive,
    /// It is not there, or cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what the format says.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Disk {
    /// Makes the file in a folder that is there, and enters it into the index where it is to be known. An index that
    /// cannot be written is no reason not to run: the copy in the cluster is found without one.
    pub(super) async fn create(folder: &Path, head: &Head, known: bool) -> Result<Self, LedgerError> {
        let path = folder.join(UNDO_FILE);
        let failed = |source| LedgerError::Disk { path: path.clone(), source };
        let file = File::options().append(true).create_new(true).open(&path).map_err(failed)?;
        // Nobody else has seen the file yet.
        file.lock().map_err(failed)?;
        let mut disk = Self { path: path.clone(), file: Arc::new(Mutex::new(file)), known_as: None };
        disk.append(&Line::Head(head.clone())).await?;
        // The name of the file is in its folder, which has to reach the disk as well.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        if known {
            let ledger = fs::canonicalize(&path).map_err(failed)?;
            let entry = Entry { run: head.run.clone(), on: head.on.clone(), ledger };
            match index::add(&entry, &head.experiment) {
                Ok(place) => disk.known_as = Some(place),
                Err(error) => tracing::warn!(%error, "this run is not in the index of ledgers"),
            }
        }
        Ok(disk)
    }

    /// Takes up the file of a run that is over.
    pub fn take_up(path: &Path, known_as: Option<PathBuf>) -> Result<(Self, Paper), Untaken> {
        let unreadable = |source| Untaken::Unreadable { path: path.to_owned(), source };
        let malformed = |problem| Untaken::Malformed { path: path.to_owned(), problem };
        let mut file = File::options().read(true).append(true).open(path).map_err(unreadable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Untaken::Alive),
            Err(TryLockError::Error(source)) => return Err(unreadable(source)),
        }
        let mut text = Vec::new();
        (&mut file).take(FILE_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 > FILE_MAX {
            return Err(malformed(format!("larger than {FILE_MAX} bytes")));
        }
        let paper = paper::read(&text).map_err(malformed)?;
        if text.last().is_some_and(|byte| *byte != b'\n') {
            // What a crash cut off must not run into the next line.
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            file.set_len(whole as u64).map_err(unreadable)?;
        }
        Ok((Self { path: path.to_owned(), file: Arc::new(Mutex::new(file)), known_as }, paper))
    }

    /// Writes down what an act is about to change; on the disk when this returns.
    pub(super) async fn intend(&self, undo: &Undo) -> Result<(), LedgerError> {
        self.append(&Line::Intent { undo: undo.clone() }).await
    }

    /// Writes down how an undo ended.
    pub(super) async fn settle(&self, undo: &Undo, how: Settled) -> Result<(), LedgerError> {
        self.append(&Line::Settled { undo: undo.clone(), how }).await
    }

    /// The last line; where all has been undone, the index forgets the file, also when the disk is full.
    pub(super) async fn close(&self, complete: bool) -> Result<(), LedgerError> {
        let written = self.append(&Line::Closed { complete }).await;
        if complete && let Some(place) = &self.known_as {
            index::forget(place).map_err(|source| LedgerError::Disk { path: place.clone(), source })?;
        }
        written
    }

    /// Synced away from the thread that conducts the run: its clock must not wait for a disk. What a full disk took of a
    /// line is taken back, or the next line would be read as its end.
    async fn append(&self, line: &Line) -> Result<(), LedgerError> {
        let failed = |source| LedgerError::Disk { path: self.path.clone(), source };
        let mut bytes = serde_json::to_vec(line).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let whole = file.metadata()?.len();
            file.write_all(&bytes).inspect_err(|_| _ = file.set_len(whole))?;
            file.sync_data()
        });
        written.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let text = |text: &str| text.to_owned();
        Head {
            format: paper::FORMAT,
            run: text("r1"),
            experiment: text("b1"),
            on: text("kind:a"),
            cluster: text("c"),
            since: text("2026-01-01T00:00:00Z"),
        }
    }

    #[tokio::test]
    async fn a_file_is_locked_while_its_run_lives_and_taken_up_after() {
        let folder = tempfile::tempdir().unwrap();
        let undo = Undo::Uncordon { node: "a".to_owned() };
        let disk = Disk::create(folder.path(), &head(), false).await.unwrap();
        disk.intend(&undo).await.unwrap();
        let path = folder.path().join(UNDO_FILE);
        assert!(matches!(Disk::take_up(&path, None), Err(Untaken::Alive)));
        drop(disk);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"line\":\"sett").unwrap();
        let (disk, paper) = Disk::take_up(&path, None).unwrap();
        assert_eq!(paper.due, std::slice::from_ref(&undo));
        disk.settle(&undo, Settled::Verified).await.unwrap();
        drop(disk);
        assert_eq!(Disk::take_up(&path, None).unwrap().1.due, []);
    }

    #[tokio::test]
    async fn a_full_disk_keeps_the_act_from_taking_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::create(folder.path(), &head(), false).await.unwrap();
        disk.file = Arc::new(Mutex::new(File::options().write(true).open("/dev/full").unwrap()));
        let error = disk.intend(&Undo::Uncordon { node: "a".to_owned() }).await.unwrap_err();
        assert!(error.to_string().contains("--out"), "{error}");
    }
}
