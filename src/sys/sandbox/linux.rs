//! Linux: no_new_privs, exact capability sets, Landlock, seccomp.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::{set_dumpable, set_no_new_privs};

use super::{Error, Files, landlock, seccomp, step};

/// Routing calls, then what starting and ending an engine takes.
const PARENT: [Capability; 6] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
];

/// What an engine starts with, to lose it in its first steps.
const PASSED_ON: [Capability; 3] =
    [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_SYS_CHROOT];

/// The engine's side of [`super::engine`], with the ids changed already.
pub(super) fn engine() -> Result<(), Error> {
    step("dumpable", set_dumpable(false))?;
    step("no_new_privs", set_no_new_privs())?;
    set_capabilities(&[], &[])?;
    landlock::engine()?;
    seccomp::engine()
}

pub(super) fn parent(files: &Files) -> Result<(), Error> {
    step("no_new_privs", set_no_new_privs())?;
    set_capabilities(&PARENT, &PASSED_ON)?;
    landlock::parent(files)?;
    seccomp::parent()
}

/// Sets permitted and effective to `held`, inheritable to `passed_on`, and empties the others.
///
/// With an empty bounding set a process that root executes gets the inheritable capabilities only:
/// capabilities(7).
fn set_capabilities(held: &[Capability], passed_on: &[Capability]) -> Result<(), Error> {
    let held: CapsHashSet = held.iter().copied().collect();
    step("ambient capabilities", caps::clear(None, CapSet::Ambient))?;
    let passed_on = passed_on.iter().copied().collect();
    step("inheritable capabilities", caps::set(None, CapSet::Inheritable, &passed_on))?;
    for capability in step("bounding set", caps::read(None, CapSet::Bounding))? {
        step("bounding set", caps::drop(None, CapSet::Bounding, capability))?;
    }
    step("effective capabilities", caps::set(None, CapSet::Effective, &held))?;
    step("permitted capabilities", caps::set(None, CapSet::Permitted, &held))
}
