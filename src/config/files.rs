//! Reading configuration files: who may write to them, how long they may be, patterns.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of one file at most.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Entries of a folder that a pattern is compared with at most.
const MAX_ENTRIES: usize = 65_536;

/// Where the texts come from, so that the parser can run without any file.
pub trait Files {
    /// The path in a form that is the same for the same file, and the file's bytes.
    ///
    /// # Errors
    /// Why it cannot be read, for the user.
    fn read(&mut self, path: &Path) -> Result<(PathBuf, Vec<u8>), String>;

    /// The files that match the pattern (`*` and `?` in the last part), sorted.
    ///
    /// # Errors
    /// Why the folder cannot be read, for the user.
    fn glob(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, String>;
}

/// The files of the system.
#[derive(Debug, Default)]
pub struct Disk {
    /// Where given, only files in these folders can be read.
    pub folders: Option<Vec<PathBuf>>,
}

impl Files for Disk {
    fn read(&mut self, path: &Path) -> Result<(PathBuf, Vec<u8>), String> {
        let identity = self.identify(path)?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|e| explain(&e))?;
        check_writers(&file)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| explain(&e))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(format!("larger than {MAX_FILE} bytes"));
        }
        Ok((identity, bytes))
    }

    fn glob(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let folder = pattern.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        let wanted = pattern.file_name().map(OsString::from).unwrap_or_default();
        let wanted = wanted.to_string_lossy();
        let mut found = Vec::new();
        for (n, entry) in folder.read_dir().map_err(|e| explain(&e))?.enumerate() {
            if n >= MAX_ENTRIES {
                return Err(format!("more than {MAX_ENTRIES} files in {}", folder.display()));
            }
            let name = entry.map_err(|e| explain(&e))?.file_name();
            let text = name.to_string_lossy();
            if matches(&wanted, &text) && (!text.starts_with('.') || wanted.starts_with('.')) {
                found.push(pattern.with_file_name(name));
            }
        }
        found.sort();
        Ok(found)
    }
}

impl Disk {
    fn identify(&self, path: &Path) -> Result<PathBuf, String> {
        let identity = path.canonicalize().map_err(|e| explain(&e))?;
        match &self.folders {
            Some(folders) if !folders.iter().any(|f| identity.parent() == Some(f.as_path())) => {
                Err("not in a folder that files were read from at start: the running daemon can \
                     read no other, restart it"
                    .to_owned())
            }
            Some(_) | None => Ok(identity),
        }
    }
}

/// Refuses what others may write to, and what is no file.
fn check_writers(file: &File) -> Result<(), String> {
    let data = file.metadata().map_err(|e| explain(&e))?;
    if data.is_dir() {
        return Err("is a directory".to_owned());
    }
    if !data.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let own_group = data.gid() == 0 || data.gid() == nix::unistd::getegid().as_raw();
    if data.mode() & 0o002 != 0 {
        return Err("can be written by everyone: chmod o-w it".to_owned());
    }
    if data.mode() & 0o020 != 0 && !own_group {
        return Err(format!("can be written by group {}: chmod g-w it", data.gid()));
    }
    Ok(())
}

/// The system's words for an error, without its number.
fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

/// Whether the pattern has a `*` or `?` in its last part.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().contains(['*', '?']))
}

/// `*` stands for any text, `?` for one character. Time is at most the product of the lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut retry) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            Some(_) | None => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                p = star + 1;
                n = from + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}
