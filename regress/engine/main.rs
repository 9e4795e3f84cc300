//! The engine's core through its public interface, with virtual time.

mod router;
mod scenarios;
mod state_table;
