//! mcast-proxy: an IGMP/MLD proxy (RFC 4605) with static multicast routing.
//!
//! Who may do what:
//!
//! | module | runs in | may |
//! | --- | --- | --- |
//! | [`wire`] | engine | turn bytes into meaning and back; no I/O |
//! | [`engine::core`] | engine | decide; no I/O, no clock, no log |
//! | [`engine`] | engine | read and write the descriptors that it was given |
//! | [`imsg`] | both | carry what crosses a process boundary |
//! | [`config`] | parent, `mcast-proxy -n` | read the configuration files |
//! | [`kroute`] | parent, or alone as a library | change kernel multicast routing |
//! | [`parent`] | parent | start, validate, send, supervise |
//! | [`ctl`] | mcast-proxyctl | talk to the control socket |
//! | [`sys`] | both | enter sandboxes, spawn, log, tell the time |
#![deny(unsafe_code)]

pub mod config;
pub mod ctl;
pub mod engine;
pub mod imsg;
pub mod kroute;
pub mod parent;
pub mod sys;
pub mod wire;
