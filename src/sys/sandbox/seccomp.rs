//! seccomp: the system calls that each Linux process may make.
#![allow(unsafe_code, reason = "a filter with flags is applied by the system call itself")]

use std::collections::BTreeMap;
use std::io;

use libc::{
    AF_INET, AF_INET6, AF_UNIX, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, FIONBIO,
    PROT_EXEC, c_long,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::{Error, step};

/// A system call: its name in libc, and its number.
pub type Call = (&'static str, c_long);

/// One argument of a call must be one of these, or have none of these bits.
enum Only {
    OneOf(u8, &'static [i64]),
    Without(u8, i64),
    OwnPid,
}

macro_rules! calls {
    ($($number:ident)*) => { &[$((stringify!($number), libc::$number)),*] };
}

/// What both processes do.
#[rustfmt::skip]
const BOTH: &[Call] = calls![
    SYS_accept4 SYS_brk SYS_clock_gettime SYS_close SYS_exit SYS_exit_group SYS_futex SYS_getpid
    SYS_getrandom SYS_getsockopt SYS_gettid SYS_madvise SYS_mremap SYS_munmap SYS_ppoll SYS_read
    SYS_recvfrom SYS_recvmsg SYS_restart_syscall SYS_rt_sigaction SYS_rt_sigprocmask
    SYS_rt_sigreturn SYS_sendmsg SYS_sendto SYS_sigaltstack SYS_write SYS_writev
];

/// The parent: routing calls, files of the configuration, starting and ending engines; and what a
/// starting engine does before it enters its own sandbox, since it inherits this filter.
#[rustfmt::skip]
const PARENT: &[Call] = calls![
    SYS_bind SYS_capget SYS_capset SYS_chdir SYS_chroot SYS_clock_nanosleep SYS_clone SYS_clone3
    SYS_connect SYS_dup SYS_dup3 SYS_execve SYS_faccessat SYS_fcntl SYS_fstat SYS_getcwd
    SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getpeername SYS_getsockname SYS_getuid
    SYS_ioctl SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset
    SYS_landlock_restrict_self SYS_lseek SYS_mmap SYS_mprotect SYS_newfstatat SYS_openat
    SYS_pipe2 SYS_prctl SYS_pread64 SYS_prlimit64 SYS_readlinkat SYS_rseq SYS_sched_getaffinity
    SYS_sched_yield SYS_seccomp SYS_set_robust_list SYS_set_tid_address SYS_setgroups SYS_setpgid
    SYS_setresgid SYS_setresuid SYS_setsockopt SYS_shutdown SYS_socketpair SYS_statx SYS_tgkill
    SYS_umask SYS_uname SYS_unlinkat SYS_wait4 SYS_waitid
];

/// Older calls that only some systems have.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const PARENT_HERE: &[Call] = calls![
    SYS_access SYS_arch_prctl SYS_dup2 SYS_fork SYS_lstat SYS_open SYS_pipe SYS_readlink SYS_stat
    SYS_unlink SYS_vfork
];
#[cfg(target_arch = "x86_64")]
const BOTH_HERE: &[Call] = calls![SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const PARENT_HERE: &[Call] = &[];
#[cfg(not(target_arch = "x86_64"))]
const BOTH_HERE: &[Call] = &[];

/// Calls of the parent with a bound on an argument: no sockets but for syslogd, the channel and
/// memberships.
const PARENT_BOUND: &[(Call, Only)] = &[(
    ("SYS_socket", libc::SYS_socket),
    Only::OneOf(0, &[AF_UNIX as i64, AF_INET as i64, AF_INET6 as i64]),
)];

/// Calls of the engine with a bound on an argument: no memory to execute, no signal to others.
const ENGINE_BOUND: &[(Call, Only)] = &[
    (
        ("SYS_fcntl", libc::SYS_fcntl),
        Only::OneOf(
            1,
            &[
                F_DUPFD_CLOEXEC as i64,
                F_GETFD as i64,
                F_SETFD as i64,
                F_GETFL as i64,
                F_SETFL as i64,
            ],
        ),
    ),
    (("SYS_ioctl", libc::SYS_ioctl), Only::OneOf(1, &[FIONBIO as i64])),
    (("SYS_mmap", libc::SYS_mmap), Only::Without(2, PROT_EXEC as i64)),
    (("SYS_mprotect", libc::SYS_mprotect), Only::Without(2, PROT_EXEC as i64)),
    (("SYS_tgkill", libc::SYS_tgkill), Only::OwnPid),
];

/// The calls of one process, for those who document and test them.
#[derive(Clone, Debug)]
pub struct Calls {
    /// With any arguments.
    pub free: Vec<Call>,
    /// With some arguments only.
    pub bound: Vec<Call>,
}

/// The calls that the parent may make.
#[must_use]
pub fn parent_calls() -> Calls {
    calls(&[BOTH, BOTH_HERE, PARENT, PARENT_HERE], PARENT_BOUND)
}

/// The calls that the engine may make.
#[must_use]
pub fn engine_calls() -> Calls {
    calls(&[BOTH, BOTH_HERE], ENGINE_BOUND)
}

fn calls(free: &[&[Call]], bound: &[(Call, Only)]) -> Calls {
    Calls { free: free.concat(), bound: bound.iter().map(|(call, _)| *call).collect() }
}

/// A release's parent gets an error for a call that nobody thought of, and the kernel's log a line:
/// its death would end the forwarding. Everything else is killed.
pub(super) fn parent() -> Result<(), Error> {
    let otherwise = if cfg!(debug_assertions) {
        SeccompAction::KillProcess
    } else {
        SeccompAction::Errno(libc::EPERM.unsigned_abs())
    };
    apply(&[BOTH, BOTH_HERE, PARENT, PARENT_HERE], PARENT_BOUND, otherwise)
}

pub(super) fn engine() -> Result<(), Error> {
    apply(&[BOTH, BOTH_HERE], ENGINE_BOUND, SeccompAction::KillProcess)
}

fn apply(free: &[&[Call]], bound: &[(Call, Only)], otherwise: SeccompAction) -> Result<(), Error> {
    // An architecture that has no filters in seccompiler goes without.
    let Ok(arch) = std::env::consts::ARCH.try_into() else { return Ok(()) };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        free.iter().copied().flatten().map(|(_, number)| (*number, Vec::new())).collect();
    for ((_, number), only) in bound {
        rules.insert(*number, step("seccomp", rules_of(only))?);
    }
    let filter = SeccompFilter::new(rules, otherwise, SeccompAction::Allow, arch);
    let program: BpfProgram = step("seccomp", step("seccomp", filter)?.try_into())?;
    step("seccomp", install(&program))
}

/// Applies the filter; what it denies is logged by the kernel, which seccompiler cannot ask for.
fn install(program: &[seccompiler::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    let (operation, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_LOG);
    // SAFETY: the program outlives the call, which only reads it; both types of an instruction have
    // the layout of linux/filter.h.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const filter) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn rules_of(only: &Only) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |argument, operator, value: i64| {
        let value = value.cast_unsigned();
        let length = SeccompCmpArgLen::Dword;
        SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])
    };
    match only {
        Only::OneOf(argument, values) => {
            values.iter().map(|value| rule(*argument, SeccompCmpOp::Eq, *value)).collect()
        }
        Only::Without(argument, bits) => {
            let mask = bits.cast_unsigned();
            Ok(vec![rule(*argument, SeccompCmpOp::MaskedEq(mask), 0)?])
        }
        Only::OwnPid => Ok(vec![rule(0, SeccompCmpOp::Eq, std::process::id().into())?]),
    }
}
