//! A core between upstreams and downstreams on a kernel in memory; the parent, the hosts and the other
//! routers are played by the test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use mcast_proxy::config::model::{Config, InterfaceBlock, Overrides, Pattern, Role, SourceNet};
use mcast_proxy::config::{self, Files};
use mcast_proxy::engine::core::{Action, Core, Input};
use mcast_proxy::imsg::ctl::Event;
use mcast_proxy::imsg::{Envelope, Notice, Order, Packet, Start, Transmit};
use mcast_proxy::kroute::fake::{self, Behaviour, Fake};
use mcast_proxy::kroute::{
    Capabilities, FromKernel, Interface, InterfaceAddress, InterfaceChange, Kernel, MfcKey,
    RouteKey,
};
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::{self, Address, Af, Family, QuerySpec, RecordType, ReportBuilder, Sender};

/// Interface indexes.
pub(crate) const UP: u32 = 1;
pub(crate) const DOWN: u32 = 2;
pub(crate) const DOWN2: u32 = 3;
pub(crate) const UP2: u32 = 4;
/// Their names; those that the configuration does not name are not told to the core.
const NAMES: [(u32, &str); 4] = [(UP, "up0"), (DOWN, "down0"), (DOWN2, "down1"), (UP2, "up1")];

/// Between two runs of the kernel's timers.
const KERNEL_TIMERS: Millis = Millis::from_secs(30);

/// What a test has to know of a family.
pub(crate) trait Net: Family {
    const GROUP: Self::Addr;
    const SOURCE: Self::Addr;
    /// A source-specific group.
    const SSM: Self::Addr;
    /// A group that never leaves its link.
    const LINK_GROUP: Self::Addr;
    /// The version before the newest one.
    const OLD: u8;
    /// The word of the configuration that sets the version.
    const VERSION: &'static str;
    /// Group number n; 1 is [`Self::GROUP`].
    fn group(n: u8) -> Self::Addr;
    /// Source number n, in no network of a link; 7 is [`Self::SOURCE`].
    fn source(n: u8) -> Self::Addr;
    /// Address `host` on the link of `ifindex`; 1 is ours.
    fn address(ifindex: u32, host: u8) -> Self::Addr;
    /// The same as data has it: in a network of the link, and not link-local.
    fn sender(ifindex: u32, host: u8) -> Self::Addr;
    /// The network that the sources are in.
    fn sources() -> ipnet::IpNet {
        let len = if Self::AF == Af::Ip4 { 24 } else { 64 };
        ipnet::IpNet::new(Self::SOURCE.into(), len).unwrap().trunc()
    }
    fn envelope(source: Self::Addr, destination: Self::Addr) -> Envelope;
}

impl Net for wire::V4 {
    const GROUP: Ipv4Addr = Ipv4Addr::new(233, 252, 0, 1);
    const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const SSM: Ipv4Addr = Ipv4Addr::new(232, 1, 1, 1);
    const LINK_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
    const OLD: u8 = 2;
    const VERSION: &'static str = "igmp-version";
    fn group(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(233, 252, 0, n)
    }
    fn source(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, n)
    }
    fn address(ifindex: u32, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, u8::try_from(ifindex).unwrap(), host)
    }
    fn sender(ifindex: u32, host: u8) -> Ipv4Addr {
        Self::address(ifindex, host)
    }
    fn envelope(_: Ipv4Addr, _: Ipv4Addr) -> Envelope {
        Envelope::Ip4
    }
}

impl Net for wire::V6 {
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0xdb8, 1);
    const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    const SSM: Ipv6Addr = Ipv6Addr::new(0xff3e, 0, 0, 0, 0, 0, 0x8000, 1);
    const LINK_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
    const OLD: u8 = 1;
    const VERSION: &'static str = "mld-version";
    fn group(n: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0xdb8, n.into())
    }
    fn source(n: u8) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into())
    }
    fn address(ifindex: u32, host: u8) -> Ipv6Addr {
        let link = u16::try_from(ifindex).unwrap();
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, link, u16::from(host))
    }
    fn sender(ifindex: u32, host: u8) -> Ipv6Addr {
        let link = u16::try_from(ifindex).unwrap();
        Ipv6Addr::new(0x2001, 0xdb8, 0, link, 0, 0, 0, u16::from(host))
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

/// What a system's kernel cannot do, so that a clause cannot hold there to the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cannot {
    /// OpenBSD looks up entries by their group and does not compare the source: the outputs of all
    /// sources are one (`sys/netinet/ip_mroute.c`, `mfc_find`).
    TellSources,
    /// OpenBSD drops the packet that it asks about (`sys/netinet/ip_mroute.c`, `ip_mforward`).
    Wait,
    /// OpenBSD counts packets that arrive on another interface, and says nothing of them
    /// (`sys/netinet/ip_mroute.c`, `ip_mdq`).
    TellWrongInterface,
    /// Only Linux has entries for any source (`net/ipv4/ipmr_base.c`, `mr_mfc_find_any`).
    StarG,
}

impl Cannot {
    /// Whether it is so on this system.
    pub(crate) fn is_so(self, system: Behaviour) -> bool {
        let kernel: Capabilities = system.capabilities(Af::Ip4);
        match self {
            Self::TellSources => kernel.key == MfcKey::Group,
            Self::Wait => !kernel.queues_unresolved,
            Self::TellWrongInterface => !kernel.wrongvif_upcalls,
            Self::StarG => !kernel.star_g,
        }
    }
}

/// Checks what a clause asks for; on a kernel that cannot do it, what it does instead.
#[track_caller]
pub(crate) fn holds<T: PartialEq + std::fmt::Debug>(
    system: Behaviour,
    found: T,
    clause: T,
    cannot: Cannot,
    instead: T,
) {
    let (expected, why) =
        if cannot.is_so(system) { (instead, Some(cannot)) } else { (clause, None) };
    assert_eq!(found, expected, "{system:?}, {why:?}");
}

pub(crate) struct Router {
    pub(crate) core: Core,
    pub(crate) now: Tick,
    pub(crate) kernel: Box<dyn Kernel>,
    pub(crate) fake: Fake,
    vifs: BTreeMap<(Af, u32), u16>,
    /// Routes that the kernel did not take.
    refused: BTreeSet<RouteKey>,
    kernel_timers: Tick,
    /// What was sent and not looked at yet.
    pub(crate) sent: Vec<(Tick, Transmit)>,
    pub(crate) lines: Vec<String>,
    /// Lines of a verbose log.
    pub(crate) debug: Vec<String>,
    pub(crate) events: Vec<Event>,
    /// Orders to the parent, but for those about routes and vifs.
    pub(crate) orders: Vec<Order>,
    /// What was ordered and sent, in order.
    pub(crate) order: Vec<&'static str>,
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

struct Text(String);

impl Files for Text {
    fn read(&mut self, path: &Path) -> Result<(PathBuf, Vec<u8>), String> {
        Ok((path.to_owned(), self.0.clone().into_bytes()))
    }

    fn glob(&mut self, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

/// A configuration of both families.
pub(crate) fn parse(text: &str) -> Config {
    let text = format!("ipv6 yes\n{text}");
    config::load_from(&mut Text(text), Path::new("scenario"), &[])
        .unwrap_or_else(|e| panic!("{e}"))
        .config
}

/// An interface as the system shows it, with addresses of both families.
pub(crate) fn interface(ifindex: u32) -> Interface {
    let address = |a: IpAddr, len| InterfaceAddress {
        address: a,
        network: ipnet::IpNet::new(a, len).unwrap(),
    };
    Interface {
        ifindex,
        name: NAMES
            .iter()
            .find(|(index, _)| *index == ifindex)
            .map_or_else(|| format!("more{ifindex}"), |(_, name)| (*name).into()),
        mtu: 1500,
        up: true,
        loopback: false,
        addresses: vec![
            address(wire::V4::address(ifindex, 1).into(), 24),
            address(wire::V6::address(ifindex, 1).into(), 64),
            address(wire::V6::sender(ifindex, 1).into(), 64),
        ],
    }
}

impl Router {
    /// On Linux.
    pub(crate) fn new(config: Config) -> Self {
        Self::start(Behaviour::Linux, config, 0)
    }

    /// On this system, with this configuration.
    pub(crate) fn on(system: Behaviour, text: &str) -> Self {
        Self::start(system, parse(text), 0)
    }

    pub(crate) fn start(system: Behaviour, config: Config, restarts: u32) -> Self {
        let start = Start {
            version: "test".into(),
            parent_pid: 1,
            up_time: 0,
            restarts,
            ended: None,
            table: 0,
            seed: [1, 2],
            verbose: false,
            foreground: true,
            identity: "test".into(),
            user: (1, 1),
            chroot: "/".into(),
            config: Box::new(config),
            capabilities: Af::ALL.map(|family| system.capabilities(family)),
        };
        let now = Tick(5000);
        let fake = Fake::new(system).unwrap();
        let mut router = Self {
            core: Core::new(now, &start),
            now,
            kernel: fake.kernel(),
            fake,
            vifs: BTreeMap::new(),
            refused: BTreeSet::new(),
            kernel_timers: now + KERNEL_TIMERS,
            sent: Vec::new(),
            lines: Vec::new(),
            debug: Vec::new(),
            events: Vec::new(),
            orders: Vec::new(),
            order: Vec::new(),
        };
        for (ifindex, name) in NAMES {
            if router.core.config().resolve(name).is_some() {
                router.comes(interface(ifindex));
            }
        }
        router.parent(Notice::Begin);
        router
    }

    /// An interface is, or is again, like this.
    pub(crate) fn comes(&mut self, interface: Interface) {
        self.parent(Notice::Interface(InterfaceChange::Present(interface)));
    }

    /// An interface loses its carrier, or gets it back.
    pub(crate) fn carrier(&mut self, ifindex: u32, up: bool) {
        self.comes(Interface { up, ..interface(ifindex) });
    }

    /// The file was changed and read again.
    pub(crate) fn reload(&mut self, text: &str) {
        self.parent(Notice::Config(Box::new(parse(text))));
    }

    pub(crate) fn parent(&mut self, notice: Notice) {
        self.input(&Input::Parent(notice));
    }

    pub(crate) fn input(&mut self, input: &Input) {
        self.core.handle(self.now, input);
        let mut answers = Vec::new();
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Parent(order) => answers.extend(self.obey(order)),
                Action::Transmit(transmit) => {
                    self.order.push("send");
                    self.sent.push((self.now, transmit));
                }
                Action::Event(event) => self.events.push(event),
                Action::Log(line) => self.lines.push(line),
                Action::Debug(line) => self.debug.push(line),
                Action::Reply { .. } | Action::Counted { .. } => {}
            }
        }
        for family in Af::ALL {
            let mut asked = Vec::new();
            self.kernel.receive(family, &mut asked).unwrap();
            answers.extend(asked.into_iter().map(|message| match message {
                FromKernel::Upcall(upcall) => Notice::Upcall(upcall),
                FromKernel::Igmp { .. } | FromKernel::Register { .. } => {
                    panic!("a whole packet on the routing socket")
                }
            }));
        }
        answers.into_iter().for_each(|a| self.parent(a));
    }

    /// Does what the parent would do.
    fn obey(&mut self, order: Order) -> Option<Notice> {
        match order {
            Order::AddVif { family, ifindex } => {
                let added = self.kernel.add_vif(family, &interface(ifindex));
                let result = added.map_err(|e| e.to_string());
                self.vifs.extend(result.iter().map(|number| ((family, ifindex), *number)));
                return Some(Notice::Vif { family, ifindex, result });
            }
            Order::DeleteVif { family, ifindex } => {
                self.vifs.remove(&(family, ifindex));
                self.kernel.delete_vif(family, ifindex).unwrap();
            }
            Order::SetRoute(route) => {
                self.order.push("route");
                if let Err(e) = self.kernel.set_route(&route) {
                    self.refused.insert(route.key);
                    return Some(Notice::RouteFailed { key: route.key, reason: e.to_string() });
                }
            }
            Order::DeleteRoute(key) => {
                let by_group = self.kernel.capabilities(key.family()).key == MfcKey::Group;
                let is_there = self.kernel.has_route(&key) || self.refused.remove(&key);
                assert!(by_group || is_there, "{key:?} is not installed");
                self.kernel.delete_route(&key).unwrap();
            }
            Order::ReadCounters(family) => {
                let entries = self.kernel.counters(family).unwrap();
                return Some(Notice::Counters { family, entries, last: true });
            }
            order @ (Order::Ready
            | Order::Add { .. }
            | Order::Remove { .. }
            | Order::Reload { .. }
            | Order::Log { .. }
            | Order::Stop
            | Order::Pong(_)
            | Order::Members(_)
            | Order::Transmit(_)
            | Order::Finished) => self.orders.push(order),
        }
        None
    }

    /// Lets time pass, handling what is due on the way.
    pub(crate) fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        loop {
            let due = self
                .core
                .next_deadline()
                .map_or(self.kernel_timers, |at| at.min(self.kernel_timers));
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            if due == self.kernel_timers {
                self.fake.time_passes();
                self.kernel_timers = due + KERNEL_TIMERS;
            } else {
                self.input(&Input::Time);
            }
        }
        self.now = end;
    }

    /// A packet arrives.
    pub(crate) fn deliver<F: Net>(&mut self, from: F::Addr, message: Transmit) {
        let destination = F::Addr::from_ip(message.destination).unwrap();
        self.input(&Input::Packet(Packet {
            ifindex: message.ifindex,
            envelope: F::envelope(from, destination),
            bytes: message.bytes,
        }));
    }

    /// A host of the link reports for [`Net::GROUP`].
    pub(crate) fn report<F: Net>(
        &mut self,
        ifindex: u32,
        host: u8,
        kind: RecordType,
        sources: &[F::Addr],
    ) {
        self.record::<F>(ifindex, F::address(ifindex, host), kind, F::GROUP, sources);
    }

    /// A report of one record arrives.
    pub(crate) fn record<F: Net>(
        &mut self,
        ifindex: u32,
        source: F::Addr,
        kind: RecordType,
        group: F::Addr,
        sources: &[F::Addr],
    ) {
        let mut report = ReportBuilder::<F>::new(Sender { ifindex, source, mtu: 1500 });
        report.push(kind, group, sources);
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

    /// A router of the link queries: by the newest version, with an interval of 60 s.
    pub(crate) fn query<F: Net>(&mut self, ifindex: u32, host: u8, group: F::Addr) {
        self.ask::<F>(ifindex, F::address(ifindex, host), &spec(group));
    }

    /// A query arrives.
    pub(crate) fn ask<F: Net>(&mut self, ifindex: u32, source: F::Addr, spec: &QuerySpec<'_, F>) {
        for message in wire::query(&Sender { ifindex, source, mtu: 1500 }, spec) {
            self.deliver::<F>(source, message);
        }
    }

    /// A router or switch of the link sends a router discovery message.
    pub(crate) fn mrdisc<F: Net>(&mut self, ifindex: u32, host: u8, message: wire::Mrdisc) {
        let source = F::address(ifindex, host);
        let from = Sender::<F> { ifindex, source, mtu: 1500 };
        self.deliver::<F>(source, wire::mrdisc(&from, message));
    }

    /// A packet to [`Net::GROUP`] arrives; tells where it leaves.
    pub(crate) fn data<F: Net>(&mut self, ifindex: u32, source: F::Addr) -> Vec<u32> {
        self.data_to::<F>(ifindex, source, F::GROUP)
    }

    /// A packet arrives; tells where it leaves, at once or after its route was installed.
    pub(crate) fn data_to<F: Net>(
        &mut self,
        ifindex: u32,
        source: F::Addr,
        group: F::Addr,
    ) -> Vec<u32> {
        let (source, group) = (source.into(), group.into());
        let packet = fake::Packet { ifindex, source, group, ttl: 64, length: 100 };
        drop(self.fake.sent());
        let _ = self.fake.packet(packet);
        self.input(&Input::Time);
        let mut outputs: Vec<u32> = self.fake.sent().into_iter().flat_map(|s| s.outputs).collect();
        outputs.sort_unstable();
        outputs
    }

    /// Where packets of the flow leave once the kernel has asked about it.
    pub(crate) fn flow<F: Net>(&mut self, ifindex: u32, source: F::Addr) -> Vec<u32> {
        self.data::<F>(ifindex, source);
        self.data::<F>(ifindex, source)
    }
}

/// A query of the newest version without sources, with an interval of 60 s.
pub(crate) fn spec<F: Net>(group: F::Addr) -> QuerySpec<'static, F> {
    QuerySpec {
        version: F::LAYOUT.newest,
        group,
        max_response: Millis(1000),
        suppress: false,
        robustness: 2,
        query_interval: Millis(60_000),
        sources: &[],
    }
}
