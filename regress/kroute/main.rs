//! kroute through its public interface: the real kernel in network namespaces, and the fake one as
//! each system's.

#[cfg(target_os = "linux")]
mod document;
#[cfg(target_os = "linux")]
mod examples;
#[cfg(target_os = "linux")]
mod kernel_table;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod monitor;
#[cfg(target_os = "linux")]
#[path = "../live/net/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the live tests use it whole")]
mod net;
mod route_messages;
#[cfg(target_os = "linux")]
mod router;
mod table;
