//! The engine's core through its public interface, with virtual time.

mod clauses;
mod explain;
mod router;
mod scenarios;
mod seen;
#[expect(unreachable_pub, reason = "part of a library elsewhere")]
mod sequence;
mod sequences;
mod state_table;
