// SPDX-License-Identifier: Apache-2.0
//! Questions: one object, or a list of them.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NetlinkDeserializable, NetlinkSerializable};

use crate::{
    Error, Request, Socket,
    reply::{Messages, Reply, decode},
};

impl<T: NetlinkSerializable + NetlinkDeserializable> Socket<T> {
    /// Asks for one object and returns the first that comes.
    ///
    /// # Errors
    /// [`Error::Refused`] with the kernel's errno, [`Error::NoReply`] if the kernel agreed and sent nothing.
    pub async fn request(&mut self, request: impl Into<Request<T>>) -> Result<T, Error> {
        let first = self.ask(&request.into(), NLM_F_ACK).await?;
        let mut answer = None;
        let verdict = 'answers: loop {
            self.receive().await?;
            for message in Messages::of(self.datagram()) {
                let (header, reply) = message?;
                if header.sequence_number != first {
                    continue;
                }
                match reply {
                    Reply::Object(payload) if answer.is_none() => {
                        answer = Some(decode(&header, payload)?);
                    }
                    Reply::Acknowledged => break 'answers Ok(()),
                    Reply::Refused(error) => break 'answers Err(Error::Refused(error)),
                    Reply::Overrun => return Err(Error::Overrun),
                    Reply::Object(_) | Reply::Done | Reply::Nothing => {}
                }
            }
        };
        self.end();
        verdict?;
        answer.ok_or(Error::NoReply)
    }

    /// Asks for a list (`NLM_F_DUMP` is set) and hands over one object after the other as they arrive.
    ///
    /// # Errors
    /// [`Error::Refused`] with the kernel's errno. [`Error::Interrupted`] after everything was handed over, if the kernel says
    /// that the table changed meanwhile: what was handed over may lack or repeat objects, dump again.
    pub async fn dump(&mut self, request: impl Into<Request<T>>, mut each: impl FnMut(T)) -> Result<(), Error> {
        let first = self.ask(&request.into(), NLM_F_DUMP).await?;
        let mut interrupted = false;
        let verdict = 'answers: loop {
            self.receive().await?;
            for message in Messages::of(self.datagram()) {
                let (header, reply) = message?;
                if header.sequence_number != first {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match reply {
                    Reply::Object(payload) => each(decode(&header, payload)?),
                    Reply::Done | Reply::Acknowledged => break 'answers Ok(()),
                    Reply::Refused(error) => break 'answers Err(Error::Refused(error)),
                    Reply::Overrun => return Err(Error::Overrun),
                    Reply::Nothing => {}
                }
            }
        };
        self.end();
        verdict?;
        if interrupted { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Sends one request; returns its sequence number.
    async fn ask(&mut self, request: &Request<T>, flags: u16) -> Result<u32, Error> {
        self.begin()?;
        let limit = self.limits.whole;
        self.pack.clear();
        let size = self.pack.size_with(&request.payload);
        if size > limit {
            return Err(Error::TooLarge { index: 0, size, limit });
        }
        let sequence = self.sequence();
        self.pack.push(request, flags, sequence);
        self.send().await
    }
}
