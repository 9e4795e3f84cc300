//! What each process gives up before it reads the first byte that it does not trust.
//!
//! What the system offers and cannot be applied is an error: no process runs half confined.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, chdir, chroot, setgroups, setresgid, setresuid};

#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
pub mod seccomp;
#[cfg(target_os = "freebsd")]
#[path = "freebsd.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;
#[cfg(target_os = "openbsd")]
#[path = "openbsd.rs"]
mod system;

/// Descriptors that a process may hold.
const MAX_DESCRIPTORS: libc::rlim_t = 256;

/// Why a process could not be confined.
#[derive(Debug, thiserror::Error)]
#[error("sandbox: {what}: {why}")]
pub struct Error {
    what: &'static str,
    why: String,
}

impl Error {
    fn new(what: &'static str, why: &impl std::fmt::Display) -> Self {
        Self { what, why: why.to_string() }
    }
}

/// Names the step that failed.
fn step<T, E: std::fmt::Display>(what: &'static str, result: Result<T, E>) -> Result<T, Error> {
    result.map_err(|e| Error::new(what, &e))
}

/// What the parent goes on using of the file system.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Read at reload: the folders of the configuration files.
    pub readable: Vec<PathBuf>,
    /// Folders that files are removed from at exit.
    pub removable: Vec<PathBuf>,
    /// Started as the engine.
    pub executable: PathBuf,
}

/// What a process does with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Makes routing calls on it, and reads what the kernel says.
    Routing,
    /// Only reads.
    Reading,
    /// Sends packets to addresses.
    Sending,
    /// Accepts clients.
    Listening,
    /// Talks to one other process.
    Talking,
    /// Writes log lines.
    Logging,
}

/// Takes away from a descriptor what its use does not need, where a system can (FreeBSD).
///
/// # Errors
/// When the system refuses; the process must exit then.
pub fn limit(descriptor: BorrowedFd<'_>, what_for: Use) -> Result<(), Error> {
    #[cfg(target_os = "freebsd")]
    return system::limit(descriptor, what_for);
    #[cfg(not(target_os = "freebsd"))]
    {
        let _ = (descriptor, what_for);
        Ok(())
    }
}

/// Confines the parent: after start, before it starts an engine.
///
/// # Errors
/// Says which step failed; the process must exit then.
pub fn parent(files: &Files) -> Result<(), Error> {
    step("limits", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    step("limits", setrlimit(Resource::RLIMIT_NOFILE, MAX_DESCRIPTORS, MAX_DESCRIPTORS))?;
    system::parent(files)
}

/// Confines the engine: with its descriptors received, before it reads the first packet.
///
/// `user` is uid and gid.
///
/// # Errors
/// Says which step failed; the process must exit then.
pub fn engine(directory: &str, user: (u32, u32)) -> Result<(), Error> {
    let (uid, gid) = (Uid::from_raw(user.0), Gid::from_raw(user.1));
    let no_groups = denies_setgroups();
    step("chroot", chroot(directory))?;
    step("chdir", chdir("/"))?;
    if !no_groups {
        step("setgroups", setgroups(&[gid]))?;
    }
    step("setresgid", setresgid(gid, gid, gid))?;
    step("setresuid", setresuid(uid, uid, uid))?;
    step("limits", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    step("limits", setrlimit(Resource::RLIMIT_NPROC, 0, 0))?;
    step("limits", setrlimit(Resource::RLIMIT_NOFILE, MAX_DESCRIPTORS, MAX_DESCRIPTORS))?;
    system::engine()
}

/// A user namespace may deny setgroups(2): none can be left then, and none counts outside it.
fn denies_setgroups() -> bool {
    cfg!(target_os = "linux")
        && std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
}
