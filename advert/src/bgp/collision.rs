// SPDX-License-Identifier: Apache-2.0
//! Two connections to one peer, of which one stays (RFC 4271, section 6.8; RFC 6286; RFC 4724, section 4.2). Pure.

use std::net::Ipv4Addr;

use super::session::{Phase, Speaker};

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This speaker.
    Ours,
    /// The peer.
    Theirs,
}

/// A connection that was there when the peer said on another one who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) origin: Origin,
    pub(super) phase: Phase,
}

/// Which connection stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stays {
    /// Both, for now: on the other one the peer has not said who it is.
    Both,
    /// The one on which the peer has just said who it is.
    This,
    /// The other one.
    Other,
}

/// Who a peer is, as far as collisions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) identifier: Ipv4Addr,
    pub(super) asn: u32,
    /// Whether it keeps routes over a restart: if so, it connects anew because it has restarted.
    pub(super) restarts: bool,
}

/// Which of two connections stays, once the peer has said on the one of `origin` who it is.
pub(super) fn resolve(own: Speaker, peer: Identity, origin: Origin, other: Other) -> Stays {
    match other.phase {
        Phase::OpenSent => Stays::Both,
        // The peer has given up the one that it opened before.
        Phase::OpenConfirm if origin == other.origin => Stays::This,
        Phase::OpenConfirm if origin == winner(own, peer) => Stays::This,
        Phase::OpenConfirm => Stays::Other,
        Phase::Established if peer.restarts && origin == Origin::Theirs => Stays::This,
        Phase::Established => Stays::Other,
    }
}

/// Whose connection stays: that of the higher identifier, with equal ones that of the higher AS number.
fn winner(own: Speaker, peer: Identity) -> Origin {
    if (own.router_id, own.asn) > (peer.identifier, peer.asn) { Origin::Ours } else { Origin::Theirs }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN_CONFIRM: Phase = Phase::OpenConfirm;

    fn speakers() -> impl Strategy<Value = Speaker> {
        (1_u32..4, 1_u32..4).prop_map(|(asn, id)| Speaker::new(asn, id.into()))
    }

    fn identity(speaker: Speaker) -> Identity {
        Identity { identifier: speaker.router_id, asn: speaker.asn, restarts: false }
    }

    proptest! {
        /// Both ends keep the same one, in whatever order each hears of the two.
        #[test]
        fn both_ends_agree(one in speakers(), other in speakers(), one_heard_ours_first: bool, other_heard_ours_first: bool) {
            prop_assume!(one != other);
            // The origin, as this end sees it, of what stays.
            let kept = |own: Speaker, peer: Speaker, ours_first: bool| {
                let (first, second) =
                    if ours_first { (Origin::Ours, Origin::Theirs) } else { (Origin::Theirs, Origin::Ours) };
                match resolve(own, identity(peer), second, Other { origin: first, phase: OPEN_CONFIRM }) {
                    Stays::This => second,
                    Stays::Other => first,
                    Stays::Both => panic!("both stay"),
                }
            };
            let (here, there) = (kept(one, other, one_heard_ours_first), kept(other, one, other_heard_ours_first));
            prop_assert_ne!(here, there, "what is ours here is theirs there");
        }
    }

    #[test]
    fn what_stands_stays_but_for_a_peer_that_restarted() {
        let own = Speaker::new(1, 9.into());
        let peer = |restarts| Identity { identifier: 10.into(), asn: 2, restarts };
        let stays =
            |restarts, origin, phase| resolve(own, peer(restarts), origin, Other { origin: Origin::Theirs, phase });
        assert_eq!(stays(false, Origin::Theirs, Phase::Established), Stays::Other);
        assert_eq!(stays(true, Origin::Theirs, Phase::Established), Stays::This);
        assert_eq!(stays(true, Origin::Ours, Phase::Established), Stays::Other);
        assert_eq!(stays(true, Origin::Theirs, Phase::OpenSent), Stays::Both);
        assert_eq!(stays(false, Origin::Theirs, Phase::OpenConfirm), Stays::This);
        assert_eq!(stays(false, Origin::Ours, Phase::OpenConfirm), Stays::Other);
    }
}
