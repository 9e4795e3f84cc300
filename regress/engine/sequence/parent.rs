//! The parent, the kernel and the links, played by the test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use mcast_proxy::config::model::{Config, Settings};
use mcast_proxy::engine::core::{Action, Core, Input};
use mcast_proxy::imsg::ctl::{
    CounterRow, GroupRow, HostRow, InterfaceRow, LinkRow, MAX_ROWS, Request, RouteRow, Rows,
    Status, Table, UpstreamRow,
};
use mcast_proxy::imsg::{Notice, Order, Packet, Start, Transmit};
use mcast_proxy::kroute::fake::{self, Behaviour, Fake};
use mcast_proxy::kroute::{FromKernel, InterfaceChange, Kernel, RouteKey, Upcall};
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::{Af, Family};

use super::file;
use super::heard::Heard;
use super::net::{LINKS, envelope, interface};
use super::sent::{Says, Sent};

/// Inputs that one event may bring about.
const MOST_TURNS: u32 = 10_000;
/// Deadlines that may come one after the other at one moment.
const MOST_AT_ONCE: u32 = 64;
/// How long a kernel may ask no more: `net/ipv4/ipmr.c` of Linux, `ipmr_cache_alloc_unres`; on OpenBSD
/// until an engine deletes the kernel's own entry.
const fn question_life(behaviour: Behaviour) -> Millis {
    match behaviour {
        Behaviour::Linux | Behaviour::FreeBsd => Millis(10_000),
        Behaviour::OpenBsd => Millis(90_000),
    }
}
/// Addresses of ours on a link: one of these.
const OWN: [u8; 2] = [5, 6];

/// An interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Its index while it is there.
    pub(super) ifindex: Option<u32>,
    pub(super) up: bool,
    own: u8,
    pub(super) addressed: bool,
}

impl Link {
    /// Where protocol messages leave from.
    pub(super) fn own(&self) -> Option<u8> {
        self.addressed.then_some(self.own)
    }
}

/// All that is around the core.
pub(super) struct Parent {
    pub(super) core: Core,
    pub(super) fake: Fake,
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) behaviour: Behaviour,
    pub(super) now: Tick,
    pub(super) points: u32,
    pub(super) config: Config,
    /// What it says of each link.
    pub(super) settings: [Option<Rc<Settings>>; LINKS.len()],
    pub(super) links: [Link; LINKS.len()],
    next_index: u32,
    vifs: [BTreeMap<u32, u16>; 2],
    /// Vifs that are refused, before the core is told.
    refused: BTreeSet<(Af, u32)>,
    engines: u32,
    /// Members of before the engine's death count until then.
    pub(super) settles: Option<Tick>,
    /// Routes of each family that are refused from now on.
    pub(super) refuse: [u8; 2],
    /// Protocol messages of the last operation.
    pub(super) sent: Vec<Sent>,
    /// What the routers upstream have heard.
    pub(super) heard: Heard,
    /// The last General Query of each link.
    pub(super) asked_all: BTreeMap<(Af, u32), Tick>,
    /// The packet of each group that the kernel asked about last: its source, and where it came.
    pub(super) seen: BTreeMap<IpAddr, (IpAddr, u32)>,
    /// The source and interface that a static route told of a group, unless the kernel has asked
    /// since then.
    pub(super) told: BTreeMap<IpAddr, (IpAddr, u32)>,
    /// Where the groups came from when the engine died, unless the kernel has asked since then.
    pub(super) before: BTreeMap<IpAddr, u32>,
    /// Groups that packets of came where their route is not from, as far as is known.
    pub(super) strays: BTreeSet<IpAddr>,
    /// What the kernel asked lately, with the time until which it may not ask again.
    asked: Vec<(Tick, Upcall)>,
    finished: bool,
}

impl Parent {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        let fake = Fake::new(behaviour).expect("descriptors");
        let config = file::config(0);
        let now = Tick(80_000);
        let link = Link { ifindex: None, up: true, own: OWN[0], addressed: true };
        let mut parent = Self {
            core: Core::new(now, &start(behaviour, &config, 0)),
            kernel: fake.kernel(),
            fake,
            behaviour,
            now,
            points: 0,
            settings: settings(&config),
            config,
            links: [link; LINKS.len()],
            next_index: 11,
            vifs: [BTreeMap::new(), BTreeMap::new()],
            refused: BTreeSet::new(),
            engines: 0,
            settles: None,
            refuse: [0; 2],
            sent: Vec::new(),
            heard: Heard::default(),
            asked_all: BTreeMap::new(),
            seen: BTreeMap::new(),
            told: BTreeMap::new(),
            before: BTreeMap::new(),
            strays: BTreeSet::new(),
            asked: Vec::new(),
            finished: false,
        };
        for link in 0..LINKS.len() {
            parent.come(link);
        }
        parent.parent(Notice::Begin);
        parent
    }

    /// An interface comes, with an index of its own.
    pub(super) fn come(&mut self, link: usize) {
        self.links[link].ifindex = Some(self.next_index);
        self.next_index += 1;
        self.tell_link(link);
    }

    /// An interface is deleted.
    pub(super) fn go(&mut self, link: usize) {
        let Some(ifindex) = self.links[link].ifindex.take() else { return };
        self.fake.remove_interface(ifindex);
        self.parent(Notice::Interface(InterfaceChange::Gone { ifindex }));
    }

    /// Changes an interface that is there.
    pub(super) fn change(&mut self, link: usize, change: impl FnOnce(&mut Link)) {
        change(&mut self.links[link]);
        self.tell_link(link);
    }

    /// Takes the other address.
    pub(super) fn readdress(&mut self, link: usize) {
        self.change(link, |l| l.own = if l.own == OWN[0] { OWN[1] } else { OWN[0] });
    }

    /// Which link has the index.
    pub(super) fn place(&self, ifindex: u32) -> Option<usize> {
        self.links.iter().position(|link| link.ifindex == Some(ifindex))
    }

    fn tell_link(&mut self, link: usize) {
        let notice = self.link_notice(link);
        notice.into_iter().for_each(|notice| self.parent(notice));
    }

    fn link_notice(&self, link: usize) -> Option<Notice> {
        let Link { ifindex, up, .. } = self.links[link];
        let interface = interface(link, ifindex?, up, self.links[link].own());
        self.fake.interface(interface.clone());
        Some(Notice::Interface(InterfaceChange::Present(interface)))
    }

    /// Another engine takes over: it is told everything before its orders are heard.
    pub(super) fn restart(&mut self) {
        self.engines += 1;
        self.core = Core::new(self.now, &start(self.behaviour, &self.config, self.engines));
        self.heard = Heard::default();
        self.settles = Some(self.now + Millis(2500));
        let routes = Af::ALL.map(|af| self.kernel.routes(af)).concat();
        self.before = routes.iter().map(|r| (r.key.group, r.incoming)).collect();
        // Why they come from there, nobody knows any more.
        self.strays.extend(routes.iter().map(|r| r.key.group));
        let links = (0..LINKS.len()).filter_map(|link| self.link_notice(link));
        let notices = links.chain(routes.into_iter().map(Notice::Installed)).chain([Notice::Begin]);
        self.take(notices.map(Input::Parent).collect());
        let questions = self.open_questions();
        self.take(questions);
    }

    /// The questions of the kernel that a new engine has to be told.
    fn open_questions(&mut self) -> VecDeque<Input> {
        let (now, kernel) = (self.now, &self.kernel);
        self.asked.retain(|(until, upcall)| {
            let key = RouteKey { source: Some(upcall.source), group: upcall.group };
            *until > now && !kernel.has_route(&key)
        });
        if self.behaviour == Behaviour::OpenBsd {
            let life = question_life(self.behaviour);
            self.asked.iter_mut().for_each(|(until, _)| *until = now + life);
        }
        for (_, Upcall { source, group, ifindex, .. }) in &self.asked {
            self.seen.insert(*group, (*source, *ifindex));
            self.told.remove(group);
        }
        self.asked.iter().map(|(_, upcall)| Input::Parent(Notice::Upcall(*upcall))).collect()
    }

    /// The file is read again; run-time statements are not kept.
    pub(super) fn reload(&mut self, points: u32) {
        self.points = points;
        self.config = file::config(points);
        self.settings = settings(&self.config);
        self.parent(Notice::Config(Box::new(self.config.clone())));
    }

    pub(super) fn control(&mut self, request: Request) {
        if let Request::Flush { group, .. } = &request {
            // The kernel asks anew.
            self.seen.retain(|seen, _| group.is_some_and(|group| group != *seen));
        }
        self.input(Input::Control { client: 1, request });
    }

    pub(super) fn parent(&mut self, notice: Notice) {
        self.input(Input::Parent(notice));
    }

    /// A protocol message arrives.
    pub(super) fn deliver<F: Family>(&mut self, from: F::Addr, message: Transmit) {
        let envelope = envelope(F::AF, from.into(), message.destination);
        let Transmit { ifindex, bytes, .. } = message;
        self.input(Input::Packet(Packet { ifindex, envelope, bytes }));
    }

    /// Hands in the input and all that follows from it at once.
    pub(super) fn input(&mut self, input: Input) {
        self.take(VecDeque::from([input]));
    }

    fn take(&mut self, mut waiting: VecDeque<Input>) {
        for _ in 0..MOST_TURNS {
            let Some(input) = waiting.pop_front() else { return };
            if let Input::Parent(Notice::Vif { family, ifindex, .. }) = &input {
                self.refused.remove(&(*family, *ifindex));
            }
            self.core.handle(self.now, &input);
            let before = self.sent.len();
            while let Some(action) = self.core.poll_action() {
                waiting.extend(self.obey(action).map(Input::Parent));
            }
            // A query may be of another version.
            let is_told = matches!(input, Input::Parent(_) | Input::Packet(_));
            if self.sent.len() > before || is_told {
                self.listen(before);
            }
            if waiting.is_empty() {
                waiting.extend(self.questions());
            }
            if waiting.is_empty() && self.core.next_deadline().is_some_and(|at| at <= self.now) {
                waiting.push_back(Input::Time);
            }
        }
        panic!("no end of what follows");
    }

    /// What the kernel asks.
    fn questions(&mut self) -> Vec<Input> {
        let mut said = Vec::new();
        for family in Af::ALL {
            self.kernel.receive(family, &mut said).expect("a fake always reads");
        }
        let mut asked = Vec::new();
        for said in said {
            let FromKernel::Upcall(upcall) = said else { panic!("no packets of protocols") };
            let Upcall { source, group, ifindex, .. } = upcall;
            self.seen.insert(group, (source, ifindex));
            self.told.remove(&group);
            self.before.remove(&group);
            self.asked.push((self.now + question_life(self.behaviour), upcall));
            asked.push(Input::Parent(Notice::Upcall(upcall)));
        }
        asked
    }

    /// Does what the core wants; what it is told of that.
    fn obey(&mut self, action: Action) -> Option<Notice> {
        match action {
            Action::Parent(order) => self.order(order),
            Action::Transmit(transmit) => {
                assert!(transmit.bytes.len() <= 1500 && transmit.destination.is_multicast());
                self.sent.push(Sent::new(self.now, &transmit));
                None
            }
            Action::Event(_)
            | Action::Reply { .. }
            | Action::Counted { .. }
            | Action::Log(_)
            | Action::Debug(_) => None,
        }
    }

    fn order(&mut self, order: Order) -> Option<Notice> {
        match order {
            Order::AddVif { family, ifindex } => {
                let result = self.add_vif(family, ifindex);
                if result.is_err() {
                    self.refused.insert((family, ifindex));
                }
                Some(Notice::Vif { family, ifindex, result })
            }
            Order::DeleteVif { family, ifindex } => {
                if self.vifs[family.index()].remove(&ifindex).is_some() {
                    self.kernel.delete_vif(family, ifindex).expect("it was one");
                } else {
                    assert!(self.refused.contains(&(family, ifindex)), "no vif: {ifindex}");
                }
                None
            }
            Order::SetRoute(route) => {
                let vifs = &self.vifs[route.key.family().index()];
                let named = route.outgoing.iter().map(|o| o.ifindex).chain([route.incoming]);
                let named: Vec<u32> = named.collect();
                assert!(named.iter().all(|i| vifs.contains_key(i)), "no vif: {route:?}");
                let each: BTreeSet<u32> = named.iter().copied().collect();
                assert_eq!(each.len(), named.len(), "twice: {route:?}");
                let refuse = &mut self.refuse[route.key.family().index()];
                if *refuse > 0 {
                    *refuse -= 1;
                    self.before.remove(&route.key.group);
                    return Some(Notice::RouteFailed { key: route.key, reason: "a test".into() });
                }
                self.kernel.set_route(&route).expect("a sound route");
                None
            }
            Order::DeleteRoute(key) => {
                self.kernel.delete_route(&key).expect("a fake deletes");
                None
            }
            Order::ReadCounters(family) => {
                let entries = self.kernel.counters(family).expect("a fake counts");
                Some(Notice::Counters { family, entries, last: true })
            }
            Order::Add { client, statement } => {
                let result = self.config.add(&statement).map(|_| ());
                self.settings = settings(&self.config);
                Some(Notice::Statement { client, add: true, statement, result })
            }
            Order::Remove { client, statement } => {
                let result = self.config.remove(&statement).map(|_| ());
                self.settings = settings(&self.config);
                Some(Notice::Statement { client, add: false, statement, result })
            }
            Order::Reload { client } => {
                self.config = file::config(self.points);
                self.settings = settings(&self.config);
                let result = Ok(Vec::new());
                let config = Box::new(self.config.clone());
                self.core.handle(self.now, &Input::Parent(Notice::Config(config)));
                Some(Notice::Reloaded { client, result })
            }
            Order::Finished => {
                self.finished = true;
                None
            }
            Order::Transmit(_) => panic!("this engine sends by itself"),
            Order::Ready | Order::Log { .. } | Order::Stop | Order::Pong(_) | Order::Members(_) => {
                None
            }
        }
    }

    fn add_vif(&mut self, family: Af, ifindex: u32) -> Result<u16, String> {
        if let Some(number) = self.vifs[family.index()].get(&ifindex) {
            return Ok(*number);
        }
        let link = self.place(ifindex).ok_or("gone")?;
        let Link { up, .. } = self.links[link];
        let interface = interface(link, ifindex, up, self.links[link].own());
        let number = self.kernel.add_vif(family, &interface).map_err(|e| e.to_string())?;
        self.vifs[family.index()].insert(ifindex, number);
        Ok(number)
    }

    /// Lets the routers upstream hear what the last input brought about.
    fn listen(&mut self, before: usize) {
        for family in Af::ALL {
            for (link, row) in self.link_rows(family) {
                let Some(ifindex) = self.links[link].ifindex else { continue };
                let here = self.links[link].up.then(|| (row.version, self.links[link].own()));
                self.heard.meet(family, ifindex, here);
            }
        }
        for sent in &self.sent[before..] {
            self.heard.hear(sent);
            if let Says::Query { group: None, .. } = sent.says {
                self.asked_all.insert((sent.family, sent.ifindex), sent.at);
            }
        }
    }

    /// Lets time pass, with every deadline on the way met.
    pub(super) fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        let mut at_once = 0;
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
            at_once = if at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < MOST_AT_ONCE, "it wakes again and again at {}", self.now.0);
            self.now = self.now.max(at);
            self.input(Input::Time);
        }
        self.now = end;
    }

    /// Reads the kernel's table back, and mends it.
    pub(super) fn mend(&mut self) {
        for family in Af::ALL {
            let drift = self.kernel.reconcile(family).expect("a fake reads");
            assert_eq!(drift.failed, []);
        }
    }

    /// A packet of data arrives; the interfaces that it leaves by, once the kernel had its answers.
    pub(super) fn packet(&mut self, ifindex: u32, source: IpAddr, group: IpAddr) -> BTreeSet<u32> {
        let packet = fake::Packet { ifindex, source, group, ttl: 64, length: 100 };
        let mut routes = self.kernel.routes(Af::of(group)).into_iter();
        if routes.any(|r| r.key.group == group && r.incoming != ifindex) {
            self.strays.insert(group);
        }
        let _ = self.fake.packet(packet);
        self.input(Input::Time);
        let sent = self.fake.sent().into_iter().filter(|sent| sent.packet == packet);
        sent.flat_map(|sent| sent.outputs).collect()
    }

    /// The engine ends in an orderly way.
    pub(super) fn shut_down(&mut self) {
        self.parent(Notice::Shutdown);
        self.pass(Millis(1000));
        assert!(self.finished, "not finished in a second");
    }

    /// Interfaces with a link in the family, by their places.
    pub(super) fn link_rows(&self, family: Af) -> Vec<(usize, LinkRow)> {
        let row = |row: InterfaceRow| {
            let link = LINKS.iter().position(|name| *name == row.interface)?;
            let of = match family {
                Af::Ip4 => row.ipv4,
                Af::Ip6 => row.ipv6,
            };
            Some((link, of?))
        };
        self.table(
            Table::Interfaces,
            |rows| if let Rows::Interfaces(r) = rows { r } else { vec![] },
        )
        .into_iter()
        .filter_map(row)
        .collect()
    }

    pub(super) fn groups(&self) -> Vec<GroupRow> {
        self.table(Table::Groups, |rows| if let Rows::Groups(r) = rows { r } else { vec![] })
    }

    pub(super) fn hosts(&self) -> Vec<HostRow> {
        self.table(Table::Hosts, |rows| if let Rows::Hosts(r) = rows { r } else { vec![] })
    }

    pub(super) fn upstream(&self) -> Vec<UpstreamRow> {
        self.table(Table::Upstream, |rows| if let Rows::Upstream(r) = rows { r } else { vec![] })
    }

    pub(super) fn routes(&self) -> Vec<RouteRow> {
        self.table(Table::Routes, |rows| if let Rows::Routes(r) = rows { r } else { vec![] })
    }

    pub(super) fn counters(&self) -> Vec<CounterRow> {
        self.table(Table::Counters, |rows| if let Rows::Counters(r) = rows { r } else { vec![] })
    }

    pub(super) fn status(&self) -> Status {
        let Rows::Status(status) = self.core.show(self.now, Table::Status, 0).0 else {
            panic!("no status")
        };
        *status
    }

    fn table<T>(&self, table: Table, take: impl Fn(Rows) -> Vec<T>) -> Vec<T> {
        let (mut all, mut cursor) = (Vec::new(), Some(0));
        while let Some(at) = cursor {
            let (rows, next) = self.core.show(self.now, table, at);
            let rows = take(rows);
            assert!(rows.len() <= MAX_ROWS + 1);
            all.extend(rows);
            cursor = next;
        }
        all
    }
}

fn settings(config: &Config) -> [Option<Rc<Settings>>; LINKS.len()] {
    LINKS.map(|name| config.resolve(name).map(Rc::new))
}

fn start(behaviour: Behaviour, config: &Config, restarts: u32) -> Start {
    Start {
        version: "test".into(),
        parent_pid: 1,
        up_time: 0,
        restarts,
        ended: None,
        table: 0,
        seed: [1, restarts.into()],
        verbose: false,
        foreground: true,
        identity: "test".into(),
        user: (1, 1),
        chroot: "/".into(),
        config: Box::new(config.clone()),
        capabilities: Af::ALL.map(|af| behaviour.capabilities(af)),
    }
}
