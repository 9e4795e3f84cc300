//! Printing and parsing are inverse on random models; no text makes the parser panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mcast_proxy::config::model::{
    Config, FastLeave, GroupSet, InterfaceBlock, Mgroup, Mroute, Overrides, Pattern, QuerierMode,
    Role, Rule, SourceMatch, SourceNet, StaticGroup, WrongVif,
};
use mcast_proxy::config::{self, keywords};
use mcast_proxy::sys::time::Millis;
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::parse;

fn net(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).unwrap().trunc()
}

/// Groups that may be forwarded: 225.0.0.0 to 239.255.255.255 and scopes 4 to 14.
fn group(length: std::ops::RangeInclusive<u8>) -> impl Strategy<Value = IpNet> {
    let v4 = (225_u8..=239, any::<[u8; 3]>(), length)
        .prop_map(|(a, [b, c, d], l)| net(Ipv4Addr::new(a, b, c, d).into(), l));
    let v6 =
        (0_u16..=15, 4_u16..=14, any::<u64>(), 112_u8..=128).prop_map(|(flags, scope, id, l)| {
            let first = 0xff00 | flags << 4 | scope;
            net(Ipv6Addr::from_bits(u128::from(first) << 112 | u128::from(id)).into(), l.max(116))
        });
    prop_oneof![v4, v6]
}

fn source_of(group: IpNet) -> impl Strategy<Value = IpNet> {
    (0x0100_0000_u32..0xdfff_ffff, 8_u8..=32).prop_map(move |(bits, length)| match group {
        IpNet::V4(_) => net(Ipv4Addr::from_bits(bits).into(), length),
        IpNet::V6(_) => {
            net(Ipv6Addr::from_bits(0x2001 << 112 | u128::from(bits)).into(), 96 + length)
        }
    })
}

fn overrides() -> impl Strategy<Value = Overrides> {
    let flags = vec(of(any::<bool>()), 6);
    let counts = (of(1_u8..=3), of(1_u8..=2), of(1_u8..=7), of(1_u8..=7), of(1_u8..=7));
    let sizes = (of(1_u32..=4_194_304), of(1_u32..=65_535));
    let times = (
        of(20_000_u32..=31_744_000),
        of(100_u32..=9_999),
        of(100_u32..=3_174_000),
        of(100_u32..=31_744_000),
        of(4_000_u32..=180_000),
    );
    let words = (
        of(select(vec![QuerierMode::Auto, QuerierMode::Always, QuerierMode::Never])),
        of(select(vec![FastLeave::No, FastLeave::Yes, FastLeave::Immediate])),
        of(select(vec![WrongVif::Ignore, WrongVif::Log, WrongVif::Follow])),
    );
    (flags, counts, sizes, times, words).prop_map(|(flags, counts, sizes, times, words)| {
        Overrides {
            ipv4: flags[0],
            ipv6: flags[1],
            igmp_version: counts.0,
            mld_version: counts.1,
            query_interval: times.0.map(Millis),
            query_response_interval: times.1.map(Millis),
            last_member_query_interval: times.2.map(Millis),
            last_member_query_count: counts.2,
            startup_query_interval: times.3.map(Millis),
            startup_query_count: counts.3,
            robustness: counts.4,
            querier: words.0,
            forward_non_querier: flags[2],
            fast_leave: words.1,
            require_router_alert: flags[3],
            verify_source_subnet: flags[4],
            max_groups: sizes.0,
            max_sources: sizes.1,
            wrongvif: words.2,
            mrdisc: flags[5],
            mrdisc_interval: times.4.map(Millis),
        }
    })
}

fn static_group() -> impl Strategy<Value = StaticGroup> {
    group(20..=32).prop_flat_map(|group| {
        let source = of(source_of(group).prop_map(|net| net.addr()));
        source.prop_map(move |source| StaticGroup { group, source })
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    (any::<bool>(), group(8..=32)).prop_flat_map(|(allow, group)| {
        of(source_of(group)).prop_map(move |source| Rule { allow, group, source })
    })
}

fn group_set() -> impl Strategy<Value = GroupSet> {
    prop_oneof![group(8..=32).prop_map(GroupSet::Net), (16_u16..).prop_map(GroupSet::Scopes)]
}

/// A distinct list, in any order.
fn distinct<T: PartialEq + std::fmt::Debug>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<T>> {
    vec(item, 0..4).prop_map(|mut all| {
        let mut n = 0;
        while n < all.len() {
            if all[..n].contains(&all[n]) { drop(all.remove(n)) } else { n += 1 }
        }
        all
    })
}

fn block(index: usize) -> impl Strategy<Value = InterfaceBlock> {
    let name = select(vec!["em", "a-b.", "x y", "\"q\"", "é", "#", "12", "vlan"])
        .prop_map(move |stem| format!("{}{index}", stem.replace(' ', "\\")));
    let name = (name, select(vec!["", "*", "+"])).prop_map(|(name, end)| Pattern(name + end));
    let role = select(vec![Role::Upstream, Role::Downstream, Role::Static, Role::Disabled]);
    let source = prop_oneof![
        Just(SourceNet::Any),
        group(8..=8).prop_flat_map(source_of).prop_map(SourceNet::Net)
    ];
    let lists = (distinct(source), vec(rule(), 0..4), distinct(group_set()));
    let lists = (lists, distinct(static_group()), distinct(group(8..=32)));
    (name, role, overrides(), of(1_u8..), lists).prop_map(
        move |(name, role, overrides, threshold, ((sources, rules, boundaries), joins, groups))| {
            let up = role == Role::Upstream;
            InterfaceBlock {
                name,
                role,
                overrides,
                threshold,
                sources,
                rules,
                boundaries,
                static_groups: if role == Role::Downstream { joins } else { Vec::new() },
                groups: if up { groups } else { Vec::new() },
                preference: up.then(|| u8::try_from(index + 1).unwrap()),
            }
        },
    )
}

/// Routes from interfaces of the first kind to such of the second: no loops.
fn mroute() -> impl Strategy<Value = Mroute> {
    let any_or_except = |group: IpNet| {
        prop_oneof![
            Just(SourceMatch::Any),
            source_of(group).prop_map(SourceMatch::Net),
            vec(source_of(group), 1..3).prop_map(|mut nets| {
                nets.dedup();
                SourceMatch::Except(nets)
            }),
        ]
    };
    let to = btree_set(0..6_u8, 1..4);
    (0..3_u8, group_set(), to).prop_flat_map(move |(from, group, to)| {
        let family = match group {
            GroupSet::Net(net) => net,
            GroupSet::Scopes(_) => "ff00::/8".parse().unwrap(),
        };
        let to: Vec<Pattern> = to.iter().map(|n| Pattern(format!("out{n}"))).collect();
        any_or_except(family).prop_map(move |source| Mroute {
            from: Pattern(format!("in{from}")),
            source,
            group,
            to: to.clone(),
        })
    })
}

fn config() -> impl Strategy<Value = Config> {
    let globals = (of(1_u32..=4_194_304), of(1_000_u32..=86_400_000), distinct(group(8..=32)));
    let names = (of("[a-z_][a-z0-9_.-]{0,31}"), of("/[ -~]{0,20}"));
    let blocks = (0..6_usize).prop_flat_map(|n| (0..n).map(block).collect::<Vec<_>>());
    let join = static_group().prop_map(|group| Mgroup { from: Pattern("host0".into()), group });
    (overrides(), globals, names, blocks, distinct(join), vec(mroute(), 0..4)).prop_map(
        |(
            defaults,
            (max_routes, timeout, ssm_ranges),
            (user, chroot),
            interfaces,
            mgroups,
            routes,
        )| {
            let mut config =
                Config { defaults, max_routes, ssm_ranges, user, chroot, ..Config::default() };
            config.route_timeout = timeout.map(Millis);
            (config.interfaces, config.mgroups) = (interfaces, mgroups);
            for route in routes {
                let same = |r: &Mroute| (&r.source, &r.group) == (&route.source, &route.group);
                if !config.mroutes.iter().any(same) {
                    config.mroutes.push(route);
                }
            }
            config
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn print_and_parse_are_inverse(config in config()) {
        let text = config::print(&config);
        let again = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(again.config, config, "{}", text);
    }

    #[test]
    fn nothing_changed_is_no_difference(config in config()) {
        prop_assert_eq!(config::diff(&config, &config), Vec::<String>::new());
    }

    #[test]
    fn no_words_panic(text in vec(prop_oneof![
        5 => select(keywords().collect::<Vec<_>>()).prop_map(str::to_owned),
        5 => select(vec!["{", "}", ";", "\n", "=", ",", "\"", "'", "\\", "$a", "a", "em0", "#", "::"])
            .prop_map(str::to_owned),
        2 => select(vec!["225.0.0.1", "10.0.0.0/8", "ff1e::/16", "65520", "10", "..", "a="])
            .prop_map(str::to_owned),
        1 => ".{0,4}",
    ], 0..60)) {
        let _ = parse(text.join(" "));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse(bytes);
    }
}
