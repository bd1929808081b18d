// SPDX-License-Identifier: Apache-2.0
//! What can go wrong with the API, and what follows from it.

use std::{net::IpAddr, time::Duration};

use reqwest::StatusCode;
use uuid::Uuid;

/// Why a call to the API came to nothing. No variant holds the token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody could be trusted.
    #[error("there are no certificates of authorities: install ca-certificates, or name a file by SSL_CERT_FILE")]
    NoAuthorities,
    /// The parts of the client do not fit.
    #[error("could not make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// TLS is not to be had.
    #[error("could not prepare TLS")]
    Tls(#[source] rustls::Error),
    /// No answer, or half of one.
    #[error("{call} was not answered")]
    NoAnswer {
        /// Method and path.
        call: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// The API refuses.
    #[error("{call} was answered with {status}{said}")]
    Refused {
        /// Method and path.
        call: String,
        /// The HTTP status.
        status: StatusCode,
        /// What the API said about it: nothing, or `: ` and its words.
        said: String,
        /// When to come back (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// Not the API's words.
    #[error("{call} was answered with what the API never says: {why}")]
    Garbage {
        /// Method and path.
        call: String,
        /// What is wrong with it.
        why: String,
    },
    /// The project has no such device.
    #[error("project {project} has no device {which}; name this one with --metalDevice ID")]
    NoDevice {
        /// The project.
        project: Uuid,
        /// Its hostname or id.
        which: String,
    },
    /// The project has several devices of that name.
    #[error("project {project} has several devices {which}; name this one with --metalDevice ID")]
    ManyDevices {
        /// The project.
        project: Uuid,
        /// Their hostname.
        which: String,
    },
    /// Neighbours that slb cannot have.
    #[error("the BGP neighbours of the device make no sense: {why}")]
    Neighbours {
        /// What is wrong with them.
        why: String,
    },
    /// An address that is no VIP.
    #[error("a reservation came with {}, which is no single address that can be announced", .0.map_or_else(|| "no address".to_owned(), |address| address.to_string()))]
    Unusable(Option<IpAddr>),
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::Garbage { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
            }
            Self::NoAuthorities
            | Self::Client(_)
            | Self::Tls(_)
            | Self::NoDevice { .. }
            | Self::ManyDevices { .. }
            | Self::Neighbours { .. }
            | Self::Unusable(_) => false,
        }
    }

    /// Whether nothing is said but that whoever asks may not.
    pub(super) fn is_about_the_token(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. })
    }

    /// Whether the API may have carried out the call all the same.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::NoAnswer { cause, .. } => !cause.is_connect(),
            Self::Refused { status, .. } => status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT,
            Self::Garbage { .. } | Self::Unusable(_) => true,
            Self::NoAuthorities
            | Self::Client(_)
            | Self::Tls(_)
            | Self::NoDevice { .. }
            | Self::ManyDevices { .. }
            | Self::Neighbours { .. } => false,
        }
    }

    /// When the API wants to be asked again, if it said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::NoAuthorities
            | Self::Client(_)
            | Self::Tls(_)
            | Self::NoAnswer { .. }
            | Self::Garbage { .. }
            | Self::NoDevice { .. }
            | Self::ManyDevices { .. }
            | Self::Neighbours { .. }
            | Self::Unusable(_) => None,
        }
    }
}
