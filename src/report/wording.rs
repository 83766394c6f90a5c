//! Numbers, times and kinds as every report writes them, so that the same figure reads the same everywhere.
//!
//! A figure is never rounded into a different statement: a loss is never written as 0 %, nor a share short of all
//! as 100 %. Texts from a cluster pass [`plain`] before they reach a terminal.

use crate::{
    experiment::schema::{Connections, Phase, Vantage},
    judge::verdict::{Answer, Expected, Requests, Verdict},
    record::event::{Micros, Outcome},
};

/// A count with commas: `1,234`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 request`, `1,234 requests`. The plural is the noun with an `s`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A length of time in milliseconds: `0.42 ms`, `3.1 ms`, `143 ms`, `1.24 s`, `12.3 s`, `2 min 5 s`, `1 h 3 min`.
#[must_use]
pub fn duration(milliseconds: f64) -> String {
    if !milliseconds.is_finite() {
        return "?".to_owned();
    }
    let ms = milliseconds.abs();
    let sign = if milliseconds < 0.0 { "-" } else { "" };
    // The bounds are those of rounding, so that 999.7 ms becomes 1.00 s and not 1000 ms.
    let text = match ms {
        0.0 => "0 ms".to_owned(),
        ms if ms < 0.995 => format!("{ms:.2} ms"),
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 9_995.0 => format!("{:.2} s", ms / 1e3),
        ms if ms < 99_950.0 => format!("{:.1} s", ms / 1e3),
        ms if ms < 3_599_500.0 => two_units((ms / 1e3).round(), "min", "s"),
        ms => two_units((ms / 60e3).round(), "h", "min"),
    };
    format!("{sign}{text}")
}

fn two_units(small: f64, large_unit: &str, small_unit: &str) -> String {
    let (large, rest) = ((small / 60.0).floor(), small % 60.0);
    if rest == 0.0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {rest} {small_unit}") }
}

/// A moment of a run in milliseconds since it began, to the millisecond: `12.345 s`; from 100 s on `2:05.345`.
#[must_use]
pub fn moment(milliseconds: f64) -> String {
    let seconds = milliseconds / 1e3;
    if seconds.abs() < 100.0 {
        return format!("{seconds:.3} s");
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let whole = (milliseconds.abs().round() / 60e3).floor();
    format!("{sign}{whole}:{:06.3}", (milliseconds.abs().round() - whole * 60e3) / 1e3)
}

/// The same from the record's unit.
#[must_use]
pub fn moment_us(at: Micros) -> String {
    moment(at as f64 / 1e3)
}

/// A share of a whole in percent with two digits that count: `0.04 %`, `1.2 %`, `12 %`. What is not nothing is never
/// `0 %`, and what is not all is never `100 %`. `–` where there is no whole.
#[must_use]
pub fn share(part: u64, whole: u64) -> String {
    match (part, whole) {
        (_, 0) => "–".to_owned(),
        (0, _) => "0 %".to_owned(),
        (part, whole) if part >= whole => "100 %".to_owned(),
        (part, whole) => fraction(part as f64 / whole as f64),
    }
}

/// A fraction from 0 to 1 in percent, written as [`share`] writes it.
#[must_use]
pub fn fraction(fraction: f64) -> String {
    let percent = fraction * 100.0;
    match percent {
        p if p <= 0.0 => "0 %".to_owned(),
        p if p >= 100.0 => "100 %".to_owned(),
        p if p < 0.000_1 => "below 0.0001 %".to_owned(),
        p if p > 99.9 => "above 99.9 %".to_owned(),
        p if p >= 9.95 => format!("{p:.0} %"),
        p if p >= 0.995 => format!("{p:.1} %"),
        p => {
            // Two digits behind the zeros: 0.036, 0.0042.
            let mut decimals = 2;
            let mut scaled = p;
            while scaled < 0.0995 && decimals < 5 {
                scaled *= 10.0;
                decimals += 1;
            }
            let text = format!("{p:.decimals$}");
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

/// What the counts let one say about losses, with the confidence where there were none:
/// `143 of 24,000 lost (0.6 %)`, `none of 8,412 lost: less than 0.036 % at 95 % confidence`.
#[must_use]
pub fn loss(requests: &Requests) -> String {
    match (requests.sent, requests.lost) {
        (0, _) => "none sent".to_owned(),
        (sent, 0) => match requests.loss_bound_95 {
            Some(bound) => {
                format!("none of {} lost: less than {} at 95 % confidence", count(sent), fraction(bound))
            }
            None => format!("none of {} lost", count(sent)),
        },
        (sent, lost) => format!("{} of {} lost ({})", count(lost), count(sent), share(lost, sent)),
    }
}

/// The verdict's one sentence: its weightiest reason, or that all held.
#[must_use]
pub fn why(verdict: &Verdict) -> String {
    if let Some(reason) = verdict.reasons.first() {
        return reason.clone();
    }
    match verdict.verdict {
        Answer::Held => match verdict.expectations.len() {
            1 => "what was expected held".to_owned(),
            n => format!("all {n} expectations held"),
        },
        Answer::Broken => {
            let failed: Vec<&Expected> = verdict.expectations.iter().filter(|e| e.held == Some(false)).collect();
            match failed.as_slice() {
                [one] => format!("{} did not hold", one.name),
                many => format!("{} of {} expectations did not hold", many.len(), verdict.expectations.len()),
            }
        }
        Answer::Inconclusive => "it cannot be told from this run".to_owned(),
        Answer::Error => "the run did not come to its end".to_owned(),
    }
}

/// What became of requests, in words.
#[must_use]
pub const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Refused => "connection refused",
        Outcome::Unreachable => "unreachable",
        Outcome::ConnectTimeout => "connect timeout",
        Outcome::TlsFailed => "TLS failed",
        Outcome::ResetBeforeByte => "reset before a byte",
        Outcome::CutMidAnswer => "cut in mid-answer",
        Outcome::ReusedConnectionClosed => "reused connection closed",
        Outcome::RequestTimeout => "request timeout",
        Outcome::ServerError => "5xx",
        Outcome::OtherStatus => "other status",
        Outcome::WrongBody => "wrong body",
        Outcome::Malformed => "not HTTP",
        Outcome::NotSent => "not sent",
    }
}

/// How connections are used, in words.
#[must_use]
pub fn connections(connections: Connections) -> String {
    match connections {
        Connections::New => "a new connection each".to_owned(),
        Connections::Reused(n) => format!("{} reused", counted(n.into(), "connection")),
    }
}

/// Where a lane's client stands, in words.
#[must_use]
pub const fn vantage(vantage: Vantage) -> &'static str {
    match vantage {
        Vantage::Outside => "from outside",
        Vantage::Inside => "from inside the cluster",
    }
}

/// A phase, in words for a heading.
#[must_use]
pub const fn phase(phase: Phase) -> &'static str {
    phase.as_str()
}

/// A response time in milliseconds of these requests; of none there is no time.
#[must_use]
pub fn time_of(requests: &Requests, ms: f64) -> String {
    if requests.sent > 0 { duration(ms) } else { "–".to_owned() }
}

/// Foreign text in one line without control characters, so that it can neither move a cursor nor break a table.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden =
            c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if !hidden {
            out.push(c);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

/// The text cut to so many characters, with `…` where something is missing.
#[must_use]
pub fn cut(text: &str, most_chars: usize) -> String {
    if text.chars().nth(most_chars).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most_chars.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_every_three_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (100_000, "100,000")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "request"), "1 request");
        assert_eq!(counted(0, "request"), "0 requests");
    }

    #[test]
    fn durations_keep_three_digits_at_most_and_change_their_unit_where_rounding_does() {
        let table = [
            (0.0, "0 ms"),
            (0.417, "0.42 ms"),
            (0.996, "1.0 ms"),
            (3.12, "3.1 ms"),
            (9.96, "10 ms"),
            (143.4, "143 ms"),
            (999.7, "1.00 s"),
            (1_240.0, "1.24 s"),
            (12_345.0, "12.3 s"),
            (99_960.0, "1 min 40 s"),
            (120_000.0, "2 min"),
            (125_400.0, "2 min 5 s"),
            (3_599_900.0, "1 h"),
            (3_780_000.0, "1 h 3 min"),
            (-1_500.0, "-1.50 s"),
            (f64::NAN, "?"),
        ];
        for (ms, text) in table {
            assert_eq!(duration(ms), text, "{ms}");
        }
    }

    #[test]
    fn moments_have_milliseconds() {
        let table = [(12_345.4, "12.345 s"), (-200.0, "-0.200 s"), (125_345.0, "2:05.345"), (119_999.9, "2:00.000")];
        for (ms, text) in table {
            assert_eq!(moment(ms), text, "{ms}");
        }
        assert_eq!(moment_us(1_500_000), "1.500 s");
    }

    #[test]
    fn a_share_is_never_rounded_into_nothing_or_all() {
        let table = [
            (0, 100, "0 %"),
            (100, 100, "100 %"),
            (1, 2_500, "0.04 %"),
            (3, 8_412, "0.036 %"),
            (1, 1_000_000_000, "below 0.0001 %"),
            (1, 100, "1.0 %"),
            (143, 24_000, "0.6 %"),
            (123, 10_000, "1.2 %"),
            (1, 8, "12 %"),
            (99_999, 100_000, "above 99.9 %"),
            (1, 0, "–"),
        ];
        for (part, whole, text) in table {
            assert_eq!(share(part, whole), text, "{part}/{whole}");
        }
    }

    #[test]
    fn no_loss_is_stated_as_a_bound_and_a_loss_as_a_count() {
        let held = Requests { sent: 8_412, ok: 8_412, loss_bound_95: Some(3.0 / 8_412.0), ..Requests::default() };
        assert_eq!(loss(&held), "none of 8,412 lost: less than 0.036 % at 95 % confidence");
        let broken = Requests { sent: 24_000, ok: 23_857, lost: 143, ..Requests::default() };
        assert_eq!(loss(&broken), "143 of 24,000 lost (0.6 %)");
        assert_eq!(loss(&Requests::default()), "none sent");
    }

    #[test]
    fn foreign_text_loses_what_moves_a_cursor_or_turns_the_reading_order() {
        assert_eq!(plain("a\x1b[2Jb\r\nc"), "a [2Jb c");
        assert_eq!(plain("pod\u{202e}txt"), "pod txt");
        assert_eq!(plain("shop-7d9f – ok"), "shop-7d9f – ok");
    }

    #[test]
    fn a_cut_text_says_that_it_was_cut() {
        assert_eq!(cut("läuft", 5), "läuft");
        assert_eq!(cut("läuft gut", 6), "läuft…");
    }
}
