use super::*;
use crate::{
    agent::protocol::{Decoded, Message, Numbered, Totals, shifted},
    record::event::{Note, NoteKind},
};

fn through_the_wire(message: Message) -> Message {
    let text = serde_json::to_string(&Numbered { seq: 7, message }).unwrap();
    let back: Numbered = serde_json::from_str(&text).unwrap();
    assert_eq!(back.seq, 7);
    back.message
}

fn load_message(decoded: Decoded) -> LoadMessage {
    match decoded {
        Decoded::Load(message) => message,
        Decoded::Done(totals) => panic!("the end: {totals:?}"),
    }
}

#[test]
fn an_interval_comes_over_the_wire_with_its_counts_and_every_value_of_its_histograms() {
    let LoadMessage::Interval(mut sent) = interval("new", 100_000, 3) else { unreachable!() };
    sent.response.record(299_999_999).unwrap();
    sent.service.record(1).unwrap();
    let message = Message::encode(LoadMessage::Interval(sent.clone())).unwrap();
    let LoadMessage::Interval(came) = load_message(through_the_wire(message).decode().unwrap()) else {
        panic!("not an interval")
    };
    assert_eq!(came.counts, sent.counts);
    assert_eq!(came.response, sent.response);
    assert_eq!(came.service, sent.service);
    assert_ne!(came.response, sent.service);
}

#[test]
fn losses_notes_and_the_end_come_over_the_wire_as_they_are() {
    let LoadMessage::Lost(sent) = lost("new", 5) else { unreachable!() };
    let message = Message::encode(LoadMessage::Lost(sent.clone())).unwrap();
    assert!(
        matches!(load_message(through_the_wire(message).decode().unwrap()), LoadMessage::Lost(came) if came == sent)
    );
    let LoadMessage::Slow(sent) = slow("new", 5) else { unreachable!() };
    let message = Message::encode(LoadMessage::Slow(sent.clone())).unwrap();
    assert!(
        matches!(load_message(through_the_wire(message).decode().unwrap()), LoadMessage::Slow(came) if came == sent)
    );
    let note = Note { kind: NoteKind::Taint, text: "late".to_owned() };
    let message = Message::encode(LoadMessage::Note(note.clone())).unwrap();
    assert!(
        matches!(load_message(through_the_wire(message).decode().unwrap()), LoadMessage::Note(came) if came == note)
    );
    let totals = Totals { intervals: 1, requests: 2, lost: 3 };
    let done = through_the_wire(Message::Done { totals }).decode().unwrap();
    assert!(matches!(done, Decoded::Done(came) if came == totals));
}

#[test]
fn a_histogram_that_is_none_is_an_error_and_not_an_empty_one() {
    let LoadMessage::Interval(sent) = interval("new", 0, 1) else { unreachable!() };
    for broken in ["", "%%%", "AAAA", "HISTFAAAAB"] {
        let message =
            Message::Interval { counts: sent.counts.clone(), response: broken.to_owned(), service: broken.to_owned() };
        assert!(message.decode().is_err(), "{broken:?}");
    }
}

#[test]
fn moving_to_another_clock_moves_every_time_and_no_duration() {
    let table = [0, 1_000_000, -2_500];
    for by_us in table {
        let LoadMessage::Interval(moved) = shifted(interval("new", 100_000, 1), by_us) else { unreachable!() };
        assert_eq!(moved.counts.start_us, 100_000 + by_us);
        assert_eq!(moved.counts.length_us, 100_000);
        let answers = moved.counts.by_pod["pod-a"];
        assert_eq!((answers.first_us, answers.last_us), (Some(100_007 + by_us), Some(180_000 + by_us)));
        let LoadMessage::Lost(moved) = shifted(lost("new", 500), by_us) else { unreachable!() };
        assert_eq!([moved.intended_us, moved.sent_us, moved.ended_us], [500, 510, 700].map(|at| at + by_us));
        assert_eq!(moved.connection_age_us, 0);
        let LoadMessage::Slow(moved) = shifted(slow("new", 500), by_us) else { unreachable!() };
        let times = [Some(moved.intended_us), Some(moved.sent_us), moved.connected_us, moved.written_us];
        assert_eq!(times, [500, 510, 1_000_520, 1_000_530].map(|at| Some(at + by_us)));
        assert_eq!((moved.ended_us, moved.connection_age_us), (1_001_400 + by_us, 0));
    }
}
