// SPDX-License-Identifier: Apache-2.0
//! A Unix socket between a server and its successor: descriptors go one way, and then a byte each way. An end that is closed says that
//! its process is gone.
//!
//! Servers of different versions speak by it, so it stays as it is.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream as Blocking,
    },
};

use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
};
use tokio::{io::Interest, net::UnixStream};

/// As many as a message takes (`SCM_MAX_FD`, net/scm.h).
const AT_ONCE: usize = 253;

/// What goes with descriptors when there are more to come.
const MORE: u8 = 1;
/// What goes with the last of them.
const LAST: u8 = 0;
/// What says that an end is ready, or that it is to go on.
const READY: u8 = b'R';

/// Sends all of them, as the other end takes them: there may be more than the socket holds. They stay open here.
///
/// # Errors
/// Those of sendmsg(2): the other end is gone, or may not be given so many.
pub async fn give(to: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut parts = descriptors.chunks(AT_ONCE).peekable();
    while let Some(part) = parts.next() {
        let mark = if parts.peek().is_some() { MORE } else { LAST };
        loop {
            to.writable().await?;
            match to.try_io(Interest::WRITABLE, || send(to, mark, part)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                sent => break sent?,
            }
        }
    }
    Ok(())
}

fn send(to: &UnixStream, mark: u8, part: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(part));
    sendmsg(to, &[IoSlice::new(&[mark])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives all that the other end [gives](give).
///
/// # Errors
/// The other end is gone, says something else, or gives more than this process may have.
pub fn take(from: &Blocking) -> io::Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::new();
    loop {
        let mut mark = [0];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(from, &mut [IoSliceMut::new(&mut mark)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(part) = message {
                descriptors.extend(part);
            }
        }
        if received.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
            return Err(io::Error::other("there are more descriptors than this process may have open (ulimit -n)"));
        }
        match (received.bytes, mark) {
            (0, _) => return Err(ErrorKind::UnexpectedEof.into()),
            (_, [MORE]) => {}
            (_, [LAST]) => return Ok(descriptors),
            _ => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// Tells the other end to go on.
///
/// # Errors
/// It is gone.
pub async fn say(to: &UnixStream) -> io::Result<()> {
    loop {
        to.writable().await?;
        match to.try_write(&[READY]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            written => return written.map(drop),
        }
    }
}

/// Waits for the other end to say so. Cancel-safe: what has come stays until it is read.
///
/// # Errors
/// It is gone, or says something else.
pub async fn hear(from: &UnixStream) -> io::Result<()> {
    let mut said = [0];
    loop {
        from.readable().await?;
        match from.try_read(&mut said) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) if said == [READY] => return Ok(()),
            Ok(_) => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsFd};

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use socket2::SockRef;
    use tokio::task::spawn_blocking;

    use super::*;

    #[tokio::test]
    async fn many_listeners_arrive() {
        let (here, there) = UnixStream::pair().unwrap();
        // It holds a few messages at a time.
        SockRef::from(&here).set_send_buffer_size(0).unwrap();
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let many = 12 * AT_ONCE + 1;
        let there = there.into_std().unwrap();
        there.set_nonblocking(false).unwrap();
        let taken = spawn_blocking(move || take(&there).unwrap());
        give(&here, &vec![listener.as_fd(); many]).await.unwrap();
        let taken = taken.await.unwrap();
        assert_eq!(taken.len(), many);
        let address = listener.local_addr().unwrap();
        drop(listener);
        for socket in taken {
            assert_eq!(TcpListener::from(socket).local_addr().unwrap(), address);
        }
    }

    #[test]
    fn half_of_it_is_nothing() {
        let (here, there) = Blocking::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let given = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&given)));
        sendmsg(&here, &[IoSlice::new(&[MORE])], &mut control, SendFlags::NOSIGNAL).unwrap();
        drop(here);
        assert!(take(&there).is_err());
    }
}
