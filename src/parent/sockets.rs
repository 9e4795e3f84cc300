//! The control socket and the process id file.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use log::warn;

/// A file that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens at `path`, for root and the group `gid`. A socket that a dead daemon left is replaced.
pub(super) fn listen(path: &Path, gid: u32) -> Result<(OwnedFd, Removed), String> {
    let describe = |e: io::Error| format!("control socket {}: {e}", path.display());
    if fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        if UnixStream::connect(path).is_ok() {
            return Err(format!(
                "another daemon serves {}: stop it, or choose another -I or -s",
                path.display()
            ));
        }
        fs::remove_file(path).map_err(describe)?;
    }
    let umask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_retain(0o177));
    let bound = UnixListener::bind(path);
    nix::sys::stat::umask(umask);
    let listener = bound.map_err(describe)?;
    let removed = Removed(path.to_owned());
    chown(path, None, Some(gid)).map_err(describe)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(describe)?;
    listener.set_nonblocking(true).map_err(describe)?;
    Ok((listener.into(), removed))
}

/// Writes our process id. A file that is there was left by a daemon that did not end in order: the
/// kernel has removed its routes, vifs and memberships, and [`listen`] its control socket.
pub(super) fn write_pid(path: &Path) -> Result<Removed, String> {
    if let Ok(left) = fs::read_to_string(path) {
        warn!("{}: process {} did not end in order", path.display(), left.trim());
    }
    fs::write(path, format!("{}\n", std::process::id()))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Removed(path.to_owned()))
}
