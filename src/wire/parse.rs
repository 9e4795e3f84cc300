//! The messages of both families; their order of checks is that of the sections cited.

use std::iter::FusedIterator;
use std::marker::PhantomData;

use super::layout::{QUERY_TAIL, RECORD_HEAD, REPORT_HEAD, Type};
use super::{
    Address, Af, Discard, Family, GroupScope, Header, Kind, Message, Mrdisc, Net, Query, Receiver,
    Record, RecordType, Records, Skipped, Sources, decode8, decode16,
};
use crate::sys::time::Millis;

/// A message that may have an effect, or why it has none.
pub type Parsed<'a, F> = Result<(Header<F>, Message<'a, F>), Discard>;

/// The response time of a query that names none. RFC 9776, section 7.2.1.
const IGMP1_RESPONSE: Millis = Millis(10_000);
/// The least response time: a query with less asks for answers at once.
const LEAST_RESPONSE: Millis = Millis(10);

/// How a message came.
#[derive(Clone, Copy)]
pub(super) struct Arrival<F: Family> {
    pub(super) source: F::Addr,
    pub(super) destination: F::Addr,
    pub(super) ttl: u8,
}

/// The type of a message that is long enough for it; `None` for one that is not ours.
pub(super) fn message_type<F: Family>(message: &[u8]) -> Result<Option<Type>, Discard> {
    let kind = message.first().and_then(|number| Type::of::<F>(*number));
    let least = kind.map_or(REPORT_HEAD, Type::least::<F>);
    if message.len() < least { Err(Discard::Length) } else { Ok(kind) }
}

/// Parses a message of a known type, long enough for it, whose headers and checksum are right.
pub(super) fn message<'a, F: Family>(
    kind: Type,
    arrival: Arrival<F>,
    bytes: &'a [u8],
    receiver: &Receiver<'a, F>,
) -> Parsed<'a, F> {
    if receiver.addresses.iter().any(|net| net.address == arrival.source) {
        return Err(Discard::Own);
    }
    let group = || bytes.get(F::LAYOUT.before_group..).and_then(F::Addr::from_prefix);
    let (kind, message) = match kind {
        Type::Query => {
            let query = query(bytes)?;
            (Kind::query(query.version), Message::Query(query))
        }
        Type::OldReport(version) => {
            let group = group().ok_or(Discard::Length)?;
            check_group(group)?;
            let ours = || receiver.addresses.iter().any(|net| net.address == arrival.destination);
            if arrival.destination != group && !ours() {
                return Err(Discard::Destination);
            }
            check_older(arrival.source, group, receiver)?;
            (Kind::report(version), Message::OldReport { version, group })
        }
        Type::Leave => {
            let group = group().ok_or(Discard::Length)?;
            check_group(group)?;
            check_older(arrival.source, group, receiver)?;
            (Kind::Leave, Message::Leave { group })
        }
        Type::Report => {
            let records = records(bytes, receiver.ssm)?;
            check_source(arrival.source, receiver)?;
            (Kind::report(F::LAYOUT.newest), Message::Report(records))
        }
        Type::Advertisement => (Kind::Advertisement, Message::Mrdisc(advertisement(bytes)?)),
        Type::Solicitation => (Kind::Solicitation, Message::Mrdisc(Mrdisc::Solicitation)),
        Type::Termination => (Kind::Termination, Message::Mrdisc(Mrdisc::Termination)),
    };
    let Arrival { source, destination, ttl } = arrival;
    Ok((Header { source, destination, ttl, kind }, message))
}

/// RFC 9776, section 7.1; RFC 9777, section 8.1: the length tells the version.
fn query<F: Family>(bytes: &[u8]) -> Result<Query<'_, F>, Discard> {
    let (head, rest) = bytes.split_at_checked(F::LAYOUT.before_group).ok_or(Discard::Length)?;
    let (group, tail) = rest.split_at_checked(F::Addr::LEN).ok_or(Discard::Length)?;
    let group = F::Addr::from_prefix(group).ok_or(Discard::Length)?;
    let version = match (F::AF, head, tail.len()) {
        (Af::Ip4, [_, 0, ..], 0) | (Af::Ip6, _, 0) => 1,
        (Af::Ip4, _, 0) => 2,
        (_, _, QUERY_TAIL..) => F::LAYOUT.newest,
        (_, _, _) => return Err(Discard::QueryLength),
    };
    let (flags, interval, sources) = match tail {
        [flags, interval, n0, n1, rest @ ..] => {
            let count = usize::from(u16::from_be_bytes([*n0, *n1]));
            (*flags, *interval, Sources::take(rest, count).ok_or(Discard::Truncated)?.0)
        }
        _ => (0, 0, Sources::default()),
    };
    if !(group.is_multicast() || group.is_unspecified() && sources.is_empty()) {
        return Err(Discard::QueryGroup);
    }
    Ok(Query {
        version,
        group,
        max_response: max_response::<F>(version, head).max(LEAST_RESPONSE),
        suppress: flags & 0x08 != 0,
        robustness: flags & 0x07,
        query_interval: Millis::from_secs(decode8(interval)),
        sources,
    })
}

/// The response time that the octets before the group name; IGMPv2 and MLDv1 have no float.
fn max_response<F: Family>(version: u8, head: &[u8]) -> Millis {
    let tenths = |n: u32| Millis(n.saturating_mul(100));
    match (F::AF, version, head) {
        (Af::Ip4, 1, _) => IGMP1_RESPONSE,
        (Af::Ip4, 2, [_, code, ..]) => tenths(u32::from(*code)),
        (Af::Ip4, _, [_, code, ..]) => tenths(decode8(*code)),
        (Af::Ip6, 1, [_, _, _, _, c0, c1, ..]) => Millis(u16::from_be_bytes([*c0, *c1]).into()),
        (Af::Ip6, _, [_, _, _, _, c0, c1, ..]) => Millis(decode16(u16::from_be_bytes([*c0, *c1]))),
        (_, _, _) => LEAST_RESPONSE,
    }
}

fn records<'a, F: Family>(bytes: &'a [u8], ssm: &'a [Net<F>]) -> Result<Records<'a, F>, Discard> {
    let (head, bytes) = bytes.split_first_chunk::<REPORT_HEAD>().ok_or(Discard::Length)?;
    let [_, _, _, _, _, _, m0, m1] = *head;
    let left = u16::from_be_bytes([m0, m1]);
    let mut rest = bytes;
    for _ in 0..left {
        rest = Whole::<F>::take(rest).ok_or(Discard::Truncated)?.1;
    }
    Ok(Records { bytes, left, ssm })
}

fn advertisement(bytes: &[u8]) -> Result<Mrdisc, Discard> {
    let [_, interval, _, _, q0, q1, r0, r1] = *bytes.first_chunk().ok_or(Discard::Length)?;
    Ok(Mrdisc::Advertisement {
        interval,
        query_interval: u16::from_be_bytes([q0, q1]),
        robustness: u16::from_be_bytes([r0, r1]),
    })
}

fn check_group<A: Address>(group: A) -> Result<(), Discard> {
    match group.scope() {
        GroupScope::NotMulticast => Err(Discard::NotMulticast),
        GroupScope::LinkLocal => Err(Discard::LinkLocalGroup),
        GroupScope::Unroutable => Err(Discard::Scope),
        GroupScope::Routable => Ok(()),
    }
}

/// Whether reports are taken from there. RFC 9776, section 4.2.14: a host without an address yet
/// reports from 0.0.0.0.
fn check_source<F: Family>(source: F::Addr, receiver: &Receiver<'_, F>) -> Result<(), Discard> {
    let mut networks = receiver.addresses.iter().chain(receiver.sources);
    let taken = F::AF == Af::Ip6
        || !receiver.verify_source_subnet
        || source.is_unspecified()
        || networks.any(|net| net.contains(source));
    taken.then_some(()).ok_or(Discard::SourceSubnet)
}

/// What an older version's report or leave has to pass besides. RFC 4604, section 2.2.
fn check_older<F: Family>(
    source: F::Addr,
    group: F::Addr,
    receiver: &Receiver<'_, F>,
) -> Result<(), Discard> {
    check_source(source, receiver)?;
    let ssm = receiver.ssm.iter().any(|net| net.contains(group));
    if ssm { Err(Discard::SsmOlderVersion) } else { Ok(()) }
}

/// A record whose lengths fit, unchecked otherwise.
struct Whole<'a, F: Family> {
    record_type: u8,
    group: F::Addr,
    sources: Sources<'a, F>,
}

impl<'a, F: Family> Whole<'a, F> {
    /// The record at the head of `bytes` and what follows its auxiliary data.
    fn take(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([record_type, words, n0, n1], rest) = bytes.split_first_chunk::<RECORD_HEAD>()?;
        let (group, rest) = rest.split_at_checked(F::Addr::LEN)?;
        let group = F::Addr::from_prefix(group)?;
        let count = usize::from(u16::from_be_bytes([*n0, *n1]));
        let (sources, rest) = Sources::take(rest, count)?;
        let rest = rest.get(usize::from(*words).wrapping_mul(4)..)?;
        Some((Self { record_type: *record_type, group, sources }, rest))
    }

    fn check(self, ssm: &[Net<F>]) -> Result<Record<'a, F>, Skipped<F>> {
        let Self { record_type, group, sources } = self;
        let skipped = |reason| Skipped { reason, group, record_type };
        let kind = RecordType::of(record_type).ok_or_else(|| skipped(Discard::RecordType))?;
        check_group(group).map_err(skipped)?;
        let exclude = matches!(kind, RecordType::IsEx | RecordType::ToEx);
        if exclude && ssm.iter().any(|net| net.contains(group)) {
            return Err(skipped(Discard::SsmOlderVersion));
        }
        if !sources.is_empty() && sources.iter().next().is_none() {
            return Err(skipped(Discard::RecordSources));
        }
        Ok(Record { kind, group, sources })
    }
}

impl RecordType {
    fn of(number: u8) -> Option<Self> {
        use RecordType::{Allow, Block, IsEx, IsIn, ToEx, ToIn};
        [IsIn, IsEx, ToIn, ToEx, Allow, Block].into_iter().find(|kind| *kind as u8 == number)
    }
}

impl<'a, F: Family> Iterator for Records<'a, F> {
    type Item = Result<Record<'a, F>, Skipped<F>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (whole, rest) = Whole::take(self.bytes)?;
        self.bytes = rest;
        Some(whole.check(self.ssm))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl<F: Family> ExactSizeIterator for Records<'_, F> {}
impl<F: Family> FusedIterator for Records<'_, F> {}

impl<F: Family> Default for Sources<'_, F> {
    fn default() -> Self {
        Self { bytes: &[], family: PhantomData }
    }
}

impl<'a, F: Family> Sources<'a, F> {
    /// `count` addresses from the head of `bytes`, and what follows them.
    fn take(bytes: &'a [u8], count: usize) -> Option<(Self, &'a [u8])> {
        let (bytes, rest) = bytes.split_at_checked(count.wrapping_mul(F::Addr::LEN))?;
        Some((Self { bytes, family: PhantomData }, rest))
    }

    /// The addresses that can be a source, in the order received; one that was sent twice comes
    /// twice.
    pub fn iter(&self) -> impl Iterator<Item = F::Addr> + use<'a, F> {
        let addresses = self.bytes.chunks_exact(F::Addr::LEN);
        addresses.filter_map(F::Addr::from_prefix).filter(|address| address.is_source())
    }

    /// How many were received, those that can be no source included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.chunks_exact(F::Addr::LEN).len()
    }

    /// Whether none was received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
