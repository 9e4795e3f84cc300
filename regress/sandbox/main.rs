//! What a confined process cannot do: each thing is tried after the call that confines the real
//! process, one by one, in a process that dies of it or is refused.
//!
//! Each attempt is made three times: by an engine, by a parent, and by a process that nothing
//! confines, which shows that it is the sandbox that denies it.
#![cfg(target_os = "linux")]

#[path = "../live/net/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the live tests share it; each uses a part")]
mod net;

mod attempts;
mod calls;
mod confined;
mod document;
