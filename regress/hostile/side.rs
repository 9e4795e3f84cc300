//! The engine's side of a parent that runs in a thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use mcast_proxy::imsg::channel::{Channel, Descriptors};
use mcast_proxy::imsg::{DescriptorKind, Notice, Order, Transmit};
use mcast_proxy::kroute::fake::{Behaviour, Fake};
use mcast_proxy::kroute::{Interface, InterfaceAddress, Kernel, Monitor};
use mcast_proxy::parent::{Outside, Parent, Setup};
use mcast_proxy::sys::poll::Poll;
use mcast_proxy::sys::service::State;
use mcast_proxy::sys::signals::Signals;
use mcast_proxy::wire::Af;

use super::{INTERFACES, config};

struct Spawner {
    engines: Sender<OwnedFd>,
    sent: Sender<Transmit>,
}

impl Outside for Spawner {
    fn spawn(&mut self, channel: OwnedFd) -> io::Result<Option<Child>> {
        self.engines.send(channel).map_err(|_| io::Error::other("the test is over"))?;
        Ok(None)
    }
    fn tell(&mut self, _: State<'_>) {}
    fn syslog(&mut self) -> Option<OwnedFd> {
        None
    }
    fn packet_socket(&mut self, family: Af, _: u32) -> Result<(DescriptorKind, OwnedFd), String> {
        Err(format!("{family} stays off here"))
    }
    fn transmit(&self, packet: &Transmit) -> io::Result<()> {
        self.sent.send(packet.clone()).map_err(io::Error::other)
    }
}

/// A parent, its kernel where that is a fake, and the engines that it starts.
pub(crate) struct Daemon<K = Fake> {
    pub(crate) kernel: K,
    pub(crate) engines: Receiver<OwnedFd>,
    /// Packets that the parent sent.
    pub(crate) sent: Receiver<Transmit>,
    parent: JoinHandle<Result<(), String>>,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let kernel = Fake::new(Behaviour::Linux).unwrap();
        for (ifindex, name) in INTERFACES {
            kernel.interface(interface(ifindex, name));
        }
        let (routing, monitor) = (kernel.kernel(), kernel.monitor());
        Self::over(kernel, || (routing, monitor))
    }
}

/// What a parent routes with, and learns of interfaces from.
type System = (Box<dyn Kernel>, Box<dyn Monitor>);

impl<K> Daemon<K> {
    /// A parent over this system, which is opened in the parent's thread.
    pub(crate) fn over(kernel: K, open: impl FnOnce() -> System + Send + 'static) -> Self {
        let (to_engines, engines) = channel();
        let (sends, sent) = channel();
        let outside = Spawner { engines: to_engines, sent: sends };
        let parent = std::thread::spawn(move || {
            let mut parent = Parent::new(setup(open(), outside))?;
            while parent.turn()? {}
            Ok(())
        });
        Self { kernel, engines, sent, parent }
    }

    /// The next engine, before it has read anything.
    pub(crate) fn raw_engine(&self) -> OwnedFd {
        self.engines.recv().expect("the parent lives")
    }

    /// The next engine, started and ready, with what it was told before `Begin`.
    pub(crate) fn engine(&self) -> Engine {
        let mut engine = self.unready_engine();
        engine.send(&Order::Ready);
        engine
    }

    /// The same before it says that it is ready.
    pub(crate) fn unready_engine(&self) -> Engine {
        let channel = Channel::new(self.raw_engine(), Descriptors::Accept).unwrap();
        let mut engine =
            Engine { channel, notices: Vec::new(), told: Vec::new(), given: Vec::new() };
        while !matches!(engine.told.last(), Some(Notice::Begin)) {
            let notice = engine.next().expect("told everything");
            engine.told.push(notice);
        }
        engine
    }

    /// The parent ends; how.
    pub(crate) fn end(self) -> Result<(), String> {
        drop(self.engines);
        self.parent.join().expect("the parent does not panic")
    }

    /// Orders an orderly stop and sees it through.
    pub(crate) fn stop(self, mut engine: Engine) {
        engine.send(&Order::Stop);
        while engine.next() != Some(Notice::Shutdown) {}
        engine.send(&Order::Finished);
        assert_eq!(engine.next(), None);
        assert_eq!(self.end(), Ok(()));
    }
}

fn setup((kernel, monitor): System, outside: Spawner) -> Setup {
    Setup {
        identity: "test".into(),
        foreground: true,
        verbose: false,
        table: 0,
        user: (65534, 65534),
        chroot: "/nonexistent".into(),
        config_file: "/nonexistent.conf".into(),
        folders: Vec::new(),
        macros: Vec::new(),
        config: config(),
        families: [true, true],
        kernel,
        monitor,
        signals: Signals::new().unwrap(),
        descriptors: vec![(
            DescriptorKind::Control,
            std::fs::File::open("/dev/null").unwrap().into(),
        )],
        outside: Box::new(outside),
    }
}

pub(crate) fn interface(ifindex: u32, name: &str) -> Interface {
    let net: ipnet::IpNet = format!("10.0.{ifindex}.1/24").parse().unwrap();
    Interface {
        ifindex,
        name: name.into(),
        mtu: 1500,
        up: true,
        loopback: false,
        addresses: vec![InterfaceAddress { address: net.addr(), network: net }],
    }
}

/// The test as engine.
pub(crate) struct Engine {
    channel: Channel<Notice, Order>,
    notices: Vec<Notice>,
    /// What came before `Begin`, that included.
    pub(crate) told: Vec<Notice>,
    /// Descriptors that came.
    pub(crate) given: Vec<OwnedFd>,
}

impl Engine {
    pub(crate) fn send(&mut self, order: &Order) {
        self.channel.send(order, None).unwrap();
        // The parent may have closed its end.
        let _ = self.channel.flush();
    }

    /// Sends an order with a descriptor, which engines must not.
    pub(crate) fn send_with(&mut self, order: &Order, descriptor: BorrowedFd<'_>) {
        self.channel.send(order, Some(descriptor)).unwrap();
        self.channel.flush().unwrap();
    }

    /// The next notice, pings answered on the way; `None` once the parent has closed the channel.
    pub(crate) fn next(&mut self) -> Option<Notice> {
        loop {
            while self.notices.is_empty() {
                self.read()?;
            }
            let notice = self.notices.remove(0);
            let Notice::Ping(number) = notice else { return Some(notice) };
            self.send(&Order::Pong(number));
        }
    }

    fn read(&mut self) -> Option<()> {
        let mut poll = Poll::new();
        poll.add(self.channel.as_fd(), false);
        poll.wait(None).unwrap();
        let (notices, given) = (&mut self.notices, &mut self.given);
        let open = self.channel.receive(|notice, descriptor| {
            notices.push(notice);
            given.extend(descriptor);
        });
        (open.unwrap_or(false) || !notices.is_empty()).then_some(())
    }

    /// Reads on to the first notice that `pick` takes.
    pub(crate) fn until<T>(&mut self, pick: impl Fn(Notice) -> Option<T>) -> T {
        loop {
            if let Some(picked) = pick(self.next().expect("the channel is open")) {
                return picked;
            }
        }
    }

    /// Makes the interface a vif of the family; the parent's answer.
    pub(crate) fn add_vif(&mut self, family: Af, ifindex: u32) -> Result<u16, String> {
        self.send(&Order::AddVif { family, ifindex });
        self.until(|n| if let Notice::Vif { result, .. } = n { Some(result) } else { None })
    }

    /// Waits until the parent has carried out what was sent: counters are answered in order.
    pub(crate) fn sync(&mut self) {
        self.send(&Order::ReadCounters(Af::Ip4));
        self.until(|notice| matches!(notice, Notice::Counters { last: true, .. }).then_some(()));
    }

    /// Whether the parent closes the channel, whatever it says before.
    pub(crate) fn is_ended(&mut self) -> bool {
        while self.next().is_some() {}
        true
    }
}
