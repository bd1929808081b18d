// SPDX-License-Identifier: Apache-2.0
//! Over TLS the API has to prove who it is, to those whom the system trusts.

use std::{env, fs, process::Command, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use slb_ipam::equinix::{Which, locate};

use super::*;

/// Set for the client, which is a process of its own: whom it trusts is a variable of the environment.
const API: &str = "METAL_API_URL";

#[tokio::test]
async fn the_api_is_trusted_if_the_system_trusts_it() {
    if let Ok(api) = env::var(API) {
        return ask(&api).await;
    }
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
    let metal = Metal::start(TcpListener::bind("127.0.0.1:0").unwrap(), Some(Arc::new(config)));
    let (project, device) = metal.with(|books| (books.project, books.devices[0].0));
    let stranger = generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
    let port = metal.address().port();
    for (trusted, host, expected) in [
        (Some(&cert), "localhost", format!("no device {}", Uuid::nil())),
        (Some(&cert), "127.0.0.1", "certificate".to_owned()),
        (Some(&stranger), "localhost", "certificate".to_owned()),
        (None, "localhost", "no certificates of authorities".to_owned()),
    ] {
        let file = env::temp_dir().join(format!("slb-equinix-{}.pem", device));
        fs::write(&file, trusted.map(|cert| cert.pem()).unwrap_or_default()).unwrap();
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "tls::the_api_is_trusted_if_the_system_trusts_it", "--nocapture"])
            .env("SSL_CERT_FILE", &file)
            .env_remove("SSL_CERT_DIR")
            .env(API, format!("https://{host}:{port}/metal/v1 {project}"))
            .output()
            .unwrap();
        fs::remove_file(&file).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(&expected), "{host}: {expected}: {said}");
    }
    assert_eq!(metal.with(|books| books.count("GET")), 1);
}

/// Asks for a device that is not there, and prints what comes of it.
#[expect(clippy::print_stdout, reason = "whoever started this reads it")]
async fn ask(api: &str) {
    let (api, project) = api.split_once(' ').unwrap();
    let client = match Client::new(api.parse().unwrap(), TOKEN.parse().unwrap(), QUICK) {
        Ok(client) => client,
        Err(error) => return println!("{}", Chain(&error)),
    };
    let nobody = Which::Id(Uuid::nil());
    let log = Log::new();
    let waits = async {
        while !log.lines().iter().any(|line| line.contains("waiting for Equinix")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        found = locate(&client, project.parse().unwrap(), &nobody, None) => println!("{found:?}"),
        () = waits => println!("{}", log.lines().join("\n")),
    }
}
