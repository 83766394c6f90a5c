//! A comparison as text: the answer first, then what changed, then how much stayed the same.

use std::fmt::Write as _;

use super::{
    terminal::{BOLD, GREEN, RED, Style, YELLOW, paint},
    wording::{counted, cut, plain},
};
use crate::judge::compare::{Change, Compared, Comparison};

/// Things that are named of one experiment.
const MOST_ITEMS: usize = 15;
/// Longest text of a thing.
const MOST_CHARS: usize = 160;

/// All comparisons, the worst first.
#[must_use]
pub fn text(comparisons: &[Comparison], style: Style) -> String {
    let mut ordered: Vec<&Comparison> = comparisons.iter().collect();
    ordered.sort_by_key(|comparison| match comparison.change {
        Change::Worse => 0,
        Change::Unknown => 1,
        Change::Better => 2,
        Change::Same => 3,
    });
    let mut out = String::new();
    for comparison in ordered {
        one(&mut out, comparison, style);
    }
    out
}

fn one(out: &mut String, comparison: &Comparison, style: Style) {
    let answer = comparison.change.as_str().to_uppercase();
    let runs = match comparison.runs {
        (1, 1) => String::new(),
        (before, after) => {
            format!(", {} before, {} after", counted(before as u64, "run"), counted(after as u64, "run"))
        }
    };
    let _ =
        writeln!(out, "{}  {}{runs}", paint(style, &answer, colour(comparison.change)), plain(&comparison.experiment));
    let changed: Vec<&Compared> = comparison.items.iter().filter(|item| item.change != Change::Same).collect();
    for item in changed.iter().take(MOST_ITEMS) {
        let word = format!("{:<14}", item.change.as_str());
        let text = cut(&plain(&format!("{}: {} → {}", item.what, item.before, item.after)), MOST_CHARS);
        let _ = writeln!(out, "  {} {text}", paint(style, &word, colour(item.change)));
    }
    if changed.len() > MOST_ITEMS {
        let _ = writeln!(out, "  and {} more", changed.len() - MOST_ITEMS);
    }
    let same = comparison.items.len() - changed.len();
    if same > 0 {
        let _ = writeln!(out, "  {} the same", counted(same as u64, "figure"));
    }
}

const fn colour(change: Change) -> &'static str {
    match change {
        Change::Better => GREEN,
        Change::Same => BOLD,
        Change::Worse => RED,
        Change::Unknown => YELLOW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{sample, terminal::USUAL_WIDTH};

    #[test]
    fn what_changed_is_told_and_what_did_not_is_counted() {
        let (held, broken) = (sample::held(), sample::broken());
        let comparison = crate::judge::compare::compare("drain\u{1b}[2J", &[&held], &[&broken], 0.2);
        let text = text(&[comparison], Style { colour: false, width: USUAL_WIDTH });
        assert!(text.starts_with("WORSE  drain"), "{text}");
        assert!(text.contains("verdict: held → broken") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("the same"), "{text}");
    }
}
