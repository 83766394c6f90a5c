use super::*;
use crate::report::sample;

const PLAIN: Style = Style { colour: false, width: USUAL_WIDTH };

fn shown(verdict: &Verdict) -> String {
    summary(verdict, "runs/2026-11-20/drain-one-node/report.html", PLAIN)
}

#[test]
fn a_held_run_is_summed_up_with_the_confidence_that_its_size_gives() {
    insta::assert_snapshot!(shown(&sample::held()));
}

#[test]
fn a_broken_run_is_summed_up_with_causes_and_advice() {
    insta::assert_snapshot!(shown(&sample::broken()));
}

#[test]
fn an_inconclusive_run_says_why_it_cannot_tell() {
    insta::assert_snapshot!(shown(&sample::inconclusive()));
}

#[test]
fn a_run_that_ended_in_an_error_says_what_was_not_put_back() {
    insta::assert_snapshot!(shown(&sample::error()));
}

#[test]
fn no_line_is_wider_than_the_terminal_and_there_are_at_most_20() {
    for verdict in [sample::held(), sample::broken(), sample::inconclusive(), sample::error()] {
        for width in [60, 80, 100, 140] {
            let text = summary(&verdict, "runs/x/report.html", Style { colour: false, width });
            // A command is there to be copied, so it stays in one line.
            let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("kubectl"));
            assert!(lines.all(|line| line.chars().count() <= width), "{width}\n{text}");
        }
        let lines = shown(&verdict).lines().count();
        assert!(lines <= 20, "{lines} lines");
    }
}

#[test]
fn late_answers_are_told_by_reason_where_nothing_was_lost() {
    let late = Verdict { slow: sample::broken().slow, ..sample::held() };
    assert!(shown(&late).contains("slow         31 answered late, of them described: 21 cold-pod · 2 unexplained\n"));
    for without in [sample::held(), sample::broken()] {
        assert!(!shown(&without).contains("answered late"));
    }
}

#[test]
fn colours_change_no_word() {
    let coloured = summary(&sample::broken(), "r.html", Style { colour: true, width: 100 });
    let plain = summary(&sample::broken(), "r.html", Style { colour: false, width: 100 });
    assert!(coloured.contains("\x1b[1;31mBROKEN\x1b[0m"));
    assert!(!plain.contains('\x1b'));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        stripped.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
}

#[test]
fn a_hostile_message_reaches_the_terminal_without_its_control_characters() {
    let mut verdict = sample::broken();
    verdict.reasons[0] = "lost \x1b[2J\x1b]0;owned\x07 everything\nHELD".to_owned();
    let text = shown(&verdict);
    assert!(!text.contains('\x1b') && !text.contains('\x07'));
    assert!(text.starts_with("BROKEN"));
    assert!(!text.lines().any(|line| line.starts_with("HELD")));
}

#[test]
fn a_long_word_is_broken_and_nothing_of_it_is_lost() {
    assert_eq!(wrap("abc defghijk lm", 5), ["abc", "defgh", "ijk", "lm"]);
    assert_eq!(wrap("", 5), [""]);
}

#[test]
fn colours_obey_no_color_and_a_dumb_terminal() {
    let table = [
        (None, None, true),
        (None, Some("xterm-256color"), true),
        (Some(""), Some("xterm"), true),
        (Some("1"), Some("xterm"), false),
        (None, Some("dumb"), false),
    ];
    for (no_color, term, coloured) in table {
        assert_eq!(may_colour(no_color, term), coloured, "{no_color:?} {term:?}");
    }
}
