//! Drives a real server on 127.0.0.1 with a client that shows every byte: a refused connection, a cut one and one that
//! was closed in good order are three different things here.

mod http2;
mod load;
mod speech;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use clap::Parser;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{DemoError, DemoOptions, reserve, serve_on};

/// Far above anything that a test waits for on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    options: DemoOptions,
}

fn options(flags: &[&str]) -> DemoOptions {
    CommandLine::try_parse_from([&["demo", "--pod-name", "shop-1", "--as-version", "v1"], flags].concat())
        .map(|line| line.options)
        .unwrap()
}

struct Demo {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), DemoError>>,
}

impl Demo {
    fn start(flags: &[&str]) -> Self {
        let socket = reserve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(serve_on(socket, options(flags), async { _ = stopped.await }));
        Self { address, stop: Some(stop), ended }
    }

    /// A server that listens by the time this returns.
    async fn started(flags: &[&str]) -> Self {
        let demo = Self::start(flags);
        let listening = async { while TcpStream::connect(demo.address).await.is_err() {} };
        timeout(PATIENCE, listening).await.expect("it listens");
        demo
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn ended(&mut self) {
        timeout(PATIENCE, &mut self.ended).await.expect("it exits").unwrap().unwrap();
    }

    /// Waits until the stop is seen, which an answer shows first.
    async fn closing(&self) {
        let says_close = async { while !self.connect().await.ask("/").await.unwrap().says_close {} };
        timeout(PATIENCE, says_close).await.expect("it says close");
    }
}

struct Client(TcpStream);

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    head: String,
    body: String,
    says_close: bool,
}

impl Client {
    async fn send(&mut self, method: &str, path: &str) -> io::Result<()> {
        self.0.write_all(format!("{method} {path} HTTP/1.1\r\nhost: demo\r\n\r\n").as_bytes()).await
    }

    async fn ask(&mut self, path: &str) -> io::Result<Answer> {
        self.send("GET", path).await?;
        self.answer().await
    }

    async fn post(&mut self, path: &str) -> io::Result<Answer> {
        self.send("POST", path).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.0.read_u8()).await??);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = header(&head, "content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            says_close: header(&head, "connection") == Some("close"),
            body: String::from_utf8(body).unwrap(),
            head,
        })
    }

    /// Whether the server closed in good order, with nothing more to read.
    async fn is_closed(&mut self) -> bool {
        matches!(timeout(PATIENCE, self.0.read(&mut [0; 1])).await, Ok(Ok(0)))
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Whether nothing comes for long enough that an answer would have come.
async fn is_silent(client: &mut Client) -> bool {
    timeout(Duration::from_millis(150), client.0.read_u8()).await.is_err()
}

#[tokio::test]
async fn until_it_has_booted_a_connection_is_refused() {
    let demo = Demo::start(&["--boot", "1s"]);
    tokio::task::yield_now().await;
    let refused = TcpStream::connect(demo.address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    timeout(PATIENCE, async { while TcpStream::connect(demo.address).await.is_err() {} }).await.unwrap();
    assert_eq!(demo.connect().await.ask("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_stop_during_boot_ends_it_at_once() {
    for drain in ["exit", "finish", "close"] {
        let mut demo = Demo::start(&["--boot", "1h", "--drain", drain]);
        demo.stop();
        demo.ended().await;
    }
}

#[tokio::test]
async fn it_is_alive_before_it_is_ready() {
    let demo = Demo::started(&["--ready-after", "1s"]).await;
    let mut client = demo.connect().await;
    assert_eq!(client.ask("/readyz").await.unwrap().status, 503);
    assert_eq!(client.ask("/livez").await.unwrap().status, 200);
    let ready = async { while client.ask("/readyz").await.unwrap().status != 200 {} };
    timeout(PATIENCE, ready).await.unwrap();
}

#[tokio::test]
async fn every_answer_names_its_pod_and_version() {
    let demo = Demo::started(&[]).await;
    let mut client = demo.connect().await;
    for path in ["/", "/readyz", "/livez", "/echo?id=7", "/nowhere", "/control/nothing", "/slow"] {
        let head = client.ask(path).await.unwrap().head;
        assert_eq!(
            (header(&head, "x-evenkeel-pod"), header(&head, "x-evenkeel-version")),
            (Some("shop-1"), Some("v1")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn bodies_have_the_size_that_was_asked_for_and_echo_what_was_sent() {
    let demo = Demo::started(&["--body-bytes", "100000"]).await;
    let mut client = demo.connect().await;
    assert_eq!(client.ask("/").await.unwrap().body.len(), 100_000);
    assert_eq!(client.ask("/echo?a=b&id=order-17").await.unwrap().body, "order-17\n");
    assert_eq!(client.ask("/echo").await.unwrap().body, "\n");
}

#[tokio::test]
async fn an_answer_takes_as_long_as_it_was_told_to_but_a_probe_does_not() {
    let demo = Demo::started(&["--answer-in", "200ms"]).await;
    let mut client = demo.connect().await;
    for (path, least_ms) in [("/", 200), ("/echo?id=1", 200), ("/slow?ms=100", 100), ("/burn?ms=20", 20)] {
        let asked = Instant::now();
        assert_eq!(client.ask(path).await.unwrap().status, 200);
        assert!(asked.elapsed() >= Duration::from_millis(least_ms), "{path}");
    }
    let never = Demo::started(&["--answer-in", "1h"]).await;
    assert_eq!(never.connect().await.ask("/livez").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_wait_that_cannot_be_read_or_is_too_long_is_refused() {
    let demo = Demo::started(&[]).await;
    let mut client = demo.connect().await;
    for path in ["/slow", "/slow?ms=", "/slow?ms=-1", "/slow?ms=600001", "/burn", "/burn?ms=x", "/burn?ms=10001"] {
        assert_eq!(client.ask(path).await.unwrap().status, 400, "{path}");
    }
}

#[tokio::test]
async fn the_last_request_that_a_connection_may_make_closes_it() {
    let demo = Demo::started(&["--requests-per-connection", "3"]).await;
    let mut client = demo.connect().await;
    for expected in [false, false, true] {
        assert_eq!(client.ask("/").await.unwrap().says_close, expected);
    }
    assert!(client.is_closed().await);
    assert!(!demo.connect().await.ask("/").await.unwrap().says_close, "the next connection starts anew");
}

#[tokio::test]
async fn a_hanging_request_is_never_answered_while_others_are() {
    let demo = Demo::started(&[]).await;
    let mut hung = demo.connect().await;
    hung.send("GET", "/hang").await.unwrap();
    assert!(is_silent(&mut hung).await);
    assert_eq!(demo.connect().await.ask("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_process_told_to_hang_answers_nothing_until_it_is_healed() {
    let demo = Demo::started(&[]).await;
    assert_eq!(demo.connect().await.post("/control/hang").await.unwrap().status, 200);
    for path in ["/", "/livez", "/readyz", "/echo?id=1"] {
        let mut client = demo.connect().await;
        client.send("GET", path).await.unwrap();
        assert!(is_silent(&mut client).await, "{path}");
    }
    assert_eq!(demo.connect().await.post("/control/heal").await.unwrap().status, 200);
    assert_eq!(demo.connect().await.ask("/livez").await.unwrap().status, 200);
}

#[tokio::test]
async fn each_condition_answers_as_it_says() {
    let demo = Demo::started(&[]).await;
    let mut client = demo.connect().await;
    let table =
        [("fail", [500, 500, 500]), ("unready", [200, 200, 503]), ("heal", [200, 200, 200]), ("fail", [500, 500, 500])];
    for (order, statuses) in table {
        client.post(&format!("/control/{order}")).await.unwrap();
        for (path, status) in ["/", "/livez", "/readyz"].into_iter().zip(statuses) {
            assert_eq!(client.ask(path).await.unwrap().status, status, "{order}: {path}");
        }
    }
}

#[tokio::test]
async fn an_order_needs_a_post_and_a_known_name() {
    let demo = Demo::started(&[]).await;
    let mut client = demo.connect().await;
    assert_eq!(client.ask("/control/fail").await.unwrap().status, 405);
    assert_eq!(client.post("/control/explode").await.unwrap().status, 404);
    assert_eq!(client.ask("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn with_drain_exit_a_request_in_flight_is_cut() {
    let mut demo = Demo::started(&["--drain", "exit"]).await;
    let mut client = demo.connect().await;
    client.send("GET", "/slow?ms=1500").await.unwrap();
    assert!(is_silent(&mut client).await);
    demo.stop();
    demo.ended().await;
    assert!(client.answer().await.is_err());
}

#[tokio::test]
async fn with_drain_finish_a_request_in_flight_is_answered_and_idle_connections_are_closed() {
    let mut demo = Demo::started(&["--drain", "finish"]).await;
    let (mut busy, mut idle) = (demo.connect().await, demo.connect().await);
    idle.ask("/").await.unwrap();
    busy.send("GET", "/slow?ms=1500").await.unwrap();
    assert!(is_silent(&mut busy).await);
    demo.stop();
    assert!(idle.is_closed().await);
    assert_eq!(
        TcpStream::connect(demo.address).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused,
        "it no longer accepts while it finishes"
    );
    let answer = busy.answer().await.unwrap();
    assert_eq!((answer.status, answer.says_close), (200, true));
    demo.ended().await;
}

#[tokio::test]
async fn with_drain_finish_or_close_a_connection_that_the_kernel_had_accepted_gets_its_answer() {
    for style in ["finish", "close"] {
        let mut demo = Demo::started(&["--drain", style, "--accept-late", "0s"]).await;
        // Blocking: the server shares this thread, so it has not accepted them when it is told to stop.
        let connect = || std::net::TcpStream::connect(demo.address).unwrap();
        let (mut asked, silent) = (connect(), connect());
        asked.write_all(b"GET / HTTP/1.1\r\nhost: demo\r\n\r\n").unwrap();
        demo.stop();
        let mut clients = [asked, silent].map(|stream| {
            stream.set_nonblocking(true).unwrap();
            Client(TcpStream::from_std(stream).unwrap())
        });
        let answer = clients[0].answer().await.unwrap();
        assert_eq!((answer.status, answer.says_close), (200, true), "{style}");
        let answer = clients[1].ask("/").await.unwrap();
        assert_eq!((answer.status, answer.says_close), (200, true), "{style}: its request came later");
        demo.ended().await;
    }
}

#[tokio::test]
async fn with_drain_finish_a_connection_without_any_request_is_closed_in_the_end() {
    let mut demo = Demo::started(&["--drain", "finish"]).await;
    let mut unused = demo.connect().await;
    demo.stop();
    assert!(unused.is_closed().await);
    demo.ended().await;
}

#[tokio::test]
async fn with_drain_finish_a_request_that_hangs_is_cut_at_the_time_limit() {
    let mut demo = Demo::started(&["--drain", "finish", "--drain-timeout", "200ms"]).await;
    let mut hung = demo.connect().await;
    hung.send("GET", "/hang").await.unwrap();
    assert!(is_silent(&mut hung).await);
    demo.stop();
    demo.ended().await;
    assert!(hung.answer().await.is_err());
}

#[tokio::test]
async fn with_drain_close_every_answer_after_the_signal_says_connection_close() {
    let mut demo = Demo::started(&["--drain", "close", "--accept-late", "3s"]).await;
    let (mut reused, mut busy) = (demo.connect().await, demo.connect().await);
    assert!(!reused.ask("/").await.unwrap().says_close);
    busy.send("GET", "/slow?ms=1500").await.unwrap();
    assert!(is_silent(&mut busy).await);
    demo.stop();
    demo.closing().await;
    for client in [&mut reused, &mut demo.connect().await] {
        let answer = client.ask("/readyz").await.unwrap();
        assert_eq!((answer.status, answer.says_close), (200, true));
        assert!(client.is_closed().await);
    }
    assert!(busy.answer().await.unwrap().says_close, "in flight since before the signal");
    demo.ended().await;
}

#[tokio::test]
async fn with_drain_close_an_idle_connection_gets_its_last_answer_after_accepting_has_ended() {
    let mut demo = Demo::started(&["--drain", "close", "--accept-late", "100ms"]).await;
    let mut idle = demo.connect().await;
    idle.ask("/").await.unwrap();
    demo.stop();
    timeout(PATIENCE, async { while TcpStream::connect(demo.address).await.is_ok() {} }).await.unwrap();
    assert!(!demo.ended.is_finished());
    let answer = idle.ask("/").await.unwrap();
    assert_eq!((answer.status, answer.says_close), (200, true));
    demo.ended().await;
}

#[tokio::test]
async fn with_drain_close_a_connection_that_stays_idle_is_closed_at_the_time_limit() {
    let mut demo = Demo::started(&["--drain", "close", "--accept-late", "0s", "--drain-timeout", "200ms"]).await;
    let mut idle = demo.connect().await;
    idle.ask("/").await.unwrap();
    demo.stop();
    assert!(idle.is_closed().await);
    demo.ended().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let demo = Demo::started(&[]).await;
    let error = reserve(demo.address).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot bind {}; choose another with --address and --port", demo.address));
}

#[tokio::test]
async fn a_name_that_no_header_can_hold_is_refused_before_boot() {
    let socket = reserve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let options = DemoOptions { as_version: "v1\n".to_owned(), ..options(&["--boot", "1h"]) };
    let error = serve_on(socket, options, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, DemoError::NotAHeader { .. }), "{error}");
}

#[test]
fn every_knob_has_an_environment_variable() {
    use clap::CommandFactory;
    let command = CommandLine::command();
    let without: Vec<_> =
        command.get_arguments().filter(|arg| arg.get_env().is_none()).map(clap::Arg::get_id).collect();
    assert!(without.is_empty(), "{without:?}");
    assert_eq!(command.get_arguments().count(), 14);
}

#[test]
fn values_out_of_bounds_are_refused() {
    for flags in [["--body-bytes", "16777217"], ["--boot", "5"], ["--requests-per-connection", "0"], ["--drain", "off"]]
    {
        assert!(CommandLine::try_parse_from([["demo"].as_slice(), &flags].concat()).is_err(), "{flags:?}");
    }
}
