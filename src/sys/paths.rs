//! Where files are, set once at build time.

use std::path::PathBuf;

/// The default identity: syslog's ident and the stem of every path.
pub const NAME: &str = "mcast-proxy";

/// Configuration files.
pub const ETC: &str = if cfg!(target_os = "freebsd") { "/usr/local/etc" } else { "/etc" };
/// Process ids and sockets.
pub const RUN: &str = "/var/run";

/// The configuration file.
#[must_use]
pub fn configuration(identity: &str) -> PathBuf {
    format!("{ETC}/{identity}.conf").into()
}

/// The file that holds the parent's process id.
#[must_use]
pub fn pid_file(identity: &str) -> PathBuf {
    format!("{RUN}/{identity}.pid").into()
}

/// The control socket.
#[must_use]
pub fn control_socket(identity: &str) -> PathBuf {
    format!("{RUN}/{identity}.sock").into()
}

/// The engine's directory where the configuration names none, and whether it is ours to make.
#[must_use]
pub fn chroot(identity: &str) -> (String, bool) {
    if cfg!(target_os = "linux") {
        (format!("/run/{identity}/empty"), true)
    } else {
        ("/var/empty".into(), false)
    }
}
