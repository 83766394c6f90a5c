//! A server with one scripted fault. It speaks HTTP by hand, since its point is to speak it badly.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// A whole answer.
pub(super) const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\nx-evenkeel-pod: cart-0\r\n\r\nevenkeel says.";

/// What the server does with a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Writes this, and waits for the next request.
    Say(&'static str),
    /// Writes this and closes in order.
    SayAndClose(&'static str),
    /// Writes this and resets the connection.
    SayAndReset(&'static str),
    /// Says nothing, and keeps the connection.
    Stall,
    /// Speaks before it is asked, and waits.
    Greet(&'static str),
}

/// A server on a port of its own that treats each connection so, until the runtime ends.
pub(super) async fn treating<F: Future<Output = ()> + Send + 'static>(
    treat: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    address
}

/// A server on a port of its own; dropping it closes everything.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    gate: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// A server that acts on the requests of each connection by this script; the last act goes on for ever.
    pub(super) async fn start(script: &'static [Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (gate, opened) = watch::channel(true);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                connections.spawn(serve(stream, script, opened.clone()));
            }
        });
        Self { address, gate, task }
    }

    /// Lets no answer out, or all of them again.
    pub(super) fn set_stalled(&self, stalled: bool) {
        self.gate.send_replace(!stalled);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, script: &'static [Act], mut gate: watch::Receiver<bool>) {
    stream.set_nodelay(true).expect("an option");
    if let [Act::Greet(text)] = script {
        drop(stream.write_all(text.as_bytes()).await);
    }
    for at in 0.. {
        if !read_request(&mut stream).await || gate.wait_for(|open| *open).await.is_err() {
            return;
        }
        let act = script[at.min(script.len() - 1)];
        let (Act::Say(text) | Act::SayAndClose(text) | Act::SayAndReset(text)) = act else {
            std::future::pending().await
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        match act {
            Act::Say(_) | Act::Stall | Act::Greet(_) => {}
            Act::SayAndClose(_) => return,
            // What was written can still be read after the reset, so this is not a race (on Linux).
            Act::SayAndReset(_) => {
                stream.set_zero_linger().expect("an option");
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
    assert!(request.starts_with(b"GET /cart?id=7 HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&request));
    true
}

/// An address at which nothing listens.
pub(super) async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address")
}

/// An address at which connection attempts get no answer: a listener that accepts nothing and whose backlog is full.
pub(super) struct BlackHole {
    pub(super) address: SocketAddr,
    _kept: Arc<(TcpListener, Vec<TcpStream>)>,
}

impl BlackHole {
    /// Nothing where the system answers all the same.
    pub(super) async fn start() -> Option<Self> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let listener = socket.listen(1).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let mut waiting = Vec::new();
        for _ in 0..16 {
            match timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
                Ok(Ok(stream)) => waiting.push(stream),
                Ok(Err(_)) => return None,
                Err(_elapsed) => return Some(Self { address, _kept: Arc::new((listener, waiting)) }),
            }
        }
        None
    }
}
