//! Statements added and removed at run time, the difference between configurations, reload.

use std::collections::BTreeSet;

use mcast_proxy::config::model::{Config, Mgroup, Mroute, Pattern, SourceMatch, Statement};
use mcast_proxy::config::{Change, diff, keep_run_time, note_run_time, print};

use crate::parse;

fn config(text: &str) -> Config {
    parse(text).unwrap_or_else(|e| panic!("{e}")).config
}

fn mroute(text: &str) -> Statement {
    let route: Mroute = config(text).mroutes.remove(0);
    Statement::Mroute(route)
}

fn join(text: &str) -> Statement {
    let join: Mgroup = config(text).mgroups.remove(0);
    Statement::Join(join)
}

const BASE: &str = "\
interface up { upstream }
interface down { downstream }
interface off { disabled }
interface \"vlan*\" { downstream; threshold 3 }
mroute from up group 225.0.0.0/24 to a
mroute from up source 10.0.0.1 group 225.1.0.1 to a
";

/// What the configuration has more than the base, printed.
fn beyond_base(changed: &Config) -> Vec<String> {
    let base = print(&config(BASE));
    print(changed).lines().filter(|l| !base.contains(l)).map(str::to_owned).collect()
}

#[test]
fn added_statements_are_those_of_the_file() {
    let mut now = config(BASE);
    now.add(&mroute("mroute from up group 226.0.0.1 to b")).unwrap();
    now.add(&join("mgroup from up group 226.0.0.1")).unwrap();
    now.add(&join("mgroup from down group 226.0.0.2")).unwrap();
    assert_eq!(
        beyond_base(&now),
        [
            "\tstatic-group 226.0.0.2",
            "mgroup from up group 226.0.0.1",
            "mroute from up group 226.0.0.1 to b",
        ]
    );
    assert_eq!(config(&print(&now)), now);
    now.remove(&mroute("mroute from up group 226.0.0.1 to b")).unwrap();
    now.remove(&join("mgroup from up group 226.0.0.1")).unwrap();
    now.remove(&join("mgroup from down group 226.0.0.2")).unwrap();
    assert_eq!(now, config(BASE));
}

#[test]
fn a_join_below_a_pattern_gets_a_block_of_its_own() {
    let mut now = config(BASE);
    let added = join("mgroup from vlan5 group 226.0.0.2");
    now.add(&added).unwrap();
    let own = now.resolve("vlan5").unwrap();
    assert_eq!((own.threshold, own.static_groups.len()), (3, 1));
    assert_eq!(now.resolve("vlan6").unwrap().static_groups.len(), 0);
    assert_eq!(config(&print(&now)), now);
    now.remove(&added).unwrap();
    assert_eq!(now, config(BASE));
}

#[test]
fn outgoing_interfaces_are_added_to_a_route_and_taken_out() {
    let mut now = config(BASE);
    now.add(&mroute("mroute from up group 225.0.0.0/24 to b c")).unwrap();
    assert_eq!(beyond_base(&now), ["mroute from up group 225.0.0.0/24 to a b c"]);
    now.remove(&mroute("mroute from up group 225.0.0.0/24 to a b")).unwrap();
    assert_eq!(beyond_base(&now), ["mroute from up group 225.0.0.0/24 to c"]);
    let Statement::Mroute(mut route) = mroute("mroute from up group 225.0.0.0/24 to c") else {
        panic!("not a route");
    };
    route.to.clear();
    now.remove(&Statement::Mroute(route)).unwrap();
    assert_eq!(now.mroutes.len(), 1);

    let twice = "mroute from up group 225.0.0.0/24 to a b\n";
    let mut now = config(&format!("{twice}{}", twice.replace("a b", "b a")));
    now.remove(&mroute("mroute from up group 225.0.0.0/24 to a")).unwrap();
    now.remove(&mroute("mroute from up group 225.0.0.0/24 to b")).unwrap();
    assert_eq!(now.mroutes, []);
}

#[test]
fn what_the_file_refuses_is_refused_at_run_time() {
    let refused = |statement: &Statement| {
        let mut now = config(BASE);
        let why = now.add(statement).unwrap_err();
        assert_eq!(now, config(BASE), "changed although refused");
        why
    };
    let exists = "there is a static route for the same source and group: ";
    let exact = "mroute from up source 10.0.0.1 group 225.1.0.1 to a";
    assert_eq!(refused(&mroute(exact)), format!("{exists}{exact}"));
    let other = mroute("mroute from b source 10.0.0.1 group 225.1.0.1 to a");
    assert_eq!(refused(&other), format!("{exists}{exact}"));
    assert_eq!(refused(&mroute("mroute from up group 226.0.0.1 to off")), "'off' is disabled");
    assert_eq!(refused(&join("mgroup from off group 226.0.0.1")), "'off' is disabled");
    let back = mroute("mroute from a group 225.0.0.7 to up");
    assert_eq!(refused(&back), "a loop among static routes: a -> up -> a");
    let Statement::Join(mut wide) = join("mgroup from up group 226.0.0.1") else {
        panic!("not a join");
    };
    wide.group.group = "226.0.0.0/19".parse().unwrap();
    assert_eq!(refused(&Statement::Join(wide)), "226.0.0.0/19 is more than 4096 groups");
    let specific = join("mgroup from up group 232.0.0.1");
    assert_eq!(refused(&specific), "232.0.0.1 is source-specific, and needs a source");
    let Statement::Join(mut odd) = join("mgroup from up group 226.0.0.1") else {
        panic!("not a join");
    };
    odd.group.source = Some("226.0.0.2".parse().unwrap());
    let odd = refused(&Statement::Join(odd));
    assert_eq!(odd, "'226.0.0.2' is multicast and cannot be a source");
    let Statement::Mroute(mut odd) = mroute("mroute from up group 226.0.0.1 to b") else {
        panic!("not a route");
    };
    odd.source = SourceMatch::Net("0.0.0.0/32".parse().unwrap());
    let odd = refused(&Statement::Mroute(odd));
    assert_eq!(odd, "'0.0.0.0' is unspecified and cannot be a source");
    let mut now = config(BASE);
    now.add(&join("mgroup from up group 226.0.0.1")).unwrap();
    let twice = now.add(&join("mgroup from up group 226.0.0.1")).unwrap_err();
    assert_eq!(twice, "this membership is there already");
}

#[test]
fn removing_what_is_not_there_is_refused() {
    let mut now = config(BASE);
    let none = "there is no such static route";
    assert_eq!(now.remove(&mroute("mroute from up group 226.0.0.1 to a")).unwrap_err(), none);
    assert_eq!(now.remove(&mroute("mroute from up group 225.0.0.0/24 to z")).unwrap_err(), none);
    let gone = now.remove(&join("mgroup from up group 226.0.0.1")).unwrap_err();
    assert_eq!(gone, "there is no such membership on 'up'");
    assert_eq!(now, config(BASE));
}

fn added(statement: Statement) -> Change {
    Change { add: true, statement }
}

fn removed(statement: Statement) -> Change {
    Change { add: false, statement }
}

#[test]
fn run_time_changes_survive_a_reload_unless_the_file_says_otherwise() {
    let mut changes = vec![
        removed(mroute("mroute from up group 225.0.0.0/24 to a")),
        added(mroute("mroute from up group 226.0.0.1 to b")),
        added(mroute("mroute from up group 227.0.0.1 to b")),
        added(join("mgroup from down group 226.0.0.2")),
    ];
    let mut new = config(&format!("{BASE}mroute from up group 226.0.0.1 to b\n"));
    assert_eq!(
        keep_run_time(&mut new, &mut changes, |_| Ok(())),
        [
            "stays removed: mroute from up group 225.0.0.0/24 to a",
            "now in the file: mroute from up group 226.0.0.1 to b",
            "kept from run time: mroute from up group 227.0.0.1 to b",
            "kept from run time: mgroup from down group 226.0.0.2",
        ]
    );
    // What the file has made its own goes when the file drops it.
    let mut new = config(BASE);
    assert_eq!(keep_run_time(&mut new, &mut changes, |_| Ok(())).len(), 3);
    assert_eq!(
        beyond_base(&new),
        ["\tstatic-group 226.0.0.2", "mroute from up group 227.0.0.1 to b"]
    );
    let mut new = config("interface b { disabled }\ninterface down { disabled }\n");
    assert_eq!(
        keep_run_time(&mut new, &mut changes, |_| Ok(())),
        [
            "dropped: mroute from up group 227.0.0.1 to b: 'b' is disabled",
            "dropped: mgroup from down group 226.0.0.2: 'down' is disabled",
        ]
    );
    assert_eq!(changes, []);
}

#[test]
fn run_time_changes_are_carried_over_in_their_order() {
    let mut changes = vec![
        added(mroute("mroute from up group 226.0.0.1 to b")),
        added(mroute("mroute from up group 226.0.0.1 to c d")),
        removed(mroute("mroute from up group 226.0.0.1 to b c")),
        added(join("mgroup from up group 226.0.0.1")),
    ];
    let mut new = config(BASE);
    let refuse = |statement: &Statement| match statement {
        Statement::Mroute(_) => Ok(()),
        Statement::Join(_) => Err("no".to_owned()),
    };
    let told = keep_run_time(&mut new, &mut changes, refuse);
    assert_eq!(told[3], "dropped: mgroup from up group 226.0.0.1: no");
    assert_eq!(beyond_base(&new), ["mroute from up group 226.0.0.1 to d"]);
}

/// A statement that a script toggles for years: what is noted does not grow, and says after a reload
/// what was in force before.
fn check_notes(file: &str, words: &[(bool, &str)]) {
    let mut now = config(file);
    let mut changes = Vec::new();
    for (add, to) in words.iter().cycle().take(3 * words.len()) {
        let mut statement = mroute("mroute from up group 226.0.0.1 to x");
        if let Statement::Mroute(route) = &mut statement {
            route.to = to.split_whitespace().map(|name| Pattern(name.into())).collect();
        }
        let done = if *add { now.add(&statement) } else { now.remove(&statement) };
        if let Ok(statement) = done {
            note_run_time(&mut changes, Change { add: *add, statement });
        }
        let (mut again, mut kept) = (config(file), changes.clone());
        keep_run_time(&mut again, &mut kept, |_| Ok(()));
        assert_eq!(outputs(&again), outputs(&now), "after {add} {to} of {words:?}: {changes:?}");
        assert!(changes.len() <= 4, "{changes:?}");
    }
}

/// The outgoing interfaces of each route.
fn outputs(config: &Config) -> Vec<BTreeSet<&str>> {
    config.mroutes.iter().map(|r| r.to.iter().map(|p| p.0.as_str()).collect()).collect()
}

#[test]
fn notes_of_run_time_changes_are_few_and_true() {
    let ops = [
        (true, "a"),
        (true, "b"),
        (true, "a b"),
        (false, "a"),
        (false, "b"),
        (false, "a b"),
        (false, ""),
    ];
    for file in ["", "mroute from up group 226.0.0.1 to a", "mroute from up group 226.0.0.1 to a b"]
    {
        for first in ops {
            for second in ops {
                for third in ops {
                    check_notes(file, &[first, second, third]);
                    check_notes(file, &[(true, "a b"), first, second, third]);
                }
            }
        }
    }
    let joined = |add| Change { add, statement: join("mgroup from up group 226.0.0.1") };
    let mut changes = Vec::new();
    for add in [true, false, true] {
        note_run_time(&mut changes, joined(add));
    }
    assert_eq!(changes, [joined(true)]);
}

#[test]
fn the_difference_has_a_line_for_each_change() {
    let old = config(
        "ipv6 no\nquery-interval 60\ninterface a { upstream; threshold 2 }\n\
         interface b { downstream; allow group 239.0.0.0/8; deny group 238.0.0.0/8 }\n\
         interface c { disabled }\nmgroup from a group 225.0.0.1\n",
    );
    let new = config(
        "ipv6 yes\nmrdisc yes\ninterface d { downstream }\ninterface a { downstream }\n\
         interface b { downstream; deny group 238.0.0.0/8; allow group 239.0.0.0/8; source any }\n\
         mroute from a group 225.0.0.1 to b\n",
    );
    assert_eq!(
        diff(&old, &new),
        [
            "changed: ipv6 no -> ipv6 yes",
            "added: mrdisc yes",
            "removed: query-interval 60",
            "removed: interface c",
            "added: interface d (downstream)",
            "interface a: changed: upstream -> downstream",
            "interface a: removed: threshold 2",
            "interface b: added: source any",
            "interface b: changed: the order of the statements",
            "added: mroute from a group 225.0.0.1 to b",
            "removed: mgroup from a group 225.0.0.1",
        ]
    );
}
