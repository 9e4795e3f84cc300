//! Starting processes: the engine from our own executable, the daemon from a terminal.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio, exit};

use nix::sys::stat::{SFlag, fstat};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe, setsid};

/// The hidden argument of a process that is to be the engine.
pub const ENGINE: &str = "--engine";

/// What an engine is started from: the executable that runs now, also when its file was replaced.
///
/// # Errors
/// When the system does not tell.
pub fn executable() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    let said = std::env::current_exe()?;
    if said.is_absolute() {
        return Ok(said);
    }
    // OpenBSD tells the name that the shell was given.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(&said));
    found.find(|f| f.is_absolute() && f.is_file()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Starts an engine with the channel as its standard input, in a process group of its own, so that
/// the terminal's signals reach the parent only.
///
/// # Errors
/// What fork(2) or execve(2) returns.
pub fn engine(executable: &PathBuf, identity: &str, channel: OwnedFd) -> io::Result<Child> {
    Command::new(executable)
        .arg0(format!("{identity}: engine"))
        .arg(ENGINE)
        .env_clear()
        .process_group(0)
        .stdin(Stdio::from(channel))
        .stdout(Stdio::null())
        .spawn()
}

/// Gives this process the name of its file, where [`executable`] is a link of another name.
pub fn take_name() {
    #[cfg(target_os = "linux")]
    if let Err(e) = nix::sys::prctl::set_name(c"mcast-proxy") {
        log::debug!("PR_SET_NAME: {e}");
    }
}

/// Closes what the caller left open besides standard input, output and error, so that neither
/// process has it. Call before anything is opened.
pub fn close_inherited() {
    #[cfg(target_os = "linux")]
    // SAFETY: nothing of ours is open yet. A kernel without the call leaves all as it is.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
    #[cfg(not(target_os = "linux"))]
    // SAFETY: nothing of ours is open yet.
    unsafe {
        libc::closefrom(3);
    }
}

/// The channel, if standard input is a socket: only then did a parent start us.
#[must_use]
pub fn inherited_channel() -> Option<OwnedFd> {
    let stdin = io::stdin();
    let mode = fstat(stdin.as_fd()).ok()?.st_mode;
    let is_socket = mode & SFlag::S_IFMT.bits() == SFlag::S_IFSOCK.bits();
    is_socket.then(|| stdin.as_fd().try_clone_to_owned().ok())?
}

/// The way to tell the process that waits at the terminal how the start went.
#[derive(Debug)]
pub struct Waiter {
    pipe: File,
    null: File,
}

/// Goes to the background. The process at the terminal waits: it exits 0 after [`Waiter::ready`],
/// else with the status of the daemon.
///
/// # Errors
/// What pipe(2) or fork(2) returns.
pub fn daemon() -> io::Result<Waiter> {
    let (read, write) = pipe()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // SAFETY: no thread was started yet, so the child may do anything.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(write);
            if File::from(read).read(&mut [0]).unwrap_or(0) > 0 {
                exit(0);
            }
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, status)) => exit(status),
                Ok(_) | Err(_) => exit(1),
            }
        }
        ForkResult::Child => {
            setsid()?;
            std::env::set_current_dir("/")?;
            Ok(Waiter { pipe: write.into(), null })
        }
    }
}

impl Waiter {
    /// The start is over: leaves the terminal and lets the waiting process exit 0.
    ///
    /// # Errors
    /// What dup2(2) or write(2) returns.
    pub fn ready(mut self) -> io::Result<()> {
        dup2_stdin(&self.null)?;
        dup2_stdout(&self.null)?;
        dup2_stderr(&self.null)?;
        self.pipe.write_all(&[1])
    }
}
