//! What is written down of a run, on disk as lines and in the cluster as one value, and reading either again. Neither
//! is trusted: sizes are bounded, and an undo whose names are none of Kubernetes' is refused.

use serde::{Deserialize, Serialize};

use crate::fault::undo::Undo;

/// The version of both forms; another is refused.
pub const FORMAT: u32 = 1;

/// Entries of one run at most: more than the steps of any file make.
pub const ENTRIES_MAX: usize = 10_000;

/// Of which run it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// The run's id, which is also in the Lease.
    pub run: String,
    /// The experiment's name.
    pub experiment: String,
    /// The cluster as `--on` names it.
    pub on: String,
    /// What tells this cluster from another of the same name; see `cluster::Cluster::identity`.
    pub cluster: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// How an undo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// Done, and seen to be as before.
    Verified,
    /// The act did not take place.
    Withdrawn,
    /// Not as before.
    Failed,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Head(Head),
    /// An act is about to change this.
    Intent {
        /// The state from before.
        undo: Undo,
    },
    /// An undo has ended.
    Settled {
        /// Which.
        undo: Undo,
        /// How.
        how: Settled,
    },
    /// The run has ended by itself.
    Closed {
        /// All has been undone.
        complete: bool,
    },
}

/// What is written down of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Paper {
    /// Of which run.
    pub head: Head,
    /// What is due, oldest first.
    pub due: Vec<Undo>,
    /// What has been undone and verified, or never took place.
    pub settled: Vec<Undo>,
}

/// Reads the lines of a file, or says what is wrong with which line. A last line that was cut off by a crash is left
/// out: what it was to say had not been agreed on, so no act had begun.
pub fn read(text: &[u8]) -> Result<Paper, String> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(&text[..0], |end| &text[..=end]);
    let mut paper: Option<Paper> = None;
    for (index, line) in whole.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let number = index + 1;
        let line: Line = serde_json::from_slice(line).map_err(|error| format!("line {number}: {error}"))?;
        match (line, paper.as_mut()) {
            (Line::Head(head), None) => {
                if head.format != FORMAT {
                    return Err(format!("it has format {}, and this evenkeel reads format {FORMAT}", head.format));
                }
                paper = Some(Paper { head, due: Vec::new(), settled: Vec::new() });
            }
            (Line::Intent { undo }, Some(paper)) => {
                sound(&undo).map_err(|problem| format!("line {number}: {problem}"))?;
                if paper.due.len() >= ENTRIES_MAX {
                    return Err(format!("it has more than {ENTRIES_MAX} entries"));
                }
                paper.due.push(undo);
            }
            (Line::Settled { undo, how }, Some(paper)) if how != Settled::Failed => {
                paper.due.retain(|due| !due.is_about_the_same(&undo));
                paper.settled.push(undo);
            }
            (Line::Settled { .. } | Line::Closed { .. }, Some(_)) => {}
            _ => return Err(format!("line {number}: it does not begin with one head")),
        }
    }
    paper.ok_or_else(|| "it has no head".to_owned())
}

/// What stands in the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slip {
    /// [`FORMAT`].
    pub format: u32,
    /// The run's id.
    pub run: String,
    /// The experiment's name; empty before the first.
    #[serde(default)]
    pub experiment: String,
    /// What is due, oldest first.
    pub due: Vec<Undo>,
}

/// Reads what stands in the cluster.
pub fn read_slip(text: &str) -> Result<Slip, String> {
    let slip: Slip = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if slip.format != FORMAT {
        return Err(format!("it has format {}, and this evenkeel reads format {FORMAT}", slip.format));
    }
    if slip.due.len() > ENTRIES_MAX {
        return Err(format!("it has more than {ENTRIES_MAX} entries"));
    }
    slip.due.iter().try_for_each(sound)?;
    Ok(slip)
}

/// What is due by the two copies of one run, oldest first: what either has, without what the disk knows as settled.
/// Whatever is in one alone is undone once more, which does no harm.
#[must_use]
pub fn merged(paper: Option<&Paper>, slip: Option<&Slip>) -> Vec<Undo> {
    let mut due = paper.map(|paper| paper.due.clone()).unwrap_or_default();
    let settled = paper.map(|paper| paper.settled.as_slice()).unwrap_or_default();
    for undo in slip.iter().flat_map(|slip| &slip.due) {
        if !due.iter().chain(settled).any(|known| known.is_about_the_same(undo)) {
            due.push(undo.clone());
        }
    }
    due
}

fn sound(undo: &Undo) -> Result<(), String> {
    if undo.is_sound() {
        Ok(())
    } else {
        Err("it names something that cannot be an object's name, so it has been changed since the run".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let text = |text: &str| text.to_owned();
        Head {
            format: FORMAT,
            run: text("r1"),
            experiment: text("b1"),
            on: text("kind:a"),
            cluster: text("c"),
            since: text("2026-01-01T00:00:00Z"),
        }
    }

    fn uncordon(node: &str) -> Undo {
        Undo::Uncordon { node: node.to_owned() }
    }

    fn text(lines: &[Line]) -> Vec<u8> {
        lines.iter().flat_map(|line| (serde_json::to_string(line).unwrap() + "\n").into_bytes()).collect()
    }

    #[test]
    fn what_is_due_is_what_was_intended_and_neither_verified_nor_withdrawn() {
        let intent = |node| Line::Intent { undo: uncordon(node) };
        let settled = |node, how| Line::Settled { undo: uncordon(node), how };
        let lines = [
            Line::Head(head()),
            intent("a"),
            intent("b"),
            intent("c"),
            settled("a", Settled::Verified),
            settled("b", Settled::Failed),
            settled("c", Settled::Withdrawn),
        ];
        let paper = read(&text(&lines)).unwrap();
        assert_eq!(paper.due, [uncordon("b")]);
        assert_eq!(paper.settled, [uncordon("a"), uncordon("c")]);
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_left_out_and_one_in_the_middle_is_damage() {
        let mut whole = text(&[Line::Head(head()), Line::Intent { undo: uncordon("a") }]);
        let cut = &whole[..whole.len() - 5];
        assert_eq!(read(cut).unwrap().due, []);
        whole.extend(b"{\"line\":\"int\n");
        assert!(read(&whole).unwrap_err().starts_with("line 3"));
        assert!(read(b"").is_err());
    }

    #[test]
    fn two_copies_are_merged_and_what_is_settled_on_disk_is_not_due_again() {
        let slip = |due: &[&str]| Slip {
            format: FORMAT,
            run: "r1".into(),
            experiment: String::new(),
            due: due.iter().map(|node| uncordon(node)).collect(),
        };
        let paper = Paper { head: head(), due: vec![uncordon("b")], settled: vec![uncordon("a")] };
        assert_eq!(merged(Some(&paper), Some(&slip(&["a", "b", "c"]))), [uncordon("b"), uncordon("c")]);
        assert_eq!(merged(None, Some(&slip(&["a"]))), [uncordon("a")]);
        assert_eq!(merged(Some(&paper), None), [uncordon("b")]);
    }

    #[test]
    fn names_that_would_be_other_paths_are_refused() {
        for node in ["../namespaces/kube-system", "a/b", "", "A"] {
            let lines = text(&[Line::Head(head()), Line::Intent { undo: uncordon(node) }]);
            assert!(read(&lines).unwrap_err().contains("cannot be an object's name"), "{node}");
            let slip = Slip { format: FORMAT, run: "r".into(), experiment: String::new(), due: vec![uncordon(node)] };
            assert!(read_slip(&serde_json::to_string(&slip).unwrap()).is_err(), "{node}");
        }
        let object = |api_version: &str, kind: &str, plural: &str| Undo::RemoveObject {
            api_version: api_version.into(),
            kind: kind.into(),
            plural: plural.into(),
            namespace: "a".into(),
            name: "b".into(),
        };
        assert!(object("batch/v1", "Job", "jobs").is_sound());
        assert!(!object("v1", "Secret", "secrets").is_sound() && !object("v1", "Pod", "pods").is_sound());
    }

    #[test]
    fn another_format_is_refused_by_its_number() {
        let lines = text(&[Line::Head(Head { format: 9, ..head() })]);
        assert!(read(&lines).unwrap_err().contains("format 9"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_read_panics(bytes: Vec<u8>) {
            drop(read(&bytes));
            drop(read_slip(&String::from_utf8_lossy(&bytes)));
        }
    }
}
