//! Answers as they come, cut anywhere.

use proptest::prelude::*;

use super::*;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-evenkeel-pod: cart-1\r\n\r\n\
                       4;name=x\r\neven\r\n0a\r\nkeel says.\r\n0\r\nx-sum: 7\r\nx-more: 8\r\n\r\n";
const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nX-Evenkeel-Pod: cart-1\r\n\r\nevenkeel says.";
const EARLY: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 14\r\n\
                     x-evenkeel-pod: cart-1\r\n\r\nevenkeel says.";
const TO_CLOSE: &str = "HTTP/1.1 200 OK\r\nx-evenkeel-pod: cart-1\r\n\r\nevenkeel says.";

fn check() -> Check {
    Check { contains: Some(Needle::new("keel says")), ..Check::default() }
}

/// What comes of an answer in these pieces: how far it came, its head, and whether its body is right.
fn read(pieces: &[&[u8]]) -> Result<(Progress, Head, bool), Unreadable> {
    let (check, mut pod) = (check(), None);
    let mut reading = Reading::new(200, &check, None);
    let mut progress = Progress::Open;
    for piece in pieces {
        progress = reading.feed(piece, &mut pod)?;
    }
    if progress == Progress::Open && reading.closed() {
        progress = Progress::Whole;
    }
    Ok((progress, reading.head(), reading.checked().is_ok()))
}

fn head(keeps_alive: bool) -> Head {
    Head { status: Some(200), says_close: false, keeps_alive }
}

#[test]
fn the_end_of_an_answer_is_where_its_head_says() {
    for (text, keeps_alive) in [(CHUNKED, true), (SIZED, true), (EARLY, true), (TO_CLOSE, false)] {
        assert_eq!(read(&[text.as_bytes()]), Ok((Progress::Whole, head(keeps_alive), true)), "{text}");
    }
    for text in [CHUNKED, SIZED, EARLY] {
        for end in 1..text.len() {
            let (progress, ..) = read(&[&text.as_bytes()[..end]]).expect("the beginning of an answer");
            assert_eq!(progress, Progress::Open, "{end} bytes of {text}");
        }
    }
}

#[test]
fn what_ends_the_connection_and_what_keeps_it() {
    for (text, says_close, keeps_alive) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: keep-alive, Close\r\n\r\n", true, false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false, false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: Keep-Alive\r\n\r\n", false, true),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", false, true),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", false, true),
        // Another answer than the one that was asked for would be taken for that of the next request.
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n", false, false),
    ] {
        let (progress, head, _) = read(&[text.as_bytes()]).expect("an answer");
        assert_eq!((progress, head.says_close, head.keeps_alive), (Progress::Whole, says_close, keeps_alive), "{text}");
    }
}

#[test]
fn what_is_not_http_is_refused_and_says_why() {
    let long = format!("HTTP/1.1 200 OK\r\nx-long: {}", "x".repeat(HEAD_BYTES_MAX));
    let endless =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: {}", "x".repeat(HEAD_BYTES_MAX));
    for (text, wanted) in [
        ("220 mail.test ESMTP\r\n\r\n", "does not begin with"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "two different"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "no number"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", "no number"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "size of a chunk"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n", "size of a chunk"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxy\r\n", "does not end"),
        (&long, "longer than 64 KiB"),
        (&endless, "longer than 64 KiB"),
    ] {
        let words = read(&[text.as_bytes()]).expect_err("no HTTP").0;
        assert!(words.contains(wanted), "{words}");
    }
}

#[test]
fn a_body_of_any_length_is_held_against_what_was_asked_for_and_nothing_of_it_is_kept() {
    const PIECES: usize = 40;
    let piece = vec![b'x'; 1024 * 1024];
    let length = (PIECES * piece.len() + 4) as u64;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let check = Check { contains: Some(Needle::new("xkeel")), length: Some(length), sha256: None };
    for (end, wanted) in [("keel", true), ("heel", false)] {
        let mut reading = Reading::new(200, &check, None);
        let mut pod = None;
        assert_eq!(reading.feed(head.as_bytes(), &mut pod), Ok(Progress::Open));
        for _ in 0..PIECES {
            assert_eq!(reading.feed(&piece, &mut pod), Ok(Progress::Open));
        }
        assert_eq!(reading.feed(end.as_bytes(), &mut pod), Ok(Progress::Whole));
        assert_eq!(reading.checked().is_ok(), wanted, "{end}: {:?}", reading.checked());
        assert_eq!(reading.begun.capacity(), 0);
    }
}

/// Extensions say nothing to us, so a body may have any number of them, but none without an end.
#[test]
fn extensions_of_chunks_are_bounded_each_by_itself() {
    let check = Check::default();
    let mut reading = Reading::new(200, &check, None);
    let mut pod = None;
    reading.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &mut pod).expect("a head");
    let chunk = format!("1;{}\r\nx\r\n", "e".repeat(HEAD_BYTES_MAX / 2));
    for _ in 0..4 {
        assert_eq!(reading.feed(chunk.as_bytes(), &mut pod), Ok(Progress::Open));
    }
    assert_eq!(reading.feed(b"0\r\n\r\n", &mut pod), Ok(Progress::Whole));
}

proptest! {
    #[test]
    fn an_answer_reads_the_same_wherever_it_is_cut(
        which in 0usize..4, cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes = [CHUNKED, SIZED, EARLY, TO_CLOSE][which].as_bytes();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        ends.dedup();
        let mut start = 0;
        let mut pieces = Vec::new();
        for end in ends {
            pieces.push(&bytes[start..end]);
            start = end;
        }
        let pieces: Vec<&[u8]> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        prop_assert_eq!(read(&pieces), read(&[bytes]));
    }

    #[test]
    fn no_bytes_make_it_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..400), chunked in any::<bool>()) {
        let start: &[u8] =
            if chunked { b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" } else { b"HTTP/1.1 " };
        _ = read(&[start, &bytes]);
    }
}
