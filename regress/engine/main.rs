//! The engine's core through its public interface, with virtual time.

mod clauses;
mod explain;
mod model;
mod random;
mod router;
mod scenarios;
mod seen;
mod state_table;
