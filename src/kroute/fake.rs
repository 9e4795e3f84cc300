//! A kernel in memory that behaves as each system's does, for tests of everything above kroute.
//!
//! [`Fake`] is the test's side: it makes packets arrive, time pass, interfaces change and calls fail,
//! and tells what was called. [`Fake::kernel`] and [`Fake::monitor`] are the program's side.

mod program;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::program::{FakeMonitor, FakeSystem};
use self::state::{FakeEntry, State};
use super::{
    Capabilities, Entry, Interface, InterfaceChange, Kernel, MfcKey, Monitor, Received, RouteKey,
    Table, UpcallKind,
};
use crate::wire::Af;

/// Whose kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Keyed by source and group, with (*,G), but a (*,*) entry does nothing; queues; nothing expires.
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
