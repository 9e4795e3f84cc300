//! Sequences of everything that can happen to a core: octets become operations on both families, and
//! after each of them what the core shows, orders and sends is held against slow and obvious models.
//!
//! Part of the tests of the engine and of the fuzz target `core`.

mod alike;
mod checks;
mod claim;
mod file;
mod forwarding;
mod group;
mod heard;
mod members;
mod merged;
mod net;
mod op;
mod parent;
mod sent;

use std::collections::BTreeSet;
use std::net::IpAddr;

use mcast_proxy::config::model::QuerierMode;
use mcast_proxy::engine::core::Input;
use mcast_proxy::imsg::Packet;
use mcast_proxy::imsg::ctl::Request;
use mcast_proxy::kroute::RouteKey;
pub use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::{self, Address, Af, Family, QuerySpec, RecordType, ReportBuilder, Sender};

use self::checks::Look;
use self::members::Members;
pub use self::op::{APART, LENGTH};
use self::op::{Op, Said};
use self::parent::Parent;

/// Runs the operations that the octets stand for on a core over such a kernel.
///
/// # Panics
/// When something does not hold.
pub fn run(behaviour: Behaviour, mut octets: &[u8]) {
    let mut run = Run::new(behaviour);
    while let Some(op) = op::take(&mut octets) {
        run.step(&op);
    }
    run.end();
}

/// The operations that the octets stand for, one a line.
pub fn told(mut octets: &[u8]) -> String {
    let mut lines = String::new();
    while let Some(op) = op::take(&mut octets) {
        lines.push_str(&format!("{op:?}\n"));
    }
    lines
}

/// How far the models can follow.
#[derive(Clone, Copy)]
struct Follows {
    /// Both families had the same.
    alike: bool,
    /// Entries made room for others: which, depends on the order of a keyed hash.
    evicts: bool,
    /// Nothing was said that the model of the members does not know.
    members: bool,
    /// The kernel has what it was given.
    kernel: bool,
}

struct Run {
    parent: Parent,
    members: Members,
    follows: Follows,
    /// Links that were the querier before the operation.
    queriers: BTreeSet<(Af, usize)>,
}

/// Does something in both families.
macro_rules! both {
    ($run:ident.$do:ident($($argument:expr),*)) => {{
        $run.$do::<wire::V4>($($argument),*);
        $run.$do::<wire::V6>($($argument),*);
    }};
}

impl Run {
    fn new(behaviour: Behaviour) -> Self {
        Self {
            parent: Parent::new(behaviour),
            members: Members::default(),
            follows: Follows { alike: true, evicts: false, members: true, kernel: true },
            queriers: BTreeSet::new(),
        }
    }

    fn step(&mut self, op: &Op) {
        self.parent.sent.clear();
        self.members.asked.clear();
        self.note_rules();
        self.apply(op);
        self.note_links();
        let look = Look { parent: &self.parent, members: &self.members, follows: self.follows };
        look.check();
        if let Op::Pass(1000..) = op {
            look.check_heard();
        }
        // No two operations at one moment, and each at a moment that timers are rounded to.
        self.pass(8);
        let look = Look { parent: &self.parent, members: &self.members, follows: self.follows };
        look.check_asked();
    }

    /// What the links go by, as the model is to know it.
    fn note_rules(&mut self) {
        self.queriers.clear();
        for af in Af::ALL {
            for port in forwarding::ports(&self.parent, af) {
                self.members.rules(af, port.link, port.rules(af));
                if port.row.querier {
                    self.queriers.insert((af, port.link));
                }
            }
        }
    }

    /// What became of the links.
    fn note_links(&mut self) {
        for af in Af::ALL {
            let ports = forwarding::ports(&self.parent, af);
            // Nothing comes from an interface that is no vif.
            let is_there = |index: u32| {
                ports.iter().any(|port| port.ifindex == index && port.row.vif.is_some())
            };
            self.parent.before.retain(|group, index| Af::of(*group) != af || is_there(*index));
            let view = forwarding::View::new(&self.parent, af);
            let fixed = view.fixed().into_iter();
            let told: Vec<_> =
                fixed.map(|(source, group, from)| (group, (source, from.ifindex))).collect();
            self.parent.told.extend(told);
            for link in 0..net::LINKS.len() {
                let port = ports.iter().find(|port| port.link == link);
                let up = self.parent.links[link].up;
                let keeps =
                    |group| port.is_some_and(|port| up && port.hears(&self.parent.config, group));
                self.members.keep(af, link, keeps);
                if let Some(port) = port {
                    self.members.rules(af, link, port.rules(af));
                }
                let querier = port.is_some_and(|port| port.row.querier);
                if self.queriers.contains(&(af, link)) && !querier {
                    self.members.yield_to_another(af, link);
                }
            }
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Report { link, host, group, said } => {
                // In IPv6 nobody speaks without an address.
                self.follows.alike &= *host != op::NOBODY;
                both!(self.report(*link, *host, *group, *said));
            }
            Op::Query { link, lower, group, sources, suppress } => {
                both!(self.query(*link, *lower, *group, *sources, *suppress));
            }
            Op::OldQuery { link, lower } => {
                self.follows.alike = false;
                both!(self.old_query(*link, *lower));
            }
            Op::Packet { link, sender, group } => {
                for af in Af::ALL {
                    self.packet(af, *link, net::sender(af, *sender), net::group(af, *group));
                }
            }
            Op::Pass(time) => self.pass(*time),
            Op::Flap(link) => self.parent.change(*link, |l| l.up = !l.up),
            Op::Gone(link) if self.parent.links[*link].ifindex.is_some() => self.parent.go(*link),
            Op::Gone(link) => self.parent.come(*link),
            Op::Readdress(link) => self.parent.readdress(*link),
            Op::Unaddress(link) => {
                // An IPv4 vif needs an address on some systems, and hosts a network to be in.
                self.follows.alike = false;
                self.parent.change(*link, |l| l.addressed = !l.addressed);
            }
            Op::Reload(mask) => {
                // A link of another role is another link.
                self.parent.before.clear();
                let before = self.parent.config.ssm_ranges.clone();
                self.parent.reload(self.parent.points ^ mask);
                let config = &self.parent.config;
                if config.ssm_ranges != before {
                    let is_specific = |g| net::is_specific(config, g);
                    self.members.name_sources(self.parent.now, is_specific);
                    self.parent.heard.unsayable(is_specific);
                }
                // It writes an entry again that the kernel had dropped unasked, in IPv4 only.
                let expires = self.parent.behaviour.capabilities(Af::Ip4).entries_expire;
                self.follows.alike &= !expires || mask >> file::THRESHOLD & 1 == 0;
                self.follows.evicts |= self.parent.points >> file::BOUNDED & 1 == 1;
            }
            Op::Statement { add, which } => {
                self.parent.before.clear();
                for af in Af::ALL {
                    let statement = file::statement(af, *which);
                    self.parent.control(match add {
                        true => Request::Add(statement),
                        false => Request::Remove(statement),
                    });
                }
            }
            Op::Flush { group, sender } => {
                self.parent.before.clear();
                for af in Af::ALL {
                    let group = group.map(|n| net::group(af, n));
                    let source = sender.map(|n| net::sender(af, n));
                    self.parent.control(Request::Flush { group, source });
                }
            }
            Op::Refuse(routes) => {
                // Which ones depends on the order of a keyed hash.
                (self.follows.kernel, self.follows.alike) = (false, false);
                self.parent.refuse = [*routes; 2];
            }
            Op::Lose(n) => {
                // A new threshold writes an entry again, in IPv4 only.
                (self.follows.kernel, self.follows.alike) = (false, false);
                for af in Af::ALL {
                    let n = usize::from(*n);
                    let source = (n < 128).then(|| net::sender(af, n / 5));
                    self.parent.fake.lose_entry(RouteKey { source, group: net::group(af, n) });
                }
            }
            Op::Restart => {
                self.members = Members::default();
                self.parent.restart();
            }
            Op::Raw { link, bytes } => {
                self.follows.alike = false;
                self.follows.members = false;
                both!(self.raw(*link, bytes));
            }
        }
    }

    /// A host of a link that is up says something of a group.
    fn report<F: Family>(&mut self, link: usize, host: u8, group: usize, said: Said) {
        let at = self.parent.links[link];
        let (Some(ifindex), true) = (at.ifindex, at.up) else { return };
        let source = match host {
            op::NOBODY => F::Addr::UNSPECIFIED,
            host => address::<F>(net::host(F::AF, link, host)),
        };
        self.expect(link, source.into(), group, said);
        let from = Sender::<F> { ifindex, source, mtu: 1500 };
        let group = address::<F>(net::group(F::AF, group));
        let messages = match said {
            Said::Record(kind, sources) => {
                let mut report = ReportBuilder::<F>::new(from);
                let list: Vec<F::Addr> =
                    net::picked(F::AF, sources).into_iter().map(address::<F>).collect();
                report.push(kind, group, &list);
                report.finish()
            }
            Said::Report => vec![wire::old_report(&from, F::LAYOUT.newest - 1, group)],
            Said::Leave => vec![wire::leave(&from, group)],
        };
        messages.into_iter().for_each(|message| self.parent.deliver::<F>(source, message));
    }

    /// The same for the model, as far as the configuration admits it.
    fn expect(&mut self, link: usize, host: IpAddr, group: usize, said: Said) {
        let af = Af::of(host);
        let ports = forwarding::ports(&self.parent, af);
        let at = self.parent.links[link];
        let Some(port) = ports.iter().find(|p| Some(p.ifindex) == at.ifindex) else { return };
        let (rules, now) = (port.rules(af), self.parent.now);
        let configured = port.configured(af);
        let foreign = match (af, host.is_unspecified()) {
            (Af::Ip4, false) => !at.addressed && !port.takes_any(),
            (Af::Ip4, true) | (Af::Ip6, false) => false,
            (Af::Ip6, true) => true,
        };
        let group = net::group(af, group);
        let is_specific = net::is_specific(&self.parent.config, group);
        if foreign || !port.hears(&self.parent.config, group) {
            return;
        }
        let (key, goes_by) = ((af, link, group), (rules, &configured));
        let none = BTreeSet::new();
        match said {
            Said::Record(kind, sources) => {
                let excludes = matches!(kind, RecordType::IsEx | RecordType::ToEx);
                let kept = |s: &IpAddr| excludes || port.permits(group, Some(*s));
                let list: BTreeSet<IpAddr> =
                    net::picked(af, sources).into_iter().filter(kept).collect();
                let empty = list.is_empty() && !excludes && kind != RecordType::ToIn;
                if !(excludes && is_specific || empty) {
                    self.members.record(now, key, goes_by, host, (kind, &list));
                }
            }
            Said::Report | Said::Leave if is_specific => {}
            Said::Leave => {
                self.members.record(now, key, goes_by, host, (RecordType::ToIn, &none));
            }
            Said::Report => self.members.older(now, key, goes_by, host),
        }
    }

    /// Another router's query. A specific one comes from a lower address only when that one is the
    /// elected querier: such queries elect in MLD and not in IGMP.
    fn query<F: Family>(
        &mut self,
        link: usize,
        lower: bool,
        group: Option<usize>,
        sources: u8,
        suppress: bool,
    ) {
        let rows = self.parent.link_rows(F::AF);
        let Some((_, row)) = rows.into_iter().find(|(at, _)| *at == link) else { return };
        let from = net::host(F::AF, link, if lower { 2 } else { 200 });
        let elected = row.querier_address == Some(from);
        let settings = self.parent.settings[link].as_ref();
        // A link that never queries, or has no address to query from, yields to any other.
        let lower = lower
            || settings.is_some_and(|s| s.querier == QuerierMode::Never)
            || self.parent.links[link].own().is_none();
        let group = group.filter(|_| !lower || elected || !(2..5).contains(&link));
        let asked = group.map_or(Vec::new(), |_| net::picked(F::AF, sources));
        let list: Vec<F::Addr> = asked.iter().copied().map(address::<F>).collect();
        let spec = QuerySpec::<F> {
            version: F::LAYOUT.newest,
            group: group.map_or(F::Addr::UNSPECIFIED, |g| address::<F>(net::group(F::AF, g))),
            max_response: Millis(if group.is_some() { 1000 } else { 10_000 }),
            suppress,
            robustness: 2,
            query_interval: Millis(60_000),
            sources: &list,
        };
        if let (Some(group), true) = (group, elected && lower) {
            // It counts as heard again in MLD only.
            self.follows.alike = false;
            // In IPv4 it comes from none of the link's networks when there are none.
            if !suppress && (F::AF == Af::Ip6 || self.parent.links[link].own().is_some()) {
                let key = (F::AF, link, net::group(F::AF, group));
                self.members.follow(self.parent.now, key, &asked, Millis(1000));
            }
        }
        self.ask(link, address::<F>(from), &spec);
    }

    fn old_query<F: Family>(&mut self, link: usize, lower: bool) {
        let spec = QuerySpec::<F> {
            version: F::LAYOUT.newest - 1,
            group: F::Addr::UNSPECIFIED,
            max_response: Millis(10_000),
            suppress: false,
            robustness: 0,
            query_interval: Millis(0),
            sources: &[],
        };
        let from = net::host(F::AF, link, if lower { 2 } else { 200 });
        self.ask(link, address::<F>(from), &spec);
    }

    fn ask<F: Family>(&mut self, link: usize, source: F::Addr, spec: &QuerySpec<'_, F>) {
        let at = self.parent.links[link];
        let (Some(ifindex), true) = (at.ifindex, at.up) else { return };
        for message in wire::query(&Sender { ifindex, source, mtu: 1500 }, spec) {
            self.parent.deliver::<F>(source, message);
        }
    }

    /// A message of any octets, with a sum that fits.
    fn raw<F: Family>(&mut self, link: usize, bytes: &[u8]) {
        let at = self.parent.links[link];
        let (Some(ifindex), true, [_, _, _, _, ..]) = (at.ifindex, at.up, bytes) else { return };
        let mut message = bytes.to_vec();
        message[2..4].fill(0);
        let source = address::<F>(net::host(F::AF, link, 9));
        let bytes = F::seal(source, F::REPORTS, message);
        let envelope = net::envelope(F::AF, source.into(), F::REPORTS.into());
        self.parent.input(Input::Packet(Packet { ifindex, envelope, bytes }));
    }

    /// A packet of data arrives on a link that is up; the next one of its flow goes where it should.
    fn packet(&mut self, af: Af, link: usize, source: IpAddr, group: IpAddr) {
        let at = self.parent.links[link];
        let (Some(ifindex), true) = (at.ifindex, at.up) else { return };
        self.parent.packet(ifindex, source, group);
        let left = self.parent.packet(ifindex, source, group);
        let look = Look { parent: &self.parent, members: &self.members, follows: self.follows };
        look.check_flow(af, ifindex, (source, group), &left);
    }

    /// Lets time pass. The kernel's own clock ticks each half minute, and the parent mends then.
    fn pass(&mut self, time: u32) {
        let mut left = time;
        while left > 0 {
            let step = left.min(30_000);
            self.parent.pass(Millis(step));
            if step == 30_000 {
                self.parent.fake.time_passes();
                self.parent.mend();
            }
            left -= step;
        }
        self.members.pass(self.parent.now);
    }

    /// Every host, sender and rule goes silent; then nothing is left, and at the end all is said.
    fn end(mut self) {
        self.parent.refuse = [0; 2];
        for link in 0..net::LINKS.len() {
            if self.parent.links[link].ifindex.is_none() {
                self.parent.come(link);
            }
            self.parent.change(link, |l| (l.up, l.addressed) = (true, true));
        }
        self.parent.reload(0);
        self.pass(1_200_000);
        let look = Look { parent: &self.parent, members: &self.members, follows: self.follows };
        look.check();
        look.check_heard();
        look.check_nothing();
        self.parent.shut_down();
        let look = Look { parent: &self.parent, members: &self.members, follows: self.follows };
        look.check_left();
    }
}

fn address<F: Family>(address: IpAddr) -> F::Addr {
    F::Addr::from_ip(address).expect("an address of the family")
}
