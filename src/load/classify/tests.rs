use super::*;

const FRESH: Evidence = Evidence { reused: false, bytes_out: 90, bytes_in: 0, status: None, wanted_status: 200 };
const REUSED: Evidence = Evidence { reused: true, ..FRESH };

fn failed(errno: Errno) -> Ending {
    Ending::ConnectFailed(io::Error::from_raw_os_error(errno.raw_os_error()))
}

#[test]
fn each_ending_has_one_outcome_and_one_mark() {
    use Ending::{Broken, ConnectTimedOut, TimedOut, Whole};
    let head = |status| Evidence { bytes_in: 40, status: Some(status), ..FRESH };
    let some_bytes = Evidence { bytes_in: 10, ..FRESH };
    let unwritten = |evidence| Evidence { bytes_out: 0, ..evidence };
    for (ending, evidence, outcome, retry_safe) in [
        (Whole(Body::Right), head(200), Outcome::Ok, RetrySafe::No),
        (ConnectTimedOut, unwritten(FRESH), Outcome::ConnectTimeout, RetrySafe::Yes),
        (TimedOut, FRESH, Outcome::RequestTimeout, RetrySafe::No),
        (TimedOut, head(200), Outcome::RequestTimeout, RetrySafe::No),
        (TimedOut, unwritten(FRESH), Outcome::RequestTimeout, RetrySafe::Yes),
        (Broken(Break::Closed), FRESH, Outcome::ResetBeforeByte, RetrySafe::Idempotent),
        (Broken(Break::Closed), unwritten(FRESH), Outcome::ResetBeforeByte, RetrySafe::Yes),
        (Broken(Break::Closed), REUSED, Outcome::ReusedConnectionClosed, RetrySafe::Idempotent),
        (Broken(Break::Closed), unwritten(REUSED), Outcome::ReusedConnectionClosed, RetrySafe::Yes),
        (Broken(Break::Closed), some_bytes, Outcome::CutMidAnswer, RetrySafe::No),
        (Broken(Break::Closed), Evidence { reused: true, ..some_bytes }, Outcome::CutMidAnswer, RetrySafe::No),
        (Broken(Break::Closed), head(200), Outcome::CutMidAnswer, RetrySafe::No),
        (Broken(Break::Unreadable), some_bytes, Outcome::Malformed, RetrySafe::No),
        (Broken(Break::Unreadable), head(200), Outcome::Malformed, RetrySafe::No),
        (Broken(Break::Closed), unwritten(some_bytes), Outcome::Malformed, RetrySafe::Yes),
        (Whole(Body::Wrong), head(200), Outcome::WrongBody, RetrySafe::No),
        (Whole(Body::Endless), head(200), Outcome::WrongBody, RetrySafe::No),
        (Whole(Body::Right), head(500), Outcome::ServerError, RetrySafe::No),
        (Whole(Body::Right), head(599), Outcome::ServerError, RetrySafe::No),
        (Broken(Break::Closed), head(503), Outcome::ServerError, RetrySafe::No),
        (Whole(Body::Right), head(499), Outcome::OtherStatus, RetrySafe::No),
        (Whole(Body::Right), head(204), Outcome::OtherStatus, RetrySafe::No),
        (Whole(Body::Right), head(600), Outcome::OtherStatus, RetrySafe::No),
    ] {
        assert_eq!(classify(&ending, evidence), (outcome, retry_safe), "{ending:?} with {evidence:?}");
    }
}

#[test]
fn a_status_of_500_is_right_where_it_is_asked_for() {
    let evidence = Evidence { bytes_in: 40, status: Some(500), wanted_status: 500, ..FRESH };
    assert_eq!(classify(&Ending::Whole(Body::Right), evidence), (Outcome::Ok, RetrySafe::No));
    assert_eq!(classify(&Ending::Whole(Body::Wrong), evidence), (Outcome::WrongBody, RetrySafe::No));
}

#[test]
fn a_failed_connection_attempt_is_the_services_only_where_the_error_says_so() {
    for (errno, outcome) in [
        (Errno::CONNREFUSED, Outcome::Refused),
        (Errno::TIMEDOUT, Outcome::ConnectTimeout),
        (Errno::HOSTUNREACH, Outcome::Unreachable),
        (Errno::NETUNREACH, Outcome::Unreachable),
        (Errno::CONNRESET, Outcome::ResetBeforeByte),
        (Errno::ADDRNOTAVAIL, Outcome::NotSent),
        (Errno::MFILE, Outcome::NotSent),
        (Errno::NFILE, Outcome::NotSent),
        (Errno::NOBUFS, Outcome::NotSent),
        (Errno::INVAL, Outcome::NotSent),
    ] {
        let evidence = Evidence { bytes_out: 0, ..FRESH };
        assert_eq!(classify(&failed(errno), evidence), (outcome, RetrySafe::Yes), "{errno:?}");
    }
}

#[test]
fn what_the_generator_is_short_of_follows_from_the_error() {
    for (errno, wanted) in [
        (Errno::ADDRNOTAVAIL, Shortage::Ports),
        (Errno::MFILE, Shortage::Descriptors),
        (Errno::NFILE, Shortage::Descriptors),
        (Errno::NOBUFS, Shortage::Buffers),
        (Errno::PERM, Shortage::Other),
    ] {
        assert_eq!(shortage(&io::Error::from_raw_os_error(errno.raw_os_error())), wanted, "{errno:?}");
    }
}
