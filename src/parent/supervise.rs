//! The engine's life: start, ping, death, back-off. Kernel routes stay while there is none.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use log::{info, warn};
use nix::sys::signal::Signal;

use super::Parent;
use crate::config::model::Pattern;
use crate::imsg::channel::{Channel, ChannelError, Descriptors};
use crate::imsg::{Notice, Order, Start};
use crate::kroute::InterfaceChange;
use crate::sys::service::State;
use crate::sys::time::{Millis, Tick};
use crate::wire::Af;

/// Between pings, while members exist.
const PING_INTERVAL: Millis = Millis(5000);
/// An engine that does not answer for so long hangs.
const PING_TIMEOUT: Millis = Millis(3000);
/// The same when it has a change of the configuration or of the interfaces to take in before.
const CHANGE_TIMEOUT: Millis = Millis(5000);
/// An engine that is not ready for so long hangs.
const START_TIMEOUT: Millis = Millis(8000);
/// An engine that was ready for less has failed; one that lived longer is replaced at once.
const SHORT_LIFE: Millis = Millis(1000);
/// Failures in a row after which a new engine is still started at once.
const FREE_FAILURES: u32 = 3;
/// After one failure more; twice as long after each further one.
const BACK_OFF: Millis = Millis(100);
/// Failures in a row, after which the daemon gives up.
const MAX_FAILURES: u32 = 12;

/// A running engine.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) channel: Channel<Order, Notice>,
    child: Option<Child>,
    started: Tick,
    pub(super) ready: Option<Tick>,
    /// It said that members exist.
    members: bool,
    /// While members exist; and once after a restart, since those of before may be there still.
    next_ping: Option<Tick>,
    /// The last ping, the last answer, and the ping after the last change of what orders are
    /// checked against.
    asked: u32,
    answered: u32,
    barrier: u32,
    /// When the answer is overdue.
    overdue: Option<Tick>,
}

impl Engine {
    fn new(channel: OwnedFd, child: Option<Child>, now: Tick) -> io::Result<Self> {
        Ok(Self {
            channel: Channel::new(channel, Descriptors::Refuse)?,
            child,
            started: now,
            ready: None,
            members: false,
            next_ping: None,
            asked: 0,
            answered: 0,
            barrier: 0,
            overdue: None,
        })
    }

    /// Whether it knows all that orders are checked against.
    pub(super) const fn is_settled(&self) -> bool {
        self.answered >= self.barrier
    }

    /// The next moment at which it is pinged, or hangs.
    fn deadline(&self) -> Tick {
        let hangs = match self.ready {
            Some(_) => self.overdue,
            None => Some(self.started + START_TIMEOUT),
        };
        [hangs, self.next_ping].into_iter().flatten().min().unwrap_or(Tick(u64::MAX))
    }

    fn ping(&mut self, now: Tick, patience: Millis) -> Result<(), ChannelError> {
        self.asked = self.asked.wrapping_add(1);
        self.overdue = self.overdue.or(Some(now + patience));
        self.channel.send(&Notice::Ping(self.asked), None)
    }

    /// It sent something: the answer to a ping comes after what it ordered before.
    pub(super) fn lives(&mut self, now: Tick) {
        self.overdue = self.overdue.map(|at| at.max(now + PING_TIMEOUT));
    }

    /// Whether it is the answer to a ping.
    pub(super) fn pong(&mut self, number: u32, now: Tick) -> bool {
        let expected = number > self.answered && number <= self.asked;
        if expected {
            self.answered = number;
            self.overdue = (number < self.asked).then_some(now + PING_TIMEOUT);
        }
        expected
    }

    /// Whether members exist, so that it is pinged.
    pub(super) fn members(&mut self, any: bool, now: Tick) {
        self.members = any;
        self.next_ping = any.then_some(self.next_ping.unwrap_or(now + PING_INTERVAL));
    }

    /// Kills the process, if it still runs, and says how it ended.
    pub(super) fn reap(self) -> Option<ExitStatus> {
        let mut child = self.child?;
        // Fails when it has ended already.
        let _ = child.kill();
        child.wait().ok()
    }
}

impl Parent {
    /// Starts an engine and tells it everything.
    pub(super) fn start_engine(&mut self, now: Tick) -> Result<(), ChannelError> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = self.setup.outside.spawn(theirs.into())?;
        let mut engine = Engine::new(ours.into(), child, now)?;
        self.drop_stale_vifs();
        let channel = &mut engine.channel;
        channel.send(&Notice::Start(Box::new(self.start_message(now))), None)?;
        for (kind, descriptor) in &self.setup.descriptors {
            channel.send(&Notice::Descriptor(*kind), Some(descriptor.as_fd()))?;
        }
        for interface in self.world.interfaces.values() {
            let change = InterfaceChange::Present(interface.clone());
            channel.send(&Notice::Interface(change), None)?;
        }
        for family in Af::ALL.into_iter().filter(|f| self.world.has(*f)) {
            for route in self.setup.kernel.routes(family) {
                channel.send(&Notice::Installed(route), None)?;
            }
        }
        channel.send(&Notice::Begin, None)?;
        if let Some(notice) = self.drifts.notice() {
            channel.send(&notice, None)?;
        }
        self.engine = Some(engine);
        Ok(())
    }

    fn start_message(&self, now: Tick) -> Start {
        let setup = &self.setup;
        Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            parent_pid: std::process::id(),
            up_time: now.0 / 1000,
            restarts: self.restarts,
            ended: self.ended.clone(),
            table: setup.table,
            seed: [super::chance(), super::chance()],
            verbose: self.verbose,
            foreground: setup.foreground,
            identity: setup.identity.clone(),
            user: setup.user,
            chroot: setup.chroot.clone(),
            config: Box::new(self.world.config.clone()),
            capabilities: Af::ALL.map(|f| setup.kernel.capabilities(f)),
        }
    }

    /// Vifs that no engine will ask for again.
    fn drop_stale_vifs(&mut self) {
        for family in Af::ALL {
            let stale = |i: &u32| self.world.check_add_vif(family, *i).is_err();
            let stale: Vec<u32> = self.world.vifs(family).keys().copied().filter(stale).collect();
            stale.into_iter().for_each(|ifindex| self.delete_vif(family, ifindex));
        }
    }

    /// Queues a notice; what is not told, for want of an engine, the next one is told at its start.
    pub(super) fn tell(&mut self, notice: &Notice) {
        if let Some(engine) = &mut self.engine
            && let Err(e) = engine.channel.send(notice, None)
        {
            self.fault.get_or_insert(e.to_string());
        }
    }

    /// What orders are checked against has changed: until the engine answers this ping, an order may
    /// be late rather than forged.
    pub(super) fn unsettle(&mut self, now: Tick) {
        if let Some(engine) = &mut self.engine {
            if let Err(e) = engine.ping(now, CHANGE_TIMEOUT) {
                self.fault.get_or_insert(e.to_string());
            }
            engine.barrier = engine.asked;
        }
    }

    /// Writes what is queued, and ends the engine when it is at fault.
    pub(super) fn settle_accounts(&mut self, now: Tick) {
        if let Some(engine) = &mut self.engine
            && let Err(e) = engine.channel.flush()
        {
            let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
            let said = format!("channel: {e}");
            let reason = if gone.contains(&e.kind()) { "it is gone".to_owned() } else { said };
            self.fault.get_or_insert(reason);
        }
        if let Some(reason) = self.fault.take() {
            self.end_engine(&reason, now);
        }
    }

    /// The engine is gone, or has to go: its end is logged, its routes stay.
    fn end_engine(&mut self, reason: &str, now: Tick) {
        let Some(engine) = self.engine.take() else { return };
        let lived = engine.ready.map(|since| now - since);
        let status = engine.reap().map_or_else(String::new, |s| format!(": {}", describe(s)));
        if self.stopping.is_some() {
            self.stopping = Some(now);
            return;
        }
        if lived >= Some(SHORT_LIFE) {
            self.failures = 0;
        } else {
            self.failures += 1;
        }
        self.plan_engine(format!("{reason}{status}"), now);
    }

    /// Starts another engine after a pause, or ends the daemon.
    fn plan_engine(&mut self, mut ended: String, now: Tick) {
        let times = self.failures;
        match back_off(times) {
            _ if !self.served => {
                self.exit = Some(Err(format!("the engine did not start: {ended}")));
            }
            None => {
                let why = format!("engine ended: {ended}; it failed {times} times in a row");
                self.exit = Some(Err(why));
            }
            Some(pause) => {
                if times > 0 {
                    ended += &format!(", failure {times} in a row");
                }
                if pause > Millis(0) {
                    ended += &format!(", the next in {} ms", pause.0);
                }
                warn!("engine ended: {ended}; routes stay");
                self.setup.outside.tell(State::Status(&format!("no engine: {ended}")));
                self.restarts = self.restarts.saturating_add(1);
                self.start_at = Some(now + pause);
                self.ended = Some(ended);
            }
        }
    }

    /// Does what is due: pings, a new engine.
    pub(super) fn supervise(&mut self, now: Tick) {
        if self.stopping.is_none() && self.start_at.is_some_and(|at| at <= now) {
            self.start_at = None;
            if let Err(e) = self.start_engine(now) {
                self.failures += 1;
                self.plan_engine(format!("it cannot be started: {e}"), now);
            }
        }
        let Some(engine) = &mut self.engine else { return };
        let hangs = engine.ready.is_none() || engine.overdue.is_some_and(|at| at <= now);
        if engine.deadline() > now {
            return;
        }
        if hangs {
            self.fault.get_or_insert("it does not answer".to_owned());
        } else if engine.next_ping.is_some_and(|at| at <= now) {
            engine.next_ping = engine.members.then_some(now + PING_INTERVAL);
            if let Err(e) = engine.ping(now, PING_TIMEOUT) {
                self.fault.get_or_insert(e.to_string());
            }
        }
    }

    /// The engine is in its sandbox and serves the control socket.
    pub(super) fn engine_is_ready(&mut self, now: Tick) {
        if let Some(engine) = &mut self.engine {
            engine.ready = Some(now);
            engine.overdue = engine.overdue.map(|_| now + PING_TIMEOUT);
            if self.restarts > 0 {
                engine.next_ping.get_or_insert(now + PING_INTERVAL);
            }
        }
        // Not before it has its vifs.
        for upcall in self.open_questions(now) {
            self.tell(&Notice::Upcall(upcall));
        }
        match self.restarts {
            0 => {
                for Pattern(name) in self.world.absent() {
                    info!("{name}: no such interface yet; it is taken up when it comes");
                }
                info!("ready");
            }
            n => info!("engine ready again, restart {n}"),
        }
        self.tell_status();
        if !std::mem::replace(&mut self.served, true) {
            self.setup.outside.tell(State::Ready);
        }
    }

    /// What `systemctl status` shows while all is well.
    pub(super) fn tell_status(&mut self) {
        let line = format!("engine restarts: {}", self.restarts);
        self.setup.outside.tell(State::Status(&line));
    }

    /// When [`Self::supervise`] has something to do next.
    pub(super) fn supervise_at(&self) -> Option<Tick> {
        self.engine.as_ref().map(Engine::deadline).or(self.start_at)
    }
}

/// How long no engine is started after so many failures in a row; `None` where the daemon gives up.
fn back_off(failures: u32) -> Option<Millis> {
    let doubled = failures.checked_sub(FREE_FAILURES + 1);
    let pause = doubled.map_or(0, |times| BACK_OFF.0.saturating_mul(1 << times.min(16)));
    (failures < MAX_FAILURES).then_some(Millis(pause))
}

fn describe(status: ExitStatus) -> String {
    match status.signal().map(Signal::try_from) {
        Some(Ok(Signal::SIGSYS)) => {
            "killed for a system call that its sandbox does not allow".to_owned()
        }
        Some(Ok(signal)) => format!("killed by {signal}"),
        Some(Err(_)) | None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_engines_are_replaced_at_once_the_further_ones_ever_later() {
        let pauses: Vec<_> = (0..=MAX_FAILURES).map(|n| back_off(n).map(|pause| pause.0)).collect();
        let doubled = [100, 200, 400, 800, 1600, 3200, 6400, 12_800].map(Some);
        assert_eq!(pauses, [&[Some(0); 4][..], &doubled, &[None]].concat());
    }
}
