// SPDX-License-Identifier: Apache-2.0
//! Questions: one object, or a list of them.

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NetlinkDeserializable, NetlinkSerializable};

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
        self.start_ask(&request.into(), 0)?;
        self.pack.push_barrier();
        self.send().await?;
        let mut answer = None;
        let mut answered = false;
        while !answered {
            self.receive().await?;
            for message in Messages::of(self.datagram()) {
                let (header, reply) = message?;
                match (self.pack.position(header.sequence_number), reply) {
                    (0, Reply::Object(payload)) if answer.is_none() => answer = Some(decode(&header, payload)?),
                    // The barrier is read away by the next operation.
                    (0, Reply::Refused(error)) => return Err(Error::Refused(error)),
                    (0 | 1, Reply::Overrun) => return Err(Error::Overrun),
                    (1, Reply::Acknowledged) => answered = true,
                    _ => {}
                }
            }
        }
        self.end();
        answer.ok_or(Error::NoReply)
    }

    /// Asks for a list (`NLM_F_DUMP` is set) and hands over one object after the other as they arrive.
    ///
    /// # Errors
    /// [`Error::Refused`] with the kernel's errno. [`Error::Interrupted`] after everything was handed over, if the kernel says
    /// that the table changed meanwhile: what was handed over may lack or repeat objects, dump again.
    pub async fn dump(&mut self, request: impl Into<Request<T>>, each: impl FnMut(T)) -> Result<(), Error> {
        self.dump_as(request, each).await
    }

    /// The same of answers that are decoded another way, of which less is read for instance.
    ///
    /// # Errors
    /// Those of [`Socket::dump`].
    pub async fn dump_as<A: NetlinkDeserializable>(
        &mut self,
        request: impl Into<Request<T>>,
        mut each: impl FnMut(A),
    ) -> Result<(), Error> {
        self.start_ask(&request.into(), NLM_F_DUMP)?;
        self.send().await?;
        let mut interrupted = false;
        let verdict = 'answers: loop {
            self.receive().await?;
            for message in Messages::of(self.datagram()) {
                let (header, reply) = message?;
                if self.pack.position(header.sequence_number) != 0 {
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

    /// Starts a pack with one request.
    fn start_ask(&mut self, request: &Request<T>, flags: u16) -> Result<(), Error> {
        self.begin()?;
        let limit = self.limits.bytes;
        self.start_pack();
        let size = self.pack.size_with(&request.payload);
        if size > limit {
            return Err(Error::TooLarge { index: 0, size, limit });
        }
        self.pack.push(request, flags);
        Ok(())
    }
}
