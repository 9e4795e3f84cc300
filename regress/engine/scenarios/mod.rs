//! One scenario for each rule of the protocol, in virtual time: each in both families, on a kernel
//! in memory that behaves as each system's does. CLAUSES.md tells which rule is shown where.

use mcast_proxy::wire::Family;

use crate::router::Net;

/// Runs each scenario in every family on every system.
macro_rules! scenarios {
    ($($name:ident)*) => { $(
        mod $name {
            use mcast_proxy::kroute::fake::Behaviour::{FreeBsd, Linux, OpenBsd};
            use mcast_proxy::wire::{V4, V6};

            #[test]
            fn ipv4_linux() {
                super::$name::<V4>(Linux);
            }
            #[test]
            fn ipv4_freebsd() {
                super::$name::<V4>(FreeBsd);
            }
            #[test]
            fn ipv4_openbsd() {
                super::$name::<V4>(OpenBsd);
            }
            #[test]
            fn ipv6_linux() {
                super::$name::<V6>(Linux);
            }
            #[test]
            fn ipv6_freebsd() {
                super::$name::<V6>(FreeBsd);
            }
            #[test]
            fn ipv6_openbsd() {
                super::$name::<V6>(OpenBsd);
            }
        }
    )* };
}

mod discovery;
mod election;
mod forwarding;
mod hosts;
mod limits;
mod memory;
mod queries;
mod reload;
mod reports;
mod upstream;

/// No interface.
const NOWHERE: [u32; 0] = [];

/// An upstream whose sources are [`Net::sources`] and two downstreams, with these words for all, for
/// the upstream and for the first downstream.
fn network<F: Net>(all: &str, up: &str, down: &str) -> String {
    format!(
        "{all}\n\
         interface up0 {{\nupstream\nsource {}\n{up}\n}}\n\
         interface down0 {{\ndownstream\n{down}\n}}\n\
         interface down1 {{\ndownstream\n}}\n",
        F::sources(),
    )
}

/// The same without more words.
fn plain<F: Net>() -> String {
    network::<F>("", "", "")
}

/// Sources by number.
fn sources<F: Net>(numbers: &[u8]) -> Vec<F::Addr> {
    numbers.iter().map(|n| F::source(*n)).collect()
}

/// What the newest version of the family is called in messages for people.
fn protocol<F: Family>() -> &'static str {
    if F::LAYOUT.newest == 3 { "IGMP" } else { "MLD" }
}
