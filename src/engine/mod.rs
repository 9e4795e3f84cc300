//! The unprivileged process: the loop, the packet sockets and the control server around the core.

pub mod control;
pub mod core;
pub mod packet;
