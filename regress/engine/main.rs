//! The engine's core through its public interface, with virtual time.

mod state_table;
