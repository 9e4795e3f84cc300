//! What the service manager is told: sd_notify(3) where systemd may be, nothing elsewhere.

/// A change of the daemon's state.
#[derive(Clone, Copy, Debug)]
pub enum State<'a> {
    /// It serves.
    Ready,
    /// A line for `systemctl status`.
    Status(&'a str),
    /// It ends.
    Stopping,
}

/// Tells the service manager, if one listens.
pub fn notify(state: State<'_>) {
    #[cfg(target_os = "linux")]
    {
        let state = match state {
            State::Ready => sd_notify::NotifyState::Ready,
            State::Status(line) => sd_notify::NotifyState::Status(line),
            State::Stopping => sd_notify::NotifyState::Stopping,
        };
        if let Err(e) = sd_notify::notify(&[state]) {
            log::debug!("service manager: {e}");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = state;
}
