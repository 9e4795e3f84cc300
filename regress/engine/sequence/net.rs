//! The names and addresses of the sequences. Each address has a twin in the other family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mcast_proxy::config::model::Config;
use mcast_proxy::imsg::Envelope;
use mcast_proxy::kroute::{Interface, InterfaceAddress};
use mcast_proxy::wire::Af;

/// Interfaces: two upstreams, three downstreams, a static one.
pub(super) const LINKS: [&str; 6] = ["up0", "up1", "d0", "d1", "d2", "st0"];
const GROUPS: [[u8; 3]; 5] = [[239, 1, 1], [239, 1, 2], [239, 2, 1], [239, 255, 1], [232, 1, 1]];
/// The place of the one that is source-specific whatever the file says.
const SPECIFIC: usize = 4;
/// Senders of data: two from afar, one on each of up0, d0 and d1.
const SENDERS: [[u8; 2]; 5] = [[9, 8], [9, 9], [1, 9], [3, 9], [4, 9]];

/// A group.
pub(super) fn group(af: Af, n: usize) -> IpAddr {
    let [a, b, d] = GROUPS[n % GROUPS.len()];
    twin(af, Ipv4Addr::new(a, b, 0, d))
}

/// Whether the group is source-specific.
pub(super) fn is_specific(config: &Config, address: IpAddr) -> bool {
    group(Af::of(address), SPECIFIC) == address
        || config.ssm_ranges.iter().any(|range| range.contains(&address))
}

/// Senders of data.
pub(super) fn senders(af: Af) -> impl Iterator<Item = IpAddr> {
    (0..SENDERS.len()).map(move |n| sender(af, n))
}

/// A sender of data.
pub(super) fn sender(af: Af, n: usize) -> IpAddr {
    let [b, d] = SENDERS[n % SENDERS.len()];
    twin(af, Ipv4Addr::new(10, b, 0, d))
}

/// Senders of a mask.
pub(super) fn picked(af: Af, mask: u8) -> Vec<IpAddr> {
    (0..3).filter(|bit| mask >> bit & 1 == 1).map(|n| sender(af, n)).collect()
}

/// Where a host of a link sends protocol messages from: link-local in IPv6.
pub(super) fn host(af: Af, link: usize, host: u8) -> IpAddr {
    let n = number(link);
    match af {
        Af::Ip4 => Ipv4Addr::new(10, n, 0, host).into(),
        Af::Ip6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, n.into(), host.into()).into(),
    }
}

fn number(link: usize) -> u8 {
    u8::try_from(link).unwrap_or(0) + 1
}

/// 10.b.c.d and 2001:db8:b:c::d, 239.b.c.d and ff78::b:c:d, 232.b.c.d and ff38::b:c:d: groups come in
/// the same order in both families.
fn twin(af: Af, address: Ipv4Addr) -> IpAddr {
    let [a, b, c, d] = address.octets().map(u16::from);
    match (af, a) {
        (Af::Ip4, _) => address.into(),
        (Af::Ip6, 232) => Ipv6Addr::new(0xff38, 0, 0, 0, 0, b, c, d).into(),
        (Af::Ip6, 239) => Ipv6Addr::new(0xff78, 0, 0, 0, 0, b, c, d).into(),
        (Af::Ip6, _) => Ipv6Addr::new(0x2001, 0xdb8, b, c, 0, 0, 0, d).into(),
    }
}

/// The address that stands for both twins.
pub(super) fn canonical(address: IpAddr) -> Ipv4Addr {
    let low = |n: u16| u8::try_from(n).unwrap_or(u8::MAX);
    match address {
        IpAddr::V4(a) => a,
        IpAddr::V6(a) => match a.segments() {
            [0xfe80, _, _, _, _, _, n, host] => Ipv4Addr::new(10, low(n), 0, low(host)),
            [0x2001, _, b, c, _, _, _, d] => Ipv4Addr::new(10, low(b), low(c), low(d)),
            [0xff38, _, _, _, _, b, c, d] => Ipv4Addr::new(232, low(b), low(c), low(d)),
            [0, 0, 0, 0, 0, 0, 0, 1] => Ipv4Addr::LOCALHOST,
            [0xff78, _, _, _, _, b, c, d] => Ipv4Addr::new(239, low(b), low(c), low(d)),
            _ => Ipv4Addr::UNSPECIFIED,
        },
    }
}

/// An interface as the system would show it; `own` is the last part of its addresses, if it has any.
pub(super) fn interface(link: usize, ifindex: u32, up: bool, own: Option<u8>) -> Interface {
    let address = |address: IpAddr, len| InterfaceAddress {
        address,
        network: IpNet::new(address, len).expect("a length of the family"),
    };
    let addresses = own.into_iter().flat_map(|own| {
        let v4 = host(Af::Ip4, link, own);
        let global = twin(Af::Ip6, Ipv4Addr::new(10, number(link), 0, own));
        [address(v4, 24), address(host(Af::Ip6, link, own), 64), address(global, 64)]
    });
    Interface {
        ifindex,
        name: LINKS[link].into(),
        mtu: 1500,
        up,
        loopback: false,
        addresses: addresses.collect(),
    }
}

/// How a message comes.
pub(super) fn envelope(family: Af, source: IpAddr, destination: IpAddr) -> Envelope {
    match (family, source, destination) {
        (Af::Ip6, IpAddr::V6(source), IpAddr::V6(destination)) => Envelope::Ip6 {
            source,
            destination,
            hop_limit: 1,
            router_alert: true,
            checksum_verified: true,
        },
        (Af::Ip4 | Af::Ip6, _, _) => Envelope::Ip4,
    }
}
