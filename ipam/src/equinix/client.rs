// SPDX-License-Identifier: Apache-2.0
//! Calls to the API: one at a time, with a limit to everything, and again where that does no harm.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{HeaderMap, HeaderName, RETRY_AFTER},
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde::{Serialize, de::DeserializeOwned};
use slb_core::errors::Chain;
use tokio::{sync::Semaphore, time::sleep};
use tracing::debug;

use super::{
    error::Error,
    settings::{ApiUrl, Timing, Token},
    wire::{Complaint, Page},
};

/// Who asks.
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// How many calls are on their way at once: all that are wanted would look like an attack.
const AT_ONCE: usize = 8;
/// How many entries of a list are asked for at once.
const PAGE: u32 = 100;
/// Longer than any answer: a page of reservations is a few hundred kB.
const LONGEST_BODY: usize = 16 << 20;
/// As much as is passed on of what the API complains about.
const LONGEST_COMPLAINT: usize = 300;

/// A client of the API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    api: ApiUrl,
    token: Token,
    timing: Timing,
    turns: Arc<Semaphore>,
}

impl Client {
    /// A client; asks nothing yet. Trusts the authorities that the system trusts, or those of `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// The system trusts nobody.
    pub fn new(api: ApiUrl, token: Token, timing: Timing) -> Result<Self, Error> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("slb/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(TOKEN, token.header())]))
            // The token is for the API and nobody else.
            .redirect(redirect::Policy::none())
            .connect_timeout(timing.connect)
            .timeout(timing.call)
            .tls_backend_preconfigured(tls(&api)?);
        let http = builder.build().map_err(Error::Client)?;
        Ok(Self { http, api, token, timing, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.timing
    }

    /// `GET`, tried again if that may help.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let body = self.repeat(Method::GET, path).await?;
        self.parse(&Method::GET, path, &body)
    }

    /// All pages of a list. Addresses that the API sends along are not followed: pages have numbers.
    pub(super) async fn list<P: Page + DeserializeOwned>(&self, path: &str) -> Result<Vec<P::Item>, Error> {
        let mut all = Vec::new();
        let mut page = 1;
        loop {
            let (last, mut items) = self.get::<P>(&format!("{path}?page={page}&per_page={PAGE}")).await?.split();
            let is_end = items.is_empty() || page >= last;
            all.append(&mut items);
            if is_end {
                return Ok(all);
            }
            page += 1;
        }
    }

    /// `POST`, once: whether it may be repeated is for the caller to say.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        let answer = self.call(Method::POST, path, self.http.post(self.api.of(path)).json(body)).await?;
        self.parse(&Method::POST, path, &answer)
    }

    /// `DELETE`, tried again if that may help. What is gone already is fine.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Error> {
        match self.repeat(Method::DELETE, path).await {
            Ok(_) | Err(Error::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A call that says all by its path and is harmless to repeat.
    async fn repeat(&self, method: Method, path: &str) -> Result<Vec<u8>, Error> {
        let mut failures = 0;
        loop {
            let request = self.http.request(method.clone(), self.api.of(path));
            let error = match self.call(method.clone(), path, request).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            failures += 1;
            if !error.may_pass() || failures >= self.timing.tries {
                return Err(error);
            }
            debug!(error = %Chain(&error), failures, "Equinix Metal is asked again");
            sleep(self.pause(failures, &error)).await;
        }
    }

    /// How long to wait after so many failures, of which this is the last.
    pub(super) fn pause(&self, failures: u32, error: &Error) -> Duration {
        let asked_for = error.retry_after().unwrap_or_default().min(self.timing.longest_pause);
        self.timing.pause(failures).max(asked_for)
    }

    async fn call(&self, method: Method, path: &str, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        let call = format!("{method} {path}");
        let no_answer = |call, cause: reqwest::Error| Error::NoAnswer { call, cause: cause.without_url() };
        // It is never closed, so there is always a turn to wait for.
        let _turn = self.turns.acquire().await;
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(cause) => return Err(no_answer(call, cause)),
        };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_BODY => body.extend_from_slice(&chunk),
                Ok(Some(_)) => return Err(Error::Garbage { call, why: "it does not end".to_owned() }),
                // Its status says enough.
                Err(_) if !response.status().is_success() => break,
                Err(cause) => return Err(no_answer(call, cause)),
            }
        }
        if response.status().is_success() { Ok(body) } else { Err(self.refused(call, &response, &body)) }
    }

    fn refused(&self, call: String, response: &Response, body: &[u8]) -> Error {
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let words = serde_json::from_slice::<Complaint>(body).unwrap_or_default().words();
        let words: String = self.token.hide_in(&words).chars().take(LONGEST_COMPLAINT).collect();
        let said = if words.is_empty() { String::new() } else { format!(": {words}") };
        Error::Refused { call, status: response.status(), said, retry_after: seconds.map(Duration::from_secs) }
    }

    fn parse<T: DeserializeOwned>(&self, method: &Method, path: &str, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| Error::Garbage {
            call: format!("{method} {path}"),
            why: self.token.hide_in(&error.to_string()),
        })
    }
}

fn tls(api: &ApiUrl) -> Result<ClientConfig, Error> {
    let mut authorities = RootCertStore::empty();
    if !api.is_plain() {
        // A file that cannot be read or parsed is passed over, as long as there are others.
        authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if authorities.is_empty() {
            return Err(Error::NoAuthorities);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(Error::Tls)?;
    Ok(config.with_root_certificates(authorities).with_no_client_auth())
}
