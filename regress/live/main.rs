//! Live tests: the real programs on the real kernel, in network namespaces.
//!
//! They run as root, or as an ordinary user who may map subordinate ids (newuidmap); where
//! neither holds they fail and say so.
#![cfg(target_os = "linux")]

mod addresses;
mod changes;
mod drift;
mod interfaces;
mod joins;
mod lacking;
mod load;
mod membership;
mod memory;
#[allow(dead_code, unreachable_pub, reason = "the demo shares it; each uses a part")]
mod net;
mod orders;
mod process;
mod protocol;
mod recovery;
mod reload;
mod service;
mod statics;
mod tables;
mod tunnel;
mod wrongvif;
