//! The arguments of join, leave, add and remove.

use ipnet::IpNet;

use crate::config::model::{
    GroupSet, Mgroup, Mroute, Pattern, SourceMatch, Statement, StaticGroup,
};
use crate::config::{parse_address, parse_group, parse_name, parse_net, parse_scope, parse_source};

/// `interface group[/len] [source]`.
///
/// # Errors
/// What is wrong, for the user.
pub fn join(words: &[String]) -> Result<Statement, String> {
    let (name, group, source) = match words {
        [name, group] => (name, group, None),
        [name, group, source] => {
            let address = parse_address(source)?;
            (name, group, parse_source(source)?.map(|_| address))
        }
        _ => return Err("an interface, a group and perhaps a source are needed".into()),
    };
    let group = StaticGroup { group: parse_group(group)?, source };
    Ok(Statement::Join(Mgroup { from: parse_name(name)?, group }))
}

/// `interface [except net,...] [source[/len]] group[/len] [mask | scope] interface ...`.
///
/// # Errors
/// What is wrong, for the user.
pub fn route(words: &[String]) -> Result<Statement, String> {
    let route = any_route(words)?;
    if route.to.is_empty() {
        return Err("an outgoing interface is needed".into());
    }
    Ok(Statement::Mroute(route))
}

/// As [`route`], but without outgoing interfaces the whole route is meant.
///
/// # Errors
/// What is wrong, for the user.
pub fn whole_route(words: &[String]) -> Result<Statement, String> {
    any_route(words).map(Statement::Mroute)
}

fn any_route(words: &[String]) -> Result<Mroute, String> {
    let [from, words @ ..] = words else {
        return Err("an interface is needed".into());
    };
    let (source, words) = source(words)?;
    let (group, words) = group(words)?;
    let to: Vec<Pattern> = words.iter().map(|w| parse_name(w)).collect::<Result<_, _>>()?;
    Ok(Mroute { from: parse_name(from)?, source, group, to })
}

/// Takes the sources off: `except` with networks, or what is not a group, or the unspecified address
/// before a group.
fn source(words: &[String]) -> Result<(SourceMatch, &[String]), String> {
    if let [except, nets, rest @ ..] = words
        && except == "except"
    {
        let nets: Vec<IpNet> = nets.split(',').map(parse_net).collect::<Result<_, _>>()?;
        return Ok((SourceMatch::Except(nets), rest));
    }
    match words {
        [first, rest @ ..] if is_source(first, rest.first()) => {
            Ok((SourceMatch::of(parse_source(first)?), rest))
        }
        _ => Ok((SourceMatch::Any, words)),
    }
}

fn is_source(word: &str, next: Option<&String>) -> bool {
    parse_net(word).is_ok_and(|net| {
        let group_follows = next.is_some_and(|next| parse_net(next).is_ok());
        !net.addr().is_multicast() && (group_follows || !net.addr().is_unspecified())
    })
}

/// Takes the groups off: a group or network of groups; where that is `::`, scopes may follow, a mask
/// or names.
fn group(words: &[String]) -> Result<(GroupSet, &[String]), String> {
    let [group, rest @ ..] = words else {
        return Err("a group is needed".into());
    };
    let every_ip6 = group == "::";
    let group = GroupSet::Net(parse_group(group)?);
    let is_scope = |word: &str| word.contains("..") || word.parse::<u64>().is_ok();
    match rest {
        [scope, rest @ ..] if every_ip6 && (!rest.is_empty() || is_scope(scope)) => {
            match parse_scope(scope) {
                Ok(mask) => Ok((GroupSet::Scopes(mask), rest)),
                Err(why) if is_scope(scope) => Err(why),
                Err(_) => Ok((group, words.get(1..).unwrap_or_default())),
            }
        }
        _ => Ok((group, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    fn mroute(line: &str) -> Mroute {
        match route(&words(line)).unwrap() {
            Statement::Mroute(route) => route,
            Statement::Join(_) => panic!("a membership"),
        }
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn of(source: SourceMatch, group: GroupSet, to: &[&str]) -> Mroute {
        let to = to.iter().map(|name| Pattern((*name).into())).collect();
        Mroute { from: Pattern("em0".into()), source, group, to }
    }

    #[test]
    fn a_join_has_a_group_and_perhaps_a_source() {
        let join_of = |line| join(&words(line)).unwrap();
        let group = |group, source: Option<&str>| {
            let group =
                StaticGroup { group: net(group), source: source.map(|s| s.parse().unwrap()) };
            Statement::Join(Mgroup { from: Pattern("em0".into()), group })
        };
        assert_eq!(join_of("em0 225.1.2.3"), group("225.1.2.3/32", None));
        assert_eq!(
            join_of("em0 225.1.2.0/28 192.168.1.42"),
            group("225.1.2.0/28", Some("192.168.1.42"))
        );
        assert_eq!(join_of("em0 225.1.2.3 0.0.0.0"), group("225.1.2.3/32", None));
        for bad in [
            "",
            "em0",
            "em0 10.0.0.1",
            "em0 225.1.2.3 x",
            "em0 225.1.2.3 225.1.2.3",
            "em0 225.1.2.3 10.0.0.1 em1",
        ] {
            assert!(join(&words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_route_may_have_a_source() {
        let group = GroupSet::Net(net("225.1.2.0/24"));
        assert_eq!(
            mroute("em0 225.1.2.0/24 em1 em2"),
            of(SourceMatch::Any, group, &["em1", "em2"])
        );
        assert_eq!(
            mroute("em0 192.168.1.42 225.1.2.0/24 em1"),
            of(SourceMatch::Net(net("192.168.1.42/32")), group, &["em1"])
        );
        assert_eq!(
            mroute("em0 10.0.0.0/8 225.1.2.0/24 vlan*"),
            of(SourceMatch::Net(net("10.0.0.0/8")), group, &["vlan*"])
        );
        for any in ["0.0.0.0", "0.0.0.0/0"] {
            let line = format!("em0 {any} 225.1.2.0/24 em1");
            assert_eq!(mroute(&line), of(SourceMatch::Any, group, &["em1"]));
        }
    }

    #[test]
    fn a_route_may_except_sources() {
        let except = SourceMatch::Except(vec![net("192.168.1.0/24"), net("192.168.2.3/32")]);
        let group = GroupSet::Net(net("225.1.2.0/24"));
        let line = "em0 except 192.168.1.0/24,192.168.2.3 225.1.2.0/24 em1";
        assert_eq!(mroute(line), of(except, group, &["em1"]));
    }

    #[test]
    fn a_route_may_be_by_scope() {
        // 65520 is 0xfff0: scopes 4 to 15; RFC 7346 names scope 4 admin-local.
        let scopes = of(SourceMatch::Any, GroupSet::Scopes(0xfff0), &["em1"]);
        assert_eq!(mroute("em0 :: :: 65520 em1"), scopes);
        assert_eq!(mroute("em0 :: 0xfff0 em1"), scopes);
        assert_eq!(mroute("em0 :: admin-local.. em1"), scopes);
        let all = of(SourceMatch::Any, GroupSet::Net(net("ff00::/8")), &["em1"]);
        assert_eq!(mroute("em0 :: em1"), all);
    }

    #[test]
    fn a_route_needs_its_parts() {
        let bad = [
            "",
            "em0",
            "em0 225.1.2.3",
            "em0 em1",
            "em0 except 225.1.2.3 em1",
            "em0 10.0.0.1 em1",
            "em0 10.0.0.1/24 225.1.2.3 em1",
            "em0 :: 70000 em1",
            "em0 :: no-scope.. em1",
        ];
        for line in bad {
            assert!(route(&words(line)).is_err(), "{line}");
        }
        let whole = Statement::Mroute(of(
            SourceMatch::Net(net("10.0.0.1/32")),
            GroupSet::Net(net("225.1.2.3/32")),
            &[],
        ));
        assert_eq!(whole_route(&words("em0 10.0.0.1 225.1.2.3")), Ok(whole));
        assert!(route(&words("em0 10.0.0.1 225.1.2.3")).is_err());
        let scopes = Statement::Mroute(of(SourceMatch::Any, GroupSet::Scopes(0xfff0), &[]));
        assert_eq!(whole_route(&words("em0 :: admin-local..")), Ok(scopes.clone()));
        assert_eq!(whole_route(&words("em0 :: :: 65520")), Ok(scopes));
    }
}
