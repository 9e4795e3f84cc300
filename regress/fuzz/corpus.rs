//! Runs every fuzz target on its corpus and on seeded mutations of that, as an ordinary test.
//!
//! A target is a file of `src/bin`, which cargo-fuzz finds, and a line of `targets!` here; its corpus
//! is the folder of its name in `corpus`. Here this crate stands in for libfuzzer and for the targets'
//! library.

use std::path::Path;

extern crate self as libfuzzer_sys;
extern crate self as mcast_proxy_fuzz;

#[path = "src/frames.rs"]
#[expect(unreachable_pub, reason = "part of a library elsewhere")]
mod frames;
#[path = "src/message.rs"]
#[expect(unreachable_pub, reason = "part of a library elsewhere")]
mod message;
#[path = "../engine/sequence/mod.rs"]
#[expect(unreachable_pub, unused_imports, dead_code, reason = "part of a library elsewhere")]
mod sequence;

macro_rules! targets {
    ($($name:ident $path:literal $mutations:expr,)*) => {
        $(
            #[path = $path]
            #[expect(unused_attributes, reason = "the file is also a crate, without main")]
            mod $name;

            #[test]
            fn $name() {
                fuzz(stringify!($name), $name::run, $mutations);
            }
        )*
        const TARGETS: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    config "src/bin/config.rs" MUTATIONS,
    core "src/bin/core.rs" MUTATIONS / 200,
    notices "src/bin/notices.rs" MUTATIONS / 4,
    orders "src/bin/orders.rs" MUTATIONS / 4,
    procfs "src/bin/procfs.rs" MUTATIONS,
    requests "src/bin/requests.rs" MUTATIONS / 4,
    route_messages "src/bin/route_messages.rs" MUTATIONS,
    time_codes "src/bin/time_codes.rs" MUTATIONS,
    upcalls "src/bin/upcalls.rs" MUTATIONS,
    wire_igmp "src/bin/wire_igmp.rs" MUTATIONS,
    wire_mld "src/bin/wire_mld.rs" MUTATIONS,
}

/// Makes the body of a target a function; below the targets, so that they have to import it.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:expr) => {
        pub(super) fn run($bytes: &[u8]) {
            $body
        }
    };
}

/// Mutations of a target whose runs are short.
const MUTATIONS: u32 = 20_000;
/// Octets of a mutated input at most.
const LONGEST: usize = 2048;

/// No target of cargo-fuzz is left out here.
#[test]
fn every_target_is_run() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("regress/fuzz/src/bin");
    let files = std::fs::read_dir(files).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<_> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    found.sort_unstable();
    assert_eq!(found, TARGETS);
}

fn fuzz(name: &str, run: fn(&[u8]), mutations: u32) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regress/fuzz/corpus").join(name);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort_unstable();
    assert!(!files.is_empty());
    let corpus: Vec<_> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for (path, input) in files.iter().zip(&corpus) {
        checked(run, input, &path.display());
    }
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for round in 0..mutations {
        let mut input = corpus[chance.below(corpus.len())].clone();
        for _ in 0..=chance.below(4) {
            mutate(&mut input, &corpus, &mut chance);
        }
        input.truncate(LONGEST);
        checked(run, &input, &format_args!("mutation {round}"));
    }
}

/// Runs a target; a panic is told with the input, so that it can be kept.
fn checked(run: fn(&[u8]), input: &[u8], what: &dyn std::fmt::Display) {
    let result = std::panic::catch_unwind(|| run(input));
    assert!(result.is_ok(), "{what}: {input:02x?}");
}

/// xorshift64*: the same mutations in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % bound.max(1)
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// One change of the kind that libfuzzer makes.
fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(input.len());
    match (chance.below(8), input.get_mut(at)) {
        (0, Some(octet)) => *octet ^= 1 << chance.below(8),
        (1, Some(octet)) => *octet = chance.octet(),
        (2, Some(octet)) => *octet = [0, 1, 0x7f, 0x80, 0xff][chance.below(5)],
        (3, Some(octet)) => *octet = octet.wrapping_add(1),
        (4, Some(_)) => input.truncate(at),
        (5, Some(_)) => drop(input.remove(at)),
        (6, Some(_)) => {
            let other = &corpus[chance.below(corpus.len())];
            input.truncate(at);
            input.extend_from_slice(other.get(at..).unwrap_or_default());
        }
        (_, Some(_) | None) => input.insert(at, chance.octet()),
    }
}
