//! Ages as kubectl tells them (apimachinery/pkg/util/duration/duration.go, v0.34.4).

use jiff::Timestamp;

/// How long ago a time is.
pub(super) fn since(time: Option<&str>) -> String {
    since_at(time, Timestamp::now())
}

fn since_at(time: Option<&str>, now: Timestamp) -> String {
    match time.and_then(|time| time.parse::<Timestamp>().ok()) {
        Some(time) => human(now.as_millisecond() - time.as_millisecond()),
        None => "<unknown>".to_owned(),
    }
}

/// How long it is from one time to another, or until now.
pub(super) fn between(from: Option<&str>, to: Option<&str>) -> String {
    let Some(from) = from.and_then(|time| time.parse::<Timestamp>().ok()) else { return String::new() };
    let to = to.and_then(|time| time.parse().ok()).unwrap_or_else(Timestamp::now);
    human(to.as_millisecond() - from.as_millisecond())
}

/// A duration in the two units that matter.
fn human(milliseconds: i64) -> String {
    let seconds = milliseconds / 1000;
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    if milliseconds < 0 {
        return "0s".to_owned();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let with_rest = |count: i64, unit: &str, rest: i64, of_rest: &str| {
        if rest == 0 { format!("{count}{unit}") } else { format!("{count}{unit}{rest}{of_rest}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => with_rest(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => with_rest(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => with_rest(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => with_rest(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_upstream_tells_them() {
        const S: i64 = 1_000;
        const M: i64 = 60 * S;
        const H: i64 = 60 * M;
        const D: i64 = 24 * H;
        let table = [
            (-2 * S, "<invalid>"),
            (-S, "0s"),
            (0, "0s"),
            (119 * S, "119s"),
            (2 * M, "2m"),
            (2 * M + 5 * S, "2m5s"),
            (10 * M + 5 * S, "10m"),
            (179 * M, "179m"),
            (3 * H + 7 * M, "3h7m"),
            (9 * H + 7 * M, "9h"),
            (47 * H, "47h"),
            (2 * D + 3 * H, "2d3h"),
            (7 * D, "7d"),
            (9 * D + 3 * H, "9d"),
            (800 * D, "2y70d"),
            (3_000 * D, "8y"),
        ];
        for (milliseconds, expected) in table {
            assert_eq!(human(milliseconds), expected);
        }
        let now = "2024-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(since_at(Some("2024-01-01T00:00:00Z"), now), "60s");
        assert_eq!(since_at(None, now), "<unknown>");
    }
}
