// SPDX-License-Identifier: Apache-2.0
//! What is sent: a payload and the flags of its netlink header.

/// One netlink message on its way to the kernel.
///
/// `NLM_F_REQUEST` is set on every message; what else an operation needs (`NLM_F_ACK`, `NLM_F_DUMP`) it adds itself.
///
/// ```
/// use netlink::Request;
/// use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
///
/// let plain = Request::from("payload");
/// let create = Request::new("payload", NLM_F_CREATE | NLM_F_EXCL);
/// assert_eq!(plain.flags, 0);
/// assert_eq!(create.payload, plain.payload);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<T> {
    /// The message of the protocol, for example a `GenlMessage<…>`.
    pub payload: T,
    /// `NLM_F_…` flags beside `NLM_F_REQUEST` (`nlmsghdr.nlmsg_flags`, linux/netlink.h).
    pub flags: u16,
}

impl<T> Request<T> {
    /// A request with flags of its own, such as `NLM_F_CREATE | NLM_F_EXCL`.
    pub fn new(payload: T, flags: u16) -> Self {
        Request { payload, flags }
    }
}

impl<T> From<T> for Request<T> {
    fn from(payload: T) -> Self {
        Request { payload, flags: 0 }
    }
}
