//! From the model to text: what is printed parses to the same model.

use std::fmt::Write;

use ipnet::IpNet;

use super::model::{
    Config, GroupSet, InterfaceBlock, Mgroup, Mroute, Overrides, Role, Rule, SourceMatch,
    SourceNet, Statement, StaticGroup,
};
use super::settings::SETTINGS;
use super::value::{Value, always_quote, print_boundary_scope, print_scope, quote, show_net};

/// The configuration as text.
#[must_use]
pub fn print(config: &Config) -> String {
    let mut text = String::new();
    let mut line = |indent: &str, s: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{indent}{s}");
    };
    for statement in globals(config) {
        line("", &statement);
    }
    for block in &config.interfaces {
        line("", &format!("interface {} {{", quote(&block.name.0)));
        for statement in locals(block) {
            line("\t", &statement);
        }
        line("", "}");
    }
    for join in &config.mgroups {
        line("", &join.to_string());
    }
    for route in &config.mroutes {
        line("", &route.to_string());
    }
    text
}

fn settings(values: &Overrides) -> impl Iterator<Item = String> + '_ {
    SETTINGS.iter().filter_map(|s| Some(format!("{} {}", s.word, (s.print)(values)?)))
}

/// The global statements but for blocks, `mgroup` and `mroute`.
pub(super) fn globals(config: &Config) -> Vec<String> {
    let mut lines: Vec<String> = settings(&config.defaults).collect();
    let mut word = |word: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("{word} {value}")));
    };
    word("max-routes", config.max_routes.map(Value::print));
    word("route-timeout", config.route_timeout.map(Value::print));
    for range in &config.ssm_ranges {
        word("ssm-range", Some(show_net(*range)));
    }
    word("user", config.user.as_deref().map(always_quote));
    word("chroot", config.chroot.as_deref().map(always_quote));
    lines
}

/// The statements of a block.
pub(super) fn locals(block: &InterfaceBlock) -> Vec<String> {
    let mut lines: Vec<String> = role(block.role).map(str::to_owned).into_iter().collect();
    lines.extend(settings(&block.overrides));
    lines.extend(block.threshold.map(|n| format!("threshold {n}")));
    lines.extend(block.preference.map(|n| format!("preference {n}")));
    lines.extend(block.sources.iter().map(|source| match source {
        SourceNet::Any => "source any".to_owned(),
        SourceNet::Net(net) => format!("source {}", show_net(*net)),
    }));
    lines.extend(block.groups.iter().map(|net| format!("group {}", show_net(*net))));
    lines.extend(block.rules.iter().map(rule));
    lines.extend(block.boundaries.iter().map(|set| match set {
        GroupSet::Net(net) => format!("boundary {}", show_net(*net)),
        GroupSet::Scopes(mask) => format!("boundary {}", print_boundary_scope(*mask)),
    }));
    lines.extend(block.static_groups.iter().map(|join| format!("static-group {join}")));
    lines
}

/// The keyword; none for the role of a block that names none.
pub(super) const fn role(role: Role) -> Option<&'static str> {
    match role {
        Role::Upstream => Some("upstream"),
        Role::Downstream => Some("downstream"),
        Role::Disabled => Some("disabled"),
        Role::Static => None,
    }
}

fn rule(rule: &Rule) -> String {
    let word = if rule.allow { "allow" } else { "deny" };
    format!("{word} group {}{}", show_net(rule.group), source(rule.source))
}

fn source(source: Option<IpNet>) -> String {
    source.map_or_else(String::new, |net| format!(" source {}", show_net(net)))
}

impl std::fmt::Display for StaticGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", show_net(self.group), source(self.source.map(IpNet::from)))
    }
}

/// An address, a network, or `scope` with the scopes.
impl std::fmt::Display for GroupSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Net(net) => f.write_str(&show_net(net)),
            Self::Scopes(mask) => write!(f, "scope {}", print_scope(mask)),
        }
    }
}

/// The statement, as in the file.
impl std::fmt::Display for Mgroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mgroup from {} group {}", quote(&self.from.0), self.group)
    }
}

/// The statement, as in the file.
impl std::fmt::Display for Mroute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mroute from {}", quote(&self.from.0))?;
        match &self.source {
            SourceMatch::Any => {}
            SourceMatch::Net(net) => write!(f, " source {}", show_net(*net))?,
            SourceMatch::Except(nets) => {
                let nets: Vec<String> = nets.iter().map(|net| show_net(*net)).collect();
                write!(f, " except {}", nets.join(","))?;
            }
        }
        match self.group {
            GroupSet::Net(_) => write!(f, " group {}", self.group)?,
            GroupSet::Scopes(_) => write!(f, " {}", self.group)?,
        }
        f.write_str(" to")?;
        self.to.iter().try_for_each(|name| write!(f, " {}", quote(&name.0)))
    }
}

/// The statement, as in the file.
impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mroute(route) => route.fmt(f),
            Self::Join(join) => join.fmt(f),
        }
    }
}
