//! A process for each attempt, confined by the functions that confine the real ones.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, exit};

use mcast_proxy::engine::packet;
use mcast_proxy::sys::sandbox::{self, Files};
use mcast_proxy::sys::socket;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};

use crate::net::{Host, as_root};

/// Set in the process that forks those that try.
const INSIDE: &str = "MCAST_PROXY_SANDBOX_INSIDE";
/// The uid and gid that the engine becomes: nobody's.
const NOBODY: (u32, u32) = (65534, 65534);
/// Says that an attempt panicked; no error number.
const PANIC: i32 = 255;

/// The engine's directory.
const EMPTY: &str = "/run/empty";
/// A folder that the parent may read, with a file.
pub(crate) const READABLE: &str = "/run/readable";
/// A folder that the parent may remove files from, with a file.
pub(crate) const REMOVABLE: &str = "/run/removable";
/// A folder that nothing is said of, with a file.
pub(crate) const ELSEWHERE: &str = "/run/elsewhere";

/// Who tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Engine,
    Parent,
    Anyone,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It worked.
    Done,
    /// The system call filter killed the process.
    Killed,
    /// The system call failed with this error.
    Refused(i32),
}

/// What the parent's filter does with a call that is not on its list.
pub(crate) const OFF_THE_LIST: Outcome =
    if cfg!(debug_assertions) { Outcome::Killed } else { Outcome::Refused(libc::EPERM) };

/// What an engine is given, for attempts to misuse it.
pub(crate) struct Held {
    pub(crate) igmp: OwnedFd,
    pub(crate) icmp6: OwnedFd,
    /// What a routing socket is made of.
    pub(crate) raw: OwnedFd,
    /// Who started the process.
    pub(crate) starter: Pid,
}

/// Runs `work` once in a host of its own, as root there: in a process that runs the test `name`
/// alone, so that it can fork.
pub(crate) fn alone(name: &str, work: impl FnOnce()) {
    let only = ["--exact", name, "--nocapture"];
    if std::env::var_os(INSIDE).is_some() {
        return work();
    }
    match as_root(&only) {
        Ok(None) => {}
        Ok(Some(status)) => return assert!(status.success(), "{name}, in its user namespace"),
        Err(why) => panic!("{why}"),
    }
    let host = Host::new();
    let own = std::env::current_exe().unwrap();
    let output = host.run(|| Command::new(own).args(only).env(INSIDE, "yes").output()).unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{name}:\n{}", String::from_utf8_lossy(&text));
}

/// What comes of the attempt of `who`.
pub(crate) fn outcome(who: Who, attempt: &dyn Fn(&Held) -> io::Result<()>) -> Outcome {
    prepare();
    // SAFETY: the other thread only waits for this one, so that the child finds no lock held.
    let child = match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let result = catch_unwind(AssertUnwindSafe(|| try_it(who, attempt)));
            exit(result.map_or(PANIC, |result| result.map_or_else(|e| number(&e), |()| 0)));
        }
    };
    match waitpid(child, None).unwrap() {
        WaitStatus::Exited(_, 0) => Outcome::Done,
        WaitStatus::Exited(_, error) if error < PANIC => Outcome::Refused(error),
        WaitStatus::Signaled(_, Signal::SIGSYS, _) => Outcome::Killed,
        other @ (WaitStatus::Exited(..)
        | WaitStatus::Signaled(..)
        | WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive) => panic!("{who:?}: {other:?}"),
    }
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(PANIC)
}

/// The folders, with a file in each; also after an attempt that removed one.
fn prepare() {
    fs::DirBuilder::new().recursive(true).mode(0o555).create(EMPTY).unwrap();
    for folder in [READABLE, REMOVABLE, ELSEWHERE] {
        fs::create_dir_all(folder).unwrap();
        fs::write(format!("{folder}/file"), "x").unwrap();
    }
}

fn try_it(who: Who, attempt: &dyn Fn(&Held) -> io::Result<()>) -> io::Result<()> {
    let held = Held {
        igmp: packet::open_igmp(0)?,
        icmp6: packet::open_icmp6(0)?,
        raw: socket::open_raw(libc::AF_INET, libc::IPPROTO_IGMP)?,
        starter: getppid(),
    };
    if who != Who::Anyone {
        sandbox::parent(&files()).unwrap();
    }
    // An engine is started by a parent.
    if who == Who::Engine {
        sandbox::engine(EMPTY, NOBODY).unwrap();
    }
    attempt(&held)
}

fn files() -> Files {
    Files {
        readable: vec![READABLE.into()],
        removable: vec![REMOVABLE.into()],
        executable: "/proc/self/exe".into(),
    }
}
