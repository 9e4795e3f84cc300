//! What can happen, made of octets.

use mcast_proxy::wire::RecordType;

/// Something that happens; each is for both families.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A host says something of a group.
    Report { link: usize, host: u8, group: usize, said: Said },
    /// Another router queries; no group is all.
    Query { link: usize, lower: bool, group: Option<usize>, sources: u8, suppress: bool },
    /// Another router speaks an older version.
    OldQuery { link: usize, lower: bool },
    /// A packet of data arrives, twice.
    Packet { link: usize, sender: usize, group: usize },
    /// Time passes.
    Pass(u32),
    /// An interface loses its carrier or has it again.
    Flap(usize),
    /// An interface is deleted or comes anew.
    Gone(usize),
    /// An interface changes its addresses.
    Readdress(usize),
    /// An interface loses its addresses or has them again.
    Unaddress(usize),
    /// The file differs in these points, a mask, and is read again.
    Reload(u32),
    /// A statement of the control tool.
    Statement { add: bool, which: u8 },
    /// `flush`.
    Flush { group: Option<usize>, sender: Option<usize> },
    /// The kernel refuses the next routes.
    Refuse(u8),
    /// Another hand deletes an entry of the kernel.
    Lose(u8),
    /// The engine dies and another one begins.
    Restart,
    /// Anything on the wire.
    Raw { link: usize, bytes: Vec<u8> },
}

/// What a host says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    /// A record, with a mask of sources.
    Record(RecordType, u8),
    /// A report of IGMPv2 or MLDv1.
    Report,
    /// A leave of IGMPv2 or MLDv1.
    Leave,
}

/// Lengths of time, in multiples of the grain of the core's timers.
const TIMES: [u32; 8] = [8, 104, 1000, 2000, 12_000, 40_000, 125_000, 280_000];
const KINDS: [RecordType; 6] = [
    RecordType::IsIn,
    RecordType::IsEx,
    RecordType::ToIn,
    RecordType::ToEx,
    RecordType::Allow,
    RecordType::Block,
];

/// Octets of one operation, its kind first.
pub const LENGTH: usize = 4;
/// The first octet of what makes the families differ, or the model blind.
pub const APART: u8 = 60;
/// Says something without an address of its own.
pub(super) const NOBODY: u8 = 0;
/// First octets mean the same modulo this.
const CODES: u8 = 64;

/// Takes one operation off the octets; `None` at their end.
pub(super) fn take(octets: &mut &[u8]) -> Option<Op> {
    let ([code, a, b, c], rest) = octets.split_first_chunk::<LENGTH>()?;
    *octets = rest;
    let pick = |n: u8| usize::from(n);
    let (link, group) = (pick(*a) % super::net::LINKS.len(), pick(*b) % 5);
    let down = 2 + pick(*a) % 3;
    let host = 10 + *a / 64 % 3;
    // Much of what hosts say is of one group of one link, so that they meet, and packets too.
    let meet = |when| if when { (2, 0) } else { (down, group) };
    Some(match code % CODES {
        0..=15 | 62 => {
            let said = Said::Record(KINDS[pick(*c) % KINDS.len()], *c / 16 % 8);
            let host = if code % CODES == 62 { NOBODY } else { host };
            let (link, group) = meet(*c >= 128);
            Op::Report { link, host, group, said }
        }
        16..=18 => {
            let said = if c % 3 == 0 { Said::Leave } else { Said::Report };
            let (link, group) = meet(*c >= 192);
            Op::Report { link, host, group, said }
        }
        19..=21 => Op::Query {
            link,
            lower: c & 1 == 1,
            group: (c & 2 == 2).then_some(group),
            sources: *c / 16 % 8,
            suppress: c & 4 == 4,
        },
        22..=37 => {
            let group = if *c >= 128 { 0 } else { group };
            Op::Packet { link, sender: pick(*c), group }
        }
        38..=45 => Op::Pass(TIMES[pick(*a) % TIMES.len()]),
        46 | 47 => Op::Flap(link),
        48 => Op::Gone(link),
        49 => Op::Readdress(link),
        50..=53 => {
            let point = |n: &u8| 1 << (u32::from(*n) % super::file::POINTS);
            Op::Reload([a, b, c].map(point).into_iter().fold(0, |mask, bit| mask ^ bit))
        }
        54 | 55 => Op::Statement { add: a & 1 == 1, which: *b },
        56 => Op::Flush {
            group: (a & 1 == 1).then_some(group),
            sender: (a & 3 == 3).then_some(pick(*c)),
        },
        57 => Op::Refuse(*a % 4),
        58 => Op::Lose(*a),
        59 => Op::Restart,
        60 => Op::OldQuery { link, lower: c & 1 == 1 },
        61 => Op::Unaddress(link),
        _ => {
            let (bytes, rest) = octets.split_at_checked(pick(*b)).unwrap_or((octets, &[]));
            *octets = rest;
            Op::Raw { link, bytes: bytes.to_vec() }
        }
    })
}
