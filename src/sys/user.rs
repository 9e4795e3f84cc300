//! The user that the engine becomes, and the directory that it is confined to.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::unistd::User;

/// The user's uid and gid.
///
/// # Errors
/// A line that says what is wrong and which command mends it.
pub fn lookup(name: &str) -> Result<(u32, u32), String> {
    let user = User::from_name(name).map_err(|e| format!("user \"{name}\": {e}"))?;
    let Some(user) = user else {
        return Err(format!("user \"{name}\" does not exist: make it with `{}`", add_user(name)));
    };
    if user.uid.is_root() {
        return Err(format!("user \"{name}\" is root: name one without privileges"));
    }
    Ok((user.uid.as_raw(), user.gid.as_raw()))
}

fn add_user(name: &str) -> String {
    if cfg!(target_os = "freebsd") {
        format!("pw useradd {name} -d /var/empty -s /usr/sbin/nologin")
    } else if cfg!(target_os = "openbsd") {
        format!("useradd -d /var/empty -s /sbin/nologin -L daemon {name}")
    } else {
        format!("useradd --system --home-dir / --shell /usr/sbin/nologin {name}")
    }
}

/// Makes sure that the directory exists and that only root can write to it; makes it when `make`.
///
/// # Errors
/// A line that says what is wrong and which command mends it.
pub fn empty_directory(path: &str, make: bool) -> Result<(), String> {
    if make {
        let made = fs::create_dir_all(Path::new(path).parent().unwrap_or(Path::new("/")))
            .and_then(|()| fs::DirBuilder::new().mode(0o555).create(path));
        match made {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("chroot {path}: {e}"));
            }
            Ok(()) | Err(_) => {}
        }
    }
    let how = format!("make it with `install -d -o 0 -g 0 -m 0555 {path}`");
    let meta = fs::symlink_metadata(path).map_err(|e| format!("chroot {path}: {e}: {how}"))?;
    if !meta.is_dir() {
        return Err(format!("chroot {path} is no directory: {how}"));
    }
    if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
        return Err(format!("chroot {path} is writable by others than root: {how}"));
    }
    Ok(())
}
