//! Sandbox, spawn, log, time, poll loop: what differs between systems outside kroute.

pub mod time;
