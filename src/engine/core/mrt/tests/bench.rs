//! A route table on a kernel in memory, with interfaces and members made by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::model::{
    Config, GroupSet, InterfaceBlock, Mroute, Overrides, Pattern, Role, Rule, Settings,
    SourceMatch, SourceNet,
};
use crate::engine::core::link::{Link, Vif};
use crate::engine::core::members::{Filter, Members};
use crate::engine::core::mrt::{Limits, Mrt, MrtEvent};
use crate::engine::core::slot::{Slot, Slots};
use crate::imsg::Order;
use crate::kroute::fake::{Behaviour, Fake, Packet};
use crate::kroute::{FromKernel, Interface, InterfaceAddress, Kernel};
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Af, Family};

/// An address: IPv4 as it is written, IPv6 by the same octets: 10.b.c.d becomes 2001:db8:b:c::d,
/// 239.b.c.d becomes ff08::b:c:d, 232.b.c.d becomes ff38::b:c:d, 224.0.0.d becomes ff02::d.
pub(super) fn ip<F: Family>(text: &str) -> F::Addr {
    let address: Ipv4Addr = text.parse().unwrap();
    let [a, b, c, d] = address.octets().map(u16::from);
    let six = match (a, b, c) {
        (0, ..) => Ipv6Addr::UNSPECIFIED,
        (224, 0, 0) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, d),
        (232, ..) => Ipv6Addr::new(0xff38, 0, 0, 0, 0, b, c, d),
        (224.., ..) => Ipv6Addr::new(0xff08, 0, 0, 0, 0, b, c, d),
        (169, 254, _) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, c, d),
        _ => Ipv6Addr::new(0x2001, 0xdb8, b, c, 0, 0, 0, d),
    };
    let ip = match F::AF {
        Af::Ip4 => IpAddr::V4(address),
        Af::Ip6 => IpAddr::V6(six),
    };
    F::Addr::from_ip(ip).unwrap()
}

/// A network, by the rules of [`ip`].
pub(super) fn net<F: Family>(text: &str) -> IpNet {
    let v4: IpNet = text.parse().unwrap();
    let address: IpAddr = ip::<F>(&v4.addr().to_string()).into();
    let six = match (v4.prefix_len(), address.is_multicast()) {
        (len @ (0 | 8), true) => len,
        (0, false) => 0,
        (32, _) => 128,
        (len, true) => 64 + 2 * len,
        (len, false) => 16 + 2 * len,
    };
    let len = if F::AF == Af::Ip4 { v4.prefix_len() } else { six };
    IpNet::new(address, len).unwrap()
}

/// State of a group on a link.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State<A> {
    Include(BTreeSet<A>),
    Exclude(BTreeSet<A>),
}

/// Members, as written down.
#[derive(Debug)]
pub(super) struct Wanted<F: Family>(pub(super) BTreeMap<(F::Addr, Slot), State<F::Addr>>);

impl<F: Family> Members<F> for Wanted<F> {
    fn links(&self, group: F::Addr, visit: &mut dyn FnMut(Slot, Filter)) {
        for ((_, slot), state) in self.0.range((group, Slot(0))..=(group, Slot(u8::MAX))) {
            let all = matches!(state, State::Exclude(sources) if sources.is_empty());
            visit(*slot, if all { Filter::All } else { Filter::Some });
        }
    }

    fn groups(&self, visit: &mut dyn FnMut(F::Addr)) {
        let groups: BTreeSet<F::Addr> = self.0.keys().map(|(group, _)| *group).collect();
        groups.into_iter().for_each(visit);
    }

    fn wants(&self, slot: Slot, group: F::Addr, source: F::Addr) -> bool {
        self.0.get(&(group, slot)).is_some_and(|state| match state {
            State::Include(sources) => sources.contains(&source),
            State::Exclude(sources) => !sources.contains(&source),
        })
    }
}

pub(super) struct Bench<F: Family> {
    pub(super) fake: Fake,
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) mrt: Mrt<F>,
    pub(super) links: Slots<Link<F>>,
    pub(super) members: Wanted<F>,
    pub(super) now: Tick,
    pub(super) limits: Limits,
    mroutes: Vec<Mroute>,
    /// Orders since they were last looked at, one a line.
    orders: String,
    /// Events and log lines since they were last looked at.
    pub(super) events: Vec<MrtEvent>,
    behaviour: Behaviour,
    next_index: u32,
    late: u32,
}

macro_rules! world {
    ($bench:expr) => {
        $crate::engine::core::mrt::World { links: &$bench.links, members: &$bench.members }
    };
}
pub(super) use world;

impl<F: Family> Bench<F> {
    /// An empty one, without interfaces.
    pub(super) fn bare(behaviour: Behaviour) -> Self {
        let fake = Fake::new(behaviour).unwrap();
        let mut bench = Self {
            kernel: fake.kernel(),
            fake,
            mrt: Mrt::new(behaviour.capabilities(F::AF), [1, 2]),
            links: Slots::default(),
            members: Wanted(BTreeMap::new()),
            now: Tick(1_000),
            limits: Limits::default(),
            mroutes: Vec::new(),
            orders: String::new(),
            events: Vec::new(),
            behaviour,
            next_index: 11,
            late: 0,
        };
        bench.mrt.configure(bench.now, Limits::default(), &[], world!(bench));
        bench
    }

    /// `up` upstream with 10.0.0.1/24, `d1` to `d3` downstream with 10.1.0.1/24 and so on.
    pub(super) fn new(behaviour: Behaviour) -> Self {
        let mut bench = Self::bare(behaviour);
        bench.link("up", Role::Upstream, "10.0.0.1/24", |_| {});
        for (name, net) in [("d1", "10.1.0.1/24"), ("d2", "10.2.0.1/24"), ("d3", "10.3.0.1/24")] {
            bench.link(name, Role::Downstream, net, |_| {});
        }
        bench
    }

    /// Adds an interface that is up, a vif, and where we are the querier.
    pub(super) fn link(
        &mut self,
        name: &str,
        role: Role,
        address: &str,
        set: impl FnOnce(&mut Settings),
    ) -> Slot {
        let block = InterfaceBlock {
            name: Pattern(name.into()),
            role,
            overrides: Overrides::default(),
            threshold: None,
            sources: Vec::new(),
            rules: Vec::new(),
            boundaries: Vec::new(),
            static_groups: Vec::new(),
            groups: Vec::new(),
            preference: None,
        };
        let config = Config { interfaces: vec![block], ..Config::default() };
        let mut settings = config.resolve(name).unwrap();
        set(&mut settings);
        let (ifindex, network) = (self.next_index, net::<F>(address));
        self.next_index += 1;
        let v4 = net::<crate::wire::V4>(address);
        let interface = Interface {
            ifindex,
            name: name.into(),
            mtu: 1500,
            up: true,
            loopback: false,
            addresses: [v4, network]
                .map(|network| InterfaceAddress { address: network.addr(), network })
                .to_vec(),
        };
        let vif = self.kernel.add_vif(F::AF, &interface).unwrap();
        let slot = self.links.insert(|slot| Link {
            slot,
            ifindex,
            name: name.into(),
            mtu: 1500,
            up: true,
            addresses: vec![F::net(network).unwrap()],
            peers: Vec::new(),
            settings: Arc::new(settings),
            vif: Vif::Ready(vif),
            yields: false,
        });
        let slot = slot.unwrap();
        self.mrt.on_link_changed(self.now, slot, world!(self));
        self.turn();
        slot
    }

    pub(super) fn slot(&self, name: &str) -> Slot {
        self.links.iter().find(|l| l.name == name).unwrap().slot
    }

    /// Changes an interface.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut Link<F>)) {
        let slot = self.slot(name);
        change(self.links.get_mut(slot).unwrap());
        self.mrt.on_link_changed(self.now, slot, world!(self));
        self.turn();
    }

    /// Changes what holds for an interface.
    pub(super) fn set(&mut self, name: &str, set: impl FnOnce(&mut Settings)) {
        self.change(name, |link| set(Arc::make_mut(&mut link.settings)));
    }

    /// An interface is deleted.
    pub(super) fn remove(&mut self, name: &str) {
        let slot = self.slot(name);
        let link = self.links.remove(slot).unwrap();
        self.members.0.retain(|(_, s), _| *s != slot);
        self.mrt.on_link_changed(self.now, slot, world!(self));
        self.turn();
        self.kernel.delete_vif(F::AF, link.ifindex).unwrap();
    }

    /// Gives a group on a link this state, or none.
    pub(super) fn state(&mut self, name: &str, group: &str, state: Option<State<F::Addr>>) {
        let (slot, group) = (self.slot(name), ip::<F>(group));
        match state {
            Some(state) => _ = self.members.0.insert((group, slot), state),
            None => _ = self.members.0.remove(&(group, slot)),
        }
        self.mrt.on_group_changed(self.now, group, world!(self));
        self.turn();
    }

    /// A member of all sources but some.
    pub(super) fn join(&mut self, name: &str, group: &str, but: &[&str]) {
        let sources = but.iter().map(|s| ip::<F>(s)).collect();
        self.state(name, group, Some(State::Exclude(sources)));
    }

    /// A member of some sources.
    pub(super) fn include(&mut self, name: &str, group: &str, sources: &[&str]) {
        let sources = sources.iter().map(|s| ip::<F>(s)).collect();
        self.state(name, group, Some(State::Include(sources)));
    }

    pub(super) fn leave(&mut self, name: &str, group: &str) {
        self.state(name, group, None);
    }

    pub(super) fn configure(&mut self, mroutes: &[Mroute]) {
        self.mroutes = mroutes.to_vec();
        self.mrt.configure(self.now, self.limits, mroutes, world!(self));
        self.turn();
    }

    pub(super) fn limit(&mut self, max_routes: u32) {
        self.limits.max_routes = max_routes;
        self.mrt.configure(self.now, self.limits, &self.mroutes, world!(self));
    }

    /// A packet arrives; the names of the interfaces that it leaves by, once the kernel had its
    /// answers.
    pub(super) fn packet(&mut self, name: &str, source: &str, group: &str) -> String {
        let ifindex = self.links.iter().find(|l| l.name == name).unwrap().ifindex;
        let (source, group) = (ip::<F>(source).into(), ip::<F>(group).into());
        let packet = Packet { ifindex, source, group, ttl: 64, length: 100 };
        let _ = self.fake.packet(packet);
        self.turn();
        let indices: BTreeSet<u32> = self
            .fake
            .sent()
            .into_iter()
            .filter(|sent| sent.packet == packet)
            .flat_map(|sent| sent.outputs)
            .collect();
        let names = indices.iter().map(|i| self.name(*i)).collect::<Vec<_>>();
        names.join(" ")
    }

    pub(super) fn name(&self, ifindex: u32) -> &str {
        self.links.iter().find(|l| l.ifindex == ifindex).map_or("?", |l| &l.name)
    }

    /// Passes orders and upcalls until there are none.
    pub(super) fn turn(&mut self) {
        loop {
            while let Some(order) = self.mrt.poll_order() {
                self.obey(&order);
            }
            let mut said = Vec::new();
            self.kernel.receive(F::AF, &mut said).unwrap();
            for message in &said {
                if let FromKernel::Upcall(upcall) = message {
                    self.mrt.on_upcall(self.now, upcall, world!(self));
                }
            }
            if said.is_empty() {
                break;
            }
        }
        while let Some(event) = self.mrt.poll_event() {
            self.events.push(event);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other order comes from a route table")]
    fn obey(&mut self, order: &Order) {
        let source = |s: Option<IpAddr>| s.map_or("*".into(), |s| s.to_string());
        match order {
            Order::SetRoute(route) => {
                assert!(!route.outgoing.iter().any(|o| o.ifindex == route.incoming));
                let outputs: Vec<&str> =
                    route.outgoing.iter().map(|o| self.name(o.ifindex)).collect();
                let line = format!(
                    "set {} {} {}: {}",
                    source(route.key.source),
                    route.key.group,
                    self.name(route.incoming),
                    outputs.join(" ")
                );
                writeln!(self.orders, "{}", line.trim_end()).unwrap();
                self.kernel.set_route(route).unwrap();
            }
            Order::DeleteRoute(key) => {
                writeln!(self.orders, "delete {} {}", source(key.source), key.group).unwrap();
                self.kernel.delete_route(key).unwrap();
            }
            Order::ReadCounters(family) => {
                // Every other answer comes a moment later.
                self.late = 1 - self.late;
                self.now += Millis(self.late);
                let counts = self.kernel.counters(*family).unwrap();
                self.mrt.on_counters(self.now, &counts, true, world!(self));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Takes the orders since the last time.
    pub(super) fn orders(&mut self) -> String {
        std::mem::take(&mut self.orders)
    }

    /// Time passes, with every deadline on the way met.
    pub(super) fn pass(&mut self, secs: u32) {
        let end = self.now + Millis::from_secs(secs);
        while let Some(due) = self.mrt.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.mrt.on_time(self.now);
            self.turn();
        }
        self.now = end;
    }

    /// The kernel's table: incoming interface and outputs of each route.
    pub(super) fn table(&self) -> Vec<String> {
        let line = |route: crate::kroute::Route| {
            let outputs: Vec<&str> = route.outgoing.iter().map(|o| self.name(o.ifindex)).collect();
            let source = route.key.source.map_or("*".into(), |s| s.to_string());
            let line = format!(
                "{source} {} {}: {}",
                route.key.group,
                self.name(route.incoming),
                outputs.join(" ")
            );
            line.trim_end().to_owned()
        };
        let mut lines: Vec<String> = self.kernel.routes(F::AF).into_iter().map(line).collect();
        lines.sort();
        lines
    }

    /// The only route: "incoming: outputs".
    pub(super) fn only(&self) -> String {
        let table = self.table();
        assert_eq!(table.len(), 1, "{table:?}");
        table[0].splitn(3, ' ').last().unwrap().to_owned()
    }

    /// Another engine takes over: it is told of interfaces, then of routes, then of vifs.
    pub(super) fn restart(&mut self) {
        self.mrt = Mrt::new(self.behaviour.capabilities(F::AF), [3, 4]);
        self.mrt.expect_installed();
        self.members.0.clear();
        let vifs: Vec<Vif> = self
            .links
            .iter_mut()
            .map(|link| std::mem::replace(&mut link.vif, Vif::Requested))
            .collect();
        self.mrt.configure(self.now, self.limits, &self.mroutes, world!(self));
        self.mrt.on_links_changed_all(self.now, world!(self));
        for route in self.kernel.routes(F::AF) {
            self.mrt.on_installed(self.now, &route, world!(self));
        }
        self.mrt.begin(self.now, world!(self));
        for (link, vif) in self.links.iter_mut().zip(vifs) {
            link.vif = vif;
        }
        self.mrt.on_links_changed_all(self.now, world!(self));
        self.turn();
        self.orders.clear();
    }
}

pub(super) fn any_source(settings: &mut Settings) {
    settings.sources.push(SourceNet::Any);
}

pub(super) fn rule<F: Family>(allow: bool, group: &str, source: Option<&str>) -> Rule {
    Rule { allow, group: net::<F>(group), source: source.map(net::<F>) }
}

/// `mroute from FROM [source|except SOURCES] group GROUP to TO ...`.
pub(super) fn mroute<F: Family>(text: &str) -> Mroute {
    let mut words = text.split(' ').peekable();
    let mut after = |word: &str| words.next_if_eq(&word).map(|_| words.next().unwrap());
    let from = Pattern(after("from").unwrap().into());
    let source = match (after("source"), after("except")) {
        (Some(source), _) => SourceMatch::Net(net::<F>(source)),
        (None, Some(nets)) => SourceMatch::Except(nets.split(',').map(net::<F>).collect()),
        (None, None) => SourceMatch::Any,
    };
    let group = GroupSet::Net(net::<F>(after("group").unwrap()));
    let first = Pattern(after("to").unwrap().into());
    let to = std::iter::once(first).chain(words.map(|w| Pattern(w.into()))).collect();
    Mroute { from, source, group, to }
}
