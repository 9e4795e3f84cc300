//! The core as an engine of a real parent: its clock and its hosts are the test's.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use mcast_proxy::engine::core::{Action, Core, Input};
use mcast_proxy::imsg::channel::{Channel, Descriptors};
use mcast_proxy::imsg::ctl::{InterfaceRow, Request, Rows, Table};
use mcast_proxy::imsg::{Envelope, Notice, Order, Packet, Transmit};
use mcast_proxy::kroute::{Upcall, UpcallKind};
use mcast_proxy::sys::poll::Poll;
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::{Af, Family, RecordType, ReportBuilder, Sender};

pub(crate) struct Engine {
    core: Core,
    channel: Channel<Notice, Order>,
    now: Tick,
    replies: u32,
    /// Whether something was ordered that the parent answers.
    ordered: bool,
}

fn wait(channel: &mut Channel<Notice, Order>) -> Vec<Notice> {
    let (mut poll, mut notices) = (Poll::new(), Vec::new());
    poll.add(channel.as_fd(), false);
    poll.wait(None).unwrap();
    assert!(channel.receive(|notice, _| notices.push(notice)).unwrap(), "the parent has closed");
    notices
}

impl Engine {
    /// Takes the channel over and begins.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        let mut channel = Channel::new(socket, Descriptors::Accept).unwrap();
        let mut notices = wait(&mut channel).into_iter();
        let Some(Notice::Start(start)) = notices.next() else { panic!("the first is Start") };
        let now = Tick(1000);
        let core = Core::new(now, &start);
        let mut engine = Self { core, channel, now, replies: 0, ordered: false };
        notices.for_each(|notice| engine.take(notice));
        engine
    }

    fn take(&mut self, notice: Notice) {
        let answer = if let Notice::Ping(number) = notice {
            Some(Order::Pong(number))
        } else {
            (notice == Notice::Begin).then_some(Order::Ready)
        };
        self.input(&Input::Parent(notice));
        if let Some(order) = answer {
            self.send(&order);
        }
    }

    fn send(&mut self, order: &Order) {
        self.channel.send(order, None).unwrap();
        while self.channel.wants_write() {
            self.channel.flush().unwrap();
        }
    }

    fn input(&mut self, input: &Input) {
        self.core.handle(self.now, input);
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Parent(order) => {
                    self.ordered = true;
                    self.send(&order);
                }
                Action::Reply { .. } => self.replies += 1,
                Action::Transmit(_)
                | Action::Event(_)
                | Action::Counted { .. }
                | Action::Log(_)
                | Action::Debug(_) => {}
            }
        }
    }

    /// Reads what the parent says until it has carried out everything and nothing more follows.
    pub(crate) fn settle(&mut self) {
        self.ordered = true;
        while std::mem::take(&mut self.ordered) {
            self.send(&Order::ReadCounters(Af::Ip4));
            let mut answered = false;
            while !answered {
                for notice in wait(&mut self.channel) {
                    answered |=
                        matches!(notice, Notice::Counters { family: Af::Ip4, last: true, .. });
                    self.take(notice);
                }
            }
        }
    }

    /// Reads on until the interface is as wanted.
    pub(crate) fn until(&mut self, name: &str, is: impl Fn(Option<&InterfaceRow>) -> bool) {
        loop {
            let (rows, _) = self.core.show(self.now, Table::Interfaces, 0);
            let Rows::Interfaces(rows) = rows else { panic!("rows of interfaces") };
            if is(rows.iter().find(|row| row.interface == name)) {
                return;
            }
            wait(&mut self.channel).into_iter().for_each(|notice| self.take(notice));
        }
    }

    /// Asks as a control client, and waits for the answer.
    pub(crate) fn request(&mut self, request: Request) {
        let before = self.replies;
        self.input(&Input::Control { client: 1, request });
        while self.replies == before {
            wait(&mut self.channel).into_iter().for_each(|notice| self.take(notice));
        }
    }

    /// A host of the link reports all groups.
    pub(crate) fn report<F: Family>(
        &mut self,
        ifindex: u32,
        host: F::Addr,
        kind: RecordType,
        groups: &[F::Addr],
        sources: &[F::Addr],
    ) {
        let mut report = ReportBuilder::<F>::new(Sender { ifindex, source: host, mtu: 1500 });
        groups.iter().for_each(|group| report.push(kind, *group, sources));
        for Transmit { ifindex, source, destination, bytes } in report.finish() {
            let envelope = match (source, destination) {
                (IpAddr::V6(source), IpAddr::V6(destination)) => Envelope::Ip6 {
                    source,
                    destination,
                    hop_limit: 1,
                    router_alert: true,
                    checksum_verified: true,
                },
                (IpAddr::V4(_) | IpAddr::V6(_), _) => Envelope::Ip4,
            };
            self.input(&Input::Packet(Packet { ifindex, envelope, bytes }));
        }
    }

    /// The kernel asks about a flow.
    pub(crate) fn upcall(&mut self, ifindex: u32, source: IpAddr, group: IpAddr) {
        let kind = UpcallKind::NoCache;
        self.input(&Input::Parent(Notice::Upcall(Upcall { kind, ifindex, source, group })));
    }

    /// Lets time pass, handling what is due on the way.
    pub(crate) fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(&Input::Time);
            self.settle();
        }
        self.now = end;
    }
}

impl Engine {
    /// Ends the daemon.
    pub(crate) fn stop(mut self) {
        self.send(&Order::Stop);
        while !wait(&mut self.channel).contains(&Notice::Shutdown) {}
        self.send(&Order::Finished);
    }
}
