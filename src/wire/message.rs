//! What a protocol packet says, as views of its checked bytes.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::{Discard, Family, Net};
use crate::sys::time::Millis;

/// A received, valid message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message<'a, F: Family> {
    /// A query of any version.
    Query(Query<'a, F>),
    /// An IGMPv1, IGMPv2 or MLDv1 report: version 1 is IGMPv1 or MLDv1, version 2 IGMPv2.
    OldReport {
        /// 1 or 2.
        version: u8,
        /// The group.
        group: F::Addr,
    },
    /// An IGMPv2 leave or MLDv1 done.
    Leave {
        /// The group.
        group: F::Addr,
    },
    /// An IGMPv3 or MLDv2 report.
    Report(Records<'a, F>),
    /// Multicast router discovery. RFC 4286.
    Mrdisc(Mrdisc),
}

macro_rules! kinds {
    ($($variant:ident $name:literal,)*) => {
        /// The kind of a message; V1 and V2 are also those of MLD.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[expect(missing_docs, reason = "the names of the messages in the RFCs")]
        pub enum Kind { $($variant,)* }

        impl Kind {
            /// All kinds, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in `show counters` and the manual.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    QueryV1 "query-v1",
    QueryV2 "query-v2",
    QueryV3 "query-v3",
    ReportV1 "report-v1",
    ReportV2 "report-v2",
    ReportV3 "report-v3",
    Leave "leave",
    Advertisement "advertisement",
    Solicitation "solicitation",
    Termination "termination",
}

impl Kind {
    /// A query of an IGMP or MLD version.
    #[must_use]
    pub const fn query(version: u8) -> Self {
        match version {
            1 => Self::QueryV1,
            2 => Self::QueryV2,
            _ => Self::QueryV3,
        }
    }

    /// A report of an IGMP or MLD version.
    #[must_use]
    pub const fn report(version: u8) -> Self {
        match version {
            1 => Self::ReportV1,
            2 => Self::ReportV2,
            _ => Self::ReportV3,
        }
    }
}

/// Where a packet came from and went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<F: Family> {
    /// Its source.
    pub source: F::Addr,
    /// Its destination.
    pub destination: F::Addr,
    /// Its TTL or hop limit; one other than 1 is counted for IGMP.
    pub ttl: u8,
    /// What it is.
    pub kind: Kind,
}

/// A query. RFC 9776, section 4.1; RFC 9777, section 5.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query<'a, F: Family> {
    /// IGMP 1, 2 or 3; MLD 1 or 2.
    pub version: u8,
    /// Unspecified in a General Query.
    pub group: F::Addr,
    /// Maximum response time, decoded; IGMPv1: 10 s; at least 10 ms.
    pub max_response: Millis,
    /// S flag; false in older versions.
    pub suppress: bool,
    /// QRV; 0 in older versions.
    pub robustness: u8,
    /// QQIC, decoded; zero in older versions.
    pub query_interval: Millis,
    /// Sources of a group-and-source-specific query.
    pub sources: Sources<'a, F>,
}

/// The type of a group record. RFC 9776, section 4.2.13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of RFC 9776")]
pub enum RecordType {
    IsIn = 1,
    IsEx = 2,
    ToIn = 3,
    ToEx = 4,
    Allow = 5,
    Block = 6,
}

/// A group record whose type and group are valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a, F: Family> {
    /// Its type.
    pub kind: RecordType,
    /// Its group: routable.
    pub group: F::Addr,
    /// Its sources, as received: [`Sources::iter`] leaves out those that can be no source.
    pub sources: Sources<'a, F>,
}

/// The records of a report whose lengths were all checked; an item is a record or why it is skipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Records<'a, F: Family> {
    /// The octets from the first record on; each record is whole.
    pub(super) bytes: &'a [u8],
    /// Records left.
    pub(super) left: u16,
    /// Ranges of groups that no EXCLUDE record is taken for.
    pub(super) ssm: &'a [Net<F>],
}

/// A list of source addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sources<'a, F: Family> {
    /// A whole number of addresses.
    pub(super) bytes: &'a [u8],
    pub(super) family: PhantomData<F>,
}

/// A record that is skipped; the others of its report still apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped<F: Family> {
    /// Why.
    pub reason: Discard,
    /// Its group, as received.
    pub group: F::Addr,
    /// Its type, as received.
    pub record_type: u8,
}

/// A multicast router discovery message. RFC 4286, section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mrdisc {
    /// A router is there.
    Advertisement {
        /// Seconds between advertisements.
        interval: u8,
        /// Query interval in seconds; 0 when no querier runs.
        query_interval: u16,
        /// Robustness variable.
        robustness: u16,
    },
    /// Who is there?
    Solicitation,
    /// A router is there no more.
    Termination,
}
