// SPDX-License-Identifier: Apache-2.0
//! Leaving gracefully, and coming back.

use std::time::Duration;

use slb_core::{
    ports::Advertiser,
    routing::{PeerState, Routing, Shutdown},
    step::AdvertStep::Advertise,
};

use crate::{Bird, OWN, ROUTERS, Site, error, established, peer, peer_of, until, vip};

/// First the router is asked to prefer other ways, then the session ends with words; both can be taken back.
pub fn a_router_is_asked_to_prefer_other_ways_before_the_session_ends() {
    const MARK: &str = "(65535,0)";
    for (asn, of_the_way) in [(ROUTERS, MARK), (OWN, "BGP.local_pref: 0\n")] {
        let site = Site::new();
        let _bird = Bird::start(&site.router, "10.0.0.254", OWN, asn, None);
        let route = |last: u8| Bird::route(&site.router, &vip(last).to_string());
        site.speak(async |mut bgp| {
            bgp.apply(&[Advertise(vip(1))]).await;
            bgp.add_peer(peer_of(&format!("10.0.0.254:{asn}")));
            until("the route", || route(1).contains("BGP.next_hop").then_some(())).await;
            assert!(!route(1).contains(MARK), "{}", route(1));
            let shut_down = |after: u64, words: &str| {
                let words = words.to_owned().try_into().unwrap();
                bgp.shut_down(Shutdown { after: Duration::from_secs(after), words });
            };
            shut_down(3600, "");
            let is_marked = |last: u8| route(last).contains(MARK) && route(last).contains(of_the_way);
            until("the mark", || is_marked(1).then_some(())).await;
            bgp.clone().apply(&[Advertise(vip(2))]).await;
            until("the mark of a new route", || is_marked(2).then_some(())).await;
            bgp.come_back();
            until("no mark", || (!route(1).contains(MARK) && !route(2).contains(MARK)).then_some(())).await;

            shut_down(1, "new disks");
            error(&bgp, "10.0.0.254", "shut down").await;
            until("no route", || site.routes().is_empty().then_some(())).await;
            let told =
                site.router.sh(&format!("birdc -s /run/bird-{}/bird.ctl show protocols all slb", site.router.name()));
            assert!(told.contains("Administrative shutdown") && told.contains("new disks"), "{told}");
            assert!(bgp.shutdown().is_some_and(|status| status.is_down));
            // A peer that comes meanwhile is not connected to either.
            bgp.add_peer(peer_of(&format!("10.0.0.254:{asn}")));
            error(&bgp, "10.0.0.254", "shut down").await;
            assert_eq!(peer(&bgp, "10.0.0.254").state, PeerState::Idle);
            bgp.come_back();
            established(&bgp, "10.0.0.254").await;
            until("both routes", || (site.routes().len() == 2).then_some(())).await;
            assert!(bgp.shutdown().is_none() && !route(1).contains(MARK));
        });
    }
}
