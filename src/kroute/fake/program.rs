//! The program's side of a fake kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::state::{FakeEntry, FamilyState};
use super::{Behaviour, Call, Fake};
use crate::kroute::{
    Capabilities, Entry, Error, Installed, Interface, InterfaceChange, Monitor, Options, Output,
    Received, RouteKey, System,
};
use crate::wire::Af;

pub(super) struct FakeSystem(pub(super) Fake);

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
            if let Some(FakeEntry { packets, bytes, wrong, foreign, entry: old, .. }) = old {
                new = FakeEntry { packets, bytes, wrong, foreign, ..new };
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

    fn refresh(&mut self, _family: Af, _ifindices: &[u32]) -> io::Result<Vec<u32>> {
        Ok(Vec::new())
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

pub(super) struct FakeMonitor(pub(super) Fake);

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
