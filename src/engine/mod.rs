//! The unprivileged process: the loop, the packet sockets and the control server around the core.

pub mod control;
pub mod core;
pub mod packet;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use log::{debug, error, info};

use self::control::{Server, Tables};
use self::core::{Action, Core, Input};
use self::packet::{PARENT_SENDS, Sockets};
use crate::config;
use crate::imsg::channel::{Channel, ChannelError, Descriptors};
use crate::imsg::ctl::{CheckRow, Rows, Table};
use crate::imsg::{DescriptorKind, Envelope, Notice, Order, Packet, Start, Transmit};
use crate::sys::poll::Poll;
use crate::sys::sandbox::{self, Use};
use crate::sys::time::{Clock, Tick, since_epoch};
use crate::sys::{log as log_to, spawn};
use crate::wire::Af;

/// Notices of the parent handled in one turn, so that upcalls never starve the packets.
const NOTICES: usize = 500;
/// Packets of each family handled in one turn.
const PACKETS: usize = 256;
/// Octets that wait for the parent above which packets wait in their sockets.
const ENOUGH_ORDERS: usize = 1 << 20;

/// Why an engine ends other than by its parent's wish.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("standard input is no channel: the daemon starts its engine itself")]
    NoChannel,
    #[error("parent: {0}")]
    Channel(#[from] ChannelError),
    #[error("parent sent a bad {0}")]
    BadNotice(&'static str),
    #[error("parent is version {0}, engine is {version}", version = env!("CARGO_PKG_VERSION"))]
    Version(String),
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

type Notices = VecDeque<(Notice, Option<OwnedFd>)>;

/// Runs the engine of the parent at standard input until that closes the channel. Where it ends
/// otherwise it says why, and the parent starts another one.
#[must_use]
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            if log::max_level() == log::LevelFilter::Off {
                eprintln!("engine: {e}");
            }
            error!("engine: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Error> {
    let clock = Clock::new();
    spawn::take_name();
    let channel = spawn::inherited_channel().ok_or(Error::NoChannel)?;
    sandbox::limit(channel.as_fd(), Use::Talking)?;
    let mut channel = Channel::new(channel, Descriptors::Accept)?;
    let mut notices = Notices::new();
    let Some(start) = receive_start(&mut channel, &mut notices)? else { return Ok(()) };
    if start.version != env!("CARGO_PKG_VERSION") {
        return Err(Error::Version(start.version));
    }
    log_to::init(start.foreground, start.verbose, &start.identity);
    let mut engine = Engine::new(clock, channel, *start);
    if !engine.take_descriptors(&mut notices)? {
        return Ok(());
    }
    sandbox::engine(&engine.start.chroot, engine.start.user)?;
    engine.notices = notices;
    while engine.turn()? {}
    Ok(())
}

/// Waits for the first notice; `None` when the parent is gone.
fn receive_start(
    channel: &mut Channel<Notice, Order>,
    notices: &mut Notices,
) -> Result<Option<Box<Start>>, Error> {
    while notices.is_empty() {
        if !wait_for(channel, notices)? {
            return Ok(None);
        }
    }
    match notices.pop_front() {
        Some((Notice::Start(start), None)) => Ok(Some(start)),
        Some(_) | None => Err(Error::BadNotice("first notice")),
    }
}

/// Waits until the parent says something; `false` when it is gone.
fn wait_for(channel: &mut Channel<Notice, Order>, notices: &mut Notices) -> Result<bool, Error> {
    let mut poll = Poll::new();
    poll.add(channel.as_fd(), false);
    poll.wait(None)?;
    Ok(channel.receive(|notice, fd| notices.push_back((notice, fd)))?)
}

/// What can be read, or written to where that was waited for.
struct Ready {
    channel: bool,
    packets: [bool; 2],
    listener: bool,
    clients: Vec<u32>,
}

struct Engine {
    clock: Clock,
    start: Start,
    core: Core,
    channel: Channel<Notice, Order>,
    /// Received and not handled yet.
    notices: Notices,
    sockets: Sockets,
    control: Server,
    /// The last packet, kept for its memory.
    packet: Input,
    /// Whether packets are read: from [`Notice::Begin`] on.
    begun: bool,
    /// What only the shell and the parent count, by its name among the limits of the status.
    counts: BTreeMap<&'static str, u64>,
}

impl Engine {
    fn new(clock: Clock, channel: Channel<Notice, Order>, start: Start) -> Self {
        let packet = Packet { ifindex: 0, envelope: Envelope::Ip4, bytes: Vec::new() };
        Self {
            core: Core::new(clock.now(), &start),
            control: Server::new(start.user.0),
            clock,
            start,
            channel,
            notices: Notices::new(),
            sockets: Sockets::default(),
            packet: Input::Packet(packet),
            begun: false,
            counts: BTreeMap::new(),
        }
    }

    /// Takes the descriptors, which come before everything else; `false` when the parent is gone.
    fn take_descriptors(&mut self, notices: &mut Notices) -> Result<bool, Error> {
        loop {
            match notices.pop_front() {
                Some((Notice::Descriptor(kind), fd)) => self.take_descriptor(kind, fd)?,
                Some(other) => {
                    notices.push_front(other);
                    return Ok(true);
                }
                None if wait_for(&mut self.channel, notices)? => {}
                None => return Ok(false),
            }
        }
    }

    fn take_descriptor(&mut self, kind: DescriptorKind, fd: Option<OwnedFd>) -> Result<(), Error> {
        let fd = fd.ok_or(Error::BadNotice("descriptor"))?;
        sandbox::limit(fd.as_fd(), kind.what_for())?;
        match kind {
            DescriptorKind::Igmp => self.sockets.put(Af::Ip4, fd),
            DescriptorKind::Icmp6 => self.sockets.put(Af::Ip6, fd),
            DescriptorKind::Control => self.control.listen(fd)?,
            DescriptorKind::Syslog => log_to::set_socket(fd)?,
        }
        Ok(())
    }

    /// Waits, and handles a bounded part of what came; `false` when the parent is gone.
    fn turn(&mut self) -> Result<bool, Error> {
        let ready = self.wait()?;
        if ready.channel && self.notices.len() < NOTICES {
            let notices = &mut self.notices;
            if !self.channel.receive(|notice, fd| notices.push_back((notice, fd)))? {
                return Ok(false);
            }
        }
        for _ in 0..NOTICES {
            let Some((notice, fd)) = self.notices.pop_front() else { break };
            self.dispatch_parent(notice, fd)?;
        }
        self.act()?;
        for family in Af::ALL {
            if ready.packets.get(family.index()) == Some(&true) {
                self.dispatch_packets(family);
                self.act()?;
            }
        }
        self.dispatch_control(&ready)?;
        let now = self.clock.now();
        if self.core.next_deadline().is_some_and(|at| at <= now) {
            self.core.handle(now, &Input::Time);
            self.act()?;
        }
        self.channel.flush()?;
        Ok(true)
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut poll = Poll::new();
        let channel = poll.add(self.channel.as_fd(), self.channel.wants_write());
        let reads = self.begun && self.channel.queued() < ENOUGH_ORDERS;
        let socket = |family| self.sockets.get(family).filter(|_| reads);
        let sockets = Af::ALL.map(|family| socket(family).map(|fd| poll.add(fd, false)));
        let listener = self.control.listener().map(|fd| poll.add(fd, false));
        let clients: Vec<(u32, usize)> =
            self.control.clients().map(|(id, fd, write)| (id, poll.add(fd, write))).collect();
        poll.wait(self.timeout())?;
        let readable = |place: Option<usize>| place.is_some_and(|p| poll.readable(p));
        Ok(Ready {
            channel: poll.readable(channel),
            packets: sockets.map(readable),
            listener: readable(listener),
            clients: clients.iter().filter(|c| poll.readable(c.1)).map(|c| c.0).collect(),
        })
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.notices.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadlines = self.core.next_deadline().into_iter().chain(self.control.next_deadline());
        deadlines.min().map(|at| self.clock.until(at))
    }

    fn dispatch_parent(&mut self, notice: Notice, fd: Option<OwnedFd>) -> Result<(), Error> {
        match notice {
            Notice::Start(_) => return Err(Error::BadNotice("second start")),
            Notice::Descriptor(kind) => self.take_descriptor(kind, fd)?,
            Notice::Log { verbose } => log_to::set_verbose(verbose),
            // What the core ordered before is not to come after the answer.
            Notice::Ping(number) => {
                self.act()?;
                self.channel.send(&Order::Pong(number), None)?;
            }
            Notice::Unsent => self.count_unsent(),
            Notice::Dump => self.dump(),
            Notice::Drift { mended, foreign } => {
                self.counts.extend([("mended", mended), ("foreign-routes", foreign)]);
                self.counts.retain(|_, count| *count > 0);
            }
            Notice::Begin => {
                self.core.handle(self.clock.now(), &Input::Parent(notice));
                self.begun = true;
                self.act()?;
                self.channel.send(&Order::Ready, None)?;
            }
            Notice::Interface(_)
            | Notice::Installed(_)
            | Notice::Vif { .. }
            | Notice::Upcall(_)
            | Notice::Igmp(_)
            | Notice::RouteFailed { .. }
            | Notice::Counters { .. }
            | Notice::Config(_)
            | Notice::Reloaded { .. }
            | Notice::Statement { .. }
            | Notice::Shutdown => self.core.handle(self.clock.now(), &Input::Parent(notice)),
        }
        Ok(())
    }

    fn dispatch_packets(&mut self, family: Af) {
        for _ in 0..PACKETS {
            let Input::Packet(packet) = &mut self.packet else { return };
            match self.sockets.receive(family, packet) {
                Ok(true) => self.core.handle(self.clock.now(), &self.packet),
                Ok(false) => return,
                Err(e) => return debug!("{family} socket: {e}"),
            }
        }
    }

    fn dispatch_control(&mut self, ready: &Ready) -> Result<(), Error> {
        let now = self.clock.now();
        if ready.listener {
            self.control.accept(now);
        }
        for id in &ready.clients {
            self.control.read(*id);
        }
        let view = View { core: &self.core, start: &self.start, now, counts: &self.counts };
        let asked = self.control.serve(now, &view);
        for (client, request) in asked {
            self.core.handle(now, &Input::Control { client, request });
        }
        self.act()?;
        self.control.close_stalled(now);
        Ok(())
    }

    /// Does what the core wants, in its order: orders reach the parent before the packets after them
    /// are sent.
    fn act(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Parent(order) => self.channel.send(&order, None)?,
                Action::Transmit(transmit) => self.transmit(transmit)?,
                Action::Event(mut event) => {
                    event.time = since_epoch();
                    self.control.event(now, event);
                }
                Action::Reply { client, reply } => self.control.reply(now, client, &reply),
                Action::Counted { client } => self.control.counted(client),
                Action::Log(line) => info!("{line}"),
                Action::Debug(line) => debug!("{line}"),
            }
        }
        Ok(self.channel.flush()?)
    }

    /// Sends a packet, or lets the parent.
    fn transmit(&mut self, transmit: Transmit) -> Result<(), ChannelError> {
        if PARENT_SENDS {
            return self.channel.send(&Order::Transmit(transmit), None);
        }
        self.channel.flush()?;
        if let Err(e) = self.sockets.send(&transmit) {
            self.count_unsent();
            debug!("send to {} on interface {}: {e}", transmit.destination, transmit.ifindex);
        }
        Ok(())
    }

    fn count_unsent(&mut self) {
        *self.counts.entry("send-errors").or_default() += 1;
    }

    /// Logs the state in a few lines.
    fn dump(&self) {
        let now = self.clock.now();
        let view = View { core: &self.core, start: &self.start, now, counts: &self.counts };
        for table in [Table::Status, Table::Interfaces] {
            for line in crate::ctl::table::text(&view.show(table, 0).0) {
                info!("{line}");
            }
        }
    }
}

/// What the control server shows: the core's tables with what only the shell knows.
struct View<'a> {
    core: &'a Core,
    start: &'a Start,
    now: Tick,
    counts: &'a BTreeMap<&'static str, u64>,
}

impl Tables for View<'_> {
    fn show(&self, table: Table, cursor: u64) -> (Rows, Option<u64>) {
        let (mut rows, next) = self.core.show(self.now, table, cursor);
        if let Rows::Status(status) = &mut rows {
            status.version = env!("CARGO_PKG_VERSION").into();
            status.pid = self.start.parent_pid;
            status.engine_pid = std::process::id();
            status.up_time = self.start.up_time.saturating_add(self.now.0 / 1000);
            status.table = self.start.table;
            let counts = self.counts.iter().map(|(name, count)| ((*name).into(), *count));
            status.limits.extend(counts);
        }
        (rows, next)
    }

    fn config(&self) -> String {
        config::print(self.core.config())
    }

    fn explain(&self, group: IpAddr, source: Option<IpAddr>) -> Vec<CheckRow> {
        self.core.explain(group, source)
    }
}
