//! The unprivileged process: the loop, the packet sockets and the control server around the core.

pub mod control;
pub mod core;
pub mod packet;

/// Runs the engine of the parent at standard input until that closes the channel.
///
/// # Errors
/// What ends it otherwise; the parent starts another one then.
pub fn run() -> Result<(), String> {
    Err("not built yet".to_owned())
}
