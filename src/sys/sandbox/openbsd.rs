//! OpenBSD: pledge(2) and unveil(2).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Error, Files, step};

/// execve(2) opens it for the engine, with the rights of the parent: `elf_load_file` in
/// sys/kern/exec_elf.c.
const LOADER: &str = "/usr/libexec/ld.so";
/// What the engine has as standard output.
const NULL: &str = "/dev/null";

/// A process that makes MRT calls cannot be pledged: pledge(2) has no promise for them. The engine
/// starts afresh: execve(2) forgets what is unveiled where no execpromises are set.
pub(super) fn parent(files: &Files) -> Result<(), Error> {
    for folder in &files.readable {
        unveil(folder, "r")?;
    }
    for folder in &files.removable {
        unveil(folder, "c")?;
    }
    unveil(&files.executable, "rx")?;
    unveil(Path::new(LOADER), "r")?;
    unveil(Path::new(NULL), "rw")?;
    lock()
}

/// Multicast options and sends on the sockets that it has. Accepting clients takes `inet` or `unix`,
/// and logging nothing. There are no descriptors to come.
pub(super) fn engine() -> Result<(), Error> {
    unveil(Path::new("/"), "")?;
    lock()?;
    step("pledge", pledge::pledge("stdio inet mcast", None).map_err(|e| format!("{e:?}")))
}

fn unveil(path: &Path, permissions: &str) -> Result<(), Error> {
    step("unveil", unveil::unveil(path.as_os_str().as_bytes(), permissions))
}

/// An empty path stands for the null pointer.
fn lock() -> Result<(), Error> {
    step("unveil", unveil::unveil("", ""))
}
