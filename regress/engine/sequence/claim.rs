//! What one host asks for in one group.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mcast_proxy::imsg::ctl::Mode;
use mcast_proxy::wire::RecordType;

/// A subscription.
pub(super) type Claim = (Mode, BTreeSet<IpAddr>);

/// Asks for nothing.
pub(super) fn nothing() -> Claim {
    (Mode::Include, BTreeSet::new())
}

/// What a host asks for after a record, by RFC 9776, section 4.2.13. One of its current state may be
/// a part of the truth.
pub(super) fn after((mode, sources): Claim, kind: RecordType, list: &BTreeSet<IpAddr>) -> Claim {
    match (kind, mode) {
        (RecordType::ToIn, _) => (Mode::Include, list.clone()),
        (RecordType::ToEx | RecordType::IsEx, _) => (Mode::Exclude, list.clone()),
        (RecordType::Allow | RecordType::IsIn, Mode::Include)
        | (RecordType::Block, Mode::Exclude) => (mode, &sources | list),
        (RecordType::Allow | RecordType::IsIn, Mode::Exclude)
        | (RecordType::Block, Mode::Include) => (mode, &sources - list),
    }
}

/// Whether it asks for a source.
pub(super) fn wants((mode, sources): &Claim, source: IpAddr) -> bool {
    sources.contains(&source) == (*mode == Mode::Include)
}
