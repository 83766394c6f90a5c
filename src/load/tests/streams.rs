//! Streams that do not end by themselves, each way in which one can be heard or lost.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{AMPLE_US, Heard, assert_consistent, lane, run};
use crate::{
    experiment::schema::Connections,
    load::{
        LoadError,
        lane::{LaneOptions, LaneSpec, Protocol, StreamSpec},
        start,
    },
    record::event::{Outcome, Reached, RetrySafe},
};

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-evenkeel-pod: cart-0\r\n\r\n";
const PIECE: &str = "8\r\nevenkeel\r\n";
const REQUESTS: u64 = 10;

/// What a server does after a stream's first piece.
#[derive(Debug, Clone, Copy)]
enum Then {
    GoOn,
    Close,
    EndByTheBook,
    KeepSilent,
}

/// A lane that listens so long to streams that begin with this.
async fn heard(begin: &'static str, then: Then, [for_us, idle_us, timeout_us]: [i64; 3]) -> Heard {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, begin, then));
        }
    });
    let options = LaneOptions { stream: Some(StreamSpec { for_us, idle_us }), ..LaneOptions::default() };
    let spec = LaneSpec { timeout_us, options, ..lane("main", address, Connections::New) };
    let heard = run(vec![spec], REQUESTS).await;
    server.abort();
    assert_consistent(&heard);
    heard
}

async fn serve(mut stream: TcpStream, begin: &'static str, then: Then) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    let mut next = begin.to_owned();
    while stream.write_all(next.as_bytes()).await.is_ok() {
        match then {
            Then::GoOn => {
                sleep(Duration::from_millis(20)).await;
                PIECE.clone_into(&mut next);
            }
            Then::Close => return,
            Then::EndByTheBook => {
                drop(stream.write_all(b"0\r\n\r\n").await);
                return;
            }
            Then::KeepSilent => std::future::pending().await,
        }
    }
}

fn assert_only(heard: &Heard, outcome: Outcome, mark: RetrySafe, words: &str) {
    assert_eq!(heard.count(outcome), heard.sent(), "{:?}: {:?}", heard.by_outcome("main"), heard.lost.first());
    for lost in &heard.lost {
        assert!(lost.error.contains(words) && lost.retry_safe == mark, "{lost:?}");
    }
}

#[tokio::test]
async fn a_stream_that_goes_on_is_good_and_was_answered_when_its_head_came() {
    const FOR_US: i64 = 1_000_000;
    let begin: &str = Box::leak(format!("{HEAD}{PIECE}").into_boxed_str());
    let heard = heard(begin, Then::GoOn, [FOR_US, AMPLE_US, AMPLE_US]).await;
    assert_only(&heard, Outcome::Ok, RetrySafe::No, "");
    let fastest = heard.intervals.iter().filter(|one| !one.response.is_empty()).map(|one| one.response.min()).min();
    assert!(fastest.is_some_and(|us| us < FOR_US.unsigned_abs()), "{fastest:?}");
    let answers = heard.intervals.iter().flat_map(|one| one.counts.by_pod.values());
    for pod in answers {
        // It had been listened to until then.
        assert!(pod.last_us.zip(pod.first_us).is_some_and(|(last, first)| last - first >= FOR_US), "{pod:?}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_its_time_is_cut_even_by_the_book() {
    let begin: &str = Box::leak(format!("{HEAD}{PIECE}").into_boxed_str());
    for then in [Then::Close, Then::EndByTheBook] {
        let heard = heard(begin, then, [AMPLE_US, AMPLE_US, AMPLE_US]).await;
        assert_only(&heard, Outcome::CutMidAnswer, RetrySafe::No, "of 20000 ms");
        assert!(heard.lost.iter().all(|lost| lost.pod.as_deref() == Some("cart-0")), "{:?}", heard.lost.first());
    }
}

#[tokio::test]
async fn a_gap_in_a_stream_and_one_that_never_begins_have_timed_out() {
    const SHORT_US: i64 = 400_000;
    let begin: &str = Box::leak(format!("{HEAD}{PIECE}").into_boxed_str());
    let gap = heard(begin, Then::KeepSilent, [AMPLE_US, SHORT_US, AMPLE_US]).await;
    assert_only(&gap, Outcome::RequestTimeout, RetrySafe::No, "nothing more came of the stream for 400 ms");
    assert!(gap.lost.iter().all(|lost| lost.reached == Some(Reached::Answering)), "{:?}", gap.lost.first());
    let never = heard("", Then::KeepSilent, [AMPLE_US, AMPLE_US, SHORT_US]).await;
    assert_only(&never, Outcome::RequestTimeout, RetrySafe::No, "no head");
}

#[tokio::test]
async fn a_stream_without_what_was_asked_for_is_another_answer() {
    let refused = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let heard_refused = heard(refused, Then::KeepSilent, [AMPLE_US; 3]).await;
    assert_only(&heard_refused, Outcome::ServerError, RetrySafe::No, "");
    let other = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n";
    let heard_other = heard(other, Then::KeepSilent, [100_000, AMPLE_US, AMPLE_US]).await;
    assert_only(&heard_other, Outcome::WrongBody, RetrySafe::No, "text asked for");
}

#[tokio::test]
async fn a_lane_cannot_listen_over_what_has_no_streams() {
    let address = ([127, 0, 0, 1], 9).into();
    let stream = Some(StreamSpec { for_us: 1, idle_us: 1 });
    let options = LaneOptions { stream, ..LaneOptions::default() };
    let http2 = LaneOptions { protocol: Protocol::Http2, ..options.clone() };
    let none = LaneOptions { stream: Some(StreamSpec { for_us: 0, idle_us: 1 }), ..options.clone() };
    for (connections, options) in
        [(Connections::Reused(1), options), (Connections::New, http2), (Connections::New, none)]
    {
        let spec = LaneSpec { options, ..lane("main", address, connections) };
        let error = start(vec![spec], tokio::sync::mpsc::unbounded_channel().0).expect_err("no stream");
        assert!(matches!(error, LoadError::Stream { .. }) && error.to_string().contains("`main`"), "{error}");
    }
}
