//! The engine's core through its public interface, with virtual time.

mod explain;
mod router;
mod scenarios;
mod state_table;
