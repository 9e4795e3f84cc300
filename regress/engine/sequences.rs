//! Random sequences of operations against the models, on the kernels of all systems: the same ones in
//! each run. `MCAST_PROXY_SEQUENCES` says how many there are for each kernel.

use std::panic::catch_unwind;

use crate::sequence::{APART, Behaviour, LENGTH, run, told};

/// Sequences for each kernel in an ordinary run.
const SEQUENCES: u64 = 6;
/// Operations of a sequence at most.
const OPERATIONS: usize = 150;

type Operation = [u8; LENGTH];

/// Random operations, the first octet of each below `codes`.
fn operations(seed: u64, codes: u8) -> Vec<Operation> {
    // xorshift64*.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut octet = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
    };
    let count = 1 + usize::from(octet()) * OPERATIONS / 256;
    (0..count).map(|_| [octet() % codes, octet(), octet(), octet()]).collect()
}

fn fails(behaviour: Behaviour, operations: &[Operation]) -> bool {
    catch_unwind(|| run(behaviour, operations.as_flattened())).is_err()
}

/// Leaves out operations, the fewer at once the longer it goes on, while the rest still fails.
fn shortest(behaviour: Behaviour, mut operations: Vec<Operation>) -> Vec<Operation> {
    let mut length = operations.len();
    while length > 0 {
        let mut at = 0;
        while at < operations.len() {
            let mut rest = operations.clone();
            rest.drain(at..(at + length).min(operations.len()));
            if fails(behaviour, &rest) {
                operations = rest;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    operations
}

fn check(behaviour: Behaviour, codes: u8) {
    let said = std::env::var("MCAST_PROXY_SEQUENCES").ok();
    let count = said.map_or(SEQUENCES, |n| n.parse().expect("a number"));
    for seed in 1..=count {
        let operations = operations(seed, codes);
        if fails(behaviour, &operations) {
            let operations = shortest(behaviour, operations);
            let octets = operations.as_flattened();
            eprintln!("seed {seed}, shortened: {octets:?}\n{}", told(octets));
            run(behaviour, octets);
        }
    }
}

macro_rules! kernels {
    ($($name:ident $apart:ident $behaviour:ident)*) => { $(
        #[test]
        fn $name() {
            check(Behaviour::$behaviour, APART);
        }

        /// With what makes the families differ.
        #[test]
        fn $apart() {
            check(Behaviour::$behaviour, APART + 3);
        }
    )* };
}

kernels! {
    linux linux_apart Linux
    openbsd openbsd_apart OpenBsd
    freebsd freebsd_apart FreeBsd
}

/// What an engine before installed is not deleted while it is being told of.
#[test]
fn static_groups_keep_their_routes_over_the_death_of_an_engine() {
    for _ in 0..8 {
        // A packet arrives on st0, d1 has static groups, and two engines die.
        let operations = [[22, 5, 2, 1], [50, 10, 10, 10], [59, 0, 0, 0], [59, 0, 0, 0]];
        run(Behaviour::OpenBsd, operations.as_flattened());
    }
}
