//! The engine's core through its public interface, with virtual time.

mod clauses;
#[expect(dead_code, reason = "others count for all threads")]
#[path = "../counting.rs"]
mod counting;
mod explain;
mod router;
mod scenarios;
mod seen;
#[expect(unreachable_pub, reason = "part of a library elsewhere")]
mod sequence;
mod sequences;
mod state_table;
