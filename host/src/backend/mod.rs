// SPDX-License-Identifier: Apache-2.0
//! The other side of direct routing and of tunnels: a *backend's* host, which has to take packets for a VIP without telling the network
//! that the VIP lives there.
//!
//! ```text
//!  client ──▶ VIP   the load-balancer sends the packet on as it is (DR), or in a tunnel (TUN); its destination is still the VIP
//!  backend          has the VIP on a device that no network is behind, and answers ARP for addresses of the asked adapter only
//!  VIP ──▶ client   the answer goes to the client directly
//! ```
//! The rooms, in the order to read: `wish` is what is asked for; `device` and `step` are what can be done, each printed as the command that
//! would do the same; `record` is what was there before; `plan` is the way from what is found to what is wished, pure; `kernel` reads and
//! carries out; `fou` is the port that GUE packets arrive at, `clamp` what clients are told to send at once.
//!
//! **Nothing is kept in files.** What was there before is written on slb's own device, as its alias, before it is changed: it belongs to
//! the network namespace, and a reboot takes both. So the set-up is made anew at each boot (deploy/slb-backend.service); what is there
//! already is not written again.

mod clamp;
mod device;
mod error;
mod fou;
mod kernel;
mod plan;
mod record;
mod step;
mod wish;

pub use error::{Error, NotWished};
pub use kernel::Kernel;
pub use plan::Plan;
pub use step::Step;
pub use wish::{Family, Tunnel, Wish};
