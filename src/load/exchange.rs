//! One request over one connection, to the end of its answer or its deadline.

use super::{
    body::{Check, Needle},
    classify::{Body, Break, Ending},
    connection::Connection,
    deadline::Deadline,
    http1::{Head, Progress, Reading},
};

/// What stands for the number of a request in a path.
pub(super) const ID: &str = "{id}";

/// What a lane sends, and what its answers are held against.
#[derive(Debug)]
pub(super) struct Template {
    // The request, in one piece, or in pieces between which its number stands.
    pieces: Vec<String>,
    status: u16,
    check: Check,
}

impl Template {
    /// A template of GET requests for `target` (path and query) with the header `Host: host`, whose answers have
    /// `status` and a body that `check` finds right. Where `target` has [`ID`], the request's number is sent there and
    /// must come back in the body.
    pub(super) fn new(target: &str, host: &str, status: u16, check: Check) -> Self {
        let agent = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));
        let text = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\naccept: */*\r\n\r\n");
        Self { pieces: text.split(ID).map(str::to_owned).collect(), status, check }
    }

    /// The bytes of request `nth`, built in `into` where they are not the same for all.
    fn bytes<'b>(&'b self, id: Option<&str>, into: &'b mut String) -> &'b [u8] {
        match (self.pieces.as_slice(), id) {
            ([whole], _) => whole.as_bytes(),
            (pieces, id) => {
                *into = pieces.join(id.unwrap_or_default());
                into.as_bytes()
            }
        }
    }

    fn has_id(&self) -> bool {
        self.pieces.len() > 1
    }
}

/// What came of an exchange.
#[derive(Debug)]
pub(super) struct Answer {
    /// How it ended.
    pub(super) ending: Ending,
    /// The status, where a head came.
    pub(super) status: Option<u16>,
    /// Whether the answer said `Connection: close`.
    pub(super) says_close: bool,
    /// Whether the connection may carry another request.
    pub(super) keeps_alive: bool,
    /// The error's own words.
    pub(super) error: String,
}

/// How a conversation broke off.
struct Broken {
    kind: Break,
    words: String,
}

/// Sends request `nth` and reads its answer, until `deadline` passes. Afterwards the connection's wire has the bytes of
/// it.
pub(super) async fn exchange(
    connection: &mut Connection,
    template: &Template,
    nth: u64,
    deadline: &Deadline,
) -> Answer {
    let id = template.has_id().then(|| nth.to_string());
    let mut reading = Reading::new(template.status, &template.check, id.as_deref().map(Needle::new));
    connection.wire.begin_request();
    let ended = deadline.limit(converse(connection, template, id.as_deref(), &mut reading)).await;
    let Head { status, says_close, keeps_alive } = reading.head();
    let (ending, error) = match ended {
        Some(Ok(Progress::Endless)) => (Ending::Whole(Body::Endless), "the body is longer than 16 MiB".to_owned()),
        Some(Ok(_)) => match reading.checked() {
            Ok(()) => (Ending::Whole(Body::Right), String::new()),
            Err(problem) => (Ending::Whole(Body::Wrong), problem),
        },
        Some(Err(Broken { kind, words })) => (Ending::Broken(kind), words),
        None => (Ending::TimedOut, String::new()),
    };
    Answer { ending, status, says_close, keeps_alive, error }
}

async fn converse(
    connection: &mut Connection,
    template: &Template,
    id: Option<&str>,
    reading: &mut Reading<'_>,
) -> Result<Progress, Broken> {
    let mut built = String::new();
    let Connection { wire, pod, .. } = connection;
    // An answer may have been given before the connection broke, so what was sent to us is read all the same.
    let unsent = wire.write(template.bytes(id, &mut built)).await.err();
    loop {
        let fed = wire.read(|bytes| {
            let end = bytes.is_empty();
            (end, if end { Ok(Progress::Open) } else { reading.feed(bytes, pod) })
        });
        match fed.await {
            Ok((false, Ok(Progress::Open))) => {}
            Ok((false, Ok(progress))) => return Ok(progress),
            Ok((false, Err(unreadable))) => {
                return Err(Broken { kind: Break::Unreadable, words: unreadable.0.to_owned() });
            }
            Ok((true, _)) if reading.closed() => return Ok(Progress::Whole),
            Ok((true, _)) => {
                let words = match unsent {
                    Some(error) => error.to_string(),
                    None => "the connection was closed before the end of the answer".to_owned(),
                };
                return Err(Broken { kind: Break::Closed, words });
            }
            Err(error) => return Err(Broken { kind: Break::Closed, words: error.to_string() }),
        }
    }
}
