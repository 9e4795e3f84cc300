//! Messages to send. RFC 9776, sections 4.1 and 4.2; RFC 9777, sections 5.1 and 5.2.

use std::iter;

use super::layout::{QUERY_TAIL, RECORD_HEAD, REPORT_HEAD, old_length};
use super::{Address, Af, Family, Mrdisc, RecordType, encode8, encode16};
use crate::imsg::Transmit;
use crate::sys::time::Millis;

/// Octets of an IP packet at most.
const GREATEST_MTU: usize = 65_000;

/// Where messages leave from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender<F: Family> {
    /// The interface.
    pub ifindex: u32,
    /// Its address; IPv6: link-local.
    pub source: F::Addr,
    /// Octets of an IP packet at most.
    pub mtu: u32,
}

/// What a query asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuerySpec<'a, F: Family> {
    /// IGMP 1, 2 or 3; MLD 1 or 2.
    pub version: u8,
    /// Unspecified for a General Query.
    pub group: F::Addr,
    /// Maximum response time; sent rounded down to what the version can say.
    pub max_response: Millis,
    /// S flag.
    pub suppress: bool,
    /// Robustness variable; more than 7 is sent as 0.
    pub robustness: u8,
    /// Query interval.
    pub query_interval: Millis,
    /// Sources to ask for; older versions do not ask for any.
    pub sources: &'a [F::Addr],
}

/// Octets of a message at most.
fn room<F: Family>(mtu: u32) -> usize {
    let mtu = usize::try_from(mtu).unwrap_or(GREATEST_MTU);
    mtu.clamp(F::LAYOUT.least_mtu, GREATEST_MTU).saturating_sub(F::LAYOUT.ip_headers)
}

/// Sources in one query at most. RFC 9776, section 4.1.8; RFC 9777, section 5.1.10.
#[must_use]
pub fn sources_in_query<F: Family>(mtu: u32) -> usize {
    addresses::<F>(room::<F>(mtu), old_length::<F>().saturating_add(QUERY_TAIL)).max(1)
}

impl<F: Family> Sender<F> {
    fn transmit(&self, destination: F::Addr, message: Vec<u8>) -> Transmit {
        Transmit {
            ifindex: self.ifindex,
            source: self.source.into(),
            destination: destination.into(),
            bytes: F::seal(self.source, destination, message),
        }
    }
}

/// How many addresses fit in what `used` octets leave of `room`.
fn addresses<F: Family>(room: usize, used: usize) -> usize {
    room.saturating_sub(used).checked_div(F::Addr::LEN).unwrap_or_default()
}

/// A query, as several messages when its sources do not fit in one.
#[must_use]
pub fn query<F: Family>(to: &Sender<F>, spec: &QuerySpec<'_, F>) -> Vec<Transmit> {
    let destination = if spec.group.is_unspecified() { F::ALL_SYSTEMS } else { spec.group };
    let head = query_head(spec);
    if spec.version < F::LAYOUT.newest {
        return vec![to.transmit(destination, head)];
    }
    let robustness = if spec.robustness > 7 { 0 } else { spec.robustness };
    // Less than a second would read as 0, which means the default.
    let interval = encode8((spec.query_interval.0 / 1000).max(1));
    let mut lists = spec.sources.chunks(sources_in_query::<F>(to.mtu));
    let first = lists.next().unwrap_or_default();
    iter::once(first)
        .chain(lists)
        .map(|sources| {
            let mut message = head.clone();
            message.extend([u8::from(spec.suppress) << 3 | robustness, interval]);
            put_list::<F>(&mut message, None, sources);
            to.transmit(destination, message)
        })
        .collect()
}

/// A query up to and with its group.
fn query_head<F: Family>(spec: &QuerySpec<'_, F>) -> Vec<u8> {
    let Millis(response) = spec.max_response;
    let tenths = response / 100;
    let code = match (F::AF, spec.version) {
        (Af::Ip4, 1) => 0,
        // Code 0 would make it a query of version 1.
        (Af::Ip4, 2) => u16::try_from(tenths.clamp(1, 255)).unwrap_or(u16::MAX),
        (Af::Ip4, _) => encode8(tenths).into(),
        (Af::Ip6, 1) => u16::try_from(response).unwrap_or(u16::MAX),
        (Af::Ip6, _) => encode16(response),
    };
    old_message::<F>(F::LAYOUT.query, code, spec.group)
}

/// A message of an older version, its checksum zero.
fn old_message<F: Family>(number: u8, code: u16, group: F::Addr) -> Vec<u8> {
    let [c0, c1] = code.to_be_bytes();
    let mut message = match F::AF {
        Af::Ip4 => vec![number, c1, 0, 0],
        Af::Ip6 => vec![number, 0, 0, 0, c0, c1, 0, 0],
    };
    group.put(&mut message);
    message
}

/// A count of sources, the group where it stands between, and the sources.
fn put_list<F: Family>(out: &mut Vec<u8>, group: Option<F::Addr>, sources: &[F::Addr]) {
    let count = u16::try_from(sources.len()).unwrap_or(u16::MAX);
    out.extend(count.to_be_bytes());
    group.into_iter().chain(sources.iter().copied()).for_each(|address| address.put(out));
}

/// An IGMPv1, IGMPv2 or MLDv1 report; the family's oldest for a version that it has not.
#[must_use]
pub fn old_report<F: Family>(from: &Sender<F>, version: u8, group: F::Addr) -> Transmit {
    let numbers = F::LAYOUT.old_reports;
    let number = numbers.get(usize::from(version).saturating_sub(1)).or(numbers.first());
    from.transmit(group, old_message::<F>(number.copied().unwrap_or_default(), 0, group))
}

/// An IGMPv2 leave or MLDv1 done.
#[must_use]
pub fn leave<F: Family>(from: &Sender<F>, group: F::Addr) -> Transmit {
    from.transmit(F::ALL_ROUTERS, old_message::<F>(F::LAYOUT.leave, 0, group))
}

/// A multicast router discovery message. RFC 4286, section 3.
#[must_use]
pub fn mrdisc<F: Family>(from: &Sender<F>, message: Mrdisc) -> Transmit {
    let (to, offset, octet, rest) = match message {
        Mrdisc::Advertisement { interval, query_interval, robustness } => {
            (F::ALL_SNOOPERS, 0, interval, vec![query_interval, robustness])
        }
        Mrdisc::Solicitation => (F::ALL_ROUTERS, 1, 0, vec![]),
        Mrdisc::Termination => (F::ALL_SNOOPERS, 2, 0, vec![]),
    };
    let mut bytes = vec![F::LAYOUT.mrdisc.saturating_add(offset), octet, 0, 0];
    bytes.extend(rest.into_iter().flat_map(u16::to_be_bytes));
    from.transmit(to, bytes)
}

/// Packs records into as few IGMPv3 or MLDv2 reports as the MTU allows.
#[derive(Clone, Debug)]
pub struct ReportBuilder<F: Family> {
    from: Sender<F>,
    complete: Vec<Transmit>,
    /// The records of the message being filled, and how many they are.
    records: Vec<u8>,
    count: u16,
}

impl<F: Family> ReportBuilder<F> {
    /// Starts with no record.
    #[must_use]
    pub fn new(from: Sender<F>) -> Self {
        Self { from, complete: Vec::new(), records: Vec::new(), count: 0 }
    }

    /// Adds a record. One that no message can hold is split, or, in EXCLUDE mode, cut to its lowest
    /// sources; one that says nothing is left out: IS_IN, ALLOW and BLOCK without sources. RFC 9776,
    /// sections 4.2.13 and 4.2.16.
    pub fn push(&mut self, kind: RecordType, group: F::Addr, sources: &[F::Addr]) {
        let most = addresses::<F>(self.room(), RECORD_HEAD.saturating_add(F::Addr::LEN));
        match kind {
            RecordType::IsIn | RecordType::Allow | RecordType::Block if sources.is_empty() => {}
            _ if sources.len() <= most => self.put(kind, group, sources),
            RecordType::IsEx | RecordType::ToEx => {
                let mut lowest = sources.to_vec();
                lowest.sort_unstable();
                lowest.truncate(most);
                self.put(kind, group, &lowest);
            }
            RecordType::IsIn | RecordType::ToIn | RecordType::Allow | RecordType::Block => {
                sources.chunks(most.max(1)).for_each(|part| self.put(kind, group, part));
            }
        }
    }

    /// Messages that are complete; the one being filled does not count.
    #[must_use]
    pub fn complete(&self) -> usize {
        self.complete.len()
    }

    /// The messages, in the order of the records; none without records.
    #[must_use]
    pub fn finish(mut self) -> Vec<Transmit> {
        self.flush();
        self.complete
    }

    /// Octets of records in a message at most.
    #[must_use]
    pub fn room(&self) -> usize {
        room::<F>(self.from.mtu).saturating_sub(REPORT_HEAD)
    }

    /// Octets of a record with so many sources.
    #[must_use]
    pub fn record_length(sources: usize) -> usize {
        RECORD_HEAD.saturating_add(sources.saturating_add(1).saturating_mul(F::Addr::LEN))
    }

    /// Whether a record with so many sources goes into the message being filled.
    #[must_use]
    pub fn fits(&self, sources: usize) -> bool {
        self.records.len().saturating_add(Self::record_length(sources)) <= self.room()
    }

    /// Adds a record that an empty message can hold.
    fn put(&mut self, kind: RecordType, group: F::Addr, sources: &[F::Addr]) {
        if !self.fits(sources.len()) {
            self.flush();
        }
        self.records.extend([kind as u8, 0]);
        put_list::<F>(&mut self.records, Some(group), sources);
        self.count = self.count.saturating_add(1);
    }

    fn flush(&mut self) {
        if self.count == 0 {
            return;
        }
        let [m0, m1] = self.count.to_be_bytes();
        let mut message = vec![F::LAYOUT.report, 0, 0, 0, 0, 0, m0, m1];
        message.append(&mut self.records);
        self.count = 0;
        self.complete.push(self.from.transmit(F::REPORTS, message));
    }
}
