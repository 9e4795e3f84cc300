//! RFC 9776, section 6.4 (RFC 9777, section 7.4), row by row, worked by hand.
//!
//! Sources are numbers; a number after the colon is what is left of the timer in seconds, `G` the
//! group membership interval, `0` an excluded source. `old` has source timers of 100 and, in
//! EXCLUDE mode, a group timer of 50.

use std::fmt::Write;
use std::net::Ipv4Addr;

use mcast_proxy::engine::core::deadline::Deadline;
use mcast_proxy::engine::core::groups::{Source, State};
use mcast_proxy::imsg::ctl::Mode;
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::RecordType::{self, Allow, Block, IsEx, IsIn, ToEx, ToIn};

const NOW: Tick = Tick(1_000_000);
const GMI: u32 = 270;

/// INCLUDE({1,2}), or EXCLUDE({1,2},{3,4}).
type Row = (u8, Mode, RecordType, &'static [u8], &'static str);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    (1,  Mode::Include, IsIn,  &[2, 3],    "INCLUDE 1:100 2:G 3:G"),
    (2,  Mode::Include, IsEx,  &[2, 3],    "EXCLUDE 2:100 3:0 GT=G"),
    (3,  Mode::Exclude, IsIn,  &[2, 4, 5], "EXCLUDE 1:100 2:G 3:0 4:G 5:G GT=50"),
    (4,  Mode::Exclude, IsEx,  &[2, 4, 5], "EXCLUDE 2:100 4:0 5:G GT=G"),
    (5,  Mode::Include, Allow, &[2, 3],    "INCLUDE 1:100 2:G 3:G"),
    (6,  Mode::Include, Block, &[2, 3],    "INCLUDE 1:100 2:100 Q(G,2)"),
    (7,  Mode::Include, ToEx,  &[2, 3],    "EXCLUDE 2:100 3:0 GT=G Q(G,2)"),
    (8,  Mode::Include, ToIn,  &[2, 3],    "INCLUDE 1:100 2:G 3:G Q(G,1)"),
    (9,  Mode::Exclude, Allow, &[2, 4, 5], "EXCLUDE 1:100 2:G 3:0 4:G 5:G GT=50"),
    (10, Mode::Exclude, Block, &[2, 4, 5], "EXCLUDE 1:100 2:100 3:0 4:0 5:50 GT=50 Q(G,2,5)"),
    (11, Mode::Exclude, ToEx,  &[2, 4, 5], "EXCLUDE 2:100 4:0 5:50 GT=G Q(G,2,5)"),
    (12, Mode::Exclude, ToIn,  &[2, 4, 5], "EXCLUDE 1:100 2:G 3:0 4:G 5:G GT=50 Q(G,1) Q(G)"),
    // The leaves: rows 8 and 12 with an empty list.
    (8,  Mode::Include, ToIn,  &[],        "INCLUDE 1:100 2:100 Q(G,1,2)"),
    (12, Mode::Exclude, ToIn,  &[],        "EXCLUDE 1:100 2:100 3:0 4:0 GT=50 Q(G,1,2) Q(G)"),
    // No query for an empty set.
    (6,  Mode::Include, Block, &[3],       "INCLUDE 1:100 2:100"),
    (11, Mode::Exclude, ToEx,  &[],        "EXCLUDE GT=G"),
];

fn source(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, number)
}

fn left(deadline: Deadline) -> String {
    match deadline.left(NOW).0 / 1000 {
        GMI => "G".to_owned(),
        seconds => seconds.to_string(),
    }
}

fn run(mut mode: Mode, kind: RecordType, list: &[u8]) -> String {
    let timer = |secs| Some(Deadline::after(NOW, Millis::from_secs(secs)));
    let entry =
        |number, expires| Source { address: source(number), expires, queries: 0, fresh: false };
    let mut sources = vec![entry(1, timer(100)), entry(2, timer(100))];
    let mut group_timer = None;
    if mode == Mode::Exclude {
        sources.extend([entry(3, None), entry(4, None)]);
        group_timer = timer(50);
    }
    let list: Vec<Ipv4Addr> = list.iter().map(|n| source(*n)).collect();
    let outcome = State {
        mode: &mut mode,
        group_timer: &mut group_timer,
        sources: &mut sources,
        gmi: Deadline::after(NOW, Millis::from_secs(GMI)),
        max_sources: 1024,
    }
    .apply(kind, &list);
    let mut text = match mode {
        Mode::Include => "INCLUDE".to_owned(),
        Mode::Exclude => "EXCLUDE".to_owned(),
    };
    for s in &sources {
        let timer = s.expires.map_or("0".to_owned(), left);
        write!(text, " {}:{timer}", s.address.octets()[3]).unwrap();
    }
    if let Some(timer) = group_timer {
        write!(text, " GT={}", left(timer)).unwrap();
    }
    if !outcome.query_sources.is_empty() {
        let names: Vec<String> =
            outcome.query_sources.iter().map(|s| s.octets()[3].to_string()).collect();
        write!(text, " Q(G,{})", names.join(",")).unwrap();
    }
    if outcome.query_group {
        text.push_str(" Q(G)");
    }
    text
}

#[test]
fn every_row_of_the_table() {
    for (row, mode, kind, list, expected) in TABLE {
        assert_eq!(&run(*mode, *kind, list), expected, "row {row}: {kind:?} {list:?}");
    }
}

/// The row as the RFC has it: old state, record, new state, actions.
const RFC: &[[&str; 4]] = &[
    ["INCLUDE (A)", "IS_IN (B)", "INCLUDE (A+B)", "(B)=GMI"],
    ["INCLUDE (A)", "IS_EX (B)", "EXCLUDE (A*B,B-A)", "(B-A)=0 Delete (A-B) Group Timer=GMI"],
    ["EXCLUDE (X,Y)", "IS_IN (A)", "EXCLUDE (X+A,Y-A)", "(A)=GMI"],
    [
        "EXCLUDE (X,Y)",
        "IS_EX (A)",
        "EXCLUDE (A-Y,Y*A)",
        "(A-X-Y)=GMI Delete (X-A) Delete (Y-A) Group Timer=GMI",
    ],
    ["INCLUDE (A)", "ALLOW (B)", "INCLUDE (A+B)", "(B)=GMI"],
    ["INCLUDE (A)", "BLOCK (B)", "INCLUDE (A)", "Send Q(G,A*B)"],
    [
        "INCLUDE (A)",
        "TO_EX (B)",
        "EXCLUDE (A*B,B-A)",
        "(B-A)=0 Delete (A-B) Send Q(G,A*B) Group Timer=GMI",
    ],
    ["INCLUDE (A)", "TO_IN (B)", "INCLUDE (A+B)", "(B)=GMI Send Q(G,A-B)"],
    ["EXCLUDE (X,Y)", "ALLOW (A)", "EXCLUDE (X+A,Y-A)", "(A)=GMI"],
    ["EXCLUDE (X,Y)", "BLOCK (A)", "EXCLUDE (X+(A-Y),Y)", "(A-X-Y)=Group Timer Send Q(G,A-Y)"],
    [
        "EXCLUDE (X,Y)",
        "TO_EX (A)",
        "EXCLUDE (A-Y,Y*A)",
        "(A-X-Y)=Group Timer Delete (X-A) Delete (Y-A) Send Q(G,A-Y) Group Timer=GMI",
    ],
    ["EXCLUDE (X,Y)", "TO_IN (A)", "EXCLUDE (X+A,Y-A)", "(A)=GMI Send Q(G,X-A) Send Q(G)"],
];

/// `state_table.txt`: what the code does, each row under that of the RFC.
#[test]
fn the_table_is_printed_beside_the_rfc() {
    let mut text = String::from(
        "RFC 9776, section 6.4, and RFC 9777, section 7.4. Of each row: the RFC's words, then what the\n\
         code does with a list that has each kind of source, with an empty one and with a new source.\n\
         \n\
         INCLUDE ({1,2}), source timers 100 s; EXCLUDE ({1,2},{3,4}), the same and the group timer 50 s.\n\
         1:100 is source 1 with 100 s left, G the group membership interval, 3:0 an excluded source,\n\
         GT the group timer.\n",
    );
    for (row, (rfc, (_, mode, kind, list, _))) in RFC.iter().zip(TABLE).enumerate() {
        let [old, record, new, actions] = rfc;
        write!(text, "\n{:2}  {old:14} {record:10} -> {new:20} {actions}\n", row + 1).unwrap();
        for list in [*list, &[], &[9]] {
            let names: Vec<String> = list.iter().map(u8::to_string).collect();
            let names = format!("{{{}}}", names.join(","));
            let before = record.split_whitespace().next().unwrap();
            writeln!(text, "    {:14} {before} {names:9} -> {}", "", run(*mode, *kind, list))
                .unwrap();
        }
    }
    expect_test::expect_file!["./state_table.txt"].assert_eq(&text);
}
