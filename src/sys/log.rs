//! The `log` crate's sink: stderr with -d, else syslog over a socket that is opened before chroot, or
//! OpenBSD's syslog(3).

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use syslog::{LogFormat, LoggerBackend, Severity};

/// Octets of one line at most; syslogd loses longer datagrams.
const MAX_LINE: usize = 900;
/// The priority's part that names the facility: daemon. RFC 3164, section 4.1.1.
const FACILITY_DAEMON: u8 = 3 << 3;
/// Where syslogd listens.
const SYSLOG_PATHS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    foreground: bool,
    ident: String,
    syslog: Mutex<Option<Syslog>>,
}

type Syslog = syslog::Logger<LoggerBackend, Format>;

/// RFC 3164 without the time stamp, which syslogd adds itself (the crate's own is always UTC).
struct Format(String);

impl LogFormat<&str> for Format {
    fn format<W: Write>(
        &self,
        out: &mut W,
        severity: Severity,
        message: &str,
    ) -> syslog::Result<()> {
        let priority = FACILITY_DAEMON | severity as u8;
        write!(out, "<{priority}>{}[{}]: {message}", self.0, std::process::id())
            .map_err(syslog::Error::Write)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = clean(&record.args().to_string());
        if self.foreground {
            // Nothing can be done about a closed stderr.
            let _ = writeln!(io::stderr(), "{line}");
            return;
        }
        #[cfg(target_os = "openbsd")]
        openbsd::say(record.level(), &line);
        let mut syslog = self.syslog.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(syslog) = syslog.as_mut() {
            // A full or closed socket loses the line: logging never delays forwarding.
            let _ = match record.level() {
                Level::Error => syslog.err(line.as_str()),
                Level::Warn => syslog.warning(line.as_str()),
                Level::Info => syslog.notice(line.as_str()),
                Level::Debug | Level::Trace => syslog.debug(line.as_str()),
            };
        }
    }

    fn flush(&self) {}
}

/// One printable line: control characters escaped, cut at [`MAX_LINE`] octets.
fn clean(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_LINE));
    for c in text.chars() {
        let start = line.len();
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        if line.len() > MAX_LINE {
            line.truncate(start);
            break;
        }
    }
    line
}

/// Starts logging: to stderr in the foreground, else to the socket of [`set_socket`]. `identity` is
/// syslog's ident. Calls after the first change the level only.
pub fn init(foreground: bool, verbose: bool, identity: &str) {
    let logger = LOGGER.get_or_init(|| {
        #[cfg(target_os = "openbsd")]
        openbsd::open(identity);
        Logger { foreground, ident: identity.to_owned(), syslog: Mutex::new(None) }
    });
    // Fails only when it is already set.
    let _ = log::set_logger(logger);
    set_verbose(verbose);
}

/// Whether the system logs without a socket: OpenBSD's syslog(3) is a system call that no chroot,
/// unveil(2) or pledge(2) takes away, and that a restart of syslogd does not break.
pub const NEEDS_NO_SOCKET: bool = cfg!(target_os = "openbsd");

/// Logs debug messages, or not.
pub fn set_verbose(verbose: bool) {
    log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
}

/// The socket that syslogd listens at, by device and inode: another one after its restart.
#[must_use]
pub fn listener() -> Option<(u64, u64)> {
    SYSLOG_PATHS.iter().find_map(|p| fs::metadata(p).ok()).map(|m| (m.dev(), m.ino()))
}

/// Connects to syslogd.
///
/// # Errors
/// When it listens nowhere, or the connection is refused.
pub fn connect() -> io::Result<OwnedFd> {
    let socket = UnixDatagram::unbound()?;
    let path = SYSLOG_PATHS.iter().find(|p| fs::metadata(p).is_ok());
    socket.connect(path.ok_or(io::ErrorKind::NotFound)?)?;
    Ok(socket.into())
}

/// Logs to this connected syslog socket from now on.
///
/// # Errors
/// When it cannot be made non-blocking.
pub fn set_socket(socket: OwnedFd) -> io::Result<()> {
    super::set_nonblocking(socket.as_fd())?;
    if let Some(logger) = LOGGER.get() {
        let backend = LoggerBackend::Unix(socket.into());
        let syslog = syslog::Logger::new(backend, Format(logger.ident.clone()));
        *logger.syslog.lock().unwrap_or_else(PoisonError::into_inner) = Some(syslog);
    }
    Ok(())
}

#[cfg(target_os = "openbsd")]
mod openbsd {
    #![allow(unsafe_code, reason = "syslog(3)")]

    use std::ffi::CString;

    use libc::{LOG_DAEMON, LOG_DEBUG, LOG_ERR, LOG_NOTICE, LOG_PID, LOG_WARNING};
    use log::Level;

    pub(super) fn open(ident: &str) {
        let Ok(ident) = CString::new(ident) else { return };
        // SAFETY: openlog keeps the pointer: the string is leaked, so that it stays valid.
        unsafe { libc::openlog(ident.into_raw(), LOG_PID, LOG_DAEMON) };
    }

    pub(super) fn say(level: Level, line: &str) {
        let priority = match level {
            Level::Error => LOG_ERR,
            Level::Warn => LOG_WARNING,
            Level::Info => LOG_NOTICE,
            Level::Debug | Level::Trace => LOG_DEBUG,
        };
        let Ok(line) = CString::new(line) else { return };
        // SAFETY: both strings end with a nul and outlive the call; %s takes one of them.
        unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(clean("em0\n<3>fake\u{1b}[2J"), "em0\\n<3>fake\\u{1b}[2J");
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        let line = clean(&"\u{e9}".repeat(MAX_LINE));
        assert_eq!(line.len(), MAX_LINE);
        assert_eq!(clean(&format!("x{}", "\u{e9}".repeat(MAX_LINE))).len(), MAX_LINE - 1);
    }

    #[test]
    fn syslog_gets_priority_ident_and_pid() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let format = Format("proxy".into());
        let mut logger = syslog::Logger::new(LoggerBackend::Unix(ours), format);
        logger.warning("no route").unwrap();
        let mut buffer = [0; 100];
        let len = theirs.recv(&mut buffer).unwrap();
        // RFC 3164, 4.1.1: facility 3 times 8 plus severity 4.
        let expected = format!("<28>proxy[{}]: no route", std::process::id());
        assert_eq!(&buffer[..len], expected.as_bytes());
    }
}
