use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    experiment::schema::Phase,
    record::{
        event::{LaneInterval, Outcome, PodSeen, StepChange, StepState, What},
        samples::empty_histogram,
    },
};

const PLAIN: Style = Style { colour: false, width: 100 };

fn interval(lane: &str, start_ms: i64, ok: u64, refused: u64, response_us: u64) -> ClosedInterval {
    let mut response = empty_histogram().unwrap();
    response.record_n(response_us, ok + refused).unwrap();
    let counts = LaneInterval {
        lane: lane.to_owned(),
        start_us: start_ms * 1_000,
        length_us: 100_000,
        by_outcome: [(Outcome::Ok, ok), (Outcome::Refused, refused), (Outcome::NotSent, 3)].into(),
        ..LaneInterval::default()
    };
    ClosedInterval { counts, service: response.clone(), response }
}

fn event(at_ms: i64, what: What) -> Event {
    Event { at_us: at_ms * 1_000, what }
}

fn step(at_ms: i64, state: StepState) -> Event {
    let (path, name, detail) = ("1".to_owned(), "drain".to_owned(), "node/worker2".to_owned());
    event(at_ms, What::Step(StepChange { path, name, state, detail, targets: Vec::new() }))
}

fn shown(name: &str) -> ShownLane {
    ShownLane { name: name.to_owned(), is_control: false }
}

fn lanes() -> Vec<ShownLane> {
    vec![shown("new"), shown("reused")]
}

#[test]
fn a_lanes_figures_are_those_of_the_last_second() {
    let mut state = LiveState::new("drain", &lanes());
    assert_eq!(state.figures("new"), None);
    for n in 0..30 {
        // The first two seconds are slow and lossy, the last is not.
        let (refused, time) = if n < 20 { (5, 900_000) } else { (0, 2_000) };
        state.interval(&interval("new", n * 100, 20, refused, time));
    }
    let figures = state.figures("new").unwrap();
    assert!((figures.rate - 200.0).abs() < 1e-6, "{figures:?}");
    assert_eq!(figures.lost, 0);
    assert!((figures.p99_ms.unwrap() - 2.0).abs() < 0.01);
    assert_eq!(state.figures("reused"), None);
}

#[test]
fn the_view_shows_phase_step_lanes_and_the_latest_moments() {
    let mut state = LiveState::new("drain-one-node", &lanes());
    state.event(&event(0, What::Phase { phase: Phase::Before }));
    state.event(&event(5_000, What::Phase { phase: Phase::Fault }));
    state.event(&step(5_010, StepState::Begun));
    for n in 0..12 {
        state.interval(&interval("new", 5_000 + n * 100, 9, u64::from(n == 11), 3_000));
        state.interval(&interval("reused", 5_000 + n * 100, 10, 0, 2_000));
    }
    let pod = |ready| {
        let (name, uid) = ("shop-1".to_owned(), "1".to_owned());
        What::Pod(Box::new(PodSeen { name, uid, ready, phase: "Running".to_owned(), ..PodSeen::default() }))
    };
    state.event(&event(5_900, pod(true)));
    state.event(&event(6_300, pod(false)));
    insta::assert_snapshot!(state.lines(PLAIN).join("\n"));
}

#[test]
fn a_step_that_is_done_leaves_the_view() {
    let mut state = LiveState::new("drain", &lanes());
    let lines = state.lines(PLAIN).len();
    state.event(&step(100, StepState::Begun));
    assert!(state.lines(PLAIN)[1].contains("step 1 drain: node/worker2"));
    state.event(&step(9_000, StepState::Done));
    assert_eq!(state.lines(PLAIN)[1], "");
    assert_eq!(state.lines(PLAIN).len(), lines, "a view that grows would jump");
}

#[test]
fn the_whole_leaves_a_control_lane_out() {
    let control = ShownLane { is_control: true, ..shown("bystander") };
    let mut state = LiveState::new("drain", &[shown("new"), control]);
    state.interval(&interval("new", 0, 20, 0, 2_000));
    state.interval(&interval("bystander", 0, 10, 7, 2_000));
    let lines = state.lines(PLAIN);
    assert!(lines[0].ends_with("0 of 20 lost"), "{}", lines[0]);
    assert!(lines[3].ends_with("control   7 lost so far"), "{}", lines[3]);
}

#[test]
fn hostile_names_cannot_steer_the_terminal() {
    let mut state = LiveState::new("a\x1b[2J", &[shown("l\x1b[31m\n")]);
    let phase = What::Note(crate::record::event::Note {
        kind: crate::record::event::NoteKind::Taint,
        text: "x\x1b]0;owned\x07\ny".to_owned(),
    });
    state.event(&event(0, phase));
    assert!(state.lines(PLAIN).iter().all(|line| !line.chars().any(char::is_control)));
    assert!(!state.line().chars().any(char::is_control));
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_gets_a_line_at_each_change_and_one_every_five_seconds() {
    let kept = Kept::default();
    let mut live = Live::into(Box::new(kept.clone()), "drain", &lanes());
    live.event(&event(0, What::Phase { phase: Phase::Before }));
    for n in 0..70 {
        live.interval(&interval("new", n * 100, 10, 0, 2_000));
        live.interval(&interval("reused", n * 100, 10, 0, 2_000));
        if n == 30 {
            live.event(&event(3_000, What::Phase { phase: Phase::Fault }));
            live.event(&step(3_010, StepState::Begun));
        }
    }
    live.tick(11_000_000);
    live.finish();
    insta::assert_snapshot!(String::from_utf8(kept.0.lock().unwrap().clone()).unwrap());
}
