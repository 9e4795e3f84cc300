//! FreeBSD: Capsicum for the engine. The parent re-reads its configuration and executes engines,
//! which capability mode forbids.

use super::{Error, Files, step};

#[expect(clippy::unnecessary_wraps, reason = "the same for every system")]
pub(super) fn parent(_files: &Files) -> Result<(), Error> {
    Ok(())
}

pub(super) fn engine() -> Result<(), Error> {
    step("cap_enter", capsicum::enter())
}
