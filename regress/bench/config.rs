//! Prints the seconds that reading a configuration of 100,000 lines takes.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mcast_proxy::config::{Files, load_from};

const LINES: u32 = 100_000;

/// One text, from memory.
struct Text(String);

impl Files for Text {
    fn read(&mut self, path: &Path) -> Result<(PathBuf, Vec<u8>), String> {
        Ok((path.to_owned(), self.0.clone().into_bytes()))
    }

    fn glob(&mut self, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

fn measure(what: &str, line: impl Fn(u32) -> String) {
    let text = (0..LINES).fold(String::new(), |mut text, n| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line(n));
        text
    });
    let start = Instant::now();
    let read = load_from(&mut Text(text), Path::new("bench"), &[]);
    let seconds = start.elapsed().as_secs_f64();
    match read {
        Ok(_) => println!("config: {LINES} lines of {what}: {seconds:.3} s"),
        Err(errors) => println!("config: {what}: {errors}"),
    }
}

/// 225.0.0.0 onward.
fn group(n: u32) -> std::net::Ipv4Addr {
    (0xe100_0000 + n).into()
}

fn main() {
    measure("static routes", |n| {
        format!("mroute from em0 source 10.0.0.1 group {} to em1 em2", group(n))
    });
    measure("static routes both ways", |n| {
        format!("mroute from em{} group {} to em{}", n % 2, group(n), 1 - n % 2)
    });
    measure("interfaces", |n| {
        format!("interface em{n} {{ downstream; threshold 5; fast-leave yes }}")
    });
    measure("rules in a block", |n| match n {
        0 => "interface em0 { downstream".to_owned(),
        _ if n == LINES - 1 => "}".to_owned(),
        _ => format!("\tallow group {} source 10.0.0.0/8", group(n)),
    });
    measure("memberships by macros", |n| match n {
        0 => "ext = \"em0\"".to_owned(),
        _ => format!("mgroup from $ext group {}\t# one", group(n)),
    });
}
