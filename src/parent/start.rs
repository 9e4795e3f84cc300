//! From the command line to the running parent. Every error is one line on stderr that says how to
//! mend it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};

use ::log::{error, warn};

use super::cli::{self, Arguments, USAGE};
use super::{Outside, Parent, Setup, sockets};
use crate::config;
use crate::engine::packet::{self, PARENT_SENDS};
use crate::imsg::{DescriptorKind, Transmit};
use crate::kroute;
use crate::sys::sandbox::{self, Files, Use};
use crate::sys::service::{self, State};
use crate::sys::signals::Signals;
use crate::sys::spawn::{self, Waiter};
use crate::sys::{log, paths, user};
use crate::wire::Af;

/// Runs the daemon; `arguments` begin with the program's name.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let said = match cli::parse(arguments) {
        Ok(said) => said,
        Err(e) => {
            eprintln!("mcast-proxy: {e}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    if said.version {
        println!("mcast-proxy {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match load(&said) {
        Ok(loaded) if said.check => check(&said, &loaded.config),
        Ok(loaded) => run(&said, loaded).unwrap_or_else(|e| {
            for line in e.lines() {
                eprintln!("mcast-proxy: {line}");
            }
            ExitCode::FAILURE
        }),
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}

fn load(said: &Arguments) -> Result<config::Loaded, config::Errors> {
    let loaded = config::load(&said.config_file(), &said.macros)?;
    for line in &loaded.warnings {
        eprintln!("{line}");
    }
    Ok(loaded)
}

/// With -v the normalised configuration goes to stdout, so that it can be kept as a file.
fn check(said: &Arguments, config: &config::model::Config) -> ExitCode {
    if said.verbose {
        print!("{}", config::print(config));
        eprintln!("configuration OK");
    } else {
        println!("configuration OK");
    }
    ExitCode::SUCCESS
}

fn run(said: &Arguments, loaded: config::Loaded) -> Result<ExitCode, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("must be started as root: it opens raw and multicast routing sockets".into());
    }
    spawn::close_inherited();
    let config = loaded.config;
    let user = user::lookup(config.user.as_deref().unwrap_or(config::model::USER))?;
    let (default, ours) = paths::chroot(&said.identity);
    let chroot = config.chroot.clone().unwrap_or(default);
    user::empty_directory(&chroot, ours && config.chroot.is_none())?;
    let executable = spawn::executable().map_err(|e| format!("own executable: {e}"))?;
    let waiter = if said.foreground {
        None
    } else {
        Some(spawn::daemon().map_err(|e| format!("cannot go to the background: {e}"))?)
    };
    log::init(said.foreground, said.verbose, &said.identity);
    let signals = Signals::new().map_err(|e| format!("signals: {e}"))?;

    let families = config.families();
    let options = kroute::Options { table: said.table, families };
    let kernel = kroute::open(&options).map_err(|e| e.to_string())?;
    let monitor = kroute::monitor(&options).map_err(|e| e.to_string())?;
    let (control, pid) = (said.control_socket(), paths::pid_file(&said.identity));
    let (listener, _removed) = sockets::listen(&control, user.1)?;
    let _pid = sockets::write_pid(&pid)?;
    let routing = Af::ALL.into_iter().filter_map(|f| kernel.descriptor(f));
    let limited = routing.map(|fd| (fd, Use::Routing)).chain([
        (monitor.descriptor(), Use::Reading),
        (listener.as_fd(), DescriptorKind::Control.what_for()),
    ]);
    for (fd, what_for) in limited {
        sandbox::limit(fd, what_for).map_err(|e| e.to_string())?;
    }
    let mut outside = Real {
        executable: executable.clone(),
        identity: said.identity.clone(),
        foreground: said.foreground,
        waiter,
        senders: [None, None],
        syslogd: None,
    };
    let on = Af::ALL.into_iter().filter(|family| options.has(*family));
    let sockets = on.map(|family| outside.packet_socket(family, said.table));
    let mut descriptors = sockets.collect::<Result<Vec<_>, _>>()?;
    descriptors.push((DescriptorKind::Control, listener));
    match outside.syslog() {
        Some(socket) => descriptors.push((DescriptorKind::Syslog, socket)),
        None if said.foreground || log::NEEDS_NO_SOCKET => {}
        None => eprintln!("mcast-proxy: no syslogd listens, nothing will be logged"),
    }
    let read = folders(loaded.files.iter());
    let files = Files {
        readable: read.clone(),
        removable: folders([&control, &pid].into_iter()),
        executable,
    };
    let parent = Parent::new(Setup {
        identity: said.identity.clone(),
        foreground: said.foreground,
        verbose: said.verbose,
        table: said.table,
        user,
        chroot,
        config_file: absolute(&said.config_file())?,
        folders: read,
        macros: said.macros.clone(),
        config,
        families,
        kernel,
        monitor,
        signals,
        descriptors,
        outside: Box::new(outside),
    })?;
    sandbox::parent(&files).map_err(|e| e.to_string())?;
    serve(parent)
}

fn serve(mut parent: Parent) -> Result<ExitCode, String> {
    loop {
        match parent.turn() {
            Ok(true) => {}
            Ok(false) => return Ok(ExitCode::SUCCESS),
            Err(e) if parent.has_served() => {
                error!("{e}");
                return Ok(ExitCode::FAILURE);
            }
            Err(e) => return Err(e),
        }
    }
}

/// The daemon changes its directory, and reads the file again later.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn folders<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        files.filter_map(|f| Some(std::path::absolute(f).ok()?.parent()?.to_owned())).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// The system around the parent.
struct Real {
    executable: PathBuf,
    identity: String,
    foreground: bool,
    waiter: Option<Waiter>,
    /// What packets are sent with, by [`Af::index`].
    senders: [Option<OwnedFd>; 2],
    /// Which socket syslogd listened at, by device and inode.
    syslogd: Option<(u64, u64)>,
}

impl Outside for Real {
    fn spawn(&mut self, channel: OwnedFd) -> io::Result<Option<Child>> {
        spawn::engine(&self.executable, &self.identity, channel).map(Some)
    }

    fn tell(&mut self, state: State<'_>) {
        service::notify(state);
        match state {
            State::Ready => {
                if let Some(Err(e)) = self.waiter.take().map(Waiter::ready) {
                    warn!("cannot leave the terminal: {e}");
                }
            }
            State::Status(_) | State::Stopping => {}
        }
    }

    fn syslog(&mut self) -> Option<OwnedFd> {
        let needed = !self.foreground && !log::NEEDS_NO_SOCKET;
        let now = needed.then(log::listener).flatten();
        if now.is_none() || now == self.syslogd {
            return None;
        }
        let socket = log::connect().ok()?;
        log::set_socket(socket.try_clone().ok()?).ok()?;
        self.syslogd = now;
        Some(socket)
    }

    fn packet_socket(
        &mut self,
        family: Af,
        table: u32,
    ) -> Result<(DescriptorKind, OwnedFd), String> {
        let failed = |e: io::Error| format!("{family}: raw socket: {e}");
        let limit = |fd: &OwnedFd, what_for| {
            sandbox::limit(fd.as_fd(), what_for).map_err(|e| e.to_string())
        };
        if PARENT_SENDS {
            let sender = packet::open_sender(family).map_err(failed)?;
            limit(&sender, Use::Sending)?;
            if let Some(place) = self.senders.get_mut(family.index()) {
                *place = Some(sender);
            }
        }
        let (kind, socket) = match family {
            Af::Ip4 => (DescriptorKind::Igmp, packet::open_igmp(table)),
            Af::Ip6 => (DescriptorKind::Icmp6, packet::open_icmp6(table)),
        };
        let socket = socket.map_err(failed)?;
        limit(&socket, kind.what_for())?;
        Ok((kind, socket))
    }

    fn transmit(&self, packet: &Transmit) -> io::Result<()> {
        let family = Af::of(packet.destination);
        let sender = self.senders.get(family.index()).and_then(Option::as_ref);
        packet::send(sender.ok_or(io::ErrorKind::NotConnected)?.as_fd(), packet)
    }
}
