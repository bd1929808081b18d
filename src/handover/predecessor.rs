// SPDX-License-Identifier: Apache-2.0
//! The server that started this process to go on for it. It is on the other end of standard input.

use std::{
    env,
    fs::File,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as Blocking,
    },
};

use rustix::process::{Pid, getppid};
use tokio::net::UnixStream;
use tracing::{info, warn};

use super::channel;

/// The process id of who hands over; for its child only, as `LISTEN_PID` is for one process only.
pub const VARIABLE: &str = "SLB_HANDOVER";

/// It goes on with its work until this process is [ready](Self::take_over).
#[derive(Debug)]
pub struct Predecessor {
    channel: Blocking,
}

impl Predecessor {
    /// The predecessor, if there is one, and what it hands over. Standard input is empty after that.
    ///
    /// # Errors
    /// It is gone, or hands over nothing.
    pub fn of_this_process() -> io::Result<Option<(Self, Vec<OwnedFd>)>> {
        let parent = getppid().map(|parent| Pid::as_raw(Some(parent)).to_string());
        if parent.is_none() || env::var(VARIABLE).ok() != parent {
            return Ok(None);
        }
        let channel = Blocking::from(io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let sockets = channel::take(&channel)?;
        Ok(Some((Self { channel }, sockets)))
    }

    /// Says that this process is ready to go on, and waits until the other has stopped taking clients. One that is gone has stopped, too.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn take_over(self) -> io::Result<()> {
        self.channel.set_nonblocking(true)?;
        let channel = UnixStream::from_std(self.channel)?;
        let agreed = async {
            channel::say(&channel).await?;
            channel::hear(&channel).await
        };
        match agreed.await {
            Ok(()) => info!("took over from the server before"),
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(error),
            Err(error) => warn!(%error, "took over; the server before has ended by itself"),
        }
        Ok(())
    }
}
