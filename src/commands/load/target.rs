//! The URL of a load, and the address behind it, found once: names are not under test.

use std::{net::SocketAddr, time::Duration};

use hyper::Uri;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::load::lane::Protocol;

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// What is spoken to the server.
    pub(super) protocol: Protocol,
    /// Whether that is done under TLS.
    pub(super) secure: bool,
    /// The name or address of the server.
    pub(super) name: String,
    /// The `Host` header.
    pub(super) host: String,
    /// The port.
    port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl Target {
    /// Takes a URL apart; `http://` may be left out.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let hint = "write one such as http://127.0.0.1:8080/path";
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|error| format!("cannot read the URL `{text}`: {error}; {hint}"))?;
        let (protocol, secure) = match uri.scheme_str() {
            Some("http") => (Protocol::Http1, false),
            Some("https") => (Protocol::Http1, true),
            Some("grpc") => (Protocol::Grpc, false),
            Some("grpcs") => (Protocol::Grpc, true),
            Some("ws") => (Protocol::WebSocket, false),
            Some("wss") => (Protocol::WebSocket, true),
            Some("tcp") => (Protocol::Tcp, false),
            _ => {
                let known = "http, https, grpc, grpcs, ws, wss and tcp";
                return Err(format!("cannot load `{text}`: only {known} can be asked; {hint}"));
            }
        };
        let authority = uri.authority().ok_or_else(|| format!("the URL `{text}` names no host; {hint}"))?;
        if authority.as_str().contains('@') {
            return Err(format!("the URL `{text}` has a user name, which is not sent; leave it out"));
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let usual = if secure { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(if protocol == Protocol::Tcp { 0 } else { usual });
        if name.is_empty() || port == 0 {
            return Err(format!("the URL `{text}` names no host or no port; {hint}"));
        }
        Ok(Self { protocol, secure, name, host: authority.as_str().to_owned(), port, path })
    }

    /// The first address of the name that takes a connection; the first of all where none does, since that is what the
    /// load will then show.
    pub(super) async fn find(&self, connect_timeout: Duration) -> Result<SocketAddr, String> {
        let found = lookup_host((self.name.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|error| self.unknown(&error.to_string()))?.collect();
        let first = *found.first().ok_or_else(|| self.unknown("it has no address"))?;
        if found.len() > 1 {
            for address in found {
                if let Ok(Ok(_)) = timeout(connect_timeout, TcpStream::connect(address)).await {
                    return Ok(address);
                }
            }
        }
        Ok(first)
    }

    fn unknown(&self, why: &str) -> String {
        format!("failed to find the address of `{}`: {why}; check the name, or write the address itself", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, Target};

    #[test]
    fn a_url_says_host_port_path_and_whether_it_is_secure() {
        for (text, secure, name, port, path) in [
            ("http://shop.test", false, "shop.test", 80, "/"),
            ("https://shop.test/cart?id=7", true, "shop.test", 443, "/cart?id=7"),
            ("127.0.0.1:8080/x", false, "127.0.0.1", 8080, "/x"),
            ("http://[::1]:81/echo?id={id}", false, "::1", 81, "/echo?id={id}"),
        ] {
            let target = Target::parse(text).expect(text);
            let found = (target.secure, target.name.as_str(), target.port, target.path.as_str());
            assert_eq!(found, (secure, name, port, path), "{text}");
        }
    }

    #[test]
    fn the_scheme_says_what_is_spoken() {
        for (text, protocol, secure, port) in [
            ("grpc://shop.test/a.B/C", Protocol::Grpc, false, 80),
            ("grpcs://shop.test:8443/a.B/C", Protocol::Grpc, true, 8443),
            ("ws://shop.test/chat", Protocol::WebSocket, false, 80),
            ("wss://shop.test/chat", Protocol::WebSocket, true, 443),
            ("tcp://shop.test:7", Protocol::Tcp, false, 7),
        ] {
            let target = Target::parse(text).expect(text);
            assert_eq!((target.protocol, target.secure, target.port), (protocol, secure, port), "{text}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_asked_says_what_to_write() {
        for text in [
            "ftp://shop.test",
            "http://",
            "http://user@shop.test",
            "shop test",
            "http://shop.test:0",
            "tcp://shop.test",
        ] {
            assert!(Target::parse(text).expect_err(text).contains(text), "{text}");
        }
    }

    #[tokio::test]
    async fn an_address_that_answers_is_taken_before_one_that_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let target = Target::parse(&format!("http://localhost:{}/", address.port())).expect("a URL");
        let found = target.find(std::time::Duration::from_secs(5)).await.expect("an address of localhost");
        assert_eq!(found.port(), address.port());
        assert!(found.is_ipv4(), "{found}");
    }
}
