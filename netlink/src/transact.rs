// SPDX-License-Identifier: Apache-2.0
//! Many requests, one verdict for each.

use netlink_packet_core::{NLM_F_ACK, NetlinkSerializable};

use crate::{
    Error, KernelError, Request, Socket,
    reply::{Messages, Reply},
};

impl<T: NetlinkSerializable> Socket<T> {
    /// Executes the requests in order and says for each what the kernel made of it.
    ///
    /// They travel in packs of about 100 kB. A refused request does not stop those after it. Objects that the kernel
    /// sends in answer are passed over; use [`Socket::request`] for those.
    ///
    /// # Errors
    /// An error means that the verdicts are not known: requests up to the failing pack may have been executed.
    pub async fn transact<I>(&mut self, requests: I) -> Result<Vec<Result<(), KernelError>>, Error>
    where
        I: IntoIterator<Item = Request<T>>,
    {
        self.begin()?;
        let mut verdicts = Vec::new();
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let done = verdicts.len();
            self.start_pack();
            let taken = self.pack.fill(&mut requests, self.limits, done)?;
            verdicts.resize(done + taken, Ok(()));
            self.send().await?;
            let (_, pack) = verdicts.split_at_mut(done);
            self.settle(pack).await?;
        }
        self.end();
        Ok(verdicts)
    }

    /// Reads answers until the barrier of the pack is answered.
    async fn settle(&mut self, verdicts: &mut [Result<(), KernelError>]) -> Result<(), Error> {
        let barrier = verdicts.len();
        let mut settled = false;
        while !settled {
            self.receive().await?;
            for message in Messages::of(self.datagram()) {
                let (header, reply) = message?;
                let index = self.pack.position(header.sequence_number);
                settled |= index == barrier && reply == Reply::Acknowledged;
                if let Some(verdict) = verdicts.get_mut(index) {
                    note(verdict, reply)?;
                }
            }
        }
        Ok(())
    }

    /// Sends a sequence of messages, each with the flags given, in one single send, and says what the kernel answered to each.
    ///
    /// This is what nf_tables needs: everything between `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END` takes place, or
    /// nothing does. Give `NLM_F_ACK` to the last message that the kernel acknowledges. `Ok` means that the message was not refused;
    /// **the sequence took place only if no verdict is an error**. A failure of the whole (a commit) is the verdict of the first message.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the sequence does not fit into one send: nothing was sent. Else the outcome is unknown.
    pub async fn transact_atomic<I>(&mut self, requests: I) -> Result<Vec<Result<(), KernelError>>, Error>
    where
        I: IntoIterator<Item = Request<T>>,
    {
        self.begin()?;
        let mut waiting = self.pack_whole(requests)?;
        let mut verdicts = vec![Ok(()); waiting.len()];
        if verdicts.is_empty() {
            self.end();
            return Ok(verdicts);
        }
        self.send().await?;
        loop {
            // The kernel has answered when `send` returns. An aborted batch leaves acknowledgements out,
            // so it is over when the queue is empty and some message was refused.
            let over = !waiting.contains(&true) || verdicts.iter().any(Result::is_err);
            if !self.try_receive()? {
                if over {
                    break;
                }
                self.receive().await?;
            }
            for message in Messages::of(self.datagram()) {
                let (header, reply) = message?;
                let index = self.pack.position(header.sequence_number);
                let Some(verdict) = verdicts.get_mut(index) else { continue };
                if let (true, Some(waiting)) = (note(verdict, reply)?, waiting.get_mut(index)) {
                    *waiting = false;
                }
            }
        }
        self.end();
        Ok(verdicts)
    }

    /// Packs all of `requests`; says which of them ask for an answer.
    fn pack_whole<I>(&mut self, requests: I) -> Result<Vec<bool>, Error>
    where
        I: IntoIterator<Item = Request<T>>,
    {
        let limit = self.limits.whole;
        self.start_pack();
        let mut waiting = Vec::new();
        for request in requests {
            let size = self.pack.size_with(&request.payload);
            if size > limit {
                return Err(Error::TooLarge { index: waiting.len(), size, limit });
            }
            self.pack.push(&request, 0);
            waiting.push(request.flags & NLM_F_ACK != 0);
        }
        Ok(waiting)
    }
}

/// Writes a reply down as the verdict of its request; `true` if the reply says that the request is done with.
fn note(verdict: &mut Result<(), KernelError>, reply: Reply<'_>) -> Result<bool, Error> {
    match reply {
        Reply::Acknowledged => Ok(true),
        Reply::Refused(error) => {
            *verdict = Err(error);
            Ok(true)
        }
        Reply::Overrun => Err(Error::Overrun),
        Reply::Object(_) | Reply::Done | Reply::Nothing => Ok(false),
    }
}
