//! What is in a fake kernel, and what it does with packets.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;

use super::{Behaviour, Call, Packet, Sent, Standing};
use crate::kroute::{Entry, Interface, InterfaceChange, MfcKey, Received, RouteKey, UpcallKind};
use crate::wire::Af;

/// Packets that wait for one unresolved entry at most; Linux has four.
const QUEUE_MAX: usize = 4;

pub(super) struct State {
    pub(super) behaviour: Behaviour,
    pub(super) standing: Standing,
    pub(super) families: [FamilyState; 2],
    pub(super) calls: Vec<Call>,
    /// Errors of the next changing calls.
    pub(super) failures: VecDeque<i32>,
    pub(super) sent: Vec<Sent>,
    pub(super) interfaces: BTreeMap<u32, Interface>,
    pub(super) changes: VecDeque<InterfaceChange>,
}

#[derive(Default)]
pub(super) struct FamilyState {
    /// Interface index by vif number.
    pub(super) vifs: BTreeMap<u16, u32>,
    pub(super) entries: BTreeMap<RouteKey, FakeEntry>,
    pub(super) unresolved: BTreeMap<RouteKey, Vec<Packet>>,
    pub(super) messages: VecDeque<Received>,
}

pub(super) struct FakeEntry {
    pub(super) entry: Entry,
    pub(super) foreign: bool,
    /// The kernel made it by itself.
    pub(super) own: bool,
    /// A packet has come since time last passed.
    pub(super) used: bool,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) wrong: u64,
}

impl FakeEntry {
    pub(super) const fn new(entry: Entry, foreign: bool, own: bool) -> Self {
        Self { entry, foreign, own, used: true, packets: 0, bytes: 0, wrong: 0 }
    }
}

impl State {
    pub(super) fn of(&mut self, family: Af) -> &mut FamilyState {
        let [ipv4, ipv6] = &mut self.families;
        match family {
            Af::Ip4 => ipv4,
            Af::Ip6 => ipv6,
        }
    }

    /// The key that this kernel looks entries up by.
    pub(super) fn lookup(&self, key: RouteKey) -> RouteKey {
        match self.behaviour.capabilities(key.family()).key {
            MfcKey::SourceGroup => key,
            MfcKey::Group => RouteKey { source: None, group: key.group },
        }
    }

    /// What the kernel answers to a changing call.
    pub(super) fn permit(&mut self, family: Af, call: Call) -> io::Result<()> {
        self.calls.push(call);
        if let Some(errno) = self.failures.pop_front() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let errno = match (self.behaviour, self.standing, family) {
            (_, Standing::Router, _) => return Ok(()),
            (Behaviour::FreeBsd, Standing::Unprivileged, Af::Ip4)
            | (Behaviour::FreeBsd, Standing::NotRouter, Af::Ip4)
            | (Behaviour::OpenBsd, Standing::Sandboxed, _)
            | (Behaviour::OpenBsd, Standing::NotRouter, Af::Ip6) => libc::EPERM,
            (Behaviour::OpenBsd, Standing::NotRouter, Af::Ip4) => libc::ENOPROTOOPT,
            (Behaviour::FreeBsd, Standing::NotRouter, Af::Ip6)
            | (Behaviour::Linux, Standing::NotRouter, _) => libc::EACCES,
            (_, Standing::Unprivileged | Standing::Sandboxed, _) => return Ok(()),
        };
        Err(io::Error::from_raw_os_error(errno))
    }

    /// Whether the interface can become the vif; an error number if not.
    pub(super) fn check_vif(
        &mut self,
        family: Af,
        vif: u16,
        interface: &Interface,
    ) -> Result<(), i32> {
        let (behaviour, ifindex) = (self.behaviour, interface.ifindex);
        let taken = &self.of(family).vifs;
        let twice = taken.values().any(|i| *i == ifindex) && behaviour == Behaviour::OpenBsd;
        if taken.contains_key(&vif) || twice {
            return Err(libc::EADDRINUSE);
        }
        let Some(now) = self.interfaces.get(&ifindex) else {
            return if self.interfaces.is_empty() { Ok(()) } else { Err(libc::EADDRNOTAVAIL) };
        };
        let primary = interface.addresses.iter().map(|a| a.address).find(IpAddr::is_ipv4);
        let found = now.addresses.iter().any(|a| Some(a.address) == primary);
        let by_address = behaviour.capabilities(family).vif_by_address;
        if by_address && !found { Err(libc::EADDRNOTAVAIL) } else { Ok(()) }
    }

    /// What becomes of entries when a vif goes with its interface: Linux leaves them, FreeBSD removes
    /// those that come in there, OpenBSD the routes that it keeps for that interface.
    pub(super) fn drop_vif(&mut self, family: Af, ifindex: u32) {
        let behaviour = self.behaviour;
        let state = self.of(family);
        let by_index = |(_, i): &(&u16, &u32)| **i == ifindex;
        let Some((&vif, _)) = state.vifs.iter().find(by_index) else { return };
        state.vifs.remove(&vif);
        match behaviour {
            Behaviour::Linux => {}
            Behaviour::FreeBsd => state.entries.retain(|_, e| e.entry.parent != vif),
            Behaviour::OpenBsd => state.entries.retain(|_, e| {
                e.entry.outputs.retain(|(output, _)| *output != vif);
                e.entry.parent != vif || !e.entry.outputs.is_empty()
            }),
        }
    }

    /// What the kernel does with a packet; the outputs that it leaves by.
    pub(super) fn forward(&mut self, packet: Packet) -> Vec<u32> {
        let behaviour = self.behaviour;
        let family = Af::of(packet.group);
        let exact = self.lookup(RouteKey { source: Some(packet.source), group: packet.group });
        let any = RouteKey { source: None, group: packet.group };
        let state = self.of(family);
        let by_index = |(_, ifindex): &(&u16, &u32)| **ifindex == packet.ifindex;
        let Some((&vif, _)) = state.vifs.iter().find(by_index) else { return Vec::new() };
        let key = if state.entries.contains_key(&exact) { exact } else { any };
        // Linux finds a (*,G) entry by its outputs; from elsewhere it is as if there were none.
        let listed = |e: &&mut FakeEntry| {
            key == exact || e.entry.parent == vif || e.entry.outputs.iter().any(|o| o.0 == vif)
        };
        let Some(found) = state.entries.get_mut(&key).filter(listed) else {
            self.unknown(behaviour, vif, packet);
            return Vec::new();
        };
        if found.entry.parent != vif {
            found.wrong += 1;
            if behaviour.capabilities(family).wrongvif_upcalls {
                state.messages.push_back(upcall(UpcallKind::WrongVif, vif, packet));
            }
            return Vec::new();
        }
        found.used = true;
        found.packets += 1;
        found.bytes += packet.length;
        let outputs = found.entry.outputs.iter().filter(|(_, threshold)| packet.ttl > *threshold);
        outputs.filter_map(|(vif, _)| state.vifs.get(vif).copied()).collect()
    }

    /// A packet that no entry is for.
    pub(super) fn unknown(&mut self, behaviour: Behaviour, vif: u16, packet: Packet) {
        let key = RouteKey { source: Some(packet.source), group: packet.group };
        let queues = behaviour.capabilities(key.family()).queues_unresolved;
        let lookup = self.lookup(key);
        let state = self.of(key.family());
        if !queues {
            let entry = Entry { key, parent: vif, outputs: Vec::new() };
            state.entries.insert(lookup, FakeEntry::new(entry, false, true));
        } else if let Some(waiting) = state.unresolved.get_mut(&key) {
            if waiting.len() < QUEUE_MAX {
                waiting.push(packet);
            }
            return;
        } else {
            state.unresolved.insert(key, vec![packet]);
        }
        state.messages.push_back(upcall(UpcallKind::NoCache, vif, packet));
    }

    pub(super) fn send(&mut self, packet: Packet) -> Vec<u32> {
        let outputs = self.forward(packet);
        if !outputs.is_empty() {
            self.sent.push(Sent { packet, outputs: outputs.clone() });
        }
        outputs
    }
}

fn upcall(kind: UpcallKind, vif: u16, packet: Packet) -> Received {
    Received::Upcall { kind, vif, source: packet.source, group: packet.group }
}
