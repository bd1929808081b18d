// SPDX-License-Identifier: Apache-2.0
//! Pages over TLS.

use std::{env, fs, process::Command};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use slb_core::model::check::{HttpQuestion, Tls};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Set for the checker, which is a process of its own: whom it trusts is a variable of the environment.
const SERVER: &str = "SLB_TEST_SERVER";

fn page(name: Option<&str>, verify: bool) -> Question {
    let tls = Some(Tls { name: name.map(|name| name.parse().unwrap()), verify });
    Question::Http(Box::new(HttpQuestion { tls, ..HttpQuestion::default() }))
}

/// A server with a certificate for this name, and the names that it is asked for.
async fn server(name: &str) -> (SocketAddr, mpsc::UnboundedReceiver<Option<String>>, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (told, names) = mpsc::unbounded_channel();
    let address = serve(move |connection| {
        let (acceptor, told) = (acceptor.clone(), told.clone());
        async move {
            let Ok(mut connection) = acceptor.accept(connection).await else { return };
            told.send(connection.get_ref().1.server_name().map(str::to_owned)).unwrap();
            let _ = connection.read_u8().await;
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    (address, names, cert.pem())
}

#[tokio::test]
async fn a_certificate_need_not_be_trusted() {
    let (address, mut names, _) = server("localhost").await;
    assert_eq!(ask(page(None, false), address).await, Ok(()));
    assert_eq!(names.recv().await, Some(None));
    let (address, mut names, _) = server("localhost").await;
    assert_eq!(ask(page(Some("www.example.org"), false), address).await, Ok(()));
    assert_eq!(names.recv().await, Some(Some("www.example.org".to_owned())));
}

#[tokio::test]
async fn who_speaks_no_tls_is_told() {
    let plain = serve(|mut connection| async move {
        let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = connection.read_u8().await;
    })
    .await;
    contains(ask(page(None, false), plain).await, "cannot speak TLS");
    let half = serve(|mut connection| async move {
        let _ = connection.read_u8().await;
    })
    .await;
    contains(ask(page(None, false), half).await, "cannot speak TLS");
}

#[tokio::test]
async fn a_certificate_is_verified_if_asked_for() {
    if let Ok(server) = env::var(SERVER) {
        return tell(&server).await;
    }
    let (address, _names, pem) = server("localhost").await;
    let file = env::temp_dir().join(format!("slb-health-{}.pem", address.port()));
    fs::write(&file, pem).unwrap();
    for (name, expected) in [("localhost", "Ok(())"), ("", "certificate"), ("www.example.org", "certificate")] {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "https::a_certificate_is_verified_if_asked_for", "--nocapture"]);
        command.env("SSL_CERT_FILE", &file).env_remove("SSL_CERT_DIR").env(SERVER, format!("{address} {name}"));
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(expected), "{name}: {expected}: {said}");
    }
    fs::remove_file(&file).unwrap();
}

/// Asks, and prints what comes of it.
#[expect(clippy::print_stdout, reason = "whoever started this reads it")]
async fn tell(server: &str) {
    let (address, name) = server.split_once(' ').unwrap();
    let name = (!name.is_empty()).then_some(name);
    println!("{:?}", ask(page(name, true), address.parse().unwrap()).await);
}
