//! Every system call that is not on a process's list is denied, whatever its arguments.

use std::collections::BTreeSet;
use std::io;

use libc::c_long;
use mcast_proxy::sys::sandbox::seccomp::{self, Calls};

use crate::confined::{OFF_THE_LIST, Outcome, Who, alone, outcome};

/// More than any kernel has; on x86_64 those of the x32 ABI are among them.
const NUMBERS: c_long = 600;
/// uretprobe and uprobe, which no filter sees, and which kill whoever makes them without a probe.
/// Linux, kernel/seccomp.c, `seccomp_uprobe_exception`.
const PROBES: &[c_long] = if cfg!(target_arch = "x86_64") { &[335, 336] } else { &[] };

/// Makes the call with arguments that make no sense to any.
fn call(number: c_long) -> io::Result<()> {
    // SAFETY: -1 is neither an address nor a descriptor, so that the kernel writes nowhere.
    match unsafe { libc::syscall(number, -1, -1, -1, -1, -1, -1) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Tries every number that is not on the list, and those whose arguments are bound.
fn sweep(who: Who, calls: &Calls, denied: Outcome) {
    let free: BTreeSet<c_long> = calls.free.iter().map(|(_, number)| *number).collect();
    let tried = (0..NUMBERS).filter(|n| !free.contains(n) && !PROBES.contains(n));
    let passed: Vec<c_long> =
        tried.filter(|number| outcome(who, &|_| call(*number)) != denied).collect();
    assert!(passed.is_empty(), "{who:?} may make the system calls {passed:?}");
}

#[test]
fn engine_makes_no_other_call() {
    alone("calls::engine_makes_no_other_call", || {
        sweep(Who::Engine, &seccomp::engine_calls(), Outcome::Killed);
    });
}

#[test]
fn parent_makes_no_other_call() {
    alone("calls::parent_makes_no_other_call", || {
        sweep(Who::Parent, &seccomp::parent_calls(), OFF_THE_LIST);
    });
}

/// A test for each call, so that each is listed; an unconfined process reaches the kernel with it.
macro_rules! neither_makes {
    ($($name:ident $number:ident,)*) => {
        $(#[test]
        fn $name() {
            alone(concat!("calls::", stringify!($name)), || {
                let attempt = |who| outcome(who, &|_| call(libc::$number));
                assert_eq!(attempt(Who::Engine), Outcome::Killed);
                assert_eq!(attempt(Who::Parent), OFF_THE_LIST);
                assert_ne!(attempt(Who::Anyone), Outcome::Killed);
            });
        })*
    };
}

neither_makes! {
    add_key SYS_add_key,
    bpf SYS_bpf,
    clock_settime SYS_clock_settime,
    execveat SYS_execveat,
    finit_module SYS_finit_module,
    fsopen SYS_fsopen,
    init_module SYS_init_module,
    io_uring_setup SYS_io_uring_setup,
    kexec_load SYS_kexec_load,
    keyctl SYS_keyctl,
    linkat SYS_linkat,
    memfd_create SYS_memfd_create,
    mount SYS_mount,
    move_mount SYS_move_mount,
    open_by_handle_at SYS_open_by_handle_at,
    openat2 SYS_openat2,
    perf_event_open SYS_perf_event_open,
    personality SYS_personality,
    pidfd_getfd SYS_pidfd_getfd,
    pivot_root SYS_pivot_root,
    process_vm_readv SYS_process_vm_readv,
    process_vm_writev SYS_process_vm_writev,
    ptrace SYS_ptrace,
    reboot SYS_reboot,
    renameat2 SYS_renameat2,
    request_key SYS_request_key,
    setns SYS_setns,
    setuid SYS_setuid,
    symlinkat SYS_symlinkat,
    unshare SYS_unshare,
    userfaultfd SYS_userfaultfd,
}
