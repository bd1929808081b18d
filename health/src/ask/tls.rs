// SPDX-License-Identifier: Apache-2.0
//! TLS to backends. Each check is a whole handshake, as with a new client: a session that is resumed would not show a certificate that has
//! expired since.

use std::{net::IpAddr, sync::Arc};

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
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::failure::Failure;

/// Whom to believe. Certificates of authorities are read when they are needed first.
#[derive(Debug, Default)]
pub(super) struct Trust {
    anyone: OnceCell<Configs>,
    authorities: Arc<OnceCell<Configs>>,
}

/// What is spoken over it (ALPN).
#[derive(Clone, Copy, Debug)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

#[derive(Clone, Debug)]
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
            Speaks::Http1 => configs.http1,
            Speaks::Http2 => configs.http2,
        };
        let name = match &tls.name {
            Some(name) => ServerName::try_from(name.as_str().to_owned()),
            None => Ok(ServerName::from(to)),
        };
        let name = name.map_err(|_| Failure::Wrong("the name for TLS is none of a host".to_owned()))?;
        let connector = TlsConnector::from(config);
        connector.connect(name, connection).await.map_err(Failure::to("speak TLS"))
    }

    async fn configs(&self, verify: bool) -> Result<Configs, Error> {
        if !verify {
            return self.anyone.get_or_try_init(|| async { Configs::anyone() }).await.cloned();
        }
        if let Some(configs) = self.authorities.get() {
            return Ok(configs.clone());
        }
        // Read once, however many checks wait for it; and to the end, though the time of those that wait may be over before.
        let authorities = Arc::clone(&self.authorities);
        let reading = tokio::spawn(async move { authorities.get_or_try_init(Configs::of_the_system).await.cloned() });
        reading.await.map_err(|error| Error::General(error.to_string()))?
    }
}

impl Configs {
    /// Believes whoever a certificate of the system's authorities is for.
    async fn of_the_system() -> Result<Self, Error> {
        let read = || {
            let mut authorities = RootCertStore::empty();
            authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            authorities
        };
        // Files are read, which may take a while; other checks go on.
        let authorities = tokio::task::spawn_blocking(read).await.map_err(|error| Error::General(error.to_string()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Where reading takes longer than a check may, no check would ever have them otherwise.
    #[tokio::test]
    async fn certificates_are_read_although_nobody_waits_for_them() {
        let trust = Trust::default();
        tokio::select! {
            biased;
            _ = trust.configs(true) => panic!("nothing was read"),
            () = std::future::ready(()) => {}
        }
        while trust.authorities.get().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(trust.configs(true).await.is_ok());
    }
}
