//! What comes in: orders of the engine, questions of the kernel, changes of the interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use log::{debug, info, warn};

use super::Parent;
use super::validate::{Gravity, Refusal};
use crate::config::Change;
use crate::engine::core::mrt::{DROP_IDLE, READ_INTERVAL_EXPIRING};
use crate::imsg::{Envelope, MAX_COUNTERS, Notice, Order, Packet, Transmit};
use crate::kroute::{
    FromKernel, Interface, InterfaceChange, Memberships, MfcKey, Route, RouteKey, Upcall,
    UpcallKind,
};
use crate::sys::time::{Millis, Tick};
use crate::wire::Af;

/// Octets that may wait for the engine while questions of the kernel are passed on; the kernel asks
/// again.
const MAX_UPCALL_BACKLOG: usize = 1 << 20;
/// How long Linux keeps the packets of a flow without an entry, and asks no more.
/// `net/ipv4/ipmr.c`, `ipmr_cache_alloc_unres`.
const QUESTION_LIFE: Millis = Millis(10_000);
/// How long a kernel that looks at groups alone may ask no more: it has an entry of its own then, which
/// an engine deletes when it has heard of no packet for so long.
const FORGOTTEN_AFTER: Millis = Millis(DROP_IDLE.0 + 2 * READ_INTERVAL_EXPIRING.0);
/// Questions kept for a next engine.
const MAX_QUESTIONS: usize = 1024;

impl Parent {
    /// Reads orders and carries them out. A bad one ends the engine.
    pub(super) fn parent_dispatch_engine(&mut self, now: Tick) {
        let Some(engine) = &mut self.engine else { return };
        let mut orders = Vec::new();
        let open = engine.channel.receive(|order, _| orders.push(order));
        if !orders.is_empty() {
            engine.lives(now);
        }
        for order in orders {
            if let Err(refusal) = self.obey(order, now) {
                self.fault.get_or_insert(format!("it sent a bad order: {refusal}"));
                return;
            }
        }
        match open {
            Ok(true) => {}
            Ok(false) => _ = self.fault.get_or_insert("it is gone".to_owned()),
            Err(e) => _ = self.fault.get_or_insert(format!("it sent a bad frame: {e}")),
        }
    }

    fn obey(&mut self, order: Order, now: Tick) -> Result<(), Refusal> {
        match order {
            Order::Ready => self.ready(now),
            Order::AddVif { family, ifindex } => self.add_vif(family, ifindex),
            Order::DeleteVif { family, ifindex } => {
                let checked = self.world.check_vif(family, ifindex);
                if self.pass(checked)?.is_none() {
                    self.delete_vif(family, ifindex);
                }
                Ok(())
            }
            Order::SetRoute(route) => self.set_route(&route, now),
            Order::DeleteRoute(key) => self.delete_route(&key),
            Order::ReadCounters(family) => self.read_counters(family),
            Order::Add { client, statement } => {
                self.change_statement(client, Change { add: true, statement });
                Ok(())
            }
            Order::Remove { client, statement } => {
                self.change_statement(client, Change { add: false, statement });
                Ok(())
            }
            Order::Reload { client } => {
                self.reload(Some(client), now);
                Ok(())
            }
            Order::Log { verbose } => {
                self.set_verbose(verbose);
                Ok(())
            }
            Order::Stop => {
                self.stop(now);
                Ok(())
            }
            Order::Pong(number) => {
                let answers = self.engine.as_mut().is_some_and(|e| e.pong(number, now));
                answers.then_some(()).ok_or(Refusal::OutOfTurn("pong"))
            }
            Order::Members(any) => {
                if let Some(engine) = &mut self.engine {
                    engine.members(any, now);
                }
                Ok(())
            }
            Order::Transmit(packet) => self.transmit(&packet),
            Order::Finished => self.finished(now),
        }
    }

    /// Tells a late or too big request, which is answered with the reason, from a forged one.
    fn pass<T>(&self, checked: Result<T, Refusal>) -> Result<Option<Refusal>, Refusal> {
        let Err(refusal) = checked else { return Ok(None) };
        let settled = self.engine.as_ref().is_none_or(super::supervise::Engine::is_settled);
        match refusal.gravity() {
            Gravity::Forged => Err(refusal),
            Gravity::Stale if settled => Err(refusal),
            Gravity::Stale | Gravity::Limit => {
                debug!("refused: {refusal}");
                Ok(Some(refusal))
            }
        }
    }

    fn ready(&mut self, now: Tick) -> Result<(), Refusal> {
        if self.engine.as_ref().is_none_or(|e| e.ready.is_some()) {
            return Err(Refusal::OutOfTurn("ready"));
        }
        self.engine_is_ready(now);
        Ok(())
    }

    fn finished(&mut self, now: Tick) -> Result<(), Refusal> {
        if self.stopping.is_none() {
            return Err(Refusal::OutOfTurn("finished"));
        }
        self.stopping = Some(now);
        Ok(())
    }

    fn add_vif(&mut self, family: Af, ifindex: u32) -> Result<(), Refusal> {
        let checked = self.world.check_add_vif(family, ifindex).cloned();
        let result = match checked {
            Ok(interface) => self.make_vif(family, &interface),
            Err(refusal) => match self.pass::<()>(Err(refusal))? {
                Some(late) => Err(late.to_string()),
                None => return Ok(()),
            },
        };
        self.tell(&Notice::Vif { family, ifindex, result });
        Ok(())
    }

    /// An engine that is new asks for vifs that are there.
    fn make_vif(&mut self, family: Af, interface: &Interface) -> Result<u16, String> {
        if let Some(number) = self.world.vifs(family).get(&interface.ifindex) {
            return Ok(*number);
        }
        let number = self.setup.kernel.add_vif(family, interface).map_err(|e| e.to_string())?;
        self.world.vifs_mut(family).insert(interface.ifindex, number);
        self.join_control_groups();
        Ok(number)
    }

    pub(super) fn delete_vif(&mut self, family: Af, ifindex: u32) {
        if let Err(e) = self.setup.kernel.delete_vif(family, ifindex) {
            debug!("{e}");
        }
        self.world.remove_vif(family, ifindex);
        self.join_control_groups();
    }

    /// Joins what routers listen to on each vif, and leaves it where there is none any more: a
    /// membership of any socket of the host makes the engine's raw sockets hear the group. Where IPv6
    /// goes from an interface (RFC 8200, section 5: 1280 octets at least), so do its memberships,
    /// unsaid; so they are made anew when its first address comes.
    pub(super) fn join_control_groups(&mut self) {
        let mut wanted = std::collections::BTreeSet::new();
        for family in Af::ALL {
            for ifindex in self.world.vifs(family).keys() {
                let Some(interface) = self.world.interfaces.get(ifindex) else { continue };
                let Some(settings) = self.world.settings(interface) else { continue };
                let speaks = interface.addresses.iter().any(|a| Af::of(a.address) == family);
                let groups = control_groups(family);
                let mrdisc = groups.len().saturating_sub(usize::from(!settings.mrdisc));
                wanted.extend(groups.into_iter().take(mrdisc).map(|g| (*ifindex, g, speaks)));
            }
        }
        for (ifindex, group, _) in self.joined.difference(&wanted) {
            leave(&mut self.memberships, *ifindex, *group);
        }
        for (ifindex, group, _) in wanted.difference(&self.joined) {
            if let Err(e) = self.memberships.join(*ifindex, *group, None) {
                warn!("cannot join {group} on interface {ifindex}: {e}");
            }
        }
        self.joined = wanted;
    }

    /// Leaves what was joined on the interface, so that it is joined anew.
    pub(super) fn leave_control_groups(&mut self, ifindex: u32) {
        self.joined.retain(|(of, group, _)| {
            if *of == ifindex {
                leave(&mut self.memberships, *of, *group);
            }
            *of != ifindex
        });
    }

    fn set_route(&mut self, route: &Route, now: Tick) -> Result<(), Refusal> {
        let kernel = &mut self.setup.kernel;
        let family = route.key.family();
        let again = usize::from(kernel.has_route(&route.key));
        let others = kernel.route_count(family).saturating_sub(again);
        let checked = self.world.check_route(route, others);
        let reason = match self.pass(checked)? {
            Some(refusal) => refusal.to_string(),
            None => match self.setup.kernel.set_route(route) {
                Ok(()) => return Ok(()),
                Err(e) => {
                    self.suspect(now);
                    self.warn_of_route(&route.key, &e.to_string(), now);
                    e.to_string()
                }
            },
        };
        self.tell(&Notice::RouteFailed { key: route.key, reason });
        Ok(())
    }

    fn delete_route(&mut self, key: &RouteKey) -> Result<(), Refusal> {
        self.world.check_key(key)?;
        if let Err(e) = self.setup.kernel.delete_route(key) {
            debug!("{e}");
        }
        Ok(())
    }

    /// One line a second at most.
    fn warn_of_route(&mut self, key: &RouteKey, reason: &str, now: Tick) {
        if now < self.next_warning {
            self.unsaid = self.unsaid.saturating_add(1);
            return;
        }
        warn!("route {key}: {reason}; {} more since the last line", self.unsaid);
        self.unsaid = 0;
        self.next_warning = now + Millis(1000);
    }

    fn read_counters(&mut self, family: Af) -> Result<(), Refusal> {
        self.world.check_family(family)?;
        let counters = self.setup.kernel.counters(family).unwrap_or_else(|e| {
            debug!("{e}");
            Vec::new()
        });
        let mut parts = counters.chunks(MAX_COUNTERS).peekable();
        if parts.peek().is_none() {
            self.tell(&Notice::Counters { family, entries: Vec::new(), last: true });
        }
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            self.tell(&Notice::Counters { family, entries: part.to_vec(), last });
        }
        Ok(())
    }

    pub(super) fn set_verbose(&mut self, verbose: bool) {
        self.verbose = verbose;
        crate::sys::log::set_verbose(verbose);
        info!("log {}", if verbose { "verbose" } else { "brief" });
    }

    fn transmit(&mut self, packet: &Transmit) -> Result<(), Refusal> {
        let checked = self.world.check_transmit(packet);
        if self.pass(checked)?.is_none()
            && let Err(e) = self.setup.outside.transmit(packet)
        {
            debug!("send to {} on interface {}: {e}", packet.destination, packet.ifindex);
            self.tell(&Notice::Unsent);
        }
        Ok(())
    }

    /// Passes on what the kernel asks.
    pub(super) fn parent_dispatch_kernel(&mut self, family: Af, now: Tick) {
        let mut asked = Vec::new();
        if let Err(e) = self.setup.kernel.receive(family, &mut asked) {
            debug!("{e}");
        }
        for message in asked {
            if let FromKernel::Upcall(upcall) = &message {
                self.remember(upcall, now);
            }
            let backlog = self.engine.as_ref().map_or(0, |e| e.channel.queued());
            if backlog > MAX_UPCALL_BACKLOG {
                return;
            }
            self.tell(&match message {
                FromKernel::Upcall(upcall) => Notice::Upcall(upcall),
                // There is no vif for registers here.
                FromKernel::Register { .. } => continue,
                FromKernel::Igmp { ifindex, bytes } => {
                    Notice::Igmp(Packet { ifindex, envelope: Envelope::Ip4, bytes })
                }
            });
        }
    }

    /// Keeps a question that the kernel asks once only, for an engine that comes after this one.
    fn remember(&mut self, upcall: &Upcall, now: Tick) {
        if upcall.kind == UpcallKind::NoCache {
            let life = match self.setup.kernel.capabilities(Af::of(upcall.group)).key {
                MfcKey::SourceGroup => QUESTION_LIFE,
                MfcKey::Group => FORGOTTEN_AFTER,
            };
            self.questions.push_back((now + life, *upcall));
        }
        let old = |(until, _): &(Tick, Upcall)| *until <= now;
        while self.questions.len() > MAX_QUESTIONS || self.questions.front().is_some_and(old) {
            self.questions.pop_front();
        }
    }

    /// Takes the questions of the kernel that are still open, for a new engine.
    pub(super) fn open_questions(&mut self, now: Tick) -> Vec<Upcall> {
        let kernel = &self.setup.kernel;
        let mut open = Vec::new();
        self.questions.retain_mut(|(until, upcall)| {
            let key = RouteKey { source: Some(upcall.source), group: upcall.group };
            if *until <= now || kernel.has_route(&key) {
                return false;
            }
            if kernel.capabilities(key.family()).key == MfcKey::Group {
                *until = now + FORGOTTEN_AFTER;
            }
            open.push(*upcall);
            true
        });
        open
    }

    /// Passes on what changed of the interfaces that the configuration names.
    pub(super) fn parent_dispatch_monitor(&mut self, now: Tick) {
        let mut changes = Vec::new();
        if let Err(e) = self.setup.monitor.receive(&mut changes) {
            warn!("{e}");
        }
        self.look_again = self.setup.monitor.look_again().map(|after| now + after);
        let told: Vec<_> = changes.into_iter().filter_map(|c| self.world.change(c)).collect();
        if !told.is_empty() {
            self.tell_interfaces(told, now);
        }
    }

    /// Tells of interfaces that changed, the kernel's table first: it may have to make a vif anew.
    pub(super) fn tell_interfaces(&mut self, changes: Vec<InterfaceChange>, now: Tick) {
        for change in changes {
            if let InterfaceChange::Present(interface) = &change {
                self.setup.kernel.update_interface(interface);
            }
            self.tell(&Notice::Interface(change));
        }
        self.join_control_groups();
        self.unsettle(now);
    }
}

fn leave(memberships: &mut Memberships, ifindex: u32, group: IpAddr) {
    // Fails when the interface is gone, and the membership with it.
    if let Err(e) = memberships.leave(ifindex, group, None) {
        debug!("leave {group}: {e}");
    }
}

/// What routers listen to, the group of MRDISC last. RFC 9776, section 4.2; RFC 4286, section 2.
const fn control_groups(family: Af) -> [IpAddr; 3] {
    const fn v6(last: u16) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, last))
    }
    const fn v4(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(224, 0, 0, last))
    }
    match family {
        Af::Ip4 => [v4(2), v4(22), v4(106)],
        Af::Ip6 => [v6(2), v6(0x16), v6(0x6a)],
    }
}
