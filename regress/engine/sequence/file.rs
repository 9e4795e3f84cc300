//! The configuration file, as a set of points that it has or not.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use mcast_proxy::config::model::{
    Config, GroupSet, Mgroup, Mroute, Pattern, SourceMatch, Statement, StaticGroup,
};
use mcast_proxy::config::{Files, load_from};
use mcast_proxy::wire::Af;

use super::net::{group, sender};

/// Points that a file can differ in.
pub(super) const POINTS: u32 = 27;
/// The point that sets a threshold.
pub(super) const THRESHOLD: u32 = 21;
/// The point that bounds the table of routes.
pub(super) const BOUNDED: u32 = 19;

struct Text(String);

impl Files for Text {
    fn read(&mut self, path: &Path) -> Result<(PathBuf, Vec<u8>), String> {
        Ok((path.to_owned(), self.0.clone().into_bytes()))
    }

    fn glob(&mut self, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

/// What the file says.
pub(super) fn config(points: u32) -> Config {
    let text = text(points);
    match load_from(&mut Text(text.clone()), Path::new("file"), &[]) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}\n{text}"),
    }
}

fn text(points: u32) -> String {
    let has = |point: u32| points >> point & 1 == 1;
    let near = "boundary 239.255.0.0/16; boundary ff78::ff:0:0/96";
    let deny =
        "deny group 239.1.0.0/16 source 10.9.0.8; deny group ff78::1:0:0/96 source 2001:db8:9::8";
    let mut text = String::from("ipv6 yes\nroute-timeout 60\n");
    let mut block = |name: &str, words: &[(bool, &str)]| {
        let words: Vec<&str> = words.iter().filter(|(said, _)| *said).map(|(_, w)| *w).collect();
        writeln!(text, "interface {name} {{ {} }}", words.join("; ")).expect("room");
    };
    block(
        "up0",
        &[
            (true, "upstream"),
            (has(0), "source any"),
            (!has(0), "source 10.9.0.0/24; source 2001:db8:9::/64"),
            (has(3), near),
            (has(5), deny),
            (has(24), "igmp-version 2; mld-version 1"),
        ],
    );
    block(
        "up1",
        &[
            (has(1), "upstream; preference 2"),
            (has(1) && has(6), "group 239.1.0.0/16; group ff78::1:0:0/96"),
            (true, "source any"),
        ],
    );
    block(
        "d0",
        &[
            (true, "downstream"),
            (has(4), deny),
            (has(7), "forward-non-querier yes"),
            (has(8), "fast-leave yes"),
            (has(THRESHOLD), "threshold 5"),
            (has(22), "robustness 3"),
            (has(25), "igmp-version 2; mld-version 1"),
        ],
    );
    let fixed = "static-group 239.1.0.1; static-group ff78::1:0:1; \
                 static-group 239.2.0.1 source 10.9.0.9; static-group ff78::2:0:1 source 2001:db8:9::9";
    block(
        "d1",
        &[
            (true, "downstream"),
            (has(2), near),
            (has(9), "fast-leave immediate"),
            (has(10), fixed),
            (has(20), "querier never"),
            (has(23), "source any"),
        ],
    );
    let bounds = "max-groups 2; max-sources 1";
    block("d2", &[(has(17), "disabled"), (!has(17), "downstream"), (!has(17) && has(18), bounds)]);
    block("st0", &[]);
    let lines = [
        (has(16), "wrongvif follow"),
        (has(BOUNDED), "max-routes 6"),
        (has(26), "ssm-range 232.0.0.0/8\nssm-range ff38::/32"),
        (has(26), "ssm-range 239.2.0.0/16\nssm-range ff78::2:0:0/96"),
        (has(11), "mgroup from up0 group 239.1.0.2\nmgroup from up0 group ff78::1:0:2"),
        (has(11), "mgroup from st0 group 239.2.0.0/30 source 10.9.0.9"),
        (has(11), "mgroup from st0 group ff78::2:0:0/126 source 2001:db8:9::9"),
        (has(12), "mroute from st0 group 239.1.0.1 source 10.9.0.9 to d0 d1"),
        (has(12), "mroute from st0 group ff78::1:0:1 source 2001:db8:9::9 to d0 d1"),
        (has(13), "mroute from up0 group 239.1.0.1 to st0"),
        (has(13), "mroute from up0 group ff78::1:0:1 to st0"),
        (has(14), "mroute from \"d+\" except 10.3.0.0/24 group 239.2.0.0/16 to st0"),
        (has(14), "mroute from \"d+\" except 2001:db8:3::/64 group ff78::2:0:0/96 to st0"),
        (has(15), "mroute from up1 group 239.1.0.0/16 source 10.9.0.0/24 to d1"),
        (has(15), "mroute from up1 group ff78::1:0:0/96 source 2001:db8:9::/64 to d1"),
    ];
    for (_, line) in lines.iter().filter(|(said, _)| *said) {
        writeln!(text, "{line}").expect("room");
    }
    text
}

/// A statement of the control tool.
pub(super) fn statement(af: Af, which: u8) -> Statement {
    let net = |n: IpAddr| IpNet::from(n);
    let join = |from: &str, source| {
        let group = StaticGroup { group: net(group(af, 1)), source };
        Statement::Join(Mgroup { from: Pattern(from.into()), group })
    };
    let route = |source, length: u8, to: &str| {
        let host = net(group(af, 2));
        let length = host.max_prefix_len() - length;
        let range = IpNet::new(host.addr(), length).expect("a length of the family").trunc();
        Statement::Mroute(Mroute {
            from: Pattern("st0".into()),
            source,
            group: GroupSet::Net(range),
            to: vec![Pattern(to.into())],
        })
    };
    match which % 5 {
        0 => join("d2", None),
        1 => join("up0", Some(sender(af, 0))),
        2 => route(SourceMatch::Net(net(sender(af, 0))), 0, "d1"),
        3 => route(SourceMatch::Any, 8, "d0"),
        _ => route(SourceMatch::Any, 0, "up0"),
    }
}
