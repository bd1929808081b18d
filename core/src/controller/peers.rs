// SPDX-License-Identifier: Apache-2.0
//! Peers that are added and removed while the server runs: durable first, then told to whoever announces routes.

use super::{Controller, World};
use crate::{
    command::{Answer, Failure, PeerCommand, Rejected},
    peer::PeerAddress,
    ports::{Store, Write},
};

impl<W: World> Controller<W> {
    pub(super) async fn change_peers(&mut self, command: PeerCommand) -> Result<Answer, Failure> {
        let Some(routing) = self.board.routing().cloned() else { return Err(Rejected::NoRouting.into()) };
        if let Some(owner) = routing.peers_belong_to() {
            return Err(Rejected::PeersElsewhere(owner).into());
        }
        let is_there = |address: PeerAddress| routing.peers().iter().any(|status| status.peer.address == address);
        match command {
            PeerCommand::Add(peer) => {
                if is_there(peer.address) {
                    return Err(Rejected::PeerExists(peer.address).into());
                }
                self.commit_peers(Write::Peer(peer.clone())).await?;
                self.peers.insert(peer.address);
                routing.add(&peer);
                Ok(Answer::Peer(peer.address))
            }
            PeerCommand::Remove(address) if self.peers.contains(&address) => {
                self.commit_peers(Write::NoPeer(address)).await?;
                self.peers.remove(&address);
                routing.remove(address);
                Ok(Answer::Gone)
            }
            PeerCommand::Remove(address) if is_there(address) => Err(Rejected::PeerIsAnOption(address).into()),
            PeerCommand::Remove(address) => Err(Rejected::UnknownPeer(address).into()),
        }
    }

    async fn commit_peers(&mut self, write: Write) -> Result<(), Failure> {
        self.drivers.store.commit(vec![write]).await.map_err(Failure::Store)
    }
}
