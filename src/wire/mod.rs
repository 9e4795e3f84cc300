//! Bytes to meaning and back: IPv4 headers, IGMPv1-3, MLDv1-2, MRDISC. No I/O, no allocation before
//! the length checks, no panic on any bytes.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

mod addr;
mod discard;
mod message;

pub use addr::{Address, Af, Family, GroupScope, Net, V4, V6};
pub use discard::Discard;
pub use message::{
    Header, Kind, Message, Mrdisc, Query, Record, RecordType, Records, Skipped, Sources,
};

/// What validation has to know of the interface that a packet arrived on.
#[derive(Clone, Copy, Debug)]
pub struct Receiver<'a, F: Family> {
    /// Our addresses there, with their networks.
    pub addresses: &'a [Net<F>],
    /// Further networks whose reports are taken.
    pub sources: &'a [Net<F>],
    /// Reports are taken from those networks only (IGMP).
    pub verify_source_subnet: bool,
    /// Router Alert is required of IGMP too.
    pub require_router_alert: bool,
    /// Ranges of source-specific groups.
    pub ssm: &'a [Net<F>],
}
