// SPDX-License-Identifier: Apache-2.0
//! Peers that are added and removed while the server runs: durable first, then told to whoever announces routes.

use super::{Controller, World, admission::Asker};
use crate::{
    command::{Answer, Failure, PeerCommand, Rejected},
    peer::{Peer, PeerAddress},
    ports::Write,
};

impl<W: World> Controller<W> {
    pub(super) async fn change_peers(&mut self, command: PeerCommand, asker: &Asker) -> Result<Answer, Failure> {
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
                let answer = Answer::Peer(Peer { password: None, ..peer.clone() });
                let mut writes = vec![Write::Peer(peer.clone())];
                writes.extend(self.keep(asker, &answer, None));
                self.commit_peers(writes).await?;
                self.peers.insert(peer.address);
                routing.add(&peer);
                Ok(answer)
            }
            PeerCommand::Remove(address) if self.peers.contains(&address) => {
                self.commit_peers(vec![Write::NoPeer(address)]).await?;
                self.peers.remove(&address);
                routing.remove(address);
                Ok(Answer::Gone)
            }
            PeerCommand::Remove(address) if is_there(address) => Err(Rejected::PeerIsAnOption(address).into()),
            PeerCommand::Remove(address) => Err(Rejected::UnknownPeer(address).into()),
        }
    }

    async fn commit_peers(&mut self, writes: Vec<Write>) -> Result<(), Failure> {
        self.write(writes).await.map_err(Failure::Store)
    }
}
