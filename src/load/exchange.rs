//! One request over one connection, to the end of its answer or its deadline.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{
    answer::{Answer, Broken, Found, Seen, ending},
    body::{Check, Checking, Needle},
    call::Call,
    connection::{Connection, Link},
    deadline::Deadline,
    http1::{Head, Progress, Reading},
    lines,
    wire::Wire,
};

/// What stands for the number of a request in what is sent.
const ID: &str = "{id}";

/// What says who asks.
pub(super) const AGENT: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));

/// Bytes of one answer after which others have their turn: a long one that comes as fast as it is read would hold up
/// every request that falls due meanwhile.
const BYTES_IN_ONE_GO: usize = 1024 * 1024;

/// What a lane sends, and what its answers are held against.
#[derive(Debug)]
pub(super) struct Template {
    host: String,
    target: String,
    secure: bool,
    status: u16,
    check: Check,
    // A gRPC call's message, and the text of a message or line.
    call: Option<Call>,
    payload: String,
    // An HTTP/1.1 request, in one piece, or in pieces between which its number stands.
    pieces: Vec<String>,
    has_id: bool,
    stream: Option<Listening>,
}

/// How a stream is listened to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening {
    /// For how long after its head.
    pub(super) lasts: Duration,
    /// The longest time between two pieces of it.
    pub(super) idle: Duration,
}

/// What a lane says, beside the path of its requests.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The message of a gRPC call.
    pub(super) call: Option<Call>,
    /// The text of a message or line.
    pub(super) payload: String,
}

impl Template {
    /// A template of requests for `target` (path and query) of `host`, whose answers have `status` and a body that
    /// `check` finds right. Where what is sent has `{id}`, the request's number is sent there and must come back.
    pub(super) fn new(target: &str, host: &str, secure: bool, status: u16, check: Check, words: Words) -> Self {
        let text = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {AGENT}\r\naccept: */*\r\n\r\n");
        let Words { call, payload } = words;
        Self {
            host: host.to_owned(),
            target: target.to_owned(),
            secure,
            status,
            check,
            has_id: target.contains(ID) || payload.contains(ID),
            pieces: text.split(ID).map(str::to_owned).collect(),
            call,
            payload,
            stream: None,
        }
    }

    /// The same, with answers that are streams.
    pub(super) fn listening(self, stream: Option<Listening>) -> Self {
        Self { stream, ..self }
    }

    /// The host that is asked.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is asked under TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The path and query of a request.
    pub(super) fn target(&self, id: Option<&str>) -> String {
        self.target.replace(ID, id.unwrap_or_default())
    }

    /// The gRPC call, where it is one.
    pub(super) fn call(&self) -> Option<&Call> {
        self.call.as_ref()
    }

    /// The text of a message or line.
    pub(super) fn payload(&self, id: Option<&str>) -> String {
        self.payload.replace(ID, id.unwrap_or_default())
    }

    /// The number of a request as it is sent, where it is.
    fn id(&self, nth: u64) -> Option<String> {
        // One number everywhere: what a call's message has room for is also what its path has.
        self.call.as_ref().and_then(|call| call.id(nth)).or_else(|| self.has_id.then(|| nth.to_string()))
    }

    /// Holds a body against what it must be.
    pub(super) fn begin_check(&self, id: Option<&str>) -> Checking<'_> {
        self.check.begin(id.map(Needle::new))
    }

    /// The bytes of an HTTP/1.1 request, built in `into` where they are not the same for all.
    fn bytes<'b>(&'b self, id: Option<&str>, into: &'b mut String) -> &'b [u8] {
        match self.pieces.as_slice() {
            [whole] => whole.as_bytes(),
            pieces => {
                *into = pieces.join(id.unwrap_or_default());
                into.as_bytes()
            }
        }
    }
}

/// Sends request `nth` and reads its answer, until `deadline` passes; the head of a stream must have come by `head_by`.
pub(super) async fn exchange(
    connection: &mut Connection,
    template: &Template,
    nth: u64,
    deadline: &Deadline,
    head_by: Instant,
) -> Answer {
    let id = template.id(nth);
    let id = id.as_deref();
    let Connection { link, counts, pod, .. } = connection;
    counts.begin_request();
    match link {
        Link::Http1(wire) => over_http1(wire, pod, template, id, (deadline, head_by)).await,
        Link::Http2(link) => link.exchange(template, id, pod, deadline).await,
        Link::WebSocket(link) => link.exchange(template, id, deadline).await,
        Link::Lines(wire) => lines::exchange(wire, template, id, deadline).await,
    }
}

async fn over_http1(
    wire: &mut Wire,
    pod: &mut Option<String>,
    template: &Template,
    id: Option<&str>,
    (deadline, head_by): (&Deadline, Instant),
) -> Answer {
    let mut reading = Reading::new(template.status, &template.check, id.map(Needle::new));
    let conversed = async {
        match template.stream {
            None => converse(wire, pod, template, id, &mut reading).await.map(|()| None),
            Some(stream) => {
                let unsent = wire.write(template.bytes(id, &mut String::new())).await.err();
                let heard = listen(wire, pod, &mut reading, stream, head_by).await;
                heard.map(Some).map_err(|broken| unsent.map_or(broken, Broken::closed))
            }
        }
    };
    let ended = deadline.limit(conversed).await;
    let stream_began = ended.as_ref().and_then(|ended| ended.as_ref().ok().copied().flatten());
    let Head { status, says_close, keeps_alive } = reading.head();
    let (ending, error) = ending(ended.map(|ended| ended.map(|_| Found::Whole(reading.checked()))));
    let seen = Seen { stream_began, ..Seen::of(status, wire.counts()) };
    // What is still to come of a stream would be taken for the next answer.
    Answer { ending, seen, says_close, keeps_alive: keeps_alive && template.stream.is_none(), error }
}

async fn converse(
    wire: &mut Wire,
    pod: &mut Option<String>,
    template: &Template,
    id: Option<&str>,
    reading: &mut Reading<'_>,
) -> Result<(), Broken> {
    let mut built = String::new();
    // An answer may have been given before the connection broke, so what was sent to us is read all the same.
    let unsent = wire.write(template.bytes(id, &mut built)).await.err();
    let mut in_one_go = 0;
    loop {
        let fed = wire.read(|bytes| {
            let end = bytes.is_empty();
            (bytes.len(), if end { Ok(Progress::Open) } else { reading.feed(bytes, pod) })
        });
        match fed.await.map_err(Broken::closed)? {
            (0, _) if reading.closed() => return Ok(()),
            (1.., Ok(Progress::Whole)) => return Ok(()),
            (1.., Err(unreadable)) => return Err(Broken::unreadable(unreadable.0)),
            (here @ 1.., Ok(Progress::Open)) => {
                in_one_go += here;
                if in_one_go >= BYTES_IN_ONE_GO {
                    in_one_go = 0;
                    yield_now().await;
                }
            }
            (0, _) => {
                return Err(match unsent {
                    Some(error) => Broken::closed(error),
                    None => Broken::closed("the connection was closed before the end of the answer"),
                });
            }
        }
    }
}

/// Listens to a stream for as long as is asked for; when its head had come. Its end before that is a loss, even by the
/// book: its client has to begin anew.
async fn listen(
    wire: &mut Wire,
    pod: &mut Option<String>,
    reading: &mut Reading<'_>,
    stream: Listening,
    head_by: Instant,
) -> Result<Instant, Broken> {
    let Listening { lasts, idle } = stream;
    while reading.head().status.is_none() {
        match hear(wire, pod, reading, head_by).await? {
            Heard::Piece => {}
            Heard::Silence => return Err(Broken::silent("no head of an answer came in time")),
            Heard::End if reading.head().status.is_some() => return ended_early(Duration::ZERO, lasts),
            Heard::End => return Err(Broken::closed("the connection was closed before the head of the answer")),
        }
    }
    let began = Instant::now();
    let until = began + lasts;
    let mut last = began;
    // Another status is what the service said, whatever follows it.
    while reading.is_as_asked() && last < until {
        match hear(wire, pod, reading, until.min(last + idle)).await? {
            Heard::Piece => last = Instant::now(),
            Heard::End => return ended_early(began.elapsed(), lasts),
            Heard::Silence if last + idle < until => {
                let silent = format!("nothing more came of the stream for {} ms", idle.as_millis());
                return Err(Broken::silent(silent));
            }
            Heard::Silence => break,
        }
    }
    Ok(began)
}

fn ended_early(after: Duration, lasts: Duration) -> Result<Instant, Broken> {
    let (after, lasts) = (after.as_millis(), lasts.as_millis());
    Err(Broken::closed(format!("the stream ended after {after} of {lasts} ms")))
}

/// What comes next of a stream.
enum Heard {
    Piece,
    End,
    Silence,
}

async fn hear(
    wire: &mut Wire,
    pod: &mut Option<String>,
    reading: &mut Reading<'_>,
    by: Instant,
) -> Result<Heard, Broken> {
    let fed = wire.read(|bytes| if bytes.is_empty() { Ok(Progress::Whole) } else { reading.feed(bytes, pod) });
    let Ok(fed) = timeout_at(by, fed).await else { return Ok(Heard::Silence) };
    match fed.map_err(Broken::closed)? {
        Ok(Progress::Open) => Ok(Heard::Piece),
        Ok(Progress::Whole) => Ok(Heard::End),
        Err(unreadable) => Err(Broken::unreadable(unreadable.0)),
    }
}
