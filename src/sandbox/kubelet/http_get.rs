//! The kubelet's HTTP requests, of probes and of hooks: a new connection each time, closed after it, with failures in
//! the words of Go's client, which people know from events (k/pkg/probe/http, k/pkg/kubelet/lifecycle, v1.34.4).

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Method, Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::net::{TcpStream, lookup_host};

/// What is read of a body at most; the rest does not matter to anybody.
const BODY_MAX: usize = 10 * 1024;

/// Who asks.
const USER_AGENT: &str = "kube-probe/1.34";

/// Where and what to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    method: Method,
    host: String,
    port: u16,
    path: String,
    headers: Vec<(String, String)>,
}

/// Why there is no answer, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The other side's doing, or the way's: it counts against the container.
    Theirs(String),
    /// This machine had no port or descriptor left to ask with: it says nothing about the container.
    Ours(String),
}

impl Failure {
    /// The words alone.
    #[must_use]
    pub fn into_words(self) -> String {
        let (Self::Theirs(words) | Self::Ours(words)) = self;
        words
    }

    fn of_connect(address: SocketAddr, error: &io::Error) -> Self {
        let words = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
            io::ErrorKind::AddrNotAvailable => "connect: cannot assign requested address".to_owned(),
            _ if is_out_of_descriptors(error) => "socket: too many open files".to_owned(),
            _ => format!("connect: {error}"),
        };
        let words = format!("dial tcp {address}: {words}");
        let ours = error.kind() == io::ErrorKind::AddrNotAvailable || is_out_of_descriptors(error);
        if ours { Self::Ours(words) } else { Self::Theirs(words) }
    }

    fn before(self, prefix: &str) -> Self {
        match self {
            Self::Theirs(words) => Self::Theirs(format!("{prefix}{words}")),
            Self::Ours(words) => Self::Ours(format!("{prefix}{words}")),
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let raw = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(raw, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

/// The number of a port that may be a name of one of the container's.
///
/// # Errors
/// In the kubelet's words.
pub fn resolve_port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_ref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    let number = number.ok_or_else(|| match port {
        IntOrString::String(name) => format!("couldn't find port: {name:?} in container {:?}", container.name),
        IntOrString::Int(number) => format!("invalid port number: {number}"),
    })?;
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

impl Target {
    /// The target of an action, at a pod's address unless it names another host.
    ///
    /// # Errors
    /// When its port is unknown, or it wants HTTPS.
    pub fn of(action: &HTTPGetAction, container: &Container, pod_ip: &str) -> Result<Self, String> {
        if action.scheme.as_deref().is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http")) {
            return Err(
                "the evenkeel sandbox does not serve HTTPS probes and hooks; see docs/sandbox-fidelity.md".to_owned()
            );
        }
        let port = match &action.port {
            // Hooks may leave the port out.
            IntOrString::String(name) if name.is_empty() => 80,
            port => resolve_port(port, container)?,
        };
        let path = action.path.clone().unwrap_or_default();
        Ok(Self {
            method: Method::GET,
            host: action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| pod_ip.to_owned()),
            port,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: action
                .http_headers
                .iter()
                .flatten()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        })
    }

    /// An order to a demo service, such as `unready`.
    #[must_use]
    pub fn control(address: Ipv4Addr, port: u16, order: &str) -> Self {
        Self {
            method: Method::POST,
            host: address.to_string(),
            port,
            path: format!("/control/{order}"),
            headers: Vec::new(),
        }
    }

    /// Its URL, as events show it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}:{}{}", self.host, self.port, self.path)
    }

    /// Asks once and gives the status and the beginning of the body. Dropping it closes the connection.
    ///
    /// # Errors
    /// What went wrong, in Go's words and with the URL.
    pub async fn get(&self) -> Result<(u16, String), Failure> {
        self.try_get().await.map_err(|why| why.before(&format!("Get {:?}: ", self.url())))
    }

    async fn try_get(&self) -> Result<(u16, String), Failure> {
        let stream = connect(&self.host, self.port).await?;
        let theirs = |error: &dyn std::error::Error| Failure::Theirs(error.to_string());
        let (mut sender, connection) =
            http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(|error| theirs(&error))?;
        let mut host = format!("{}:{}", self.host, self.port);
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close");
        for (name, value) in &self.headers {
            if name.eq_ignore_ascii_case("host") {
                host.clone_from(value);
            } else {
                request = request.header(name, value);
            }
        }
        let request = request.header(header::HOST, host).body(Empty::new()).map_err(|error| theirs(&error))?;
        let asked = async {
            let mut response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while body.len() < BODY_MAX
                && let Some(frame) = response.body_mut().frame().await
            {
                if let Some(data) = frame?.data_ref() {
                    body.extend_from_slice(data);
                }
            }
            body.truncate(BODY_MAX);
            Ok::<_, hyper::Error>((status, String::from_utf8_lossy(&body).into_owned()))
        };
        let mut connection = std::pin::pin!(connection);
        let mut asked = std::pin::pin!(asked);
        let answer = tokio::select! {
            biased;
            answer = &mut asked => answer,
            // Its error, if any, is told by the request too.
            _ = &mut connection => asked.await,
        };
        answer.map_err(|error| Failure::Theirs(words(&error)))
    }
}

/// A new connection.
///
/// # Errors
/// In Go's words.
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let address = match host.parse() {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => lookup_host((host, port))
            .await
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| Failure::Theirs(format!("dial tcp: lookup {host}: no such host")))?,
    };
    TcpStream::connect(address).await.map_err(|error| Failure::of_connect(address, &error))
}

fn words(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
        _ if error.is_incomplete_message() => "EOF".to_owned(),
        _ if error.is_parse() => "net/http: HTTP/1.x transport connection broken: malformed HTTP response".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn target(action: serde_json::Value) -> Result<Target, String> {
        let container: Container =
            from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 8081}]})).unwrap();
        Target::of(&from_value(action).unwrap(), &container, "127.0.0.1")
    }

    #[test]
    fn ports_may_be_names_and_https_is_refused() {
        assert_eq!(target(json!({"port": "web", "path": "x"})).unwrap().url(), "http://127.0.0.1:8081/x");
        assert_eq!(target(json!({"port": 80, "host": "h"})).unwrap().url(), "http://h:80/");
        assert!(target(json!({"port": "none"})).unwrap_err().contains("couldn't find port"));
        assert!(target(json!({"port": 0})).is_err());
        assert!(target(json!({"port": 1, "scheme": "HTTPS"})).unwrap_err().contains("does not serve"));
    }

    #[tokio::test]
    async fn answers_and_failures_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            for answer in ["HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno", ""] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = vec![0; 1024];
                let count = stream.read(&mut asked).await.unwrap();
                assert!(String::from_utf8_lossy(&asked[..count]).contains("x-a: b"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let action = json!({"port": port, "path": "/p", "httpHeaders": [{"name": "X-A", "value": "b"}]});
        let target = target(action).unwrap();
        assert_eq!(target.get().await, Ok((503, "no".to_owned())));
        assert_eq!(target.get().await, Err(Failure::Theirs(format!("Get \"http://127.0.0.1:{port}/p\": EOF"))));
        server.await.unwrap();
        let refused =
            format!("Get \"http://127.0.0.1:{port}/p\": dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(target.get().await, Err(Failure::Theirs(refused)));
    }

    #[test]
    fn what_this_machine_lacks_is_not_the_containers_fault() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let table = [
            (rustix::io::Errno::ADDRNOTAVAIL, true, "connect: cannot assign requested address"),
            (rustix::io::Errno::MFILE, true, "socket: too many open files"),
            (rustix::io::Errno::NFILE, true, "socket: too many open files"),
            (rustix::io::Errno::CONNREFUSED, false, "connect: connection refused"),
            (rustix::io::Errno::CONNRESET, false, "connect: connection reset by peer"),
        ];
        for (errno, ours, words) in table {
            let failure = Failure::of_connect(address, &io::Error::from_raw_os_error(errno.raw_os_error()));
            assert_eq!(matches!(failure, Failure::Ours(_)), ours, "{errno:?}");
            assert_eq!(failure.into_words(), format!("dial tcp 127.0.0.1:80: {words}"));
        }
    }
}
