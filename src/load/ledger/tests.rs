use indexmap::IndexMap;

use super::*;

const MS: u64 = 1_000_000;

fn begun_at(start_ns: u64) -> Ledger {
    let mut ledger = Ledger::new("main".to_owned());
    ledger.begin(start_ns);
    ledger
}

fn ok(intended_ns: u64, response_us: u64) -> Entry {
    Entry {
        intended_ns,
        outcome: Outcome::Ok,
        response_us: Some(response_us),
        service_us: Some(response_us / 2),
        send_lag_us: 7,
        says_close: false,
        stalled_us: 0,
    }
}

fn close_all(ledger: &mut Ledger, now_ns: u64) -> Vec<ClosedInterval> {
    std::iter::from_fn(|| ledger.close_next(now_ns).expect("a histogram")).collect()
}

fn finish_all(ledger: &mut Ledger, end_ns: u64) -> Vec<ClosedInterval> {
    std::iter::from_fn(|| ledger.finish_next(end_ns).expect("a histogram")).collect()
}

#[test]
fn an_interval_waits_for_its_time_and_for_its_last_request() {
    let mut ledger = begun_at(0);
    ledger.due(10 * MS);
    ledger.due(20 * MS);
    ledger.ended(ok(10 * MS, 500));
    assert!(close_all(&mut ledger, 99 * MS).is_empty(), "its time is not over");
    assert!(close_all(&mut ledger, 250 * MS).is_empty(), "a request is open");
    ledger.ended(ok(20 * MS, 180_000));
    let closed = close_all(&mut ledger, 250 * MS);
    let starts: Vec<_> = closed.iter().map(|interval| interval.counts.start_us).collect();
    assert_eq!(starts, [0, 100_000], "in order, the empty one too");
    assert_eq!(closed[0].counts.by_outcome, BTreeMap::from([(Outcome::Ok, 2)]));
    assert_eq!((closed[0].response.len(), closed[0].service.len()), (2, 2));
    assert!(closed[1].response.is_empty() && closed[1].counts.by_outcome.is_empty());
}

#[test]
fn a_request_belongs_to_the_interval_in_which_it_was_due() {
    let mut ledger = begun_at(300 * MS);
    for intended_ns in [300 * MS, 399 * MS, 400 * MS] {
        ledger.due(intended_ns);
    }
    for intended_ns in [400 * MS, 300 * MS, 399 * MS] {
        ledger.ended(ok(intended_ns, 1_000));
    }
    let closed = close_all(&mut ledger, 500 * MS);
    let counts: Vec<_> = closed.iter().map(|interval| (interval.counts.start_us, interval.response.len())).collect();
    assert_eq!(counts, [(300_000, 2), (400_000, 1)]);
}

#[test]
fn a_request_that_was_never_sent_is_counted_and_is_no_sample() {
    let mut ledger = begun_at(0);
    ledger.due(0);
    ledger.ended(Entry {
        outcome: Outcome::NotSent,
        response_us: None,
        service_us: None,
        send_lag_us: 40_000,
        ..ok(0, 0)
    });
    let closed = close_all(&mut ledger, 100 * MS);
    assert_eq!(closed[0].counts.by_outcome, BTreeMap::from([(Outcome::NotSent, 1)]));
    assert_eq!(closed[0].counts.send_lag_max_us, 40_000);
    assert!(closed[0].response.is_empty() && closed[0].service.is_empty());
}

#[test]
fn a_request_of_which_nothing_was_written_has_a_response_time_and_no_service_time() {
    let mut ledger = begun_at(0);
    for entry in [ok(0, 900), Entry { outcome: Outcome::ConnectTimeout, service_us: None, ..ok(0, 5_000) }] {
        ledger.due(0);
        ledger.ended(entry);
    }
    let closed = close_all(&mut ledger, 100 * MS);
    assert_eq!((closed[0].response.len(), closed[0].service.len()), (2, 1));
}

#[test]
fn values_keep_three_digits_and_stay_within_their_bounds() {
    let mut ledger = begun_at(0);
    let samples = [0, 1, 1_234_567, LONGEST_US, 2 * LONGEST_US];
    for sample in samples {
        ledger.due(0);
        ledger.ended(ok(0, sample));
    }
    let response = &close_all(&mut ledger, 100 * MS)[0].response;
    assert_eq!(response.len(), samples.len() as u64);
    for (sample, wanted) in samples.into_iter().zip([1, 1, 1_234_567, LONGEST_US, LONGEST_US]) {
        assert!(response.count_at(wanted) > 0, "{sample}");
    }
    assert!(response.max() <= LONGEST_US + LONGEST_US / 1_000, "{}", response.max());
}

#[test]
fn connections_count_where_they_are_opened_and_those_before_the_start_in_the_first_interval() {
    let mut ledger = Ledger::new("main".to_owned());
    ledger.connection_opened();
    ledger.begin(100 * MS);
    ledger.due(250 * MS);
    ledger.connection_opened();
    ledger.ended(Entry { says_close: true, ..ok(250 * MS, 900) });
    let closed = close_all(&mut ledger, 300 * MS);
    let counts: Vec<_> = closed.iter().map(|i| (i.counts.connections_opened, i.counts.closed_politely)).collect();
    assert_eq!(counts, [(1, 0), (1, 1)]);
    assert_eq!(ledger.totals(), (BTreeMap::from([(Outcome::Ok, 1)]), 2));
}

#[test]
fn a_stall_of_ours_marks_the_intervals_whose_requests_were_open_in_it() {
    let mut ledger = begun_at(0);
    for due_ns in [10 * MS, 120 * MS, 130 * MS] {
        ledger.due(due_ns);
    }
    ledger.ended(ok(10 * MS, 900));
    ledger.stalled(400_000);
    ledger.ended(Entry { stalled_us: 900, ..ok(120 * MS, 900) });
    ledger.ended(ok(130 * MS, 900));
    let stalls: Vec<_> = close_all(&mut ledger, 600 * MS).iter().map(|i| i.counts.stalled_us).collect();
    assert_eq!(stalls[..2], [0, 400_000], "the first had ended");
}

#[test]
fn the_last_interval_ends_where_the_load_ended() {
    let mut ledger = begun_at(0);
    ledger.due(110 * MS);
    ledger.ended(ok(110 * MS, 900));
    let lengths: Vec<_> = finish_all(&mut ledger, 130 * MS).iter().map(|i| i.counts.length_us).collect();
    assert_eq!(lengths, [100_000, 30_000]);
    assert!(finish_all(&mut ledger, 130 * MS).is_empty());
}

#[test]
fn answers_are_counted_by_the_pod_that_gave_them_in_the_interval_in_which_they_were_due() {
    let mut ledger = begun_at(0);
    for due in [0, 50 * MS, 120 * MS] {
        ledger.due(due);
    }
    let answer = |new_connections, first_us, last_us| PodAnswers {
        answered: 1,
        new_connections,
        first_us: Some(first_us),
        last_us: Some(last_us),
    };
    for (due, pod, answer) in [
        (0, "cart-0", answer(1, 20, 70_000)),
        (50 * MS, "cart-0", answer(0, 50_010, 50_900)),
        (120 * MS, "cart-1", answer(1, 120_010, 120_900)),
    ] {
        ledger.answered_by(due, pod, answer);
        ledger.ended(ok(due, 900));
    }
    let by_pod: Vec<_> = finish_all(&mut ledger, 200 * MS).into_iter().map(|interval| interval.counts.by_pod).collect();
    let both = PodAnswers { answered: 2, ..answer(1, 20, 70_000) };
    let counted = |pod: &str, answers| IndexMap::from([(pod.to_owned(), answers)]);
    assert_eq!(by_pod, [counted("cart-0", both), counted("cart-1", answer(1, 120_010, 120_900))]);
}

#[test]
fn of_slow_requests_the_first_of_each_interval_and_of_the_load_are_told() {
    let one = NonZeroU32::MIN;
    let mut ledger = begun_at(0);
    let told = |ledger: &mut Ledger, at: u64, of| (0..50).filter(|_| ledger.tells_slow(at, of)).count() as u64;
    assert_eq!([told(&mut ledger, 0, one), told(&mut ledger, 99 * MS, one)], [SLOW_TOLD_MAX, 0], "one interval");
    let more: u64 = (1..1_000).map(|nth| told(&mut ledger, nth * 100 * MS, one)).sum();
    assert_eq!(more + SLOW_TOLD_MAX, SLOW_TOLD_IN_ALL_MAX);
    for (generators, expected) in [(4, SLOW_TOLD_MAX / 4), (32, 1)] {
        let of = NonZeroU32::new(generators).unwrap();
        assert_eq!(told(&mut begun_at(0), 0, of), expected, "each of {generators}");
    }
}
