//! The protocol, without I/O: inputs and the time go in, actions come out.
//!
//! The same inputs give the same actions: time is an argument, chance is seeded. Inputs and actions
//! are serde types, so that a run can be recorded and replayed.

pub mod chance;
pub mod deadline;
pub mod groups;
pub mod host;
pub mod link;
pub mod members;
pub mod mrt;
pub mod slab;
pub mod slot;
pub mod timers;

use serde::{Deserialize, Serialize};

use crate::imsg::ctl::{Event, Reply, Request};
use crate::imsg::{Notice, Order, Packet, Transmit};

/// What happens to the core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A protocol packet arrived.
    Packet(Packet),
    /// The parent said something; the descriptors among it stay in the shell.
    Parent(Notice),
    /// A control client asks. Tables are asked for with [`Core::show`](Self).
    Control {
        /// Who.
        client: u32,
        /// What.
        request: Request,
    },
    /// Nothing but the time.
    Time,
}

/// What the core wants done, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Tell the parent.
    Parent(Order),
    /// Send a protocol packet.
    Transmit(Transmit),
    /// Something happened that `monitor` and `show events` tell.
    Event(Event),
    /// Answer a control client.
    Reply {
        /// Whom.
        client: u32,
        /// What.
        reply: Reply,
    },
    /// A notice for the log, already rate-limited.
    Log(String),
}
