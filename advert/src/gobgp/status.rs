// SPDX-License-Identifier: Apache-2.0
//! A peer as GoBGP describes it.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use slb_core::{
    model::Port,
    peer::{HoldTime, NextHop, PeerAddress, PeerSettings, RestartTime},
    routing::{PeerState, PeerStatus, Traffic},
};

use super::{
    path::Attributes,
    wire::gobgp::{self, Message, Messages},
};

/// What has four digits for its year, as RFC 3339 writes it, ends here: with the year 9999.
const LAST_YEAR: Duration = Duration::from_secs(253_402_300_800);

/// What the daemon says of a peer. One that has never been up is said to be down since `began`. Nothing if it does not say who and where
/// the peer is.
pub(super) fn status(
    peer: gobgp::Peer,
    began: SystemTime,
    attributes: &Attributes,
    routes: usize,
) -> Option<PeerStatus> {
    let (conf, is) = (peer.conf.unwrap_or_default(), peer.state.unwrap_or_default());
    let ip = [&conf.neighbor_address, &is.neighbor_address].into_iter().find_map(|text| text.parse::<IpAddr>().ok())?;
    let asn = [is.peer_asn, conf.peer_asn].into_iter().find_map(NonZeroU32::new)?;
    let state = state(is.session_state);
    let is_established = state == PeerState::Established;
    let timers = peer.timers.unwrap_or_default();
    let times = timers.state.unwrap_or_default();
    let since = if is_established { times.uptime } else { times.downtime };
    let since = since.filter(|time| time.seconds > 0).and_then(|time| SystemTime::try_from(time).ok());
    let since = since.filter(|time| time.duration_since(UNIX_EPOCH).is_ok_and(|age| age < LAST_YEAR));
    let settings = PeerSettings {
        hold_time: hold_time(timers.config.unwrap_or_default()),
        restart_time: restart_time(peer.graceful_restart.unwrap_or_default()),
        gtsm: Some(peer.ttl_security.unwrap_or_default().enabled),
        next_hop: attributes.next_hop.and_then(|address| NextHop::try_from(IpAddr::V4(address)).ok()),
        med: attributes.med,
        local_pref: attributes.local_pref,
        communities: Some(attributes.communities.clone()),
        ..transport(&peer.transport.unwrap_or_default())
    };
    let address = PeerAddress::try_from(ip).ok()?;
    let peer = slb_core::peer::Peer { settings, ..slb_core::peer::Peer::new(address, asn) };
    Some(PeerStatus {
        state,
        times_established: u64::from(is.flops) + u64::from(is_established),
        last_error: Some(is.disconnect_message).filter(|message| !is_established && !message.is_empty()),
        traffic: traffic(is.messages.unwrap_or_default()),
        routes_announced: if is_established { routes } else { 0 },
        ..PeerStatus::new(peer, since.unwrap_or(began))
    })
}

fn state(number: i32) -> PeerState {
    match number {
        2 => PeerState::Connect,
        3 => PeerState::Active,
        4 => PeerState::OpenSent,
        5 => PeerState::OpenConfirm,
        6 => PeerState::Established,
        _ => PeerState::Idle,
    }
}

fn hold_time(config: gobgp::TimersConfig) -> Option<HoldTime> {
    HoldTime::try_from(Duration::from_secs(config.hold_time)).ok()
}

fn restart_time(config: gobgp::GracefulRestart) -> Option<RestartTime> {
    let seconds = if config.enabled { config.restart_time } else { 0 };
    RestartTime::try_from(Duration::from_secs(seconds.into())).ok()
}

fn transport(config: &gobgp::Transport) -> PeerSettings {
    let source = config.local_address.parse::<IpAddr>().ok();
    PeerSettings {
        port: Port::try_from(i64::from(config.remote_port)).ok(),
        passive: Some(config.passive_mode),
        source: source.and_then(|address| PeerAddress::try_from(address).ok()),
        ..PeerSettings::default()
    }
}

fn traffic(messages: Messages) -> Traffic {
    Traffic { sent: count(messages.sent.unwrap_or_default()), received: count(messages.received.unwrap_or_default()) }
}

fn count(of: Message) -> slb_core::routing::Messages {
    slb_core::routing::Messages {
        open: of.open,
        update: of.update,
        notification: of.notification,
        keepalive: of.keepalive,
        route_refresh: of.refresh,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn times_that_cannot_be_shown_are_not_believed() {
        let began = UNIX_EPOCH + Duration::from_secs(7);
        let since = |seconds, nanos| {
            let state = gobgp::TimersState { downtime: Some(Timestamp { seconds, nanos }), ..Default::default() };
            let conf = gobgp::PeerConf { neighbor_address: "10.0.0.254".to_owned(), peer_asn: 65530 };
            let timers = gobgp::Timers { state: Some(state), ..Default::default() };
            let peer = gobgp::Peer { conf: Some(conf), timers: Some(timers), ..Default::default() };
            status(peer, began, &Attributes::default(), 0).unwrap().since
        };
        assert_eq!(since(1_700_000_000, 0), UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        for (seconds, nanos) in [(0, 0), (-1, 0), (1, -2_000_000_000), (253_402_300_800, 0), (i64::MAX, i32::MAX)] {
            assert_eq!(since(seconds, nanos), began, "{seconds}.{nanos}");
        }
    }
}
