// SPDX-License-Identifier: Apache-2.0
//! TLS to backends. Each check is a whole handshake, as with a new client: a session that is resumed would not show a certificate that has
//! expired since.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use slb_core::model::check::Tls;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::failure::Failure;

/// Whom to believe. Certificates of authorities are read when they are needed first.
#[derive(Debug, Default)]
pub(super) struct Trust {
    anyone: OnceLock<Configs>,
    authorities: OnceLock<Configs>,
}

/// What is spoken over it (ALPN).
#[derive(Clone, Copy, Debug)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

#[derive(Debug)]
struct Configs {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Trust {
    pub(super) async fn handshake(
        &self,
        tls: &Tls,
        to: IpAddr,
        speaks: Speaks,
        connection: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let broken = |error: Error| Failure::Wrong(format!("cannot speak TLS: {error}"));
        let configs = self.configs(tls.verify).await.map_err(broken)?;
        let config = match speaks {
            Speaks::Http1 => &configs.http1,
            Speaks::Http2 => &configs.http2,
        };
        let name = match &tls.name {
            Some(name) => ServerName::try_from(name.as_str().to_owned()),
            None => Ok(ServerName::from(to)),
        };
        let name = name.map_err(|_| Failure::Wrong("the name for TLS is none of a host".to_owned()))?;
        let connector = TlsConnector::from(Arc::clone(config));
        connector.connect(name, connection).await.map_err(Failure::to("speak TLS"))
    }

    async fn configs(&self, verify: bool) -> Result<&Configs, Error> {
        let cell = if verify { &self.authorities } else { &self.anyone };
        if let Some(configs) = cell.get() {
            return Ok(configs);
        }
        let configs = if verify {
            // Files are read, which may take a while; other checks go on.
            let read = tokio::task::spawn_blocking(Configs::of_the_system);
            read.await.map_err(|error| Error::General(error.to_string()))??
        } else {
            Configs::anyone()?
        };
        Ok(cell.get_or_init(|| configs))
    }
}

impl Configs {
    /// Believes whoever a certificate of the system's authorities is for.
    fn of_the_system() -> Result<Self, Error> {
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::new(|builder| builder.with_root_certificates(authorities).with_no_client_auth())
    }

    /// Believes anyone.
    fn anyone() -> Result<Self, Error> {
        let anyone = Arc::new(Anyone(Arc::new(ring::default_provider())));
        Self::new(|builder| builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth())
    }

    fn new(
        finish: impl FnOnce(rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>) -> ClientConfig,
    ) -> Result<Self, Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let mut http1 = finish(builder.with_safe_default_protocol_versions()?);
        http1.resumption = Resumption::disabled();
        let mut http2 = http1.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        http2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { http1: Arc::new(http1), http2: Arc::new(http2) })
    }
}

/// Takes any certificate, but has the backend prove that it is its own.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
