//! TLS of the client: trust, own certificate and versions as `tls_config` says, over rustls.
//!
//! Files are read on a thread apart when the first connection is made, and kept until the configuration is loaded anew.

use std::cell::OnceCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use futures_rustls::rustls::version::{TLS12, TLS13};
use futures_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tidemark_core::runtime::net::TcpStream;
use tidemark_core::runtime::unblock;

use crate::config::http_client::TlsConfig;

/// Makes connections secure.
pub(crate) struct Connector {
    config: TlsConfig,
    made: OnceCell<TlsConnector>,
}

impl Connector {
    /// As configured; nothing is read yet.
    pub(crate) fn of(config: &TlsConfig) -> Self {
        Connector { config: config.clone(), made: OnceCell::new() }
    }

    /// Shakes hands over `stream`; `Err` says why there is no trust.
    pub(crate) async fn secure(&self, stream: Stream, host: &str) -> Result<Stream, String> {
        let connector = if let Some(connector) = self.made.get() {
            connector.clone()
        } else {
            let config = self.config.clone();
            let made = unblock(move || client_config(&config)).await?;
            self.made.get_or_init(|| TlsConnector::from(Arc::new(made))).clone()
        };
        let named = &self.config.server_name;
        let name = if named.is_empty() { host.trim_matches(['[', ']']) } else { named.as_str() };
        let name = ServerName::try_from(name.to_owned()).map_err(|e| format!("{name:?}: {e}"))?;
        let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        Ok(Stream::Secure(Box::new(stream)))
    }
}

/// The text given, or the file's bytes.
fn pem(text: &str, file: &str) -> Result<Option<Vec<u8>>, String> {
    match (text.is_empty(), file.is_empty()) {
        (false, _) => Ok(Some(text.as_bytes().to_vec())),
        (true, true) => Ok(None),
        (true, false) => std::fs::read(file).map(Some).map_err(|e| format!("{file}: {e}")),
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{what} has no certificate in it")),
        Err(e) => Err(format!("{what}: {e}")),
    }
}

/// The client side of TLS as configured; reads files.
pub(crate) fn client_config(config: &TlsConfig) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(config)?)
        .map_err(|e| e.to_string())?;
    let builder = if config.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
    } else {
        builder.with_root_certificates(roots(config)?)
    };
    let own =
        pem(&config.cert, &config.cert_file)?.zip(pem(config.key.reveal(), &config.key_file)?);
    match own {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(&certificate, "cert")?;
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| format!("key: {e}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| e.to_string())
        }
    }
}

fn roots(config: &TlsConfig) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = pem(&config.ca, &config.ca_file)? {
        for certificate in certificates(&ca, "ca")? {
            roots.add(certificate).map_err(|e| format!("ca: {e}"))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

/// TLS 1.0 and 1.1 are not spoken: as a minimum they allow what is newer, as a maximum nothing.
fn versions(config: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let level = |name: &str, unset: u8| match name {
        "TLS10" => 0,
        "TLS11" => 1,
        "TLS12" => 2,
        "TLS13" => 3,
        _ => unset,
    };
    let (min, max) = (level(&config.min_version, 2), level(&config.max_version, 3));
    let known = [(2, &TLS12), (3, &TLS13)];
    let chosen: Vec<_> =
        known.into_iter().filter(|(l, _)| (min..=max).contains(l)).map(|(_, v)| v).collect();
    if chosen.is_empty() {
        Err("no TLS version is left between min_version and max_version".to_owned())
    } else {
        Ok(chosen)
    }
}

/// `insecure_skip_verify`: any certificate will do, but the handshake must hold.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection, plain or secure.
pub(crate) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Within TLS; what is inside may be TLS to a proxy.
    Secure(Box<TlsStream<Stream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Secure(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_close(cx),
            Stream::Secure(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}
