//! A kernel in memory that behaves as each system's does, for tests of everything above kroute.
//!
//! [`Fake`] is the test's side: it makes packets arrive, time pass, interfaces change and calls fail,
//! and tells what was called. [`Fake::kernel`] and [`Fake::monitor`] are the program's side.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Capabilities, Entry, Error, Installed, Interface, InterfaceChange, Kernel, MfcKey, Monitor,
    Options, Output, Received, RouteKey, System, Table, UpcallKind,
};
use crate::wire::Af;

/// Packets that wait for one unresolved entry at most; Linux has four.
const QUEUE_MAX: usize = 4;

/// Whose kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Keyed by source and group, with (*,G); queues; nothing expires.
    Linux,
    /// Keyed by group; entries expire; an unknown group gets an entry without outputs from the
    /// kernel itself, and one upcall; no upcall for a wrong interface.
    OpenBsd,
    /// Keyed by source and group; queues; nothing expires.
    FreeBsd,
}

impl Behaviour {
    /// What such a kernel can do.
    #[must_use]
    pub const fn capabilities(self, family: Af) -> Capabilities {
        let (ipv4, bsd_vifs) = match family {
            Af::Ip4 => (true, 32),
            Af::Ip6 => (false, 64),
        };
        match self {
            Self::Linux => Capabilities {
                key: MfcKey::SourceGroup,
                entries_expire: false,
                queues_unresolved: true,
                wrongvif_upcalls: true,
                star_g: true,
                vif_by_address: false,
                max_vifs: 32,
            },
            Self::OpenBsd => Capabilities {
                key: MfcKey::Group,
                entries_expire: true,
                queues_unresolved: false,
                wrongvif_upcalls: false,
                star_g: false,
                vif_by_address: ipv4,
                max_vifs: bsd_vifs,
            },
            Self::FreeBsd => Capabilities {
                key: MfcKey::SourceGroup,
                entries_expire: false,
                queues_unresolved: true,
                wrongvif_upcalls: true,
                star_g: false,
                vif_by_address: ipv4,
                max_vifs: bsd_vifs,
            },
        }
    }
}

/// What the process may still do with its routing sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    Router,
    /// It gave up root: FreeBSD refuses IPv4 calls then (`PRIV_NETINET_MROUTE`).
    Unprivileged,
    /// It is in a sandbox: OpenBSD's pledge has no promise for these calls.
    Sandboxed,
    /// Its sockets are no longer the kernel's routing sockets.
    NotRouter,
}

/// A call that the program made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A vif was added.
    AddVif {
        /// The family.
        family: Af,
        /// Its number.
        vif: u16,
        /// Its interface.
        ifindex: u32,
    },
    /// A vif was deleted.
    DeleteVif {
        /// The family.
        family: Af,
        /// Its number.
        vif: u16,
    },
    /// An entry was added or replaced.
    SetEntry(Entry),
    /// An entry was deleted.
    DeleteEntry(RouteKey),
    /// The table was read, for counters or to reconcile.
    Entries(Af),
}

/// A packet that goes through the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Index of the interface that it arrives on.
    pub ifindex: u32,
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub group: IpAddr,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// Its length in octets.
    pub length: u64,
}

/// A packet that went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The packet as it arrived.
    pub packet: Packet,
    /// Indices of the interfaces that it left by, in order of vif number.
    pub outputs: Vec<u32>,
}

/// The test's side of a fake kernel; clones are the same kernel.
#[derive(Clone)]
pub struct Fake(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Readable while messages wait, by family.
    messages: [Wake; 2],
    /// Readable while interface changes wait.
    changes: Wake,
}

/// A descriptor that can be made readable.
struct Wake {
    reader: UnixStream,
    writer: UnixStream,
}

impl Wake {
    fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { reader, writer })
    }

    fn set(&self, readable: bool) {
        let mut waiting = [0; 64];
        while matches!((&self.reader).read(&mut waiting), Ok(1..)) {}
        if readable {
            // The buffer is empty, so this cannot fail.
            let _ = (&self.writer).write(&[0]);
        }
    }
}

struct State {
    behaviour: Behaviour,
    standing: Standing,
    families: [FamilyState; 2],
    calls: Vec<Call>,
    /// Errors of the next changing calls.
    failures: VecDeque<i32>,
    sent: Vec<Sent>,
    interfaces: BTreeMap<u32, Interface>,
    changes: VecDeque<InterfaceChange>,
}

#[derive(Default)]
struct FamilyState {
    /// Interface index by vif number.
    vifs: BTreeMap<u16, u32>,
    entries: BTreeMap<RouteKey, FakeEntry>,
    unresolved: BTreeMap<RouteKey, Vec<Packet>>,
    messages: VecDeque<Received>,
}

struct FakeEntry {
    entry: Entry,
    foreign: bool,
    /// The kernel made it by itself.
    own: bool,
    /// A packet has come since time last passed.
    used: bool,
    packets: u64,
    bytes: u64,
    wrong: u64,
}

impl FakeEntry {
    const fn new(entry: Entry, foreign: bool, own: bool) -> Self {
        Self { entry, foreign, own, used: true, packets: 0, bytes: 0, wrong: 0 }
    }
}

impl State {
    fn of(&mut self, family: Af) -> &mut FamilyState {
        let [ipv4, ipv6] = &mut self.families;
        match family {
            Af::Ip4 => ipv4,
            Af::Ip6 => ipv6,
        }
    }

    /// The key that this kernel looks entries up by.
    fn lookup(&self, key: RouteKey) -> RouteKey {
        match self.behaviour.capabilities(key.family()).key {
            MfcKey::SourceGroup => key,
            MfcKey::Group => RouteKey { source: None, group: key.group },
        }
    }

    /// What the kernel answers to a changing call.
    fn permit(&mut self, family: Af, call: Call) -> io::Result<()> {
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
    fn check_vif(&mut self, family: Af, vif: u16, interface: &Interface) -> Result<(), i32> {
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
    fn drop_vif(&mut self, family: Af, ifindex: u32) {
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
    fn forward(&mut self, packet: Packet) -> Vec<u32> {
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
    fn unknown(&mut self, behaviour: Behaviour, vif: u16, packet: Packet) {
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

    fn send(&mut self, packet: Packet) -> Vec<u32> {
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

impl Fake {
    /// A kernel of this kind, without interfaces.
    pub fn new(behaviour: Behaviour) -> io::Result<Self> {
        let state = Mutex::new(State {
            behaviour,
            standing: Standing::Router,
            families: Default::default(),
            calls: Vec::new(),
            failures: VecDeque::new(),
            sent: Vec::new(),
            interfaces: BTreeMap::new(),
            changes: VecDeque::new(),
        });
        let messages = [Wake::new()?, Wake::new()?];
        Ok(Self(Arc::new(Shared { state, messages, changes: Wake::new()? })))
    }

    /// The kernel as the program sees it.
    #[must_use]
    pub fn kernel(&self) -> Box<dyn Kernel> {
        Box::new(Table::new(FakeSystem(self.clone())))
    }

    /// The interfaces as the program sees them.
    #[must_use]
    pub fn monitor(&self) -> Box<dyn Monitor> {
        Box::new(FakeMonitor(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the kernel, and makes readable what then has something to read.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        for (family, wake) in state.families.iter().zip(&self.0.messages) {
            wake.set(!family.messages.is_empty());
        }
        self.0.changes.set(!state.changes.is_empty());
        result
    }

    /// A packet arrives: it is counted, forwarded, queued or asked about as this kernel does. Returns
    /// the indices of the interfaces that it left by at once.
    #[must_use]
    pub fn packet(&self, packet: Packet) -> Vec<u32> {
        self.with(|state| state.send(packet))
    }

    /// An upcall comes, whatever the table says. False when the interface is no vif.
    pub fn upcall(&self, kind: UpcallKind, ifindex: u32, source: IpAddr, group: IpAddr) -> bool {
        self.with(|state| {
            let state = state.of(Af::of(group));
            let vif = state.vifs.iter().find(|(_, i)| **i == ifindex).map(|(vif, _)| *vif);
            let upcall = vif.map(|vif| Received::Upcall { kind, vif, source, group });
            state.messages.extend(upcall);
            vif.is_some()
        })
    }

    /// An IGMP packet comes that reaches the routing socket alone (Linux).
    pub fn igmp(&self, ifindex: u32, bytes: Vec<u8>) {
        self.with(|s| s.of(Af::Ip4).messages.push_back(Received::Igmp { ifindex, bytes }));
    }

    /// The kernel's timers run: unresolved packets are dropped, and where entries expire, those go
    /// that no packet has used since the last time.
    pub fn time_passes(&self) {
        let mut state = self.lock();
        for family in Af::ALL {
            let expire = state.behaviour.capabilities(family).entries_expire;
            let state = state.of(family);
            state.unresolved.clear();
            state.entries.retain(|_, e| !expire || std::mem::take(&mut e.used));
        }
    }

    /// The next changing call fails with this error number; may be called several times.
    pub fn fail(&self, errno: i32) {
        self.lock().failures.push_back(errno);
    }

    /// Changes what the process may do.
    pub fn stand(&self, standing: Standing) {
        self.lock().standing = standing;
    }

    /// Takes the calls since the last time.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    /// Takes the packets that went out since the last time, late ones of the queue included.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.lock().sent)
    }

    /// The entries as they are in the kernel, the kernel's own left out.
    #[must_use]
    pub fn entries(&self, family: Af) -> Vec<Entry> {
        let mut state = self.lock();
        state.of(family).entries.values().filter(|e| !e.own).map(|e| e.entry.clone()).collect()
    }

    /// Another hand deletes an entry; whether it was there.
    pub fn lose_entry(&self, key: RouteKey) -> bool {
        let mut state = self.lock();
        let key = state.lookup(key);
        state.of(key.family()).entries.remove(&key).is_some()
    }

    /// Another hand makes an entry; `foreign` when the kernel shows that it is another program's.
    pub fn intrude(&self, entry: Entry, foreign: bool) {
        let mut state = self.lock();
        let key = state.lookup(entry.key);
        state.of(key.family()).entries.insert(key, FakeEntry::new(entry, foreign, false));
    }

    /// An interface comes or changes.
    pub fn interface(&self, interface: Interface) {
        self.with(|state| {
            state.interfaces.insert(interface.ifindex, interface.clone());
            state.changes.push_back(InterfaceChange::Present(interface));
        });
    }

    /// The kernel loses the vif of an interface, as when that goes and comes back unseen.
    pub fn lose_vif(&self, family: Af, ifindex: u32) {
        self.lock().drop_vif(family, ifindex);
    }

    /// An interface goes, and its vifs with it.
    pub fn remove_interface(&self, ifindex: u32) {
        self.with(|state| {
            state.interfaces.remove(&ifindex);
            Af::ALL.into_iter().for_each(|family| state.drop_vif(family, ifindex));
            state.changes.push_back(InterfaceChange::Gone { ifindex });
        });
    }
}

struct FakeSystem(Fake);

impl System for FakeSystem {
    fn open(&mut self, _options: &Options) -> Result<(), Error> {
        Ok(())
    }

    fn capabilities(&self, family: Af) -> Capabilities {
        self.0.lock().behaviour.capabilities(family)
    }

    fn add_vif(&mut self, family: Af, vif: u16, interface: &Interface) -> io::Result<()> {
        let ifindex = interface.ifindex;
        let mut state = self.0.lock();
        state.permit(family, Call::AddVif { family, vif, ifindex })?;
        state.check_vif(family, vif, interface).map_err(io::Error::from_raw_os_error)?;
        state.of(family).vifs.insert(vif, ifindex);
        Ok(())
    }

    fn delete_vif(&mut self, family: Af, vif: u16, _ifindex: u32) -> io::Result<()> {
        let mut state = self.0.lock();
        state.permit(family, Call::DeleteVif { family, vif })?;
        state.of(family).vifs.remove(&vif);
        Ok(())
    }

    /// FreeBSD answers for every number up to the highest in use.
    fn has_vif(&mut self, family: Af, vif: u16) -> io::Result<bool> {
        let mut state = self.0.lock();
        let any = state.behaviour == Behaviour::FreeBsd;
        let vifs = &state.of(family).vifs;
        Ok(vifs.contains_key(&vif) || any && vifs.range(vif..).next().is_some())
    }

    fn set_entry(&mut self, entry: &Entry) -> io::Result<()> {
        let family = entry.key.family();
        self.0.with(|state| {
            state.permit(family, Call::SetEntry(entry.clone()))?;
            let by_group = state.behaviour == Behaviour::OpenBsd;
            if by_group && !state.of(family).vifs.contains_key(&entry.parent) {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            let key = state.lookup(entry.key);
            let old = state.of(family).entries.remove(&key);
            let mut new = FakeEntry::new(entry.clone(), false, false);
            if let Some(FakeEntry { packets, bytes, wrong, entry: old, .. }) = old {
                new = FakeEntry { packets, bytes, wrong, ..new };
                // OpenBSD does not touch a route that the new parent has as an output.
                if by_group && old.outputs.iter().any(|(vif, _)| *vif == entry.parent) {
                    new.entry.parent = old.parent;
                }
            }
            state.of(family).entries.insert(key, new);
            for packet in state.of(family).unresolved.remove(&key).unwrap_or_default() {
                state.send(packet);
            }
            Ok(())
        })
    }

    fn delete_entry(&mut self, key: &RouteKey, _parent: u16) -> io::Result<()> {
        let mut state = self.0.lock();
        state.permit(key.family(), Call::DeleteEntry(*key))?;
        let key = state.lookup(*key);
        state.of(key.family()).entries.remove(&key);
        Ok(())
    }

    /// Linux lists all of its entries; the others are asked about one after the other, and tell
    /// counters only.
    fn entries(
        &mut self,
        family: Af,
        known: &mut dyn Iterator<Item = (RouteKey, usize)>,
        each: &mut dyn FnMut(Installed),
    ) -> io::Result<()> {
        let mut state = self.0.lock();
        state.calls.push(Call::Entries(family));
        let tells = state.behaviour == Behaviour::Linux;
        let FamilyState { vifs, entries, .. } = state.of(family);
        let show = |(key, found): (&RouteKey, &FakeEntry)| {
            let output = |(vif, threshold): &(u16, u8)| {
                Some(Output { ifindex: *vifs.get(vif)?, threshold: *threshold })
            };
            let mut outputs: Vec<_> = found.entry.outputs.iter().filter_map(output).collect();
            outputs.sort_unstable();
            each(Installed {
                key: *key,
                path: tells.then(|| (vifs.get(&found.entry.parent).copied(), outputs)),
                foreign: found.foreign && tells,
                packets: found.packets,
                bytes: found.bytes,
                wrong_interface: found.wrong,
            });
        };
        if tells {
            entries.iter().filter(|(_, found)| !found.own).for_each(show);
        } else {
            known.filter_map(|(key, _)| entries.get_key_value(&key)).for_each(show);
        }
        Ok(())
    }

    fn refresh(&mut self, _family: Af, _ifindices: &[u32]) -> io::Result<()> {
        Ok(())
    }

    fn descriptor(&self, family: Af) -> Option<BorrowedFd<'_>> {
        let [ipv4, ipv6] = &self.0.0.messages;
        Some(match family {
            Af::Ip4 => ipv4.reader.as_fd(),
            Af::Ip6 => ipv6.reader.as_fd(),
        })
    }

    fn receive(&mut self, family: Af, limit: &mut usize) -> io::Result<Option<Received>> {
        *limit = limit.saturating_sub(1);
        Ok(self.0.with(|state| state.of(family).messages.pop_front()))
    }
}

struct FakeMonitor(Fake);

impl Monitor for FakeMonitor {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.0.changes.reader.as_fd()
    }

    fn snapshot(&mut self) -> Result<Vec<Interface>, Error> {
        Ok(self.0.with(|state| {
            state.changes.clear();
            state.interfaces.values().cloned().collect()
        }))
    }

    fn receive(&mut self, out: &mut Vec<InterfaceChange>) -> Result<(), Error> {
        out.extend(self.0.with(|state| std::mem::take(&mut state.changes)));
        Ok(())
    }
}
