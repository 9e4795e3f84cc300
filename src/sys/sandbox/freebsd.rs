//! FreeBSD: Capsicum, and no new privileges.
#![allow(unsafe_code, reason = "procctl(2) has no safe form")]

use std::io;
use std::os::fd::BorrowedFd;

use capsicum::{CapRights, FileRights, Right};
use libc::{
    P_PID, PROC_NO_NEW_PRIVS_CTL, PROC_NO_NEW_PRIVS_ENABLE, PROC_TRACE_CTL, PROC_TRACE_CTL_DISABLE,
    c_int,
};

use super::{Error, Files, Use, step};

/// It re-reads its configuration, executes engines and needs PRIV_NETINET_MROUTE for each routing
/// call: neither capability mode nor another user allows that. Its descriptors are limited.
pub(super) fn parent(_: &Files) -> Result<(), Error> {
    step("no_new_privs", control(PROC_NO_NEW_PRIVS_CTL, PROC_NO_NEW_PRIVS_ENABLE))
}

/// Capability mode. Sending to an address is forbidden there, so that the parent does it.
pub(super) fn engine() -> Result<(), Error> {
    step("no_new_privs", control(PROC_NO_NEW_PRIVS_CTL, PROC_NO_NEW_PRIVS_ENABLE))?;
    step("trace", control(PROC_TRACE_CTL, PROC_TRACE_CTL_DISABLE))?;
    step("standard input", limit_to(&io::stdin(), &[]))?;
    step("standard output", limit_to(&io::stdout(), &[]))?;
    step("standard error", limit_to(&io::stderr(), &[Right::Write]))?;
    step("cap_enter", capsicum::enter())
}

/// Leaves a descriptor the rights of its use. Those that accept(2) makes have the listener's:
/// sys/kern/uipc_syscalls.c, `kern_accept4`.
pub(super) fn limit(descriptor: BorrowedFd<'_>, what_for: Use) -> Result<(), Error> {
    use Right::{
        Accept, Connect, Event, Fcntl, Getsockopt, Ioctl, Read, Setsockopt, Shutdown, Write,
    };
    let rights: &[Right] = match what_for {
        Use::Routing => &[Read, Write, Event, Getsockopt, Setsockopt, Ioctl],
        Use::Reading => &[Read, Event],
        // sendto(2) to an address takes the right to connect.
        Use::Sending => &[Write, Connect, Event, Setsockopt],
        Use::Listening => &[Accept, Read, Write, Event, Getsockopt, Fcntl, Ioctl, Shutdown],
        Use::Talking => &[Read, Write, Event, Getsockopt, Fcntl, Ioctl, Shutdown],
        Use::Logging => &[Write, Event, Fcntl, Ioctl],
    };
    step("cap_rights_limit", limit_to(&descriptor, rights))
}

fn limit_to(descriptor: &impl std::os::fd::AsFd, rights: &[Right]) -> io::Result<()> {
    let mut wanted = FileRights::new();
    for right in rights {
        wanted.allow(*right);
    }
    wanted.limit(descriptor)
}

/// procctl(2) on this process.
fn control(command: c_int, mut value: c_int) -> io::Result<()> {
    let ourselves = std::process::id().into();
    // SAFETY: both commands read one int, which `value` is.
    let result = unsafe { libc::procctl(P_PID, ourselves, command, (&raw mut value).cast()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
