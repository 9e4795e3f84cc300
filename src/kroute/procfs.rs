//! What Linux shows of multicast in `/proc/net`, whoever made it: parsers of the text of each file.
//!
//! A line that is not as the kernel writes it is left out. Addresses are printed by
//! `net/ipv4/ipmr.c`, `net/ipv4/igmp.c` and their namesakes of IPv6; only the default table of
//! multicast routing is shown there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::wire::Af;

/// A line of `ip_mr_vif` or `ip6_mr_vif`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VifLine {
    /// Its number.
    pub vif: u16,
    /// Its interface's name; `none` where that is gone.
    pub interface: String,
    /// Octets and packets received.
    pub received: (u64, u64),
    /// Octets and packets sent.
    pub sent: (u64, u64),
}

/// A line of `ip_mr_cache` or `ip6_mr_cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLine {
    /// The group; unspecified for (*,*).
    pub group: IpAddr,
    /// The source; unspecified for (*,G).
    pub source: IpAddr,
    /// The incoming vif; `None` while the entry is unresolved.
    pub vif: Option<u16>,
    /// Packets, those on a wrong interface included.
    pub packets: u64,
    /// Octets, likewise.
    pub bytes: u64,
    /// Packets on a wrong interface.
    pub wrong_interface: u64,
    /// Outgoing vifs with their thresholds.
    pub outputs: Vec<(u16, u8)>,
}

/// A group that the host itself is a member of: `igmp` or `igmp6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberLine {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub interface: String,
    /// The group.
    pub group: IpAddr,
    /// Sockets and others that want it.
    pub users: u32,
}

/// A source of a group that the host is a member of: `mcfilter` or `mcfilter6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterLine {
    /// Interface index.
    pub ifindex: u32,
    /// The group.
    pub group: IpAddr,
    /// The source.
    pub source: IpAddr,
    /// Sockets that want it.
    pub include: u64,
    /// Sockets that want all but it.
    pub exclude: u64,
}

/// `ip_mr_vif`, `ip6_mr_vif`.
#[must_use]
pub fn vifs(text: &str) -> Vec<VifLine> {
    rows(text, |f| {
        Some(VifLine {
            vif: f.next()?,
            interface: f.word()?.to_owned(),
            received: (f.next()?, f.next()?),
            sent: (f.next()?, f.next()?),
        })
    })
}

/// `ip_mr_cache`, `ip6_mr_cache`.
#[must_use]
pub fn cache(family: Af, text: &str) -> Vec<CacheLine> {
    rows(text, |f| {
        let (group, source) = (address(family, f.word()?)?, address(family, f.word()?)?);
        let vif: i32 = f.next()?;
        let (packets, bytes, wrong_interface) = (f.next()?, f.next()?, f.next()?);
        let mut outputs = Vec::new();
        // `%2d:%-3d`, which puts a space before a number below ten but none after the colon.
        while let Some(word) = f.word() {
            let (vif, threshold) = word.split_once(':')?;
            outputs.push((vif.parse().ok()?, threshold.parse().ok()?));
        }
        let vif = u16::try_from(vif).ok().filter(|v| *v != u16::MAX);
        Some(CacheLine { group, source, vif, packets, bytes, wrong_interface, outputs })
    })
}

/// `igmp`: a line for each interface, and below it one for each of its groups.
#[must_use]
pub fn igmp(text: &str) -> Vec<MemberLine> {
    let (mut members, mut device) = (Vec::new(), None);
    for line in text.lines().skip(1) {
        let mut f = Fields(line.split_whitespace());
        if line.starts_with('\t') {
            let member = f.word().and_then(|a| address(Af::Ip4, a)).zip(f.next());
            if let (Some((ifindex, interface)), Some((group, users))) = (&device, member) {
                let (ifindex, interface) = (*ifindex, String::clone(interface));
                members.push(MemberLine { ifindex, interface, group, users });
            }
        } else {
            let ifindex = f.next();
            // `%-10s:`, which leaves no space behind a longer name; none has a colon.
            let name = f.word().map(|word| word.trim_end_matches(':').to_owned());
            device = ifindex.zip(name.filter(|name| !name.is_empty()));
        }
    }
    members
}

/// `igmp6`.
#[must_use]
pub fn igmp6(text: &str) -> Vec<MemberLine> {
    let row = |line: &str| {
        let mut f = Fields(line.split_whitespace());
        let (ifindex, interface) = (f.next()?, f.word()?.to_owned());
        let (group, users) = (address(Af::Ip6, f.word()?)?, f.next()?);
        Some(MemberLine { ifindex, interface, group, users })
    };
    text.lines().filter_map(row).collect()
}

/// `mcfilter`, `mcfilter6`.
#[must_use]
pub fn filters(family: Af, text: &str) -> Vec<FilterLine> {
    rows(text, |f| {
        let (ifindex, _) = (f.next()?, f.word()?);
        let (group, source) =
            (filter_address(family, f.word()?)?, filter_address(family, f.word()?)?);
        Some(FilterLine { ifindex, group, source, include: f.next()?, exclude: f.next()? })
    })
}

/// The fields of a line.
struct Fields<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Fields<'a> {
    fn word(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn next<T: FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }
}

/// The lines below the heading.
fn rows<T>(text: &str, row: impl Fn(&mut Fields<'_>) -> Option<T>) -> Vec<T> {
    let lines = text.lines().skip(1);
    lines.filter_map(|line| row(&mut Fields(line.split_whitespace()))).collect()
}

/// `%08X` of an IPv4 address as it lies in memory, or the eight groups of four of IPv6 with or
/// without colons.
fn address(family: Af, word: &str) -> Option<IpAddr> {
    match family {
        Af::Ip4 => {
            let number = hexadecimal(word, 8)?.to_ne_bytes();
            Some(Ipv4Addr::from(number).into())
        }
        Af::Ip6 if word.contains(':') => Ipv6Addr::from_str(word).ok().map(IpAddr::from),
        Af::Ip6 if word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u128::from_str_radix(word, 16).ok().map(|n| Ipv6Addr::from(n).into())
        }
        Af::Ip6 => None,
    }
}

/// `mcfilter` prints IPv4 addresses as numbers: `0x%08x`.
fn filter_address(family: Af, word: &str) -> Option<IpAddr> {
    match family {
        Af::Ip4 => Some(Ipv4Addr::from(hexadecimal(word.strip_prefix("0x")?, 8)?).into()),
        Af::Ip6 => address(family, word),
    }
}

fn hexadecimal(word: &str, digits: usize) -> Option<u32> {
    let plain = word.len() == digits && word.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(word, 16).ok()).flatten()
}
