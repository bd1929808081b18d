// SPDX-License-Identifier: Apache-2.0
//! nftables over netlink, for those who keep a table of their own there. `words` says things to the kernel, `message` is what goes over
//! the wire. A change travels as one batch that takes place as a whole.

use netlink::{Socket, protocols::NETLINK_NETFILTER};
use slb_core::model::Family;

use crate::Error;

pub(crate) mod message;
pub(crate) mod words;

use message::{Element, Message, Rule};
use words::Change;

/// How often a table is read again that changes while it is read.
const ATTEMPTS: usize = 5;

/// Talks to nftables.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket<Message>,
    family: Family,
}

impl Connection {
    /// `None` on a kernel without netfilter's netlink.
    pub(crate) fn open(family: Family) -> Result<Option<Self>, Error> {
        match Socket::open(NETLINK_NETFILTER) {
            Ok(socket) => Ok(Some(Self { socket, family })),
            Err(netlink::Error::Open { source, .. }) if is_unsupported(source.raw_os_error().unwrap_or_default()) => {
                Ok(None)
            }
            Err(source) => Err(Error::Open { what: "nftables", source }),
        }
    }

    /// The family of addresses that it is about.
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// Whether the kernel would take these changes. It checks a batch as it comes, and drops one that has no end
    /// (`nfnetlink_rcv_batch`), so that this changes nothing.
    pub(crate) async fn would_take(&mut self, changes: Vec<Change>) -> Result<bool, Error> {
        let answers = self.socket.transact_atomic(words::unfinished(changes)).await;
        let answers = answers.map_err(|source| Error::Change { what: "nftables", source })?;
        match answers.into_iter().find_map(Result::err) {
            None => Ok(true),
            Some(error) if is_unsupported(error.errno()) => Ok(false),
            Some(error) => Err(Error::Nftables(error)),
        }
    }

    /// Carries out the changes, all of them or none.
    pub(crate) async fn commit(&mut self, changes: Vec<Change>) -> Result<(), Error> {
        let answers = self.socket.transact_atomic(words::batch(changes)).await;
        let answers = answers.map_err(|source| Error::Change { what: "nftables", source })?;
        answers.into_iter().find_map(Result::err).map_or(Ok(()), |error| Err(Error::Nftables(error)))
    }

    /// What `read` makes of a table, which is read again if it changes, or goes away, meanwhile.
    pub(crate) async fn observe<T>(
        &mut self,
        what: &'static str,
        read: impl AsyncFn(&mut Self) -> Result<T, netlink::Error>,
    ) -> Result<T, Error> {
        let mut attempt = 1;
        loop {
            match read(self).await {
                Err(error)
                    if attempt < ATTEMPTS && (matches!(error, netlink::Error::Interrupted) || is_missing(&error)) =>
                {
                    attempt += 1;
                }
                other => return other.map_err(|source| Error::Read { what, source }),
            }
        }
    }

    /// The rules of a table, `None` if there is no such table.
    pub(crate) async fn rules(&mut self, table: &str) -> Result<Option<Vec<Rule>>, netlink::Error> {
        match self.socket.request(words::get_table(self.family, table)).await {
            Ok(_) => {}
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut rules = Vec::new();
        let found = |message| rules.extend(words::rule_of(table, message));
        self.socket.dump(words::get_rules(self.family, table), found).await?;
        Ok(Some(rules))
    }

    /// The elements of a set or map, as they arrive. Whether there is such a set.
    pub(crate) async fn elements(
        &mut self,
        table: &str,
        set: &str,
        mut each: impl FnMut(Element),
    ) -> Result<bool, netlink::Error> {
        let found = |message| {
            if let Message::Elements(elements) = message {
                elements.into_iter().for_each(&mut each);
            }
        };
        match self.socket.dump(words::get_elements(self.family, table, set), found).await {
            Ok(()) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_missing(error: &netlink::Error) -> bool {
    error.refusal().is_some_and(|refusal| refusal.errno() == libc::ENOENT)
}

/// What the kernel answers where a family, a type of chain or an expression is not there.
fn is_unsupported(errno: i32) -> bool {
    matches!(errno, libc::EOPNOTSUPP | libc::ENOENT | libc::EINVAL | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT)
}
