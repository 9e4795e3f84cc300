//! What each system implements: the kernel calls in the kernel's terms, without memory.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::{Capabilities, Error, Interface, Options, Output, RouteKey, UpcallKind};
use crate::wire::Af;

/// A forwarding entry by vif numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is for.
    pub key: RouteKey,
    /// The vif that packets come in by.
    pub parent: u16,
    /// The vifs that they go out by, with their thresholds.
    pub outputs: Vec<(u16, u8)>,
}

/// An entry as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What it is for.
    pub key: RouteKey,
    /// The incoming interface's index, none when that is gone, and the outputs in order; `None` when
    /// the system does not tell.
    pub path: Option<(Option<u32>, Vec<Output>)>,
    /// Another program made it.
    pub foreign: bool,
    /// Packets, those on a wrong interface left out.
    pub packets: u64,
    /// Octets, likewise.
    pub bytes: u64,
    /// Packets on a wrong interface.
    pub wrong_interface: u64,
}

/// What comes out of a routing socket, by vif number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The kernel asks about a packet.
    Upcall {
        /// What about.
        kind: UpcallKind,
        /// Where the packet arrived.
        vif: u16,
        /// Its source.
        source: IpAddr,
        /// Its destination.
        group: IpAddr,
    },
    /// A packet that goes out by the vif for registers.
    Register {
        /// The packet from its IP header on.
        bytes: Vec<u8>,
    },
    /// An IGMP packet.
    Igmp {
        /// Index of the interface that it arrived on.
        ifindex: u32,
        /// The packet from its IPv4 header on.
        bytes: Vec<u8>,
    },
}

/// A system's multicast routing, call by call. [`Table`](super::Table) makes the rest of it.
pub trait System: Send {
    /// Takes the routing of families that are not open yet.
    fn open(&mut self, options: &Options) -> Result<(), Error>;

    /// What it can do in this family.
    fn capabilities(&self, family: Af) -> Capabilities;

    /// Makes the interface the vif with this number.
    fn add_vif(&mut self, family: Af, vif: u16, interface: &Interface) -> io::Result<()>;

    /// Makes the vif with this number the one for registers; returns the interface that stands for
    /// it. `Unsupported` where there is no such thing, or the kernel lacks it.
    fn add_register(&mut self, family: Af, vif: u16) -> io::Result<Interface> {
        let _ = (family, vif);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Deletes the vif; one that the kernel has lost is no error.
    fn delete_vif(&mut self, family: Af, vif: u16, ifindex: u32) -> io::Result<()>;

    /// Whether the kernel still has the vif.
    fn has_vif(&mut self, family: Af, vif: u16) -> io::Result<bool>;

    /// Adds the entry, or replaces the one with that key.
    fn set_entry(&mut self, entry: &Entry) -> io::Result<()>;

    /// Deletes the entry; none is no error.
    fn delete_entry(&mut self, key: &RouteKey, parent: u16) -> io::Result<()>;

    /// Calls `each` for every entry of the kernel, or for those of `known`, which come with the
    /// number of their outputs, that the kernel has.
    fn entries(
        &mut self,
        family: Af,
        known: &mut dyn Iterator<Item = (RouteKey, usize)>,
        each: &mut dyn FnMut(Installed),
    ) -> io::Result<()>;

    /// Called when a table is reconciled, with the vifs' interface indices: mends what the system
    /// keeps besides vifs and entries; returns the interfaces for which another program had changed it.
    fn refresh(&mut self, family: Af, ifindices: &[u32]) -> io::Result<Vec<u32>>;

    /// What to poll; `None` when the family is off.
    fn descriptor(&self, family: Af) -> Option<BorrowedFd<'_>>;

    /// The next message; `None` when none waits. One that means nothing is skipped, at most `limit`
    /// of them, each counted down.
    fn receive(&mut self, family: Af, limit: &mut usize) -> io::Result<Option<Received>>;
}
