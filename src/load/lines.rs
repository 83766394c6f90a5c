//! A line there and a line back over bare TCP: the least that two programs can agree on.

use super::{
    answer::{Answer, Broken, Found, LINE_BYTES_MAX, Seen, ending},
    classify::{Body, Ending},
    deadline::Deadline,
    exchange::Template,
    wire::Wire,
};

/// Sends a line and reads the one that comes back, until `deadline` passes.
pub(super) async fn exchange(wire: &mut Wire, template: &Template, id: Option<&str>, deadline: &Deadline) -> Answer {
    let ended = deadline.limit(converse(wire, template, id)).await;
    let (ending, error) = ending(ended);
    let seen = Seen::of(None, wire.counts());
    Answer {
        keeps_alive: matches!(ending, Ending::Whole(Body::Right | Body::Wrong)),
        says_close: false,
        ending,
        seen,
        error,
    }
}

async fn converse(wire: &mut Wire, template: &Template, id: Option<&str>) -> Result<Found, Broken> {
    let mut line = template.payload(id);
    line.push('\n');
    let unsent = wire.write(line.as_bytes()).await.err();
    let (mut checking, mut length) = (template.begin_check(id), 0);
    loop {
        let read = wire.read(|bytes| {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            checking.feed(piece);
            (bytes.is_empty(), end.is_some(), piece.len() as u64)
        });
        let (closed, whole, here) = read.await.map_err(Broken::closed)?;
        length += here;
        if whole {
            return Ok(Found::Whole(checking.verdict(length)));
        }
        if closed {
            let words = match unsent {
                Some(error) => error.to_string(),
                None => "the connection was closed before a line came".to_owned(),
            };
            return Err(Broken::closed(words));
        }
        if length > LINE_BYTES_MAX {
            return Ok(Found::Endless);
        }
    }
}
