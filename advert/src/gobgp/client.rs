// SPDX-License-Identifier: Apache-2.0
//! GoBGP's API as far as slb uses it. Version 3 and version 4 differ in the name of the service and the number of the table; what is
//! asked and answered is the same (proto/gobgp.proto).

use std::time::Duration;

use futures_util::stream;
use slb_core::{model::Family, prefix::Prefix};
use tokio::time::timeout;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};

use super::{
    Daemon,
    path::{Change, Form, unicast},
    wire::{
        api::go_bgp_service_client::GoBgpServiceClient,
        apipb::gobgp_api_client::GobgpApiClient,
        gobgp::{
            AddPathStreamRequest, GetBgpRequest, ListPathRequest, ListPeerRequest, Peer, WatchEventRequest,
            WatchEventResponse, watch_event_request,
        },
    },
};

/// How long the daemon may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take for an answer, which may be a whole table.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Paths in one message: some 60 bytes each, where 4 MiB are taken.
const PACK: usize = 1000;

/// Why the daemon does not do as it is told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("could not connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("it answered neither as version 3 nor as version 4 does")]
    Version(#[source] Status),
    #[error("it has no AS number yet: give it a configuration")]
    Unconfigured,
    #[error("could not {doing}")]
    Call {
        doing: &'static str,
        #[source]
        status: Status,
    },
    #[error("it ended the connection")]
    Gone,
    #[error("could not {0}: no answer within {limit} s", limit = ANSWER_TIMEOUT.as_secs())]
    Silence(&'static str),
}

/// A connection to the daemon.
#[derive(Debug)]
pub(super) struct Client {
    service: Service,
    /// The number of the global table.
    table: i32,
}

#[derive(Debug)]
enum Service {
    V3(GobgpApiClient<Channel>),
    V4(GoBgpServiceClient<Channel>),
}

/// Calls a method of either version, within the time that an answer may take.
macro_rules! call {
    ($client:ident, $doing:expr, $method:ident($request:expr)) => {{
        let answer = async {
            match &mut $client.service {
                Service::V3(service) => service.$method($request).await,
                Service::V4(service) => service.$method($request).await,
            }
        };
        within($doing, answer).await.map(tonic::Response::into_inner)
    }};
}

async fn within<T>(doing: &'static str, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Error> {
    match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|status| Error::Call { doing, status }),
        Err(_) => Err(Error::Silence(doing)),
    }
}

impl Client {
    /// Connects to a daemon of either version.
    pub(super) async fn connect(daemon: Daemon) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(format!("http://{daemon}")).map_err(Error::Connect)?;
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await.map_err(Error::Connect)?;
        let mut client = Self { service: Service::V4(GoBgpServiceClient::new(channel.clone())), table: 1 };
        let mut global = call!(client, "ask for the configuration", get_bgp(GetBgpRequest {}));
        if let Err(Error::Call { status, .. }) = &global
            && status.code() == Code::Unimplemented
        {
            client = Self { service: Service::V3(GobgpApiClient::new(channel)), table: 0 };
            global = call!(client, "ask for the configuration", get_bgp(GetBgpRequest {}));
        }
        let is_configured = match global {
            Ok(answer) => answer.global.is_some_and(|global| global.asn != 0),
            Err(Error::Call { status, .. }) if status.code() == Code::Unimplemented => {
                return Err(Error::Version(status));
            }
            Err(error) => return Err(error),
        };
        if is_configured { Ok(client) } else { Err(Error::Unconfigured) }
    }

    /// The version of the API.
    pub(super) fn version(&self) -> u8 {
        match self.service {
            Service::V3(_) => 3,
            Service::V4(_) => 4,
        }
    }

    /// Carries out the changes, in order.
    pub(super) async fn write(&mut self, changes: &[Change], form: &Form) -> Result<(), Error> {
        let packs: Vec<AddPathStreamRequest> = changes
            .chunks(PACK)
            .map(|changes| AddPathStreamRequest {
                table_type: self.table,
                paths: changes.iter().map(|change| form.path(*change)).collect(),
            })
            .collect();
        call!(self, "change its table", add_path_stream(stream::iter(packs.clone()))).map(drop)
    }

    /// What this node put into the table, and whether it is as it would be put there now.
    pub(super) async fn own(&mut self, form: &Form) -> Result<Vec<(Prefix, bool)>, Error> {
        const DOING: &str = "read its table";
        let mut found = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            let request = ListPathRequest {
                table_type: self.table,
                family: Some(unicast(family)),
                enable_nlri_binary: true,
                enable_attribute_binary: true,
                enable_only_binary: true,
            };
            let mut listed = call!(self, DOING, list_path(request))?;
            while let Some(listed) = within(DOING, listed.message()).await? {
                let paths = listed.destination.into_iter().flat_map(|destination| destination.paths);
                found.extend(paths.filter_map(|path| form.own(family, &path)));
            }
        }
        Ok(found)
    }

    /// Its peers.
    pub(super) async fn peers(&mut self) -> Result<Vec<Peer>, Error> {
        const DOING: &str = "ask for its peers";
        let mut listed = call!(self, DOING, list_peer(ListPeerRequest {}))?;
        let mut peers = Vec::new();
        while let Some(listed) = within(DOING, listed.message()).await? {
            peers.extend(listed.peer);
        }
        Ok(peers)
    }

    /// Something arrives here whenever a session of the daemon changes; it ends with the daemon.
    pub(super) async fn events(&mut self) -> Result<Streaming<WatchEventResponse>, Error> {
        let request = WatchEventRequest { peer: Some(watch_event_request::Peer {}) };
        call!(self, "listen to what happens to its peers", watch_event(request))
    }
}
