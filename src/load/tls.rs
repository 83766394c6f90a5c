//! TLS of a lane's connections: whom to believe, by which name, and what became of a handshake that failed.

use std::{io, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use super::lane::TlsSpec;

/// Why there is no agreement on TLS.
pub(super) type TlsError = io::Error;

/// How the connections of a lane are kept private.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a lane cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The name is none.
    #[error("`{0}` is no name that a certificate can have; write a host name or an IP address")]
    Name(String),
    /// No authority to believe.
    #[error(
        "this machine has no certificate authorities to check a server against: {0}; install ca-certificates, or do not check (`--insecure`, `verify: false`)"
    )]
    NoRoots(String),
    /// The library's own defaults contradict each other.
    #[error("failed to set up TLS")]
    Setup(#[from] Error),
}

impl Tls {
    /// TLS as `spec` says, offering `protocols` (ALPN).
    pub(super) fn new(spec: &TlsSpec, protocols: &[&str]) -> Result<Self, TlsProblem> {
        let name = ServerName::try_from(spec.server_name.clone())
            .map_err(|_invalid| TlsProblem::Name(spec.server_name.clone()))?;
        let provider = Arc::new(ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let mut config = if spec.verify {
            builder.with_root_certificates(roots()?).with_no_client_auth()
        } else {
            let anyone = Arc::new(Anyone(provider));
            builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth()
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Shakes hands over a new connection.
    pub(super) async fn agree(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, TlsError> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

fn roots() -> Result<RootCertStore, TlsProblem> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map_or_else(|| "none were found".to_owned(), ToString::to_string);
        return Err(TlsProblem::NoRoots(why));
    }
    Ok(store)
}

/// Believes every server: what is under test is whether it answers, not who it is.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
