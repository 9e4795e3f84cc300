//! Where IGMP and MLD put what they have in common.

use super::{Address, Family, Net};

/// The numbers in which the two families' messages differ.
#[derive(Clone, Copy, Debug)]
pub struct Layout<F: Family> {
    /// Type of a query.
    pub(super) query: u8,
    /// Types of the reports before the newest, version 1 first.
    pub(super) old_reports: &'static [u8],
    /// Type of a leave or done.
    pub(super) leave: u8,
    /// Type of a report with records.
    pub(super) report: u8,
    /// Type of an MRDISC advertisement; solicitation and termination follow. RFC 4286, section 5.
    pub(super) mrdisc: u8,
    /// Octets of a query before its group.
    pub(super) before_group: usize,
    /// The newest version: that of queries with sources and of reports with records.
    pub newest: u8,
    /// Octets of the IP headers of a message, Router Alert included.
    pub(super) ip_headers: usize,
    /// Octets of a packet that every link carries (RFC 791; RFC 8200, section 5).
    pub(super) least_mtu: usize,
    /// The source-specific groups. RFC 4607, section 1.
    pub(super) ssm: Net<F>,
}

/// What a type number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Query,
    OldReport(u8),
    Leave,
    Report,
    Advertisement,
    Solicitation,
    Termination,
}

/// Octets of a report before its records, of an advertisement.
pub(super) const REPORT_HEAD: usize = 8;
/// Octets of an MRDISC solicitation or termination.
pub(super) const MRDISC_SHORT: usize = 4;
/// Octets of a query of the newest version from its group to its sources.
pub(super) const QUERY_TAIL: usize = 4;
/// Octets of a record before its group.
pub(super) const RECORD_HEAD: usize = 4;

impl Type {
    /// What the number says in this family.
    pub(super) fn of<F: Family>(number: u8) -> Option<Self> {
        let layout = F::LAYOUT;
        let old = || layout.old_reports.iter().zip(1..).find(|(t, _)| **t == number);
        Some(match number {
            n if n == layout.report => Self::Report,
            n if n == layout.query => Self::Query,
            n if n == layout.leave => Self::Leave,
            n => match (n.checked_sub(layout.mrdisc), old()) {
                (_, Some((_, version))) => Self::OldReport(version),
                (Some(0), None) => Self::Advertisement,
                (Some(1), None) => Self::Solicitation,
                (Some(2), None) => Self::Termination,
                (_, None) => return None,
            },
        })
    }

    /// Octets of such a message at least.
    pub(super) fn least<F: Family>(self) -> usize {
        match self {
            Self::Query | Self::OldReport(_) | Self::Leave => old_length::<F>(),
            Self::Report | Self::Advertisement => REPORT_HEAD,
            Self::Solicitation | Self::Termination => MRDISC_SHORT,
        }
    }
}

/// Octets of a query, report or leave that has no sources: its group is the last of it.
pub(super) fn old_length<F: Family>() -> usize {
    F::LAYOUT.before_group.wrapping_add(F::Addr::LEN)
}
