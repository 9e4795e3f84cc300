//! A core between an upstream and two downstreams, with the parent and the hosts played by the test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_proxy::config::model::{Config, InterfaceBlock, Overrides, Pattern, Role, SourceNet};
use mcast_proxy::engine::core::{Action, Core, Input};
use mcast_proxy::imsg::ctl::{GroupRow, Rows, Table, UpstreamRow};
use mcast_proxy::imsg::{Envelope, Notice, Order, Packet, Start, Transmit};
use mcast_proxy::kroute::{
    Capabilities, Interface, InterfaceAddress, InterfaceChange, MfcKey, Route, RouteKey, Upcall,
    UpcallKind,
};
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::{self, Address, Family, QuerySpec, RecordType, ReportBuilder, Sender};

/// Interface indexes.
pub(crate) const UP: u32 = 1;
pub(crate) const DOWN: u32 = 2;
pub(crate) const DOWN2: u32 = 3;

/// What a test has to know of a family.
pub(crate) trait Net: Family {
    const GROUP: Self::Addr;
    const SOURCE: Self::Addr;
    /// Address `host` on the link of `ifindex`; 1 is ours.
    fn address(ifindex: u32, host: u8) -> Self::Addr;
    fn envelope(source: Self::Addr, destination: Self::Addr) -> Envelope;
}

impl Net for wire::V4 {
    const GROUP: Ipv4Addr = Ipv4Addr::new(233, 252, 0, 1);
    const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    fn address(ifindex: u32, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, u8::try_from(ifindex).unwrap(), host)
    }
    fn envelope(_: Ipv4Addr, _: Ipv4Addr) -> Envelope {
        Envelope::Ip4
    }
}

impl Net for wire::V6 {
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0xdb8, 1);
    const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    fn address(ifindex: u32, host: u8) -> Ipv6Addr {
        let link = u16::try_from(ifindex).unwrap();
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, link, u16::from(host))
    }
    fn envelope(source: Ipv6Addr, destination: Ipv6Addr) -> Envelope {
        Envelope::Ip6 {
            source,
            destination,
            hop_limit: 1,
            router_alert: true,
            checksum_verified: true,
        }
    }
}

/// Linux.
pub(crate) const LINUX: Capabilities = Capabilities {
    key: MfcKey::SourceGroup,
    entries_expire: false,
    queues_unresolved: true,
    wrongvif_upcalls: true,
    star_g: true,
    vif_by_address: false,
    max_vifs: 32,
};

pub(crate) struct Router {
    pub(crate) core: Core,
    pub(crate) now: Tick,
    pub(crate) routes: Vec<Route>,
    pub(crate) sent: Vec<Transmit>,
}

fn block(name: &str, role: Role) -> InterfaceBlock {
    InterfaceBlock {
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
    }
}

/// An upstream that takes any source in `network`, and two downstreams.
pub(crate) fn config(source: SourceNet) -> Config {
    let mut upstream = block("up0", Role::Upstream);
    upstream.sources.push(source);
    Config {
        defaults: Overrides { ipv6: Some(true), ..Overrides::default() },
        interfaces: vec![
            upstream,
            block("down0", Role::Downstream),
            block("down1", Role::Downstream),
        ],
        ..Config::default()
    }
}

impl Router {
    pub(crate) fn new(config: Config) -> Self {
        let start = Start {
            version: "test".into(),
            parent_pid: 1,
            up_time: 0,
            restarts: 0,
            ended: None,
            table: 0,
            seed: [1, 2],
            verbose: false,
            foreground: true,
            identity: "test".into(),
            user: (1, 1),
            chroot: "/".into(),
            config: Box::new(config),
            capabilities: [LINUX, LINUX],
        };
        let now = Tick(5000);
        let core = Core::new(now, &start);
        let mut router = Self { core, now, routes: Vec::new(), sent: Vec::new() };
        for (ifindex, name) in [(UP, "up0"), (DOWN, "down0"), (DOWN2, "down1")] {
            let v4: IpAddr = wire::V4::address(ifindex, 1).into();
            let v6: IpAddr = wire::V6::address(ifindex, 1).into();
            let address = |a: IpAddr, len| InterfaceAddress {
                address: a,
                network: ipnet::IpNet::new(a, len).unwrap(),
            };
            router.parent(Notice::Interface(InterfaceChange::Present(Interface {
                ifindex,
                name: name.into(),
                mtu: 1500,
                up: true,
                loopback: false,
                addresses: vec![address(v4, 24), address(v6, 64)],
            })));
        }
        router.parent(Notice::Begin);
        router
    }

    pub(crate) fn parent(&mut self, notice: Notice) {
        self.input(&Input::Parent(notice));
    }

    fn input(&mut self, input: &Input) {
        self.core.handle(self.now, input);
        let mut answers = Vec::new();
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Parent(Order::AddVif { family, ifindex }) => {
                    let result = Ok(u16::try_from(ifindex).unwrap());
                    answers.push(Notice::Vif { family, ifindex, result });
                }
                Action::Parent(Order::SetRoute(route)) => {
                    self.routes.retain(|r| r.key != route.key);
                    self.routes.push(route);
                }
                Action::Parent(Order::DeleteRoute(key)) => {
                    let before = self.routes.len();
                    self.routes.retain(|r| r.key != key);
                    assert!(self.routes.len() < before, "deleted what is not installed: {key:?}");
                }
                Action::Transmit(transmit) => self.sent.push(transmit),
                Action::Parent(_)
                | Action::Event(_)
                | Action::Reply { .. }
                | Action::Log(_)
                | Action::Debug(_) => {}
            }
        }
        answers.into_iter().for_each(|a| self.parent(a));
    }

    /// Lets time pass, handling what is due on the way.
    pub(crate) fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(&Input::Time);
        }
        self.now = end;
    }

    fn deliver<F: Net>(&mut self, from: F::Addr, message: Transmit) {
        let destination = F::Addr::from_ip(message.destination).unwrap();
        self.input(&Input::Packet(Packet {
            ifindex: message.ifindex,
            envelope: F::envelope(from, destination),
            bytes: message.bytes,
        }));
    }

    /// A host of the link reports.
    pub(crate) fn report<F: Net>(
        &mut self,
        ifindex: u32,
        host: u8,
        kind: RecordType,
        sources: &[F::Addr],
    ) {
        let source = F::address(ifindex, host);
        let mut report = ReportBuilder::<F>::new(Sender { ifindex, source, mtu: 1500 });
        report.push(kind, F::GROUP, sources);
        for message in report.finish() {
            self.deliver::<F>(source, message);
        }
    }

    /// A host of the link sends an older report, or a leave (version 0).
    pub(crate) fn old<F: Net>(&mut self, ifindex: u32, host: u8, version: u8) {
        let source = F::address(ifindex, host);
        let from = Sender::<F> { ifindex, source, mtu: 1500 };
        let message = match version {
            0 => wire::leave(&from, F::GROUP),
            version => wire::old_report(&from, version, F::GROUP),
        };
        self.deliver::<F>(source, message);
    }

    /// A router of the link queries.
    pub(crate) fn query<F: Net>(&mut self, ifindex: u32, host: u8, group: F::Addr) {
        let source = F::address(ifindex, host);
        let spec = QuerySpec::<F> {
            version: if F::Addr::LEN == 4 { 3 } else { 2 },
            group,
            max_response: Millis(1000),
            suppress: false,
            robustness: 2,
            query_interval: Millis(60_000),
            sources: &[],
        };
        for message in wire::query(&Sender { ifindex, source, mtu: 1500 }, &spec) {
            self.deliver::<F>(source, message);
        }
    }

    /// A router or switch of the link sends a router discovery message.
    pub(crate) fn mrdisc<F: Net>(&mut self, ifindex: u32, host: u8, message: wire::Mrdisc) {
        let source = F::address(ifindex, host);
        self.deliver::<F>(
            source,
            wire::mrdisc(&Sender::<F> { ifindex, source, mtu: 1500 }, message),
        );
    }

    /// The other routers that `show interfaces` lists.
    pub(crate) fn neighbors<F: Net>(&self, name: &str) -> Vec<IpAddr> {
        let rows = |rows| if let Rows::Interfaces(rows) = rows { rows } else { Vec::new() };
        let all = self.rows(Table::Interfaces).into_iter().flat_map(rows);
        let row = all.into_iter().find(|row| row.interface == name).unwrap();
        let link = if F::AF == wire::Af::Ip4 { row.ipv4 } else { row.ipv6 };
        link.unwrap().mrdisc_neighbors
    }

    /// A packet of an unknown flow arrives.
    pub(crate) fn data<F: Net>(&mut self, ifindex: u32, source: F::Addr) {
        let key = RouteKey { source: Some(source.into()), group: F::GROUP.into() };
        let star = RouteKey { source: None, ..key };
        if self.routes.iter().any(|r| r.key == key || r.key == star) {
            return;
        }
        self.parent(Notice::Upcall(Upcall {
            kind: UpcallKind::NoCache,
            ifindex,
            source: source.into(),
            group: F::GROUP.into(),
        }));
    }

    /// Where a packet of the flow that arrives on the upstream leaves.
    pub(crate) fn outputs<F: Net>(&self, source: F::Addr) -> Vec<u32> {
        let group = F::GROUP.into();
        let named = |s| self.routes.iter().find(|r| r.key == RouteKey { source: s, group });
        let route = named(Some(source.into())).or_else(|| named(None));
        let mut outputs: Vec<u32> = route
            .filter(|r| r.incoming == UP)
            .map(|r| r.outgoing.iter().map(|o| o.ifindex).filter(|o| *o != UP).collect())
            .unwrap_or_default();
        outputs.sort_unstable();
        outputs
    }

    pub(crate) fn groups(&self) -> Vec<GroupRow> {
        let rows = |rows| if let Rows::Groups(rows) = rows { rows } else { Vec::new() };
        self.rows(Table::Groups).into_iter().flat_map(rows).collect()
    }

    pub(crate) fn upstream(&self) -> Vec<UpstreamRow> {
        let rows = |rows| if let Rows::Upstream(rows) = rows { rows } else { Vec::new() };
        self.rows(Table::Upstream).into_iter().flat_map(rows).collect()
    }

    fn rows(&self, table: Table) -> Vec<Rows> {
        let (mut all, mut cursor) = (Vec::new(), Some(0));
        while let Some(at) = cursor {
            let (rows, next) = self.core.show(self.now, table, at);
            all.push(rows);
            cursor = next;
        }
        all
    }

    /// Takes what was sent on the link to the address.
    pub(crate) fn take_sent<F: Net>(
        &mut self,
        ifindex: u32,
        destination: F::Addr,
    ) -> Vec<Transmit> {
        let to: IpAddr = destination.into();
        let is = |t: &Transmit| t.ifindex == ifindex && t.destination == to;
        let (taken, left) = self.sent.drain(..).partition(is);
        self.sent = left;
        taken
    }
}
