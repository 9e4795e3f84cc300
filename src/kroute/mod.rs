//! Kernel multicast routing and the interface table, one file for each system.

mod types;

pub use types::{
    Capabilities, Interface, InterfaceAddress, InterfaceChange, MfcKey, Output, Route, RouteCount,
    RouteKey, Upcall, UpcallKind,
};
