//! Prints what the core takes, beside its goals: records a second, octets a record of state, flows
//! decided a second. An argument picks the lines that have it, or `memory` or `routes`.

#[expect(dead_code, reason = "the tests count by thread")]
#[path = "../../counting.rs"]
mod counting;
mod load;
mod memory;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../engine/router.rs"]
mod router;
mod routes;
mod speed;

use mcast_proxy::wire::{V4, V6};

fn main() {
    // Cargo adds an option of its own.
    let part = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    speed::print::<V4>(&part);
    speed::print::<V6>(&part);
    if part.is_empty() || part == "memory" {
        memory::print::<V4>();
        memory::print::<V6>();
    }
    if part.is_empty() || part == "routes" {
        routes::print::<V4>();
        routes::print::<V6>();
    }
}
