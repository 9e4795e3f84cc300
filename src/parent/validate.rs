//! Checks each field of each order for its meaning. No I/O: an order and what is known make a
//! verdict.

use std::net::IpAddr;

use super::world::World;
use crate::config::model::{MAX_ROUTES, Pattern, Statement};
use crate::config::{parse_name, quote};
use crate::imsg::Transmit;
use crate::kroute::{Interface, Route, RouteKey};
use crate::wire::{Address, Af, GroupScope};

/// Outputs of one route at most: no kernel has more vifs.
pub const MAX_OUTPUTS: usize = 64;
/// IGMP and multicast router discovery. RFC 9776, section 4; RFC 4286, section 5.
const IGMP_TYPES: [u8; 8] = [0x11, 0x12, 0x16, 0x17, 0x22, 0x30, 0x31, 0x32];
/// MLD and multicast router discovery. RFC 9777, section 5; RFC 4286, section 5.
const ICMP6_TYPES: [u8; 7] = [130, 131, 132, 143, 151, 152, 153];

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Refusal {
    #[error("interface {0} does not exist or is not configured")]
    UnknownInterface(u32),
    #[error("{0} is not enabled on interface {1}")]
    NotEnabled(Af, u32),
    #[error("interface {1} is no vif of {0}")]
    NotVif(Af, u32),
    #[error("{0} is not enabled")]
    FamilyOff(Af),
    #[error("{0} is no group that can be routed")]
    Unroutable(IpAddr),
    #[error("{0} is no source of multicast")]
    BadSource(IpAddr),
    #[error("no source, which this kernel has no routes for")]
    NoSource,
    #[error("{0} outputs")]
    TooManyOutputs(usize),
    #[error("output {0} is the incoming interface or comes twice")]
    BadOutput(u32),
    #[error("threshold {0}")]
    BadThreshold(u8),
    #[error("the limit of {0} routes is reached")]
    TooManyRoutes(usize),
    #[error("packet to send: {0}")]
    BadPacket(&'static str),
    #[error("packet to send: {0}")]
    LatePacket(&'static str),
    #[error("{0} out of turn")]
    OutOfTurn(&'static str),
}

/// What a refusal says about the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// No sane engine asks that.
    Forged,
    /// Only an engine that was not yet told of a change asks that.
    Stale,
    /// A limit; an honest answer.
    Limit,
}

impl Refusal {
    /// What it says about the engine.
    #[must_use]
    pub const fn gravity(&self) -> Gravity {
        match self {
            Self::UnknownInterface(_)
            | Self::NotEnabled(..)
            | Self::NotVif(..)
            | Self::LatePacket(_) => Gravity::Stale,
            Self::TooManyRoutes(_) => Gravity::Limit,
            Self::FamilyOff(_)
            | Self::Unroutable(_)
            | Self::BadSource(_)
            | Self::NoSource
            | Self::TooManyOutputs(_)
            | Self::BadOutput(_)
            | Self::BadThreshold(_)
            | Self::BadPacket(_)
            | Self::OutOfTurn(_) => Gravity::Forged,
        }
    }
}

impl World {
    /// The family's routing is open.
    pub fn check_family(&self, family: Af) -> Result<(), Refusal> {
        self.has(family).then_some(()).ok_or(Refusal::FamilyOff(family))
    }

    /// The interface exists, is configured, not disabled, and the family is enabled there.
    pub fn check_add_vif(&self, family: Af, ifindex: u32) -> Result<&Interface, Refusal> {
        self.check_family(family)?;
        let interface = self.interfaces.get(&ifindex).ok_or(Refusal::UnknownInterface(ifindex))?;
        let enabled = self.settings(interface).is_some_and(|s| match family {
            Af::Ip4 => s.ipv4,
            Af::Ip6 => s.ipv6,
        });
        enabled.then_some(interface).ok_or(Refusal::NotEnabled(family, ifindex))
    }

    /// The interface is a vif of the family.
    pub fn check_vif(&self, family: Af, ifindex: u32) -> Result<(), Refusal> {
        self.check_family(family)?;
        self.vifs(family)
            .contains_key(&ifindex)
            .then_some(())
            .ok_or(Refusal::NotVif(family, ifindex))
    }

    /// Source and group of one family that is open, and such as can be routed.
    pub fn check_key(&self, key: &RouteKey) -> Result<(), Refusal> {
        let family = key.family();
        self.check_family(family)?;
        let scope = match key.group {
            IpAddr::V4(a) => a.scope(),
            IpAddr::V6(a) => a.scope(),
        };
        match scope {
            GroupScope::Routable => {}
            GroupScope::NotMulticast | GroupScope::LinkLocal | GroupScope::Unroutable => {
                return Err(Refusal::Unroutable(key.group));
            }
        }
        match key.source {
            None if self.star_g.get(family.index()) == Some(&true) => Ok(()),
            None => Err(Refusal::NoSource),
            Some(s) if Af::of(s) != family || s.is_multicast() || s.is_unspecified() => {
                Err(Refusal::BadSource(s))
            }
            Some(_) => Ok(()),
        }
    }

    /// A route whose key makes sense, between vifs, each once. `installed` is the number of the
    /// family's routes without this one.
    pub fn check_route(&self, route: &Route, installed: usize) -> Result<(), Refusal> {
        self.check_key(&route.key)?;
        let family = route.key.family();
        let outputs = &route.outgoing;
        if outputs.len() > MAX_OUTPUTS {
            return Err(Refusal::TooManyOutputs(outputs.len()));
        }
        for (place, output) in outputs.iter().enumerate() {
            let again = outputs.iter().take(place).any(|o| o.ifindex == output.ifindex);
            if again || output.ifindex == route.incoming {
                return Err(Refusal::BadOutput(output.ifindex));
            }
            if !(1..=254).contains(&output.threshold) {
                return Err(Refusal::BadThreshold(output.threshold));
            }
        }
        for ifindex in outputs.iter().map(|o| o.ifindex).chain([route.incoming]) {
            self.check_vif(family, ifindex)?;
        }
        let limit = self.max_routes();
        (installed < limit).then_some(()).ok_or(Refusal::TooManyRoutes(limit))
    }

    /// A message of IGMP, MLD or MRDISC to a group, from one of the addresses of an interface that
    /// is configured, or that is a vif still.
    pub fn check_transmit(&self, packet: &Transmit) -> Result<(), Refusal> {
        if !self.transmits {
            return Err(Refusal::OutOfTurn("packet to send"));
        }
        let family = Af::of(packet.destination);
        let interface = self.check_add_vif(family, packet.ifindex).or_else(|refusal| {
            let vif = self.vifs(family).get(&packet.ifindex);
            let known = self.interfaces.get(&packet.ifindex);
            vif.and(known.or_else(|| self.left.get(&packet.ifindex))).ok_or(refusal)
        })?;
        let types: &[u8] = match family {
            Af::Ip4 => &IGMP_TYPES,
            Af::Ip6 => &ICMP6_TYPES,
        };
        let ours = interface.addresses.iter().any(|a| a.address == packet.source);
        if !packet.destination.is_multicast() {
            Err(Refusal::BadPacket("not to a group"))
        } else if !kind_of(packet).is_some_and(|kind| types.contains(&kind)) {
            Err(Refusal::BadPacket("neither IGMP nor MLD nor MRDISC"))
        } else if !ours && !packet.source.is_unspecified() {
            Err(Refusal::LatePacket("not from an address of the interface"))
        } else if packet.bytes.len() > usize::try_from(interface.mtu).unwrap_or(usize::MAX) {
            Err(Refusal::LatePacket("longer than the interface's MTU"))
        } else {
            Ok(())
        }
    }

    /// Twice what the configuration says: learned routes, and as many drop entries; and one for each
    /// `mroute`.
    fn max_routes(&self) -> usize {
        let said = usize::try_from(self.config.max_routes.unwrap_or(MAX_ROUTES));
        let learned = said.unwrap_or(usize::MAX).saturating_mul(2);
        learned.saturating_add(self.config.mroutes.len())
    }
}

/// The statement names only interfaces that the administrator's file names, so that nobody can have
/// traffic forwarded elsewhere.
pub fn check_statement(named: &[Pattern], statement: &Statement) -> Result<(), String> {
    let patterns: Vec<&Pattern> = match statement {
        Statement::Mroute(r) => std::iter::once(&r.from).chain(&r.to).collect(),
        Statement::Join(j) => vec![&j.from],
    };
    if patterns.len() > MAX_OUTPUTS {
        return Err(format!("more than {MAX_OUTPUTS} interfaces"));
    }
    if let Some(why) = patterns.iter().find_map(|p| parse_name(&p.0).err()) {
        return Err(why);
    }
    let known = |p: &Pattern| named.iter().any(|n| n == p || (!p.is_wild() && n.matches(&p.0)));
    patterns.into_iter().find(|p| !known(p)).map_or(Ok(()), |p| {
        Err(format!(
            "interface {} is not in the configuration file: add `interface {} {{ }}` there and \
             reload",
            p.0,
            quote(&p.0)
        ))
    })
}

/// The type of the message. An IPv4 header must say what the order does and nothing else: TTL 1,
/// protocol 2, Router Alert, no fragment. RFC 791, section 3.1; RFC 2113, section 2.1.
fn kind_of(packet: &Transmit) -> Option<u8> {
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(to)) => {
            let (header, message) = packet.bytes.split_first_chunk::<24>()?;
            let [high, low] = u16::try_from(packet.bytes.len()).ok()?.to_be_bytes();
            let addresses = [source.octets(), to.octets(), [0x94, 4, 0, 0]].concat();
            let says = header.starts_with(&[0x46, 0xc0, high, low, 0, 0, 0x40, 0, 1, 2])
                && header.ends_with(&addresses);
            message.first().filter(|_| says).copied()
        }
        (IpAddr::V6(_), IpAddr::V6(_)) => packet.bytes.first().copied(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}
