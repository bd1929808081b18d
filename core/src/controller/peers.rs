// SPDX-License-Identifier: Apache-2.0
//! Peers that are added and removed while the server runs: durable first, then told to whoever announces routes.

use std::sync::Arc;

use super::{Controller, World, admission::Asker};
use crate::{
    command::{Answer, Failure, PeerCommand, Rejected},
    peer::{Peer, PeerAddress},
    ports::Write,
    rehearsal::Rehearsed,
    routing::{Routing, rehearsal},
};

impl<W: World> Controller<W> {
    pub(super) async fn change_peers(&mut self, command: PeerCommand, asker: &Asker) -> Result<Answer, Failure> {
        let routing = self.check_peers(&command)?;
        match command {
            PeerCommand::Add(peer) => {
                let answer = Answer::Peer(Peer { password: None, ..peer.clone() });
                let mut writes = vec![Write::Peer(peer.clone())];
                writes.extend(self.keep(asker, &answer, None));
                self.commit_peers(writes).await?;
                self.peers.insert(peer.address);
                routing.add(&peer);
                Ok(answer)
            }
            PeerCommand::Remove(address) => {
                self.commit_peers(vec![Write::NoPeer(address)]).await?;
                self.peers.remove(&address);
                routing.remove(address);
                Ok(Answer::Gone)
            }
        }
    }

    /// What the peer would be told.
    pub(super) fn rehearse_peers(&self, command: &PeerCommand) -> Result<Rehearsed, Rejected> {
        let routing = self.check_peers(command)?;
        let routes = match command {
            PeerCommand::Add(peer) => rehearsal::adding(&*routing, peer),
            PeerCommand::Remove(address) => rehearsal::removing(&*routing, *address),
        };
        Ok(Rehearsed { routes, ..Rehearsed::default() })
    }

    /// Whoever announces routes, if the wish can be granted.
    fn check_peers(&self, command: &PeerCommand) -> Result<Arc<dyn Routing>, Rejected> {
        let routing = self.board.routing().cloned().ok_or(Rejected::NoRouting)?;
        if let Some(owner) = routing.peers_belong_to() {
            return Err(Rejected::PeersElsewhere(owner));
        }
        let is_there = |address: PeerAddress| routing.peers().iter().any(|status| status.peer.address == address);
        match command {
            PeerCommand::Add(peer) if is_there(peer.address) => Err(Rejected::PeerExists(peer.address)),
            PeerCommand::Remove(address) if self.peers.contains(address) => Ok(routing),
            PeerCommand::Remove(address) if is_there(*address) => Err(Rejected::PeerIsAnOption(*address)),
            PeerCommand::Remove(address) => Err(Rejected::UnknownPeer(*address)),
            PeerCommand::Add(_) => Ok(routing),
        }
    }

    async fn commit_peers(&mut self, writes: Vec<Write>) -> Result<(), Failure> {
        self.write(writes).await.map_err(Failure::Store)
    }
}
