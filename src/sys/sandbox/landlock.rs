//! Landlock: which files a Linux process may still use, and no network connections of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    make_bitflags,
};

use super::{Error, Files, step};

/// What the loader reads besides the libraries.
const LOADER_CACHE: &str = "/etc/ld.so.cache";
/// An engine's standard output.
const NULL: &str = "/dev/null";

/// Reads its configuration, starts engines, removes its files; nothing else.
///
/// Later versions than 6 would also keep it from the sockets of syslogd and the service manager.
pub(super) fn parent(files: &Files) -> Result<(), Error> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let execute = make_bitflags!(AccessFs::{Execute | ReadFile});
    let mut rules: Vec<(PathBuf, BitFlags<AccessFs>)> = vec![
        (files.executable.clone(), execute),
        (LOADER_CACHE.into(), AccessFs::ReadFile.into()),
        (NULL.into(), make_bitflags!(AccessFs::{ReadFile | WriteFile})),
    ];
    rules.extend(library_folders().into_iter().map(|folder| (folder, execute)));
    rules.extend(files.readable.iter().map(|folder| (folder.clone(), read)));
    rules.extend(files.removable.iter().map(|f| (f.clone(), AccessFs::RemoveFile.into())));
    enforce(step("landlock", ruleset(ABI::V6, Scope::Signal.into()).and_then(|r| add(r, &rules)))?)
}

/// No file, no connection, no signal to others.
pub(super) fn engine() -> Result<(), Error> {
    enforce(step("landlock", ruleset(ABI::V9, Scope::from_all(ABI::V9)))?)
}

fn ruleset(abi: ABI, scope: BitFlags<Scope>) -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(scope)?
        .create()
}

/// Paths that do not exist get no rule.
fn add(
    mut ruleset: RulesetCreated,
    rules: &[(PathBuf, BitFlags<AccessFs>)],
) -> Result<RulesetCreated, RulesetError> {
    for (path, access) in rules {
        if let Ok(fd) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, *access))?;
        }
    }
    Ok(ruleset)
}

/// A kernel without Landlock is none that could be asked; one that has it must enforce it.
fn enforce(ruleset: RulesetCreated) -> Result<(), Error> {
    let status = step("landlock", ruleset.restrict_self())?;
    match (status.landlock, status.ruleset) {
        (LandlockStatus::Available { .. }, RulesetStatus::NotEnforced) => {
            Err(Error::new("landlock", &"the kernel has it and does not enforce it"))
        }
        _ => Ok(()),
    }
}

/// Where the libraries lie that this process, and so an engine, is linked with. Folders, so that an
/// engine starts after an upgrade of a library too.
fn library_folders() -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let executable = fs::read_link("/proc/self/exe").unwrap_or_default();
    maps.lines()
        .filter_map(|line| line.find('/').and_then(|at| line.get(at..)).map(Path::new))
        .filter(|file| **file != executable)
        .filter_map(|file| file.parent().map(Path::to_owned))
        .collect()
}
