//! Hosts in network namespaces of their own, for the live tests and the demo.
//!
//! A [`Host`] has no name outside this process: what it holds vanishes with it. The programs that
//! run in it are told through [`daemon`], its links are made by [`link`], its sockets by
//! [`socket`], and [`capture`] tells what it hears; [`meddle`] changes the kernel's routing behind a
//! program's back, [`lacking`] takes parts of the kernel away; [`packet`]
//! makes packets by hand, which a [`tunnel`] carries. Nothing here uses the library: the
//! programs are seen from outside.

pub mod capture;
pub mod daemon;
pub mod lacking;
pub mod link;
pub mod meddle;
pub mod packet;
pub mod socket;
pub mod topology;
pub mod tunnel;

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::panic;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::geteuid;

/// What [`wait_for`] waits at most unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks of [`wait_for`].
const POLL: Duration = Duration::from_millis(5);

/// A machine of its own: network namespace, and a mount namespace with an empty `/run`.
pub struct Host {
    net: OwnedFd,
    mount: OwnedFd,
}

impl Host {
    /// A new one: loopback up, no duplicate address detection, no reverse-path filter.
    #[must_use]
    pub fn new() -> Self {
        let host = thread::scope(|s| s.spawn(Self::unshared).join())
            .unwrap_or_else(|e| panic::resume_unwind(e))
            .expect("a network namespace");
        for conf in ["all", "default"] {
            host.sysctl(&format!("net/ipv6/conf/{conf}/accept_dad"), 0);
            host.sysctl(&format!("net/ipv6/conf/{conf}/router_solicitations"), 0);
            host.sysctl(&format!("net/ipv4/conf/{conf}/rp_filter"), 0);
        }
        host.up("lo");
        host
    }

    fn unshared() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        let run = fs::canonicalize("/var/run")?;
        mount(Some("tmpfs"), &run, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))?;
        let open = |what| File::open(format!("/proc/thread-self/ns/{what}")).map(OwnedFd::from);
        Ok(Self { net: open("net")?, mount: open("mnt")? })
    }

    /// Runs `work` in this host; what it opens or starts stays there.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let inside = || {
            unshare(CloneFlags::CLONE_FS).expect("a working directory of its own");
            setns(&self.net, CloneFlags::CLONE_NEWNET).expect("the host's network");
            setns(&self.mount, CloneFlags::CLONE_NEWNS).expect("the host's mounts");
            work()
        };
        thread::scope(|s| s.spawn(inside).join()).unwrap_or_else(|e| panic::resume_unwind(e))
    }

    /// Sets a variable, named by its path below `/proc/sys`.
    pub fn sysctl(&self, path: &str, value: u32) {
        self.run(|| fs::write(format!("/proc/sys/{path}"), value.to_string()))
            .unwrap_or_else(|e| panic!("{path} = {value}: {e}"));
    }

    /// A file of `/proc/net`.
    #[must_use]
    pub fn proc_net(&self, file: &str) -> String {
        self.run(|| fs::read_to_string(format!("/proc/thread-self/net/{file}")))
            .unwrap_or_else(|e| panic!("/proc/net/{file}: {e}"))
    }

    /// A file of its mounts, `/run` among them; `None` where it is not.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<String> {
        self.run(|| fs::read_to_string(path)).ok()
    }
}

/// Waits until `condition` is something, and fails with `what` when it takes longer than
/// [`PATIENCE`].
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, condition)
}

/// [`wait_for`] with a limit of its own.
pub fn wait_within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(result) = condition() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        thread::sleep(POLL);
    }
}

/// The address of a test group, or of anything else, that a literal names.
#[must_use]
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The wildcard address of the family of `like`.
#[must_use]
pub const fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Set in a process that [`as_root`] started.
const INSIDE: &str = "MCAST_PROXY_LIVE_INSIDE";

/// Starts this program again with `args` as root of a user namespace, where the caller is not
/// root; `None` where it is.
///
/// # Errors
///
/// What an ordinary user lacks, in a sentence.
pub fn as_root(args: &[&str]) -> Result<Option<ExitStatus>, String> {
    if geteuid().is_root() {
        return Ok(None);
    }
    let need = "network namespaces need root, or user namespaces with subordinate ids: \
                apt-get install uidmap, and a line for this user in /etc/subuid and /etc/subgid";
    if std::env::var_os(INSIDE).is_some() {
        return Err(format!("not root in a new user namespace; {need}"));
    }
    let mapped = ["--user", "--map-root-user", "--map-auto"];
    let probe = Command::new("unshare").args(mapped).args(["--net", "--mount", "true"]).output();
    match probe {
        Ok(output) if output.status.success() => (),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("{need} ({why})"));
        }
        Err(e) => return Err(format!("{need} (unshare: {e})")),
    }
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let status =
        Command::new("unshare").args(mapped).arg(own).args(args).env(INSIDE, "yes").status();
    status.map(Some).map_err(|e| format!("unshare: {e}"))
}

/// Runs a live test: here as root, otherwise in a process of its own that is root of a user
/// namespace.
pub fn live<F: FnOnce()>(test: F) {
    let name = std::any::type_name::<F>();
    let name = name.trim_end_matches("::{{closure}}");
    let (_, name) = name.split_once("::").expect("a path in this crate");
    match as_root(&["--exact", name, "--nocapture"]) {
        Ok(None) => test(),
        Ok(Some(status)) => assert!(status.success(), "{name} failed in its user namespace"),
        Err(why) => panic!("{why}"),
    }
}
