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
mod build;
mod checksum;
mod discard;
mod ip;
mod layout;
mod message;
mod parse;
mod time_code;

pub use addr::{Address, Af, Family, GroupScope, Net, V4, V6};
pub use build::{
    QuerySpec, ReportBuilder, Sender, leave, mrdisc, old_report, query, sources_in_query,
};
pub use discard::Discard;
pub use ip::{parse_icmp6, parse_ipv4, parse_ipv6, router_alert_in_hop_by_hop};
pub use layout::Layout;
pub use message::{
    Header, Kind, Message, Mrdisc, Query, Record, RecordType, Records, Skipped, Sources,
};
pub use parse::Parsed;
pub use time_code::{decode8, decode16, encode8, encode16};

/// The source-specific groups where no range is configured: 232.0.0.0/8; ff3x::/32 for every x.
#[must_use]
pub fn default_ssm<F: Family>() -> Net<F> {
    F::LAYOUT.ssm
}

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
