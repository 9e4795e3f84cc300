//! The protocol, without I/O: inputs and the time go in, actions come out.
//!
//! The same inputs give the same actions: time is an argument, chance is seeded. Inputs and actions
//! are serde types, so that a run can be recorded and replayed.

pub mod chance;
pub mod counters;
pub mod deadline;
pub mod groups;
pub mod host;
pub mod index;
pub mod link;
pub mod members;
pub mod mrdisc;
pub mod mrt;
mod pace;
pub mod proxy;
pub mod querier;
mod queue;
pub mod slab;
pub mod slot;
pub mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use self::proxy::Proxy;
use crate::config::model::Config;
use crate::imsg::ctl::{
    Check, CheckRow, Event, EventKind, InterfaceRow, MAX_ROWS, OperStatus, Outcome, Reply, Request,
    Rows, Status, Table,
};
use crate::imsg::{Notice, Order, Packet, Start, Transmit};
use crate::kroute::{Interface, InterfaceAddress, InterfaceChange, Route, RouteCount};
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Af, Family, V4, V6};

/// What happens to the core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A protocol packet arrived.
    Packet(Packet),
    /// The parent said something; the descriptors among it stay in the shell.
    Parent(Notice),
    /// A control client asks. What is read with [`Core::show`] and [`Core::explain`] is not asked
    /// for here, but for fresh counts of routes.
    Control {
        /// Who.
        client: u32,
        /// What.
        request: Request,
    },
    /// Nothing but the time.
    Time,
}

/// What the core wants done, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Tell the parent.
    Parent(Order),
    /// Send a protocol packet.
    Transmit(Transmit),
    /// Something happened that `monitor` and `show events` tell.
    Event(Event),
    /// Answer a control client.
    Reply {
        /// Whom.
        client: u32,
        /// What.
        reply: Reply,
    },
    /// The counts of routes that a control client waits for are there.
    Counted {
        /// Who waits.
        client: u32,
    },
    /// A notice for the log, already rate-limited.
    Log(String),
    /// The same for a verbose log.
    Debug(String),
}

/// A shutdown that has not sent everything by then ends all the same.
const SHUTDOWN_TIME: Millis = Millis::from_secs(1);
/// Control clients that wait for counts at most; one more gets those of the last reading.
const MAX_WAITING: usize = 64;
/// They wait no longer than this: a parent that hangs is not to keep them from what is known.
const COUNT_PATIENCE: Millis = Millis::from_secs(2);

/// The protocol of both families.
#[derive(Debug)]
pub struct Core {
    v4: Proxy<V4>,
    v6: Proxy<V6>,
    config: Box<Config>,
    table: BTreeMap<u32, Interface>,
    status: Status,
    actions: VecDeque<Action>,
    begun: bool,
    members: bool,
    finish_by: Option<Tick>,
    /// Control clients that wait for counts of routes, of which families, and until when.
    waiting: Vec<(u32, [bool; 2], Tick)>,
}

impl Core {
    /// A core that knows its configuration and no interface yet.
    #[must_use]
    pub fn new(now: Tick, start: &Start) -> Self {
        let mut core = Self {
            v4: Proxy::new(start),
            v6: Proxy::new(start),
            config: start.config.clone(),
            table: BTreeMap::new(),
            status: empty_status(start),
            actions: VecDeque::new(),
            begun: false,
            members: false,
            finish_by: None,
            waiting: Vec::new(),
        };
        core.v4.configure(now, &core.config);
        core.v6.configure(now, &core.config);
        core
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes an input; what it brings about is then in [`Core::poll_action`].
    pub fn handle(&mut self, now: Tick, input: &Input) {
        let mut out = Vec::new();
        match input {
            Input::Packet(packet) => match packet.envelope {
                crate::imsg::Envelope::Ip4 => self.v4.packet(now, packet, &mut out),
                crate::imsg::Envelope::Ip6 { .. } => self.v6.packet(now, packet, &mut out),
            },
            Input::Parent(notice) => self.on_parent(now, notice, &mut out),
            Input::Control { client, request } => self.on_control(now, *client, request, &mut out),
            Input::Time => {}
        }
        if self.next_deadline().is_some_and(|at| at <= now) {
            self.v4.on_time(now, &mut out);
            self.v6.on_time(now, &mut out);
            self.told([true; 2], now, &mut out);
        }
        self.v4.finish(now, &mut out);
        self.v6.finish(now, &mut out);
        self.actions.extend(out);
        self.note_members();
        self.note_finish(now);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        queue::pop(&mut self.actions)
    }

    /// When [`Input::Time`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.v4
            .next_deadline()
            .into_iter()
            .chain(self.v6.next_deadline())
            .chain(self.finish_by)
            .chain(self.waiting.first().map(|(.., until)| *until))
            .min()
    }

    fn on_parent(&mut self, now: Tick, notice: &Notice, out: &mut Vec<Action>) {
        match notice {
            Notice::Interface(change) => {
                match change {
                    InterfaceChange::Present(interface) => {
                        self.table.insert(interface.ifindex, interface.clone());
                    }
                    InterfaceChange::Gone { ifindex } => {
                        self.table.remove(ifindex);
                    }
                }
                if self.begun {
                    self.sync(now, out);
                }
            }
            Notice::Installed(route) => self.on_installed(now, route, out),
            Notice::Begin => {
                self.begun = true;
                self.sync(now, out);
                self.v4.begin(now);
                self.v6.begin(now);
                let reason = self.status.engine_ended.clone();
                out.push(Action::Event(Event { reason, ..event(EventKind::Start) }));
            }
            Notice::Vif { family, ifindex, result } => match family {
                Af::Ip4 => self.v4.vif(now, *ifindex, result, out),
                Af::Ip6 => self.v6.vif(now, *ifindex, result, out),
            },
            Notice::Upcall(upcall) => match Af::of(upcall.group) {
                Af::Ip4 => self.v4.upcall(now, upcall),
                Af::Ip6 => self.v6.upcall(now, upcall),
            },
            Notice::Igmp(packet) => self.v4.packet(now, packet, out),
            Notice::RouteFailed { key, reason: _ } => match key.family() {
                Af::Ip4 => self.v4.route_failed(now, key),
                Af::Ip6 => self.v6.route_failed(now, key),
            },
            Notice::Counters { family, entries, last } => {
                self.counters(now, *family, entries, *last, out);
            }
            Notice::Config(config) => {
                self.config.clone_from(config);
                self.reconfigure(now, out);
                out.push(Action::Event(event(EventKind::Reload)));
            }
            Notice::Reloaded { client, result } => {
                if let Ok(lines) = result
                    && !lines.is_empty()
                {
                    let reply = Reply::Text(lines.clone());
                    out.push(Action::Reply { client: *client, reply });
                }
                out.push(answer(*client, result.clone().map(|_| ())));
            }
            Notice::Statement { client, add, statement, result } => {
                let mut result = result.clone();
                if result.is_ok() {
                    let config = &mut self.config;
                    let done = if *add { config.add(statement) } else { config.remove(statement) };
                    result = done.map(|_| self.reconfigure(now, out));
                }
                out.push(answer(*client, result.map_err(|reason| vec![reason])));
            }
            Notice::Shutdown => {
                self.v4.shutdown(now);
                self.v6.shutdown(now);
                self.finish_by = Some(now + SHUTDOWN_TIME);
            }
            Notice::Start(_)
            | Notice::Descriptor(_)
            | Notice::Log { .. }
            | Notice::Ping(_)
            | Notice::Drift { .. }
            | Notice::Unsent
            | Notice::Dump => {}
        }
    }

    /// A route names interfaces, which were all told before.
    fn on_installed(&mut self, now: Tick, route: &Route, out: &mut Vec<Action>) {
        if !self.begun {
            self.begun = true;
            self.sync(now, out);
        }
        match route.key.family() {
            Af::Ip4 => self.v4.installed(now, route),
            Af::Ip6 => self.v6.installed(now, route),
        }
    }

    fn on_control(&mut self, now: Tick, client: u32, request: &Request, out: &mut Vec<Action>) {
        let order = match request {
            Request::Add(statement) => Order::Add { client, statement: statement.clone() },
            Request::Remove(statement) => Order::Remove { client, statement: statement.clone() },
            Request::Reload => Order::Reload { client },
            Request::Log { verbose } => Order::Log { verbose: *verbose },
            Request::Stop => Order::Stop,
            Request::Flush { group, source } => {
                self.v4.flush(now, *group, *source);
                self.v6.flush(now, *group, *source);
                return out.push(Action::Reply { client, reply: Reply::Done });
            }
            Request::Show(_) | Request::Explain { .. } => return self.count(now, client, out),
            Request::Monitor => return,
        };
        let answered =
            matches!(order, Order::Add { .. } | Order::Remove { .. } | Order::Reload { .. });
        out.push(Action::Parent(order));
        if !answered {
            out.push(Action::Reply { client, reply: Reply::Done });
        }
    }

    /// Has the routes counted for a client.
    fn count(&mut self, now: Tick, client: u32, out: &mut Vec<Action>) {
        let wanted = [self.v4.count_now(now), self.v6.count_now(now)];
        if wanted == [false; 2] || self.waiting.len() >= MAX_WAITING {
            return out.push(Action::Counted { client });
        }
        self.waiting.push((client, wanted, now + COUNT_PATIENCE));
    }

    /// The routes of a family were counted.
    fn counters(
        &mut self,
        now: Tick,
        family: Af,
        entries: &[RouteCount],
        last: bool,
        out: &mut Vec<Action>,
    ) {
        match family {
            Af::Ip4 => self.v4.counters(now, entries, last),
            Af::Ip6 => self.v6.counters(now, entries, last),
        }
        if last {
            self.told(Af::ALL.map(|other| other != family), now, out);
        }
    }

    /// Those who wait for counts of other families only, until later, go on waiting.
    fn told(&mut self, others: [bool; 2], now: Tick, out: &mut Vec<Action>) {
        self.waiting.retain_mut(|(client, wanted, until)| {
            for (wanted, other) in wanted.iter_mut().zip(others) {
                *wanted &= other;
            }
            let waits = wanted.contains(&true) && *until > now;
            out.extend((!waits).then_some(Action::Counted { client: *client }));
            waits
        });
    }

    /// Follows the configuration, which has changed.
    fn reconfigure(&mut self, now: Tick, out: &mut Vec<Action>) {
        self.sync(now, out);
        self.v4.configure(now, &self.config);
        self.v6.configure(now, &self.config);
    }

    fn sync(&mut self, now: Tick, out: &mut Vec<Action>) {
        self.v4.sync(now, &self.config, &self.table, out);
        self.v6.sync(now, &self.config, &self.table, out);
    }

    /// Tells the parent whether members exist, when that changes.
    fn note_members(&mut self) {
        let members = self.v4.group_count() > 0 || self.v6.group_count() > 0;
        if members != self.members {
            self.members = members;
            self.actions.push_back(Action::Parent(Order::Members(members)));
        }
    }

    /// Tells the parent that a shutdown is through.
    fn note_finish(&mut self, now: Tick) {
        let silent = || self.v4.is_silent() && self.v6.is_silent();
        if self.finish_by.is_some_and(|by| by <= now || silent()) {
            self.finish_by = None;
            self.actions.push_back(Action::Parent(Order::Finished));
        }
    }

    /// Rows of a table from `cursor` on (0 at first), and where to go on. Events and the
    /// configuration are not the core's to tell.
    #[must_use]
    pub fn show(&self, now: Tick, table: Table, cursor: u64) -> (Rows, Option<u64>) {
        const SECOND: u64 = 1 << 63;
        match table {
            Table::Status => {
                let mut status = self.status.clone();
                [status.ipv4, status.ipv6] = self.config.families();
                self.v4.add_to_status(&mut status);
                self.v6.add_to_status(&mut status);
                (Rows::Status(Box::new(status)), None)
            }
            Table::Interfaces => (Rows::Interfaces(self.interface_rows(now)), None),
            Table::Groups
            | Table::Hosts
            | Table::Upstream
            | Table::Routes
            | Table::Counters
            | Table::Events
            | Table::Config => {
                if cursor & SECOND == 0 {
                    let (rows, next) = self.v4.rows(now, table, cursor, MAX_ROWS);
                    (rows, Some(next.unwrap_or(SECOND)))
                } else {
                    let (rows, next) = self.v6.rows(now, table, cursor & !SECOND, MAX_ROWS);
                    (rows, next.map(|n| n | SECOND))
                }
            }
        }
    }

    /// Why a group is or is not forwarded, check by check; the last one sums up.
    #[must_use]
    pub fn explain(&self, group: IpAddr, source: Option<IpAddr>) -> Vec<CheckRow> {
        let family = Af::of(group);
        let [ipv4, ipv6] = self.config.families();
        let (is_on, word) = match family {
            Af::Ip4 => (ipv4, "ipv4"),
            Af::Ip6 => (ipv6, "ipv6"),
        };
        let say = |result, detail: &str, advice| CheckRow {
            check: Check::Family,
            result,
            interface: None,
            detail: detail.into(),
            advice,
        };
        if !is_on {
            return vec![say(Outcome::Fail, "the family is off", Some(format!("{word} yes")))];
        }
        let checks = match family {
            Af::Ip4 => explain(&self.v4, group, source),
            Af::Ip6 => explain(&self.v6, group, source),
        };
        std::iter::once(say(Outcome::Ok, "the family is on", None)).chain(checks).collect()
    }

    /// Interfaces that the configuration names, those that are absent too.
    fn interface_rows(&self, now: Tick) -> Vec<InterfaceRow> {
        let present = self.table.values().filter_map(|interface| {
            let settings = self.config.resolve(&interface.name)?;
            Some(InterfaceRow {
                interface: interface.name.clone(),
                role: settings.role,
                index: Some(interface.ifindex),
                oper_status: if interface.up { OperStatus::Up } else { OperStatus::Down },
                addresses: interface.addresses.iter().map(InterfaceAddress::own).collect(),
                ipv4: self.v4.link_row(now, interface.ifindex),
                ipv6: self.v6.link_row(now, interface.ifindex),
            })
        });
        let names = self.config.names().into_iter().filter(|name| !name.is_wild());
        let absent = names
            .filter(|name| self.table.values().all(|i| i.name != name.0))
            .filter_map(|name| Some((self.config.resolve(&name.0)?.role, name.0)))
            .map(|(role, interface)| InterfaceRow {
                interface,
                role,
                index: None,
                oper_status: OperStatus::Absent,
                addresses: Vec::new(),
                ipv4: None,
                ipv6: None,
            });
        present.chain(absent).collect()
    }
}

fn explain<F: Family>(proxy: &Proxy<F>, group: IpAddr, source: Option<IpAddr>) -> Vec<CheckRow> {
    let group = F::Addr::from_ip(group).unwrap_or(F::Addr::UNSPECIFIED);
    proxy.explain(group, source.and_then(F::Addr::from_ip))
}

fn answer(client: u32, result: Result<(), Vec<String>>) -> Action {
    let reply = match result {
        Ok(()) => Reply::Done,
        Err(reasons) => Reply::Refused(reasons),
    };
    Action::Reply { client, reply }
}

fn event(kind: EventKind) -> Event {
    Event {
        time: 0,
        event: kind,
        interface: None,
        family: None,
        group: None,
        source: None,
        outgoing_interfaces: Vec::new(),
        reason: None,
    }
}

fn empty_status(start: &Start) -> Status {
    let [v4, v6] = start.capabilities;
    Status {
        version: start.version.clone(),
        pid: start.parent_pid,
        engine_pid: 0,
        engine_restarts: start.restarts,
        engine_ended: start.ended.clone(),
        up_time: start.up_time,
        table: start.table,
        ipv4: false,
        ipv6: false,
        route_key: v4.key,
        kernel_limits: v4.limits().map(|(name, _)| name.to_owned()).collect(),
        upstream: Vec::new(),
        downstream: Vec::new(),
        groups: 0,
        routes: 0,
        hosts: 0,
        vifs: 0,
        max_vifs: u32::from(v4.max_vifs),
        mifs: 0,
        max_mifs: u32::from(v6.max_vifs),
        limits: BTreeMap::new(),
    }
}
