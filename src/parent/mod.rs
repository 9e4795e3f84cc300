//! The privileged process: start, dispatch, validate, supervise, reload.
//!
//! It never parses an octet that came from the network.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
mod dispatch;
mod drift;
mod reload;
mod sockets;
mod start;
mod supervise;
pub mod validate;
pub mod world;

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Child;

use log::info;

pub use cli::USAGE;
pub use start::main;

use crate::config::Change;
use crate::config::model::Config;
use crate::engine::packet::PARENT_SENDS;
use crate::imsg::{DescriptorKind, Notice, Transmit};
use crate::kroute::{Kernel, Memberships, Monitor, Upcall};
use crate::sys::poll::Poll;
use crate::sys::service::State;
use crate::sys::signals::{Request, Signals};
use crate::sys::time::{Clock, Millis, Tick};
use crate::wire::Af;
use drift::{Drifts, RECONCILE_INTERVAL};
use supervise::Engine;
use world::World;

/// The engine may take so long to leave upstream.
const STOP_TIMEOUT: Millis = Millis(1500);

/// What the parent does besides routing calls.
pub trait Outside {
    /// Starts a process with the channel; the child is killed and waited for at its end.
    ///
    /// # Errors
    /// When the system cannot.
    fn spawn(&mut self, channel: OwnedFd) -> io::Result<Option<Child>>;
    /// Tells the service manager, and at [`State::Ready`] whoever waits at the terminal.
    fn tell(&mut self, state: State<'_>);
    /// A new connection to syslogd, when that was restarted.
    fn syslog(&mut self) -> Option<OwnedFd>;
    /// Opens the raw socket of a family that is switched on, for the engine, and what
    /// [`Self::transmit`] needs.
    ///
    /// # Errors
    /// Why it cannot be opened, for the user.
    fn packet_socket(
        &mut self,
        family: Af,
        table: u32,
    ) -> Result<(DescriptorKind, OwnedFd), String>;
    /// Sends a packet for an engine that cannot.
    ///
    /// # Errors
    /// When the system does not take it.
    fn transmit(&self, packet: &Transmit) -> io::Result<()>;
}

/// What a parent is made of.
pub struct Setup {
    /// syslog's ident.
    pub identity: String,
    /// Log to stderr.
    pub foreground: bool,
    /// Log debug messages.
    pub verbose: bool,
    /// Routing table, or rdomain.
    pub table: u32,
    /// Whom the engine becomes: uid and gid.
    pub user: (u32, u32),
    /// The directory that it is confined to.
    pub chroot: String,
    /// The file that is read at reload.
    pub config_file: PathBuf,
    /// The folders that files can be read from then, as [`std::fs::canonicalize`] has them.
    pub folders: Vec<PathBuf>,
    /// Macros of the command line.
    pub macros: Vec<(String, String)>,
    /// What the file says.
    pub config: Config,
    /// Families whose routing is open, by [`Af::index`].
    pub families: [bool; 2],
    /// The kernel's multicast routing.
    pub kernel: Box<dyn Kernel>,
    /// The interface table.
    pub monitor: Box<dyn Monitor>,
    /// Caught from before anything was made that has to be removed.
    pub signals: Signals,
    /// What every engine is given.
    pub descriptors: Vec<(DescriptorKind, OwnedFd)>,
    /// The rest of the system.
    pub outside: Box<dyn Outside>,
}

/// The parent.
pub struct Parent {
    setup: Setup,
    clock: Clock,
    world: World,
    memberships: Memberships,
    /// Control groups that are joined, by interface, and whether that had an address of the family.
    joined: BTreeSet<(u32, IpAddr, bool)>,
    verbose: bool,
    /// What was added and removed at run time, as far as it is not undone.
    changes: Vec<Change>,
    /// Octets of the configuration in force at most.
    size: usize,
    /// What the kernel asked lately, each with the time until which it does not ask again.
    questions: VecDeque<(Tick, Upcall)>,
    engine: Option<Engine>,
    /// Why the engine has to go.
    fault: Option<String>,
    served: bool,
    restarts: u32,
    /// Why the engine before this one ended.
    ended: Option<String>,
    /// In a row.
    failures: u32,
    start_at: Option<Tick>,
    stopping: Option<Tick>,
    next_reconcile: Tick,
    drifts: Drifts,
    /// When to ask for interface changes although there are none to read.
    look_again: Option<Tick>,
    next_warning: Tick,
    unsaid: u32,
    /// How the daemon ends.
    exit: Option<Result<(), String>>,
}

/// What can be read.
struct Ready {
    signals: bool,
    monitor: bool,
    kernel: [bool; 2],
    engine: bool,
}

impl Parent {
    /// Takes over; the first engine is started by the first [`Self::turn`].
    ///
    /// # Errors
    /// What the interface table gives, or that the configuration is too large.
    pub fn new(mut setup: Setup) -> Result<Self, String> {
        let star_g = Af::ALL.map(|f| setup.kernel.capabilities(f).star_g);
        let mut world = World {
            config: std::mem::take(&mut setup.config),
            families: setup.families,
            star_g,
            transmits: PARENT_SENDS,
            ..World::default()
        };
        world.named = world.config.names();
        let size = reload::size(&world.config)?;
        world.compare(setup.monitor.snapshot().map_err(|e| e.to_string())?);
        let look_again = setup.monitor.look_again().map(|after| Tick(0) + after);
        Ok(Self {
            verbose: setup.verbose,
            memberships: Memberships::in_table(setup.table),
            setup,
            clock: Clock::new(),
            world,
            joined: BTreeSet::new(),
            changes: Vec::new(),
            size,
            questions: VecDeque::new(),
            engine: None,
            fault: None,
            served: false,
            restarts: 0,
            ended: None,
            failures: 0,
            start_at: Some(Tick(0)),
            stopping: None,
            next_reconcile: Tick(0),
            drifts: Drifts::default(),
            look_again,
            next_warning: Tick(0),
            unsaid: 0,
            exit: None,
        })
    }

    /// Waits for something to do and does it. Returns whether to go on; dropping the parent then
    /// removes routes and vifs.
    ///
    /// # Errors
    /// Why the daemon has to end.
    pub fn turn(&mut self) -> Result<bool, String> {
        let ready = self.wait().map_err(|e| format!("poll: {e}"))?;
        let now = self.clock.now();
        if ready.signals {
            self.parent_dispatch_signals(now);
        }
        if ready.monitor || self.look_again.is_some_and(|at| at <= now) {
            self.parent_dispatch_monitor(now);
        }
        if ready.engine {
            self.parent_dispatch_engine(now);
        }
        for (family, _) in Af::ALL.into_iter().zip(ready.kernel).filter(|(_, ready)| *ready) {
            self.parent_dispatch_kernel(family, now);
        }
        if self.next_reconcile <= now {
            self.next_reconcile = now + RECONCILE_INTERVAL;
            self.look_after();
        }
        self.supervise(now);
        self.settle_accounts(now);
        if self.stopping.is_some_and(|at| at <= now) {
            self.exit.get_or_insert(Ok(()));
        }
        let Some(result) = self.exit.take() else { return Ok(true) };
        self.engine.take().map(Engine::reap);
        result.map(|()| false)
    }

    /// Whether an engine has served.
    #[must_use]
    pub const fn has_served(&self) -> bool {
        self.served
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut poll = Poll::new();
        let signals: Vec<usize> =
            self.setup.signals.descriptors().map(|fd| poll.add(fd, false)).collect();
        let monitor = poll.add(self.setup.monitor.descriptor(), false);
        // What the kernel says while no engine is ready waits in its sockets.
        let ready = self.engine.as_ref().is_some_and(|e| e.ready.is_some());
        let said = |f| self.setup.kernel.descriptor(f).filter(|_| ready);
        let kernel = Af::ALL.map(|f| said(f).map(|fd: BorrowedFd<'_>| poll.add(fd, false)));
        let engine =
            self.engine.as_ref().map(|e| poll.add(e.channel.as_fd(), e.channel.wants_write()));
        let due = [self.supervise_at(), Some(self.next_reconcile), self.look_again, self.stopping];
        poll.wait(due.into_iter().flatten().min().map(|at| self.clock.until(at)))?;
        Ok(Ready {
            signals: signals.iter().any(|place| poll.readable(*place)),
            monitor: poll.readable(monitor),
            kernel: kernel.map(|place| place.is_some_and(|p| poll.readable(p))),
            engine: engine.is_some_and(|place| poll.readable(place)),
        })
    }

    fn parent_dispatch_signals(&mut self, now: Tick) {
        for request in self.setup.signals.pending() {
            match request {
                Request::Reload => self.reload(None, now),
                Request::Stop => self.stop(now),
                Request::Dump => self.tell(&Notice::Dump),
            }
        }
    }

    /// Lets the engine leave upstream, for a while; then the end.
    fn stop(&mut self, now: Tick) {
        if self.stopping.is_some() {
            return;
        }
        info!("stopping");
        self.setup.outside.tell(State::Stopping);
        let serves = self.engine.as_ref().is_some_and(|e| e.ready.is_some());
        self.stopping = Some(if serves { now + STOP_TIMEOUT } else { now });
        self.tell(&Notice::Shutdown);
    }

    /// Once a minute: the kernel's tables, and whether syslogd is another one.
    fn look_after(&mut self) {
        self.reconcile();
        if let Some(socket) = self.setup.outside.syslog() {
            self.give(DescriptorKind::Syslog, socket);
        }
    }

    /// Gives the engine, and those after it, another descriptor of the kind.
    fn give(&mut self, kind: DescriptorKind, socket: OwnedFd) {
        if let Some(engine) = &mut self.engine
            && let Err(e) = engine.channel.send(&Notice::Descriptor(kind), Some(socket.as_fd()))
        {
            self.fault.get_or_insert(e.to_string());
        }
        self.setup.descriptors.retain(|(k, _)| *k != kind);
        self.setup.descriptors.push((kind, socket));
    }
}

/// 64 bits that nobody outside can guess.
fn chance() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
