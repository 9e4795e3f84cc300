//! What every system has in common: vif numbers, the memory of what is installed, and mending.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::shadow::{Shadow, Shape};
use super::{
    Capabilities, Drift, Entry, Error, FromKernel, Installed, Interface, Kernel, MAX_ROUTES,
    MfcKey, Options, Output, RECEIVE_MAX, Received, Route, RouteCount, RouteKey, System, Upcall,
    UpcallKind,
};
use crate::wire::Af;

/// Multicast routing of a system.
pub struct Table<S: System> {
    system: S,
    ipv4: Rows,
    ipv6: Rows,
}

/// What one family has installed.
struct Rows {
    /// By vif number.
    vifs: Vec<Option<Interface>>,
    routes: Shadow,
    /// Installed routes that the kernel asked about, so it has lost them: the next set is made.
    stale: HashSet<RouteKey>,
    /// The vif for registers.
    register: Option<u16>,
}

impl Rows {
    fn new(family: Af) -> Self {
        let (vifs, stale) = (Vec::new(), HashSet::new());
        Self { vifs, routes: Shadow::new(family), stale, register: None }
    }

    fn number(&self, ifindex: u32) -> Option<u16> {
        let is_it = |v: &Option<Interface>| v.as_ref().is_some_and(|i| i.ifindex == ifindex);
        self.vifs.iter().position(is_it).and_then(|n| u16::try_from(n).ok())
    }

    fn ifindex(&self, vif: u16) -> Option<u32> {
        self.vifs.get(usize::from(vif))?.as_ref().map(|i| i.ifindex)
    }

    /// The lowest number that is free, for an interface of this name.
    fn free(&mut self, family: Af, max: u8, name: &str) -> Result<u16, Error> {
        self.vifs.resize(usize::from(max), None);
        let mut free = (0u16..).zip(&self.vifs).filter(|(_, vif)| vif.is_none());
        let number = free.next().map(|(number, _)| number);
        number.ok_or_else(|| Error::TooManyVifs { family, interface: name.to_owned(), max })
    }

    fn put(&mut self, number: u16, interface: Option<Interface>) {
        if let Some(slot) = self.vifs.get_mut(usize::from(number)) {
            *slot = interface;
        }
    }

    fn vif(&self, family: Af, ifindex: u32) -> Result<u16, Error> {
        self.number(ifindex).ok_or(Error::NoVif { family, ifindex })
    }

    fn entry(&self, family: Af, key: RouteKey, shape: &Shape) -> Result<Entry, Error> {
        let output = |o: &Output| Ok((self.vif(family, o.ifindex)?, o.threshold));
        Ok(Entry {
            key,
            parent: self.vif(family, shape.incoming)?,
            outputs: shape.outgoing.iter().map(output).collect::<Result<_, Error>>()?,
        })
    }
}

impl<S: System> Table<S> {
    /// A table that nothing is installed in.
    pub fn new(system: S) -> Self {
        Self { system, ipv4: Rows::new(Af::Ip4), ipv6: Rows::new(Af::Ip6) }
    }

    fn rows(&self, family: Af) -> &Rows {
        match family {
            Af::Ip4 => &self.ipv4,
            Af::Ip6 => &self.ipv6,
        }
    }

    fn parts(&mut self, family: Af) -> (&mut S, &mut Rows) {
        let rows = match family {
            Af::Ip4 => &mut self.ipv4,
            Af::Ip6 => &mut self.ipv6,
        };
        (&mut self.system, rows)
    }

    /// The key that the kernel looks entries up by.
    fn lookup_key(&self, key: &RouteKey) -> RouteKey {
        match self.system.capabilities(key.family()).key {
            MfcKey::SourceGroup => *key,
            MfcKey::Group => RouteKey { source: None, group: key.group },
        }
    }

    fn check(&self, route: &Route) -> Result<(), Error> {
        let capabilities = self.system.capabilities(route.key.family());
        let every = route.key.source.is_none() && route.key.group.is_unspecified();
        if !(route.key.group.is_multicast() || every && capabilities.star_g) {
            return Err(Error::Invalid("the group of a route must be a multicast address"));
        }
        if let Some(source) = route.key.source
            && (Af::of(source) != route.key.family() || !is_sender(source))
        {
            return Err(Error::Invalid("the source of a route must be a unicast address"));
        }
        if route.key.source.is_none()
            && capabilities.key == MfcKey::SourceGroup
            && !capabilities.star_g
        {
            return Err(Error::Invalid("this system has no (*,G) routes"));
        }
        if route.outgoing.iter().any(|o| o.ifindex == route.incoming) {
            return Err(Error::Invalid("a route cannot go out where it comes in"));
        }
        if route.outgoing.iter().any(|o| !(1..=254).contains(&o.threshold)) {
            return Err(Error::Invalid("the threshold of an output must be 1 to 254"));
        }
        Ok(())
    }

    /// Installs the shape under the key, whatever is there.
    fn install(&mut self, key: RouteKey, shape: Shape) -> Result<(), Error> {
        let family = key.family();
        let lookup = self.lookup_key(&key);
        let by_group = self.system.capabilities(family).key == MfcKey::Group;
        let (system, rows) = self.parts(family);
        let entry = rows.entry(family, key, &shape)?;
        let old = rows.routes.get(&lookup);
        if old.is_none() && rows.routes.len() >= MAX_ROUTES {
            return Err(Error::TooManyRoutes { family });
        }
        let old = old.and_then(|old| rows.number(old.incoming));
        // OpenBSD's entry is a route for each interface; one that the new parent has already would
        // keep its old parent (`update_mfc_params`).
        if let Some(parent) = old.filter(|old| by_group && *old != entry.parent) {
            system.delete_entry(&key, parent).map_err(Error::system("move a multicast route"))?;
        }
        system.set_entry(&entry).map_err(Error::system("add a multicast route"))?;
        rows.routes.insert(&lookup, shape);
        rows.stale.remove(&lookup);
        Ok(())
    }

    fn remove(&mut self, lookup: &RouteKey) -> Result<(), Error> {
        let by_group = self.system.capabilities(lookup.family()).key == MfcKey::Group;
        let (system, rows) = self.parts(lookup.family());
        let parent = match rows.routes.get(lookup) {
            Some(shape) => rows.number(shape.incoming).unwrap_or_default(),
            // There may be one of the kernel's own making, which keeps it from asking.
            None if by_group => 0,
            None => return Ok(()),
        };
        system.delete_entry(lookup, parent).map_err(Error::system("delete a multicast route"))?;
        rows.routes.remove(lookup);
        rows.stale.remove(lookup);
        Ok(())
    }

    /// Restores what vifs the kernel has lost.
    fn mend_vifs(&mut self, family: Af, drift: &mut Drift) -> Result<(), Error> {
        let (system, rows) = self.parts(family);
        for (number, interface) in (0u16..).zip(&rows.vifs) {
            let Some(interface) = interface else { continue };
            if system.has_vif(family, number).map_err(Error::system("read a vif"))? {
                continue;
            }
            if rows.register == Some(number) {
                drift.vifs_lost.push(interface.ifindex);
                continue;
            }
            match system.add_vif(family, number, interface) {
                Ok(()) => drift.vifs_restored.push(interface.ifindex),
                Err(_) => drift.vifs_lost.push(interface.ifindex),
            }
        }
        Ok(())
    }

    /// Compares the kernel's entries with ours; what is to be done is left in `drift` by its result.
    fn compare(&mut self, family: Af, drift: &mut Drift) -> Result<(), Error> {
        let expires = self.system.capabilities(family).entries_expire;
        let (system, rows) = self.parts(family);
        let mut seen = HashSet::new();
        let routes = &rows.routes;
        let mut each = |found: Installed| match routes.get(&found.key) {
            None if found.foreign => drift.foreign.push(found.key),
            None => drift.removed.push(found.key),
            Some(_) if found.foreign => {
                seen.insert(found.key);
                drift.taken.push(found.key);
            }
            Some(shape) => {
                seen.insert(found.key);
                let differs = match found.path {
                    Some(path) => path != (Some(shape.incoming), shape.outgoing.clone()),
                    // The kernel does not tell; what named a vif that was lost has lost it.
                    None => drift.vifs_restored.iter().any(|ifindex| shape.names(*ifindex)),
                };
                if differs {
                    drift.corrected.push(found.key);
                }
            }
        };
        system
            .entries(family, &mut routes.iter().map(outputs), &mut each)
            .map_err(Error::system("read the multicast routes"))?;
        let missing = routes.iter().map(|(key, _)| key).filter(|key| !seen.contains(key));
        if expires {
            drift.expired.extend(missing);
        } else {
            drift.restored.extend(missing);
        }
        Ok(())
    }

    /// Does what [`compare`](Self::compare) found; what cannot be done becomes a failure.
    fn mend_routes(&mut self, family: Af, drift: &mut Drift) {
        let mut failed = Vec::new();
        let mut reinstall = |this: &mut Self, key: &RouteKey| {
            let shape = this.rows(family).routes.get(key).map(|s| (**s).clone());
            let done = shape.is_some_and(|shape| this.install(*key, shape).is_ok());
            if !done {
                failed.push(*key);
            }
            done
        };
        drift.restored.retain(|key| reinstall(self, key));
        drift.corrected.retain(|key| reinstall(self, key));
        // Set again, such an entry would stay the other program's.
        drift.taken.retain(|key| self.system.delete_entry(key, 0).is_ok() && reinstall(self, key));
        let (system, rows) = self.parts(family);
        drift.removed.retain(|key| {
            let done = system.delete_entry(key, 0).is_ok();
            if !done {
                failed.push(*key);
            }
            done
        });
        drift.expired.iter().for_each(|key| rows.routes.remove(key));
        drift.failed = failed;
    }
}

/// What [`System::entries`] is told of a route.
fn outputs((key, shape): (RouteKey, &Arc<Shape>)) -> (RouteKey, usize) {
    (key, shape.outgoing.len())
}

/// An address that a packet may come from.
fn is_sender(source: IpAddr) -> bool {
    !source.is_multicast() && !source.is_unspecified()
}

impl<S: System> Kernel for Table<S> {
    fn open(&mut self, options: &Options) -> Result<(), Error> {
        self.system.open(options)
    }

    fn capabilities(&self, family: Af) -> Capabilities {
        self.system.capabilities(family)
    }

    fn add_vif(&mut self, family: Af, interface: &Interface) -> Result<u16, Error> {
        let Capabilities { max_vifs, vif_by_address, .. } = self.system.capabilities(family);
        let (system, rows) = self.parts(family);
        let name = || interface.name.clone();
        if rows.number(interface.ifindex).is_some() {
            return Err(Error::VifExists { family, interface: name() });
        }
        if vif_by_address && !interface.addresses.iter().any(|a| a.address.is_ipv4()) {
            return Err(Error::NoAddress { family, interface: name() });
        }
        let number = rows.free(family, max_vifs, &interface.name)?;
        system.add_vif(family, number, interface).map_err(Error::system("add a vif"))?;
        rows.put(number, Some(interface.clone()));
        Ok(number)
    }

    fn add_register(&mut self, family: Af) -> Result<u32, Error> {
        const NAME: &str = "the vif for registers";
        let max = self.system.capabilities(family).max_vifs;
        let (system, rows) = self.parts(family);
        if rows.register.is_some() {
            return Err(Error::VifExists { family, interface: NAME.to_owned() });
        }
        let number = rows.free(family, max, NAME)?;
        let interface = system.add_register(family, number).map_err(|e| {
            if e.kind() == io::ErrorKind::Unsupported {
                return Error::Unsupported { family, option: "PIM registers (CONFIG_IP_PIMSM_V2)" };
            }
            Error::System { call: "add the vif for registers", source: e }
        })?;
        let ifindex = interface.ifindex;
        rows.register = Some(number);
        rows.put(number, Some(interface));
        Ok(ifindex)
    }

    fn update_interface(&mut self, interface: &Interface) {
        let vifs = self.ipv4.vifs.iter_mut().chain(&mut self.ipv6.vifs).flatten();
        vifs.filter(|v| v.ifindex == interface.ifindex).for_each(|v| v.clone_from(interface));
    }

    fn delete_vif(&mut self, family: Af, ifindex: u32) -> Result<(), Error> {
        let number = self.rows(family).vif(family, ifindex)?;
        let named = self.rows(family).routes.iter().filter(|(_, shape)| shape.names(ifindex));
        let named: Vec<_> = named.map(|(key, shape)| (key, (**shape).clone())).collect();
        for (key, mut shape) in named {
            if shape.incoming == ifindex {
                self.remove(&key)?;
            } else {
                shape.outgoing.retain(|o| o.ifindex != ifindex);
                self.install(key, shape)?;
            }
        }
        let (system, rows) = self.parts(family);
        system.delete_vif(family, number, ifindex).map_err(Error::system("delete a vif"))?;
        rows.put(number, None);
        rows.register = rows.register.filter(|register| *register != number);
        Ok(())
    }

    fn set_route(&mut self, route: &Route) -> Result<(), Error> {
        self.check(route)?;
        let family = route.key.family();
        let shape = Shape::new(family, route.incoming, &route.outgoing);
        let lookup = self.lookup_key(&route.key);
        let rows = self.rows(family);
        if rows.routes.get(&lookup).is_some_and(|s| **s == shape) && !rows.stale.contains(&lookup) {
            return Ok(());
        }
        self.install(route.key, shape)
    }

    fn delete_route(&mut self, key: &RouteKey) -> Result<(), Error> {
        self.remove(&self.lookup_key(key))
    }

    fn routes(&self, family: Af) -> Vec<Route> {
        self.rows(family).routes.iter().map(|(key, shape)| shape.route(key)).collect()
    }

    fn route_count(&self, family: Af) -> usize {
        self.rows(family).routes.len()
    }

    fn has_route(&self, key: &RouteKey) -> bool {
        self.rows(key.family()).routes.get(&self.lookup_key(key)).is_some()
    }

    fn counters(&mut self, family: Af) -> Result<Vec<RouteCount>, Error> {
        let (system, rows) = self.parts(family);
        let routes = &rows.routes;
        let mut counts = Vec::with_capacity(routes.len());
        let mut each = |found: Installed| {
            if !found.foreign && routes.get(&found.key).is_some() {
                let Installed { key, packets, bytes, wrong_interface, .. } = found;
                counts.push(RouteCount { key, packets, bytes, wrong_interface });
            }
        };
        system
            .entries(family, &mut routes.iter().map(outputs), &mut each)
            .map_err(Error::system("read the counters of multicast routes"))?;
        Ok(counts)
    }

    fn reconcile(&mut self, family: Af) -> Result<Drift, Error> {
        let mut drift = Drift::default();
        if self.system.descriptor(family).is_none() {
            return Ok(drift);
        }
        self.mend_vifs(family, &mut drift)?;
        let indices: Vec<u32> =
            self.rows(family).vifs.iter().flatten().map(|i| i.ifindex).collect();
        drift.rules_restored = self
            .system
            .refresh(family, &indices)
            .map_err(Error::system("read the routing rules"))?;
        self.compare(family, &mut drift)?;
        self.mend_routes(family, &mut drift);
        Ok(drift)
    }

    fn descriptor(&self, family: Af) -> Option<BorrowedFd<'_>> {
        self.system.descriptor(family)
    }

    fn receive(&mut self, family: Af, out: &mut Vec<FromKernel>) -> Result<(), Error> {
        let mut limit = RECEIVE_MAX;
        while limit > 0 {
            let (system, _) = self.parts(family);
            let received = system
                .receive(family, &mut limit)
                .map_err(Error::system("receive from the multicast routing socket"))?;
            match received {
                None => return Ok(()),
                Some(Received::Register { bytes }) => out.push(FromKernel::Register { bytes }),
                Some(Received::Igmp { ifindex, bytes }) => {
                    out.push(FromKernel::Igmp { ifindex, bytes });
                }
                Some(Received::Upcall { kind, vif, source, group }) => {
                    let lookup = self.lookup_key(&RouteKey { source: Some(source), group });
                    let (_, rows) = self.parts(family);
                    let Some(ifindex) = rows.ifindex(vif) else { continue };
                    if kind == UpcallKind::NoCache && rows.routes.get(&lookup).is_some() {
                        rows.stale.insert(lookup);
                    }
                    out.push(FromKernel::Upcall(Upcall { kind, ifindex, source, group }));
                }
            }
        }
        Ok(())
    }
}
