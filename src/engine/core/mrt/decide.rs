//! What becomes of a packet: RFC 4605, section 4.2, with the rules of the configuration.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::set::SlotSet;
use super::statics::{Rule, Statics};
use crate::config::model::{Role, SourceMatch};
use crate::engine::core::link::{Link, Vif};
use crate::engine::core::members::{Filter, Members};
use crate::engine::core::slot::{Slot, Slots};
use crate::wire::{Address, Af, Family, GroupScope};

/// What decisions depend on besides the static routes.
pub struct World<'a, F: Family> {
    /// The interfaces.
    pub links: &'a Slots<Link<F>>,
    /// Who wants what.
    pub members: &'a dyn Members<F>,
}

impl<F: Family> Clone for World<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Family> Copy for World<'_, F> {}

/// The upstream of a group: among the interfaces that forward, the one with the longest `group`
/// match, then with the lowest `preference`, then with the lowest index.
pub fn upstream_for<F: Family>(links: &Slots<Link<F>>, group: F::Addr) -> Option<Slot> {
    links
        .iter()
        .filter(|link| link.forwards())
        .filter_map(|link| {
            let range = Reverse(link.upstream_match(group)?);
            Some((range, link.settings.preference, link.ifindex, link.slot))
        })
        .min()
        .map(|(.., slot)| slot)
}

/// Whether data of the source to the group may be forwarded at all: never link-local groups (RFC
/// 4291, section 2.7; RFC 5771, section 4) nor sources that mean nothing elsewhere.
pub(super) fn forwardable<A: Address>(group: A, source: A) -> bool {
    let bad_source = source.is_unspecified() || source.is_link_local() || source.is_multicast();
    group.scope() == GroupScope::Routable && !bad_source
}

/// Whose packets a decision is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sources<A> {
    /// Those of one source.
    One(A),
    /// Those of every source, where all are treated alike; else [`Reason::Varies`].
    Every,
    /// Those of every source, because the kernel cannot tell them apart; this one was seen.
    Merged(A),
}

/// Why a packet is not forwarded, or not to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It depends on the source.
    Varies,
    /// The group or the source is never forwarded.
    Unroutable,
    /// The interface is absent, down, or no vif.
    Absent(Slot),
    /// The interface is disabled.
    Disabled(Slot),
    /// The group neither enters nor leaves the interface.
    Boundary(Slot),
    /// A rule of the interface denies it.
    Denied(Slot),
    /// No TTL passes the interface's threshold.
    Threshold(Slot),
    /// The source is not in a connected or configured network of the interface.
    Source(Slot),
    /// Another interface, or none, is upstream for the group.
    OtherUpstream(Option<Slot>),
    /// The interface is neither upstream nor downstream, and no `mroute` is for the packet.
    NoMroute(Slot),
    /// None of the outgoing interfaces of its `mroute` is there.
    NoOutput,
    /// Members are there, but another querier forwards to them.
    NotQuerier(Slot),
    /// Nobody wants it.
    NoMember,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Where packets go.
    pub outputs: SlotSet,
    /// Whether packets may arrive on that interface at all; only then the flow is pinned to it.
    pub accepted: bool,
    /// Why there are no outputs.
    pub reason: Option<Reason>,
}

/// All that decides about one group.
pub(super) struct View<'a, F: Family> {
    /// Interfaces and members.
    pub(super) world: World<'a, F>,
    /// Static routes.
    pub(super) statics: &'a Statics,
    /// The group.
    pub(super) group: F::Addr,
    /// Its upstream.
    pub(super) upstream: Option<Slot>,
}

impl<'a, F: Family> View<'a, F> {
    /// Of one group.
    pub(super) fn new(statics: &'a Statics, world: World<'a, F>, group: F::Addr) -> Self {
        Self { world, statics, group, upstream: upstream_for(world.links, group) }
    }

    /// What becomes of packets that arrive on an interface.
    pub(super) fn decide(&self, sources: Sources<F::Addr>, incoming: Slot) -> Verdict {
        self.checked(sources, incoming).unwrap_or_else(|reason| Verdict {
            outputs: SlotSet::EMPTY,
            accepted: false,
            reason: Some(reason),
        })
    }

    /// Whether a static route is for the packets.
    pub(super) fn has_static(&self, sources: Sources<F::Addr>, incoming: Slot) -> bool {
        matches!(self.static_outputs(sources, incoming), Ok(Some(_)))
    }

    /// The links that have members of the group.
    pub(super) fn member_links(&self) -> SlotSet {
        let mut links = SlotSet::EMPTY;
        self.world.members.links(self.group, &mut |slot, _| links.insert(slot));
        links
    }

    /// The (*,G) entry whose effect is what would be decided for every source: its incoming
    /// interface and its outputs. Packets that arrive on one of its outputs fit no entry and are
    /// asked about.
    pub(super) fn star(&self) -> Option<(Slot, SlotSet)> {
        let mut candidates = self.statics.any_source::<F>(self.group);
        if let Some(upstream) = self.upstream
            && !self.member_links().is_empty()
        {
            candidates.insert(upstream);
        }
        let mut stars = candidates.iter().filter_map(|incoming| {
            let outputs = self.decide(Sources::Every, incoming).outputs;
            (!outputs.is_empty()).then_some((incoming, outputs))
        });
        let star = stars.next()?;
        (stars.next().is_none() && !self.pins(star.0)).then_some(star)
    }

    /// Whether the same source may send by another interface as well: where its packets are seen
    /// first is then where they come from, which takes an entry for each flow.
    fn pins(&self, incoming: Slot) -> bool {
        self.world.links.iter().any(|link| {
            link.slot != incoming && link.takes_from_afar() && !link.is_boundary(self.group)
        })
    }

    /// Where a group-keyed kernel is to take the group from, when it was seen on `seen`.
    pub(super) fn parent(&self, source: F::Addr, seen: Slot) -> Slot {
        let is_static = self.statics.best::<F>(self.group, source, seen).is_some();
        let is_asked = |slot: &Slot| {
            let link = self.world.links.get(*slot);
            link.is_some_and(|l| !l.is_boundary(self.group) && l.permits(self.group, None))
        };
        match self.upstream.filter(is_asked) {
            Some(upstream) if !is_static && !self.member_links().is_empty() => upstream,
            Some(_) | None => seen,
        }
    }

    fn checked(&self, sources: Sources<F::Addr>, incoming: Slot) -> Result<Verdict, Reason> {
        let link = self.world.links.get(incoming).ok_or(Reason::Absent(incoming))?;
        if !matches!(link.vif, Vif::Ready(_)) {
            return Err(Reason::Absent(incoming));
        }
        let routable = match sources {
            Sources::One(source) => forwardable(self.group, source),
            Sources::Every | Sources::Merged(_) => self.group.scope() == GroupScope::Routable,
        };
        if !routable {
            return Err(Reason::Unroutable);
        }
        if link.role() == Role::Disabled {
            return Err(Reason::Disabled(incoming));
        }
        if link.is_boundary(self.group) {
            return Err(Reason::Boundary(incoming));
        }
        if link.role() == Role::Upstream && !self.permits(link, sources)? {
            return Err(Reason::Denied(incoming));
        }
        let proxied = self.proxied(link, sources);
        let Some(to) = self.static_outputs(sources, incoming)? else { return proxied };
        let mut outputs = match proxied {
            Ok(verdict) => verdict.outputs,
            Err(Reason::Varies) => return Err(Reason::Varies),
            // An mroute asks neither for a source network nor for the upstream of the group.
            Err(_) => SlotSet::EMPTY,
        };
        let mut reason = Reason::NoOutput;
        for out in to.iter().filter(|out| *out != incoming) {
            match self.leaves(out, sources) {
                Ok(_) => outputs.insert(out),
                Err(Reason::Varies) => return Err(Reason::Varies),
                Err(why) => reason = why,
            }
        }
        let reason = outputs.is_empty().then_some(reason);
        Ok(Verdict { outputs, accepted: true, reason })
    }

    /// What RFC 4605 makes of it: to the members, and upstream when it comes from below.
    fn proxied(&self, link: &Link<F>, sources: Sources<F::Addr>) -> Result<Verdict, Reason> {
        let mut outputs = SlotSet::EMPTY;
        let mut reason = None;
        match link.role() {
            Role::Upstream => {
                // With no upstream at all the interface is only down, and nothing arrives on it.
                let idle = self.upstream.is_none() && link.upstream_match(self.group).is_some();
                if self.upstream != Some(link.slot) && !idle {
                    return Err(Reason::OtherUpstream(self.upstream));
                }
            }
            Role::Downstream => {
                match self.upstream.map(|upstream| self.leaves(upstream, sources)) {
                    Some(Ok(upstream)) => outputs.insert(upstream.slot),
                    Some(Err(why)) => reason = Some(why),
                    None => {}
                }
            }
            Role::Static | Role::Disabled => return Err(Reason::NoMroute(link.slot)),
        }
        let mut visit = |slot, filter| {
            if slot != link.slot {
                match self.reaches(slot, filter, sources) {
                    Ok(()) => outputs.insert(slot),
                    Err(why) if reason != Some(Reason::Varies) => reason = Some(why),
                    Err(_) => {}
                }
            }
        };
        self.world.members.links(self.group, &mut visit);
        if reason == Some(Reason::Varies) {
            return Err(Reason::Varies);
        }
        if outputs.is_empty() {
            let reason = Some(reason.unwrap_or(Reason::NoMember));
            return Ok(Verdict { outputs, accepted: true, reason });
        }
        match sources {
            Sources::One(source) if !link.source_ok(source) => Err(Reason::Source(link.slot)),
            Sources::Every if !link.any_source() => Err(Reason::Varies),
            Sources::One(_) | Sources::Every | Sources::Merged(_) => {
                Ok(Verdict { outputs, accepted: true, reason: None })
            }
        }
    }

    /// Whether members on a link get the packets.
    fn reaches(&self, slot: Slot, filter: Filter, sources: Sources<F::Addr>) -> Result<(), Reason> {
        let wanted = match (filter, sources) {
            (Filter::All, _) | (Filter::Some, Sources::Merged(_)) => true,
            (Filter::Some, Sources::One(source)) => {
                self.world.members.wants(slot, self.group, source)
            }
            (Filter::Some, Sources::Every) => return Err(Reason::Varies),
        };
        if !wanted {
            return Err(Reason::NoMember);
        }
        let link = self.leaves(slot, sources)?;
        if link.role() != Role::Downstream || !link.is_forwarder() {
            return Err(Reason::NotQuerier(slot));
        }
        Ok(())
    }

    /// Whether packets may leave an interface.
    fn leaves(&self, slot: Slot, sources: Sources<F::Addr>) -> Result<&'a Link<F>, Reason> {
        let link =
            self.world.links.get(slot).filter(|l| l.forwards()).ok_or(Reason::Absent(slot))?;
        if link.role() == Role::Disabled {
            return Err(Reason::Disabled(slot));
        }
        if link.is_boundary(self.group) {
            return Err(Reason::Boundary(slot));
        }
        if F::AF == Af::Ip4 && link.settings.threshold == u8::MAX {
            return Err(Reason::Threshold(slot));
        }
        if link.role() != Role::Upstream && !self.permits(link, sources)? {
            return Err(Reason::Denied(slot));
        }
        Ok(link)
    }

    /// Whether allow and deny of an interface let the packets pass.
    fn permits(&self, link: &Link<F>, sources: Sources<F::Addr>) -> Result<bool, Reason> {
        let varies = |r: &crate::config::model::Rule| {
            r.source.is_some() && r.group.contains(&self.group.into())
        };
        match sources {
            Sources::One(source) => Ok(link.permits(self.group, Some(source))),
            Sources::Every if link.settings.rules.iter().any(varies) => Err(Reason::Varies),
            Sources::Every | Sources::Merged(_) => Ok(link.permits(self.group, None)),
        }
    }

    /// The outputs of the static route that the packets are for.
    fn static_outputs(
        &self,
        sources: Sources<F::Addr>,
        incoming: Slot,
    ) -> Result<Option<SlotSet>, Reason> {
        match sources {
            Sources::One(source) | Sources::Merged(source) => {
                Ok(self.statics.best::<F>(self.group, source, incoming).map(|rule| rule.to))
            }
            Sources::Every => {
                // One for a single source has an entry of its own, which goes before (*,G).
                let apart =
                    |source| !self.decide(Sources::One(source), incoming).outputs.is_empty();
                let is_apart = |rule: &&Rule| {
                    rule.from.only() == Some(incoming)
                        && rule.exact::<F>().is_some_and(|(source, _)| apart(source))
                };
                let mut rules = self.statics.ranked::<F>(self.group, incoming);
                match rules.find(|r| !is_apart(r)) {
                    None => Ok(None),
                    Some(rule) if rule.mroute.source == SourceMatch::Any => Ok(Some(rule.to)),
                    Some(_) => Err(Reason::Varies),
                }
            }
        }
    }
}

impl Reason {
    /// What to tell a user; `source` is whose packets it is about.
    pub fn text<F: Family>(self, links: &Slots<Link<F>>, source: Option<F::Addr>) -> String {
        let name = |slot| links.get(slot).map_or("an absent interface", |l| l.name.as_str());
        match self {
            Self::Varies => "depends on the source".into(),
            Self::Unroutable => "never forwarded: link-local group or source".into(),
            Self::Absent(slot) => format!("{} is absent or down", name(slot)),
            Self::Disabled(slot) => format!("{} is disabled", name(slot)),
            Self::Boundary(slot) => format!("boundary on {}", name(slot)),
            Self::Denied(slot) => format!("denied by a rule of {}", name(slot)),
            Self::Threshold(slot) => format!("threshold 255 on {} lets nothing leave", name(slot)),
            Self::Source(slot) => {
                let add =
                    source.map_or_else(String::new, |s| format!(" (add: source {})", network(s)));
                format!("source not in a connected network of {}{add}", name(slot))
            }
            Self::OtherUpstream(Some(slot)) => format!("upstream for the group is {}", name(slot)),
            Self::OtherUpstream(None) => "no upstream for the group".into(),
            Self::NoMroute(slot) => format!("no mroute from {}", name(slot)),
            Self::NoOutput => "no outgoing interface of its mroute is there".into(),
            Self::NotQuerier(slot) => format!("not the querier on {}", name(slot)),
            Self::NoMember => "no member".into(),
        }
    }
}

/// The network of a source that is proposed to a user: its /24, or its /64.
pub(super) fn network(source: impl Into<IpAddr>) -> ipnet::IpNet {
    let address = source.into();
    let len = if address.is_ipv4() { 24 } else { 64 };
    ipnet::IpNet::new(address, len).map_or_else(|_| address.into(), |net| net.trunc())
}
