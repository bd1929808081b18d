// SPDX-License-Identifier: Apache-2.0
//! Runs a command. It is the leader of a process group, which is killed if it takes too long.

use std::{io, net::SocketAddr, process::Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use slb_core::model::check;
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver, process::Command, select, sync::Semaphore};

use crate::failure::{Failure, quote};

/// Processes at a time: more would only be in each other's way. Others wait, within the time that they have.
pub(super) const AT_A_TIME: usize = 64;
/// Bytes of what it says that are kept.
const LONGEST: usize = 1 << 10;
/// What it has instead of this process's environment, in which there are secrets.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process group, which ends with this.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // One that has ended has nobody to kill. Its number is not given to others: nobody has waited for the leader.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

pub(super) async fn ask(command: &check::Command, to: SocketAddr, slots: &Semaphore) -> Result<(), Failure> {
    let _slot = slots.acquire().await;
    let (output, input) = io::pipe().map_err(Failure::to("open a pipe"))?;
    let mut output = Receiver::from_owned_fd(output.into()).map_err(Failure::to("open a pipe"))?;
    // What holds this end of the pipe is gone after this statement, but for the command.
    let mut child = Command::new(command.program())
        .args(command.arguments())
        .env_clear()
        .env("PATH", PATH)
        .env("SLB_BACKEND_IP", to.ip().to_string())
        .env("SLB_BACKEND_PORT", to.port().to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(input.try_clone().map_err(Failure::to("open a pipe"))?)
        .stderr(input)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(Failure::to("start the command"))?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let (mut said, mut is_open) = (Vec::new(), true);
    let status = loop {
        select! {
            // What it said before its end is read before its end is seen.
            biased;
            // Cancel-safe: bytes are taken or not.
            read = output.read_buf(&mut said), if is_open => {
                is_open = read.is_ok_and(|count| count > 0);
                said.truncate(LONGEST);
            }
            // Cancel-safe: it says the same again.
            status = child.wait() => break status,
        }
    };
    group.0 = None;
    let status = status.map_err(Failure::to("wait for the command"))?;
    if status.success() {
        return Ok(());
    }
    let words = quote(said.trim_ascii());
    let colon = if words.is_empty() { "" } else { ": " };
    Err(Failure::Wrong(format!("the command ended with {status}{colon}{words}")))
}
