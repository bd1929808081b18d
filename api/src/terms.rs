// SPDX-License-Identifier: Apache-2.0
//! What is said of a change beside its body.

use std::time::Duration;

use axum::{
    extract::FromRequestParts,
    http::{Method, request::Parts},
};
use slb_core::command::{self, Answer, Failure, Wish};

use crate::{
    Api, expected,
    key::Reading,
    problem::Problem,
    query::{self, Said},
};

/// On which terms a change is asked for.
pub(crate) struct Terms {
    of_core: command::Terms,
    key: Option<Reading>,
    /// How long to drain at most, where that can be said.
    pub(crate) time: Option<Option<Duration>>,
}

impl FromRequestParts<Api> for Terms {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let name = match &parts.method {
            &Method::DELETE => Some("drain"),
            _ if parts.uri.path().ends_with("/drain") => Some("deadline"),
            _ => None,
        };
        let Said { time, rehearse } = query::said(&parts.uri, name)?;
        let expected = expected::read(&parts.headers)?;
        let of_core = command::Terms { rehearse, expected, key: None };
        Ok(Self { of_core, key: Reading::of(parts)?, time })
    }
}

impl Terms {
    /// Whether nothing is to be done.
    pub(crate) fn rehearses(&self) -> bool {
        self.of_core.rehearse
    }

    /// Another body is another request.
    pub(crate) fn read(&mut self, body: &[u8]) {
        if let Some(key) = &mut self.key {
            key.body(body);
        }
    }

    /// Asks the controller.
    pub(crate) async fn ask(self, api: &Api, wish: impl Into<Wish>) -> Result<Answer, Failure> {
        let terms = command::Terms { key: self.key.map(Reading::end), ..self.of_core };
        api.mailbox.ask_on(terms, wish).await
    }
}
