//! Files as they are on disk: who may write to them, what they are, how long they may be.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use mcast_proxy::config::{self, Disk, MAX_ERRORS, MAX_FILE, MAX_STATEMENT};

use crate::parse;

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mcast-proxy-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refusal(path: &Path) -> String {
    let errors = config::load(path, &[]).unwrap_err().to_string();
    errors.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&errors).to_owned()
}

#[test]
fn a_file_that_others_may_write_to_is_refused() {
    let folder = Folder::new("writers");
    let path = folder.file("a.conf", "interface em0 { upstream }\n");
    let mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    mode(0o664);
    assert!(config::load(&path, &[]).is_ok(), "the group is the caller's own");
    mode(0o646);
    assert_eq!(refusal(&path), "can be written by everyone: chmod o-w it");
    mode(0o664);
    // Only root can give the file to another group.
    if chown(&path, None, Some(12345)).is_ok() {
        assert_eq!(refusal(&path), "can be written by group 12345: chmod g-w it");
        mode(0o644);
        assert!(config::load(&path, &[]).is_ok());
    }
}

#[test]
fn what_cannot_be_read_is_said_in_the_systems_words() {
    let folder = Folder::new("unread");
    assert_eq!(refusal(&folder.0.join("none")), "No such file or directory");
    assert_eq!(refusal(&folder.0), "is a directory");
    assert_eq!(refusal(Path::new("/dev/null")), "is not a regular file");
    let file = folder.file("f", "");
    assert_eq!(refusal(&file.join("below")), "Not a directory");
    let large = folder.file("large", "");
    fs::File::options().write(true).open(&large).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert_eq!(refusal(&large), format!("larger than {MAX_FILE} bytes"));
    let wide = folder.file("wide", [0xff, 0xfe, b'i', 0]);
    assert_eq!(refusal(&wide), "is UTF-16: save it as UTF-8");
}

#[test]
fn an_include_is_relative_to_its_file_and_found_through_links() {
    let folder = Folder::new("include");
    fs::create_dir_all(folder.0.join("sub")).unwrap();
    let top = folder.file("a.conf", "include \"sub/b.conf\"\n");
    let below = folder.file("sub/b.conf", "include \"c.conf\"\n");
    let last = folder.file("sub/c.conf", "interface em0 { upstream }\n");
    let real = |p: &Path| p.canonicalize().unwrap();
    let loaded = config::load(&top, &[]).unwrap();
    assert_eq!(loaded.files, [real(&top), real(&below), real(&last)]);
    fs::remove_file(&last).unwrap();
    symlink(&top, &last).unwrap();
    assert!(refusal(&top).contains("includes itself: "), "{}", refusal(&top));
}

#[test]
fn a_running_daemon_reads_only_the_folders_it_knows() {
    let folder = Folder::new("confined");
    fs::create_dir_all(folder.0.join("other")).unwrap();
    folder.file("other/b.conf", "interface em0 { upstream }\n");
    let top = folder.file("a.conf", "include \"other/b.conf\"\n");
    let mut files = Disk { folders: Some(vec![folder.0.canonicalize().unwrap()]) };
    let errors = config::load_from(&mut files, &top, &[]).unwrap_err().to_string();
    assert!(errors.contains("a.conf:1:1: "), "{errors}");
    assert!(errors.contains("not in a folder that files were read from at start"), "{errors}");
}

#[test]
fn a_run_is_bounded() {
    let bomb: String = (1..60).fold("m0 = \"0123456789\"\n".to_owned(), |text, n| {
        text + &format!("m{n} = $m{} $m{}\n", n - 1, n - 1)
    });
    let errors = parse(bomb).unwrap_err().to_string();
    let longer = format!("statement longer than {MAX_STATEMENT} bytes");
    assert!(errors.contains(&longer), "{}", &errors[..200]);
    let errors = parse(format!("user {}\n", "x".repeat(MAX_STATEMENT))).unwrap_err().to_string();
    assert!(errors.contains(&longer), "{}", &errors[..200]);
    let value = "x".repeat(60_000);
    let uses = "user $v\n".repeat(10_000);
    let errors = parse(format!("v = {value}\n{uses}")).unwrap_err();
    assert_eq!(errors.0.len(), MAX_ERRORS + 1);
    assert!(errors.to_string().ends_with("t: too many errors, the rest is not shown"));
    let deep = |n: usize| if n == 0 { String::new() } else { format!("include \"{n}\"\n") };
    let folder = Folder::new("deep");
    for n in 0..=20 {
        folder.file(
            &n.to_string(),
            deep(n).replace(&n.to_string(), &n.saturating_sub(1).to_string()),
        );
    }
    let errors = refusal(&folder.0.join("20"));
    assert!(errors.contains("included more than 16 files deep"), "{errors}");
}
