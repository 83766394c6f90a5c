//! The run directory, written and read back: whole, cut off, damaged, of another version, on a disk that is full.

use std::{fs, path::Path};

use hdrhistogram::Histogram;
use serde_json::json;

use super::{
    EVENTS_FILE, LOAD_FILE, PLAN_FILE, Record, RecordedInterval,
    error::RecordError,
    event::{
        Event, EvictionAnswer, KubeEventSeen, LaneInterval, LostRequest, NoteKind, Outcome, PodAnswers, PreStop,
        Reached, SlowRequest, UndoChange, UndoState, What,
    },
    load_reader::service_times,
    reader::read,
    samples::{Samples, empty_histogram},
    writer::Writer,
};
use crate::{
    judge::{judge, tests::builder::Scene},
    load::message::ClosedInterval,
};

fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = empty_histogram().unwrap();
    values.into_iter().for_each(|value| histogram.record(value).unwrap());
    histogram
}

/// Writes a record whose intervals have their own histograms, and returns it as it is in memory.
fn write(dir: &Path, mut record: Record) -> Record {
    let mut writer = Writer::create(dir, &record.experiment, &record.plan).unwrap();
    record.intervals.clear();
    for (n, event) in (0_u64..).zip(&record.events) {
        let What::Load(counts) = &event.what else {
            writer.event(event).unwrap();
            continue;
        };
        let sent: u64 = counts.by_outcome.values().sum();
        let response = histogram((0..sent).map(|m| 900 + (n * 37 + m * 1_013) % 50_000));
        let service = service_of(sent);
        record.intervals.push(RecordedInterval {
            lane: counts.lane.clone(),
            start_us: counts.start_us,
            length_us: counts.length_us,
            response: Samples::from(&response),
        });
        writer.interval(event.at_us, &ClosedInterval { counts: counts.clone(), response, service }).unwrap();
    }
    writer.finish().unwrap();
    record.intervals.sort_by_key(|interval| interval.start_us);
    record
}

fn service_of(sent: u64) -> Histogram<u64> {
    histogram((0..sent).map(|m| 800 + m))
}

fn losing() -> Scene {
    let mut scene = Scene::three_pods();
    scene.end = 12.0;
    scene.budget(-5.0, 3, 2);
    scene.force("shop-7d9f-a", 10.0);
    scene.lose_many(Outcome::Refused, 10.02, 20);
    scene.lose_reused(Outcome::CutMidAnswer, "shop-7d9f-a", 10.01);
    scene
}

#[test]
fn a_record_reads_back_as_it_was_and_gets_the_same_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = losing().record();
    told.plan = json!({ "steps": [1, 2] });
    let fresh = write(dir.path(), told);
    let again = read(dir.path()).unwrap();
    assert_eq!(again, fresh);
    let (one, two) = (judge(&fresh), judge(&again));
    assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&two).unwrap());
    assert!(one.latency_ms.p99 > 0.0);
}

#[test]
fn every_kind_of_event_reads_back_as_it_was() {
    let mut scene = losing();
    let answers = [
        EvictionAnswer::Accepted,
        EvictionAnswer::BudgetExhausted { message: "needs 2".to_owned() },
        EvictionAnswer::StillProcessing { retry_after_s: 10 },
        EvictionAnswer::Gone,
        EvictionAnswer::NamespaceTerminating,
        EvictionAnswer::Refused { code: 500, message: "two budgets".to_owned() },
    ];
    for answer in answers {
        scene.eviction(6.0, "shop-7d9f-b", 1, answer);
    }
    let (action, detail) = ("uncordon node/n1".to_owned(), "why".to_owned());
    scene.see(7.0, What::Undo(UndoChange { action, state: UndoState::Failed, detail }));
    scene.see(
        7.0,
        What::KubeEvent(KubeEventSeen {
            object: "pod/shop-7d9f-a".to_owned(),
            reason: "Killing".to_owned(),
            message: "Stopping \"shop\"\n\u{7f}".to_owned(),
            severity: "Normal".to_owned(),
            count: 2,
        }),
    );
    scene.note(8.0, NoteKind::Info, "a note");
    scene.crash("shop-7d9f-c", 8.0);
    for hook in [None, Some(PreStop::Sleep(1)), Some(PreStop::Exec("sleep 1".to_owned())), Some(PreStop::Http)] {
        scene.pod(9.0, "shop-7d9f-b", |pod| pod.pre_stop = hook);
    }
    let dir = tempfile::tempdir().unwrap();
    let fresh = write(dir.path(), scene.record());
    assert_eq!(read(dir.path()).unwrap().events, fresh.events);
}

#[test]
fn the_log_has_the_calendar_and_a_tag_for_each_lane_and_kind_of_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = losing();
    scene.end = 0.1;
    write(dir.path(), scene.record());
    let text = fs::read_to_string(dir.path().join(LOAD_FILE)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
    // 2026-01-01T00:00:12Z, as the first event says.
    assert!(lines.contains(&"#[StartTime: 1767225612.000 (seconds since epoch)]"), "{text}");
    assert!(lines.contains(&"#[BaseTime: 1767225612.000 (seconds since epoch)]"), "{text}");
    for tag in ["new", "new.service", "reused", "reused.service"] {
        let begin = format!("Tag={tag},0.000,0.100,");
        assert!(lines.iter().any(|line| line.starts_with(&begin)), "{tag}: {text}");
    }
}

#[test]
fn lanes_whose_names_look_like_tags_keep_their_own_histograms() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = losing().record();
    for event in &mut record.events {
        if let What::Load(counts) = &mut event.what {
            let name = if counts.lane == "new" { "a, b" } else { "a,_b.service" };
            name.clone_into(&mut counts.lane);
        }
    }
    let fresh = write(dir.path(), record);
    assert_eq!(read(dir.path()).unwrap().intervals, fresh.intervals);
}

#[test]
fn a_long_record_holds_its_calm_stretches_as_one_and_gets_the_same_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = losing();
    scene.end = 180.0;
    let fresh = write(dir.path(), scene.record());
    let again = read(dir.path()).unwrap();
    assert_eq!(again.events, fresh.events);
    assert!(again.intervals.len() * 3 < fresh.intervals.len() * 2, "{}", again.intervals.len());
    let times = |record: &Record| Samples::merged(record.intervals.iter().map(|interval| &interval.response));
    assert_eq!(times(&again), times(&fresh));
    assert_eq!(serde_json::to_string(&judge(&again)).unwrap(), serde_json::to_string(&judge(&fresh)).unwrap());
}

#[test]
fn service_times_are_added_up_by_lane_from_a_time_on() {
    let dir = tempfile::tempdir().unwrap();
    let record = write(dir.path(), losing().record());
    for from_ms in [None, Some(6_000.0), Some(1e9)] {
        let times = service_times(dir.path(), from_ms).unwrap();
        for lane in ["new", "reused"] {
            let mut sum = empty_histogram().unwrap();
            for event in &record.events {
                let What::Load(counts) = &event.what else { continue };
                if counts.lane == lane && from_ms.is_none_or(|from| counts.start_us as f64 / 1e3 >= from) {
                    sum.add(service_of(counts.by_outcome.values().sum())).unwrap();
                }
            }
            let found = times.get(lane).map_or(0, Samples::len);
            assert_eq!(found, sum.len(), "{lane} from {from_ms:?}");
            assert_eq!(times.get(lane).cloned().unwrap_or_default(), Samples::from(&sum), "{lane} from {from_ms:?}");
        }
    }
}

#[test]
fn an_interval_without_requests_is_recorded_and_not_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = losing().record();
    for event in &mut record.events {
        if let What::Load(counts) = &mut event.what {
            counts.by_outcome.clear();
        }
    }
    write(dir.path(), record);
    let again = read(dir.path()).unwrap();
    assert_eq!((again.intervals.len(), again.damage.len()), (240, 0));
    assert!(!fs::read_to_string(dir.path().join(LOAD_FILE)).unwrap().contains("Tag="));
}

fn damaged(file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<Record, RecordError> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), losing().record());
    let path = dir.path().join(file);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    read(dir.path())
}

#[test]
fn what_a_crash_cut_off_at_the_end_is_left_out_and_said_so() {
    for file in [EVENTS_FILE, LOAD_FILE] {
        let record = damaged(file, |bytes| bytes.truncate(bytes.len() - 20)).unwrap();
        assert!(record.damage[0].contains(&format!("the last line of {file} is cut off")), "{:?}", record.damage);
    }
    let record = damaged(LOAD_FILE, |bytes| bytes.truncate(bytes.len() / 2)).unwrap();
    assert!(record.damage.iter().any(|damage| damage.contains("lacks the histograms of")), "{:?}", record.damage);
    assert_eq!(record.intervals.len(), 240);
}

#[test]
fn a_last_line_that_only_lacks_its_end_is_whole() {
    let record = damaged(EVENTS_FILE, |bytes| bytes.truncate(bytes.len() - 1)).unwrap();
    assert_eq!(record.damage, Vec::<String>::new());
}

#[test]
fn damage_in_the_middle_is_an_error_that_names_the_line() {
    let with = |text: &'static str| {
        move |bytes: &mut Vec<u8>| {
            let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            bytes.splice(second..second, text.bytes());
        }
    };
    let table: [(&str, &'static str, &str); 6] = [
        (EVENTS_FILE, "{\"at_us\":1,\"event\":\"unheard_of\"}\n", "line 2"),
        (EVENTS_FILE, "{\"at_us\":NaN,\"event\":\"note\",\"kind\":\"info\",\"text\":\"\"}\n", "line 2"),
        (EVENTS_FILE, "{\"at_us\":9223372036854775807,\"event\":\"phase\",\"phase\":\"undo\"}\n", "no time of a run"),
        (EVENTS_FILE, "\u{0}\n", "line 2"),
        (LOAD_FILE, "what is this\n", "line 2"),
        (LOAD_FILE, "Tag=a,0.1,0.1,1.0,AAAA\n", "line 2"),
    ];
    for (file, text, said) in table {
        let error = damaged(file, with(text)).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(file), "{text}: {error}");
    }
}

#[test]
fn another_format_is_refused_by_its_number() {
    let replaced = |from: &'static str, to: &'static str| {
        move |bytes: &mut Vec<u8>| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.contains(from));
            *bytes = text.replacen(from, to, 1).into_bytes();
        }
    };
    let plan = damaged(PLAN_FILE, replaced("\"format\": 1", "\"format\": 7")).unwrap_err();
    let events = damaged(EVENTS_FILE, replaced("\"format\":1", "\"format\":7")).unwrap_err();
    for error in [plan, events] {
        assert!(matches!(error, RecordError::Format { found: 7, .. }), "{error}");
        assert!(error.to_string().contains("format 7"), "{error}");
    }
}

#[test]
fn a_directory_that_holds_a_record_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let record = write(dir.path(), losing().record());
    let error = Writer::create(dir.path(), &record.experiment, &record.plan).unwrap_err();
    assert!(matches!(error, RecordError::Exists { .. }), "{error}");
    assert!(read(dir.path()).is_ok());
}

#[test]
fn a_place_that_cannot_be_written_is_named_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    fs::write(&file, "").unwrap();
    let record = losing().record();
    let error = Writer::create(&file.join("run"), &record.experiment, &record.plan).unwrap_err();
    assert!(matches!(error, RecordError::Io { .. }));
    assert!(error.to_string().contains("a-file"), "{error}");
    let missing = read(&dir.path().join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("nowhere") && missing.contains("is this the directory of a run?"), "{missing}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let record = losing().record();
    let mut writer = Writer::create(dir.path(), &record.experiment, &record.plan).unwrap();
    writer.divert_events("/dev/full");
    let event: &Event = record.events.last().unwrap();
    let error = writer.event(event).and_then(|()| writer.flush()).unwrap_err().to_string();
    assert!(error.contains("/dev/full") && error.contains("free some space"), "{error}");
}

#[test]
fn phases_and_steps_reach_the_disk_at_once_and_the_rest_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let record = losing().record();
    let mut writer = Writer::create(dir.path(), &record.experiment, &record.plan).unwrap();
    let on_disk = || fs::read_to_string(dir.path().join(EVENTS_FILE)).unwrap().lines().count();
    let mut written = 0;
    let mut flushed_at = i64::MIN;
    for event in &record.events {
        writer.event(event).unwrap();
        written += 1;
        let at_once = matches!(event.what, What::Phase { .. } | What::Step(_) | What::Ended(_));
        if at_once || event.at_us >= flushed_at.saturating_add(1_000_000) {
            flushed_at = event.at_us;
            assert_eq!(on_disk(), written);
        }
    }
    assert!(written > 100);
}

/// Records from before there were times of each pod have numbers, and know nothing of a lost request's connection.
#[test]
fn what_older_records_do_not_say_is_not_known_and_what_newer_ones_say_is_kept() {
    let load = |by_pod: &str| {
        let text = format!(
            r#"{{"lane":"new","start_us":0,"length_us":100000,"by_outcome":{{"ok":5}},"connections_opened":5,
                "closed_politely":0,"send_lag_max_us":90,"by_pod":{by_pod}}}"#
        );
        serde_json::from_str::<LaneInterval>(&text).unwrap()
    };
    assert_eq!(load(r#"{"pod-a":5}"#).by_pod["pod-a"], PodAnswers { answered: 5, ..PodAnswers::default() });
    let whole = PodAnswers { answered: 5, new_connections: 2, first_us: Some(-7), last_us: Some(99_000) };
    let written = serde_json::to_string(&whole).unwrap();
    assert_eq!(load(&format!(r#"{{"pod-a":{written}}}"#)).by_pod["pod-a"], whole);
    assert!(serde_json::from_str::<PodAnswers>(r#"{"new_connections":2}"#).is_err());
    let lost = r#"{"lane":"new","outcome":"refused","intended_us":1,"sent_us":2,"ended_us":3,"connection_uses":0,
        "connection_age_us":0,"bytes_in":0,"retry_safe":"yes"}"#;
    let lost: LostRequest = serde_json::from_str(lost).unwrap();
    assert_eq!((lost.bytes_out, lost.reached, lost.local, lost.peer), (0, None, None, None));
    assert!(!serde_json::to_string(&lost).unwrap().contains("bytes_out"));
    let (local, peer) = ("127.1.2.3:10000".parse().ok(), "[::1]:80".parse().ok());
    let lost = LostRequest { bytes_out: 82, reached: Some(Reached::Written), local, peer, ..lost };
    let again = serde_json::to_string(&lost).unwrap();
    assert!(again.contains(r#""bytes_out":82"#) && again.contains(r#""reached":"written""#), "{again}");
    assert_eq!(serde_json::from_str::<LostRequest>(&again).unwrap(), lost);
}

#[test]
fn a_slow_request_is_read_back_and_one_with_a_time_that_no_run_has_is_refused() {
    let event = |connected_us| Event {
        at_us: 12,
        what: What::Slow(Box::new(SlowRequest {
            lane: "new".to_owned(),
            connected_us,
            ended_us: 12,
            ..SlowRequest::default()
        })),
    };
    let line = serde_json::to_string(&event(None)).unwrap();
    assert!(line.contains(r#""event":"slow""#) && !line.contains("connected_us"), "{line}");
    assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event(None));
    for (connected_us, is_read) in [(None, true), (Some(7), true), (Some(i64::MAX), false), (Some(i64::MIN), false)] {
        let added = serde_json::to_string(&event(connected_us)).unwrap();
        let record = damaged(EVENTS_FILE, |bytes| {
            bytes.extend_from_slice(added.as_bytes());
            bytes.push(b'\n');
        });
        match record {
            Ok(record) => assert!(is_read && record.events.contains(&event(connected_us)), "{connected_us:?}"),
            Err(error) => assert!(!is_read && error.to_string().contains("no time of a run"), "{error}"),
        }
    }
}

#[test]
fn a_time_of_an_answer_that_no_run_has_is_refused() {
    let error = damaged(EVENTS_FILE, |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        let late = r#""by_pod":{"a":{"answered":1,"last_us":9000000000000000000}},"by_outcome""#;
        *bytes = text.replacen("\"by_outcome\"", late, 1).into_bytes();
    });
    assert!(matches!(&error, Err(error) if error.to_string().contains("no time of a run")), "{error:?}");
}
