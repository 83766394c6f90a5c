//! The conditions of `abort` that have to be asked for: an address that must answer, a Prometheus query. One task each,
//! which asks in turn and says when the run must stop.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, Uri, header::HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet, time::MissedTickBehavior};

use super::recorder::Stop;
use crate::{
    experiment::guards::{AbortHttp, AbortPrometheus, AbortWhen},
    failure::printable,
};

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes.
const BODY_MAX: usize = 1 << 20;

/// The tasks; they end when this is dropped.
#[derive(Debug)]
pub struct Probes(#[expect(dead_code, reason = "it is held for its end")] JoinSet<()>);

impl Probes {
    /// Begins to ask. The first condition that is met is told to `stop`.
    #[must_use]
    pub fn start(abort: &[AbortWhen], stop: &mpsc::Sender<Stop>) -> Self {
        let mut tasks = JoinSet::new();
        for when in abort {
            let stop = stop.clone();
            match when.clone() {
                AbortWhen::Http(http) => drop(tasks.spawn(async move { told(stop, watch_http(&http).await).await })),
                AbortWhen::Prometheus(query) => {
                    drop(tasks.spawn(async move { told(stop, watch_query(&query).await).await }));
                }
                AbortWhen::Lost(_) | AbortWhen::Latency(_) => {}
            }
        }
        Self(tasks)
    }
}

async fn told(stop: mpsc::Sender<Stop>, why: String) {
    // Nobody listens any more once the run is over.
    drop(stop.send(Stop::Condition(printable(&why))).await);
}

/// Asks until so many answers in a row were wrong, and says how the last was.
async fn watch_http(http: &AbortHttp) -> String {
    let mut ticks = ticks(http.every.duration());
    let mut wrong = 0;
    loop {
        ticks.tick().await;
        let why = match get(&http.url).await {
            Ok((status, _)) if status.as_u16() == http.status => {
                wrong = 0;
                continue;
            }
            Ok((status, _)) => format!("it answered {}, and not {}", status.as_u16(), http.status),
            Err(why) => why,
        };
        wrong += 1;
        if wrong >= http.failures {
            return format!("{} failed {wrong} times in a row: {why}", http.url);
        }
    }
}

/// Asks until a value is out of bounds, or so many questions in a row had no answer.
async fn watch_query(query: &AbortPrometheus) -> String {
    let mut ticks = ticks(query.every.duration());
    let url = format!("{}/api/v1/query?query={}", query.url.trim_end_matches('/'), encoded(&query.query));
    let mut wrong = 0;
    loop {
        ticks.tick().await;
        let answer = get(&url).await.and_then(|(status, body)| match status {
            StatusCode::OK => values(&body),
            _ => Err(format!("Prometheus answered {}", status.as_u16())),
        });
        match answer {
            Ok(values) => {
                wrong = 0;
                let out = |value: &f64| {
                    query.above.is_some_and(|most| *value > most) || query.below.is_some_and(|least| *value < least)
                };
                if let Some(value) = values.into_iter().find(out) {
                    return format!("the query {} gives {value}, which is out of its bounds", query.query);
                }
            }
            Err(why) => {
                wrong += 1;
                if wrong >= query.failures {
                    return format!("the query {} had no answer {wrong} times in a row: {why}", query.query);
                }
            }
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    // The file cannot say zero.
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The values of an instant query: of a scalar one, of a vector one for each series.
fn values(body: &[u8]) -> Result<Vec<f64>, String> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| format!("it is no JSON: {error}"))?;
    let data = &answer["data"];
    let number = |value: &Value| value[1].as_str().and_then(|text| text.parse::<f64>().ok());
    let found = match data["resultType"].as_str() {
        Some("scalar") => number(&data["result"]).map(|value| vec![value]),
        Some("vector") => {
            data["result"].as_array().and_then(|all| all.iter().map(|one| number(&one["value"])).collect())
        }
        _ => None,
    };
    found.ok_or_else(|| "it is not the answer of an instant query".to_owned())
}

/// A text as a value of a URL's query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// One request over a connection of its own, so that a broken one cannot be kept.
async fn get(url: &str) -> Result<(StatusCode, Bytes), String> {
    match tokio::time::timeout(ANSWER_WITHIN, ask(url)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}

async fn ask(url: &str) -> Result<(StatusCode, Bytes), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
    let (Some(host), path) = (uri.host(), uri.path_and_query().map_or("/", |path| path.as_str())) else {
        return Err(format!("{url} has no host"));
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, uri.port_u16().unwrap_or(80))).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let answered = async {
        let (head, body) = sender.send_request(request).await.map_err(|error| error.to_string())?.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok((head.status, body.to_bytes()))
    };
    tokio::pin!(answered);
    // The connection is driven here, so nothing of it outlives the answer.
    tokio::select! {
        answer = &mut answered => answer,
        ended = connection => match ended {
            Ok(()) => answered.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A server that gives these answers in turn, the last for ever; its URL.
    async fn server(answers: Vec<(u16, String)>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            let mut last = answers.next().unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                _ = stream.read(&mut head).await;
                let (status, body) = &last;
                let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                _ = stream.write_all(text.as_bytes()).await;
                if let Some(next) = answers.next() {
                    last = next;
                }
            }
        });
        url
    }

    fn answers(all: &[(u16, &str)]) -> Vec<(u16, String)> {
        all.iter().map(|(status, body)| (*status, (*body).to_owned())).collect()
    }

    #[tokio::test]
    async fn an_address_must_fail_several_times_in_a_row() {
        let url = server(answers(&[(503, ""), (200, ""), (503, ""), (500, "")])).await;
        let http = serde_json::from_value(json!({"url": url, "every": "1ms", "failures": 2})).unwrap();
        let why = watch_http(&http).await;
        assert!(why.contains("2 times in a row: it answered 500"), "{why}");
        let nobody = serde_json::from_value(json!({"url": "http://127.0.0.1:1/", "every": "1ms"})).unwrap();
        assert!(watch_http(&nobody).await.contains("3 times in a row"));
    }

    #[tokio::test]
    async fn a_query_stops_by_its_value_or_when_nothing_answers() {
        let vector = |value: &str| {
            json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, value]}]}})
                .to_string()
        };
        let url = server(vec![(200, vector("0.1")), (503, String::new()), (200, vector("0.7"))]).await;
        let query = json!({"url": url, "query": "rate(x[1m])", "above": 0.5, "every": "1ms", "failures": 2});
        let why = watch_query(&serde_json::from_value(query).unwrap()).await;
        assert!(why.contains("gives 0.7"), "{why}");
        let url = server(answers(&[(200, "no json")])).await;
        let query = json!({"url": url, "query": "x", "below": 1.0, "every": "1ms"});
        let why = watch_query(&serde_json::from_value(query).unwrap()).await;
        assert!(why.contains("had no answer 3 times in a row"), "{why}");
    }

    #[test]
    fn a_query_is_a_value_and_never_more_of_the_url() {
        assert_eq!(encoded("sum(a{b=\"c\"})&x=1 #"), "sum%28a%7Bb%3D%22c%22%7D%29%26x%3D1%20%23");
    }
}
