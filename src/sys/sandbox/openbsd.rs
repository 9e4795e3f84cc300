//! OpenBSD: pledge(2) and unveil(2).

use super::{Error, Files, step};

/// A process that makes MRT calls cannot be pledged: pledge(2) has no promise for them.
pub(super) fn parent(files: &Files) -> Result<(), Error> {
    for folder in &files.readable {
        step("unveil", unveil::unveil(folder, "r").map_err(|e| format!("{e:?}")))?;
    }
    for folder in &files.removable {
        step("unveil", unveil::unveil(folder, "rwc").map_err(|e| format!("{e:?}")))?;
    }
    step("unveil", unveil::unveil(&files.executable, "rx").map_err(|e| format!("{e:?}")))?;
    lock()
}

/// Multicast options and sends; descriptors may still come from the parent.
pub(super) fn engine() -> Result<(), Error> {
    lock()?;
    step(
        "pledge",
        pledge::pledge("stdio inet mcast unix recvfd", None).map_err(|e| format!("{e:?}")),
    )
}

fn lock() -> Result<(), Error> {
    step("unveil", unveil::unveil("", "").map_err(|e| format!("{e:?}")))
}
