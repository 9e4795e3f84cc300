//! An engine that was taken over, against a real parent with a fake kernel, and with the real one.
//!
//! Whatever it sends, the parent lives on, and the kernel holds at most routes between interfaces
//! that the administrator configured.

mod forged;
mod frames;
mod life;
mod side;

#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
#[path = "../live/net/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the live tests share it; each uses a part")]
mod net;

use mcast_proxy::config::model::{Config, InterfaceBlock, Overrides, Pattern, Role, SourceMatch};

/// The interfaces of every test; `secret0` is not configured.
const UP: u32 = 11;
const DOWN: u32 = 12;
const DISABLED: u32 = 13;
const ONLY_IP4: u32 = 14;
const SECRET: u32 = 15;
const INTERFACES: [(u32, &str); 5] =
    [(UP, "up0"), (DOWN, "down0"), (DISABLED, "off0"), (ONLY_IP4, "four0"), (SECRET, "secret0")];

fn block(name: &str, role: Role, ipv6: Option<bool>) -> InterfaceBlock {
    InterfaceBlock {
        name: Pattern(name.into()),
        role,
        overrides: Overrides { ipv6, ..Overrides::default() },
        threshold: None,
        sources: Vec::new(),
        rules: Vec::new(),
        boundaries: Vec::new(),
        static_groups: Vec::new(),
        groups: Vec::new(),
        preference: None,
    }
}

fn config() -> Config {
    Config {
        defaults: Overrides { ipv6: Some(true), ..Overrides::default() },
        max_routes: Some(4),
        interfaces: vec![
            block("up0", Role::Upstream, None),
            block("down0", Role::Downstream, None),
            block("off0", Role::Disabled, None),
            block("four0", Role::Downstream, Some(false)),
        ],
        ..Config::default()
    }
}

fn mroute(from: &str, to: &str) -> mcast_proxy::config::model::Statement {
    mcast_proxy::config::model::Statement::Mroute(mcast_proxy::config::model::Mroute {
        from: Pattern(from.into()),
        source: SourceMatch::Any,
        group: mcast_proxy::config::model::GroupSet::Net("239.1.1.1/32".parse().unwrap()),
        to: vec![Pattern(to.into())],
    })
}
