//! What is built equals the vectors, keeps to the MTU, and says the same when parsed again.

use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

use mcast_proxy::imsg::{Envelope, Packet, Transmit};
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::{
    Af, Family, Message, Mrdisc, QuerySpec, Receiver, RecordType, ReportBuilder, Sender, V4, V6,
    leave, mrdisc, old_report, parse_ipv4, parse_ipv6, query,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use serde_json::Value;

const ADVERTISEMENT: Mrdisc =
    Mrdisc::Advertisement { interval: 20, query_interval: 125, robustness: 2 };

fn from<F: Family>(source: F::Addr) -> Sender<F> {
    Sender { ifindex: 7, source, mtu: 1500 }
}

fn a4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn a6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// The vector of that name as it is handed to the kernel: IPv6 without the IP headers (40 octets and
/// 8 of Hop-by-Hop) and with a zero checksum.
fn vector(name: &str) -> Vec<u8> {
    let files = [include_str!("vectors.json"), include_str!("further.json")];
    let mut vectors = files.iter().flat_map(|f| serde_json::from_str::<Vec<Value>>(f).unwrap());
    let vector = vectors.find(|v| v["name"] == name).unwrap();
    let hex = vector["hex"].as_str().unwrap().as_bytes();
    let octet = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let mut packet: Vec<u8> = hex.chunks(2).map(octet).collect();
    if vector["l3"] == "ipv6" {
        packet.drain(..48);
        packet[2..4].fill(0);
    }
    packet
}

fn same(name: &str, built: &[Transmit], source: &str, destination: &str) {
    let [built] = built else { panic!("{name}: {} messages", built.len()) };
    assert_eq!(built.bytes, vector(name), "{name}");
    assert_eq!((built.ifindex, built.source), (7, source.parse().unwrap()), "{name}");
    assert_eq!(built.destination, destination.parse::<std::net::IpAddr>().unwrap(), "{name}");
}

#[test]
fn igmp_queries_equal_the_vectors() {
    let (querier, group) = (from::<V4>(a4("192.0.2.254")), a4("233.252.0.1"));
    let spec = QuerySpec {
        version: 3,
        group: Ipv4Addr::UNSPECIFIED,
        max_response: Millis(10_000),
        suppress: false,
        robustness: 3,
        query_interval: Millis(60_000),
        sources: &[],
    };
    let name = "igmpv3-general-query-higher-querier";
    same(name, &query(&querier, &spec), "192.0.2.254", "224.0.0.1");
    let greatest = QuerySpec {
        max_response: Millis(3_174_400),
        robustness: 7,
        query_interval: Millis(31_744_000),
        ..spec
    };
    let name = "igmpv3-general-query-max-float";
    same(name, &query(&querier, &greatest), "192.0.2.254", "224.0.0.1");
    let specific = QuerySpec { version: 2, group, max_response: Millis(1000), ..spec };
    let name = "igmpv2-group-specific-query";
    same(name, &query(&querier, &specific), "192.0.2.254", "233.252.0.1");
}

#[test]
fn mld_queries_equal_the_vectors() {
    let spec = QuerySpec {
        version: 2,
        group: Ipv6Addr::UNSPECIFIED,
        max_response: Millis(40_000),
        suppress: false,
        robustness: 2,
        query_interval: Millis(416_000),
        sources: &[],
    };
    let querier = from::<V6>(a6("fe80::ff:ffff"));
    let name = "mldv2-general-query-float";
    same(name, &query(&querier, &spec), "fe80::ff:ffff", "ff02::1");
    let older = QuerySpec { version: 1, max_response: Millis(10_000), ..spec };
    same("mldv1-general-query", &query(&querier, &older), "fe80::ff:ffff", "ff02::1");
    let specific = QuerySpec {
        group: a6("ff0e::db8:0:1"),
        max_response: Millis(1000),
        query_interval: Millis(125_000),
        ..spec
    };
    let name = "mldv2-address-query-lower-querier";
    same(name, &query(&from::<V6>(a6("fe80::1")), &specific), "fe80::1", "ff0e::db8:0:1");
}

#[test]
fn reports_equal_the_vectors() {
    let (host, group) = (from::<V4>(a4("192.0.2.10")), a4("233.252.0.1"));
    let mut report = ReportBuilder::new(host);
    report.push(RecordType::ToIn, group, &[]);
    same("igmpv3-report-to-in-empty", &report.finish(), "192.0.2.10", "224.0.0.22");
    let mut report = ReportBuilder::new(host);
    let channel = a4("232.1.1.1");
    report.push(RecordType::Allow, channel, &[a4("198.51.100.1"), a4("198.51.100.2")]);
    report.push(RecordType::Block, channel, &[a4("198.51.100.3")]);
    same("igmpv3-report-allow-block", &report.finish(), "192.0.2.10", "224.0.0.22");
    let (host6, group6) = (from::<V6>(a6("fe80::10")), a6("ff0e::db8:0:1"));
    let mut report = ReportBuilder::new(host6);
    report.push(RecordType::ToEx, group6, &[]);
    same("mldv2-report-to-ex", &report.finish(), "fe80::10", "ff02::16");

    same("igmpv2-report", &[old_report(&host, 2, group)], "192.0.2.10", "233.252.0.1");
    same("igmpv2-leave", &[leave(&host, group)], "192.0.2.10", "224.0.0.2");
    same("mldv1-report", &[old_report(&host6, 1, group6)], "fe80::10", "ff0e::db8:0:1");
    same("mldv1-done", &[leave(&host6, group6)], "fe80::10", "ff02::2");
    let version_1 = old_report(&host, 1, group).bytes;
    // The message of the vector, whose header has no Router Alert.
    assert_eq!(version_1[24..], vector("igmpv1-report")[20..]);
}

#[test]
fn discovery_equals_the_vectors() {
    let built = mrdisc(&from::<V4>(a4("192.0.2.100")), ADVERTISEMENT);
    same("mrdisc4-advertisement", &[built], "192.0.2.100", "224.0.0.106");
    let built = mrdisc(&from::<V4>(a4("192.0.2.10")), Mrdisc::Solicitation);
    same("mrdisc4-solicitation", &[built], "192.0.2.10", "224.0.0.2");
    let built = mrdisc(&from::<V4>(a4("192.0.2.254")), Mrdisc::Termination);
    same("mrdisc4-termination", &[built], "192.0.2.254", "224.0.0.106");
    let built = mrdisc(&from::<V6>(a6("fe80::ff:ffff")), ADVERTISEMENT);
    same("mrdisc6-advertisement", &[built], "fe80::ff:ffff", "ff02::6a");
    let built = mrdisc(&from::<V6>(a6("fe80::10")), Mrdisc::Solicitation);
    same("mrdisc6-solicitation", &[built], "fe80::10", "ff02::2");
    let built = mrdisc(&from::<V6>(a6("fe80::64")), Mrdisc::Termination);
    same("mrdisc6-termination", &[built], "fe80::64", "ff02::6a");
}

/// Addresses base + 1, base + 2, and so on.
trait Numbered: Family {
    const GROUP: Self::Addr;
    const SOURCE: Self::Addr;
    fn number(n: u16, group: bool) -> Self::Addr;
    fn numbers(n: u16, group: bool) -> Vec<Self::Addr> {
        (1..=n).map(|n| Self::number(n, group)).collect()
    }
}

impl Numbered for V4 {
    const GROUP: Ipv4Addr = Ipv4Addr::new(233, 252, 0, 1);
    const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    fn number(n: u16, group: bool) -> Ipv4Addr {
        let [high, low] = n.to_be_bytes();
        Ipv4Addr::new(if group { 239 } else { 10 }, 1, high, low)
    }
}

impl Numbered for V6 {
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0xdb8, 1);
    const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10);
    fn number(n: u16, group: bool) -> Ipv6Addr {
        Ipv6Addr::new(if group { 0xff0e } else { 0x2001 }, 0xdb8, 0, 0, 0, 0, 0, n)
    }
}

/// The message as the other end parses it, from what the kernel sends.
fn received(sent: &Transmit) -> Packet {
    let (std::net::IpAddr::V6(source), std::net::IpAddr::V6(destination)) =
        (sent.source, sent.destination)
    else {
        return Packet { ifindex: 1, envelope: Envelope::Ip4, bytes: sent.bytes.clone() };
    };
    let envelope = Envelope::Ip6 {
        source,
        destination,
        hop_limit: 1,
        router_alert: true,
        checksum_verified: true,
    };
    Packet { ifindex: 1, envelope, bytes: sent.bytes.clone() }
}

fn receiver<F: Family>() -> Receiver<'static, F> {
    Receiver {
        addresses: &[],
        sources: &[],
        verify_source_subnet: false,
        require_router_alert: true,
        ssm: &[],
    }
}

type Told<F> = (RecordType, <F as Family>::Addr, Vec<<F as Family>::Addr>);

/// The records of each message.
fn records<F: Family>(sent: &[Transmit]) -> Vec<Vec<Told<F>>> {
    let parse = |sent: &Transmit| {
        let packet = received(sent);
        let (_, message) = F::parse(&packet, &receiver()).unwrap();
        let Message::Report(records) = message else { panic!("{message:?}") };
        let told =
            records.map(Result::unwrap).map(|r| (r.kind, r.group, r.sources.iter().collect()));
        told.collect()
    };
    sent.iter().map(parse).collect()
}

fn built<F: Numbered>(records: &[Told<F>]) -> Vec<Transmit> {
    let mut report = ReportBuilder::new(from::<F>(F::SOURCE));
    records.iter().for_each(|(kind, group, sources)| report.push(*kind, *group, sources));
    report.finish()
}

/// Records without sources that a message holds, sources of a record, sources of a query, at 1500
/// octets: RFC 9776, 4.1.8 says 366 for a query; RFC 9777, 5.1.10 says 89. The others by hand:
/// (1500 - 24 - 8) / 8, (1500 - 24 - 16) / 4, (1500 - 48 - 8) / 20, (1500 - 48 - 28) / 16.
fn sizes<F: Numbered>(groups: u16, of_record: u16, of_query: u16) {
    let joins = |n| {
        let records = F::numbers(n, true).into_iter().map(|g| (RecordType::ToEx, g, vec![]));
        built::<F>(&records.collect::<Vec<_>>()).len()
    };
    assert_eq!((joins(groups), joins(groups + 1)), (1, 2));

    let allow = |n| built::<F>(&[(RecordType::Allow, F::GROUP, F::numbers(n, false))]).len();
    assert_eq!((allow(of_record), allow(of_record + 1)), (1, 2));

    let ask = |n| {
        let sources = F::numbers(n, false);
        let spec = QuerySpec {
            version: if F::AF == Af::Ip4 { 3 } else { 2 },
            group: F::GROUP,
            max_response: Millis(1000),
            suppress: true,
            robustness: 2,
            query_interval: Millis(125_000),
            sources: &sources,
        };
        let sent = query(&from::<F>(F::SOURCE), &spec);
        let lists = sent.iter().map(|sent| {
            let packet = received(sent);
            let (_, message) = F::parse(&packet, &receiver()).unwrap();
            let Message::Query(query) = message else { panic!("{message:?}") };
            assert!(query.suppress);
            query.sources.iter().collect::<Vec<_>>()
        });
        let lists: Vec<_> = lists.collect();
        assert_eq!(lists.concat(), sources);
        lists.len()
    };
    assert_eq!((ask(0), ask(of_query), ask(of_query + 1)), (1, 1, 2));
}

#[test]
fn messages_fill_the_mtu() {
    sizes::<V4>(183, 365, 366);
    sizes::<V6>(72, 89, 89);
    // 24 + 8 octets, then 8 + 4 * 363 and 8: 1500.
    let full = [(RecordType::ToEx, V4::GROUP, V4::numbers(363, false))];
    let full = [full, [(RecordType::ToIn, V4::GROUP, vec![])]].concat();
    assert_eq!(built::<V4>(&full).iter().map(|sent| sent.bytes.len()).collect::<Vec<_>>(), [1500]);
}

/// RFC 9776, 4.2.16: EXCLUDE lists are cut to the same sources each time, others are split.
fn oversized<F: Numbered>(fits: u16) {
    let all = F::numbers(fits + 3, false);
    let (head, tail) = all.split_at(fits.into());
    let (head, tail) = (head.to_vec(), tail.to_vec());
    for kind in [RecordType::IsIn, RecordType::ToIn, RecordType::Allow, RecordType::Block] {
        let sent =
            built::<F>(&[(kind, F::GROUP, all.clone()), (kind, F::GROUP, all[..1].to_vec())]);
        let second = vec![(kind, F::GROUP, tail.clone()), (kind, F::GROUP, all[..1].to_vec())];
        assert_eq!(records::<F>(&sent), [vec![(kind, F::GROUP, head.clone())], second]);
    }
    let reversed: Vec<_> = all.iter().rev().copied().collect();
    for kind in [RecordType::IsEx, RecordType::ToEx] {
        let sent = built::<F>(&[(kind, F::GROUP, reversed.clone())]);
        assert_eq!(records::<F>(&sent), [[(kind, F::GROUP, head.clone())]]);
    }
}

#[test]
fn what_fits_no_message_is_split_or_cut() {
    oversized::<V4>(365);
    oversized::<V6>(89);
}

#[test]
fn records_that_say_nothing_are_left_out() {
    let kinds = [
        RecordType::IsIn,
        RecordType::Allow,
        RecordType::Block,
        RecordType::IsEx,
        RecordType::ToIn,
        RecordType::ToEx,
    ];
    let sent = built::<V4>(&kinds.map(|kind| (kind, V4::GROUP, vec![])));
    let told: Vec<_> = records::<V4>(&sent).concat().into_iter().map(|record| record.0).collect();
    assert_eq!(told, kinds[3..]);
    assert!(built::<V4>(&[]).is_empty());
}

/// What a field cannot say: QRV above 7 is 0 (RFC 9776, 4.1.6), code 0 would be another version, an
/// interval of 0 the default.
#[test]
fn values_beyond_their_fields() {
    let spec = QuerySpec {
        version: 2,
        group: V4::GROUP,
        max_response: Millis(60_000),
        suppress: false,
        robustness: 8,
        query_interval: Millis(500),
        sources: &[],
    };
    let octets = |spec| query(&from::<V4>(V4::SOURCE), &spec)[0].bytes[24..].to_vec();
    assert_eq!(octets(spec)[1], 255);
    assert_eq!(octets(QuerySpec { max_response: Millis(50), ..spec })[1], 1);
    assert_eq!(octets(QuerySpec { version: 3, ..spec })[8..10], [0, 1]);
    let slow = QuerySpec {
        version: 1,
        max_response: Millis(70_000),
        group: V6::GROUP,
        sources: &[],
        ..SPEC6
    };
    assert_eq!(query(&from::<V6>(V6::SOURCE), &slow)[0].bytes[4..6], [0xff, 0xff]);
}

const SPEC6: QuerySpec<'_, V6> = QuerySpec {
    version: 2,
    group: V6::GROUP,
    max_response: Millis(1000),
    suppress: false,
    robustness: 2,
    query_interval: Millis(125_000),
    sources: &[],
};

fn kinds() -> impl Strategy<Value = RecordType> {
    use RecordType::{Allow, Block, IsEx, IsIn, ToEx, ToIn};
    prop::sample::select(vec![IsIn, IsEx, ToIn, ToEx, Allow, Block])
}

fn wishes<F: Numbered + Debug>() -> impl Strategy<Value = Vec<Told<F>>> {
    let sources = btree_set(1..2000_u16, 0..60);
    let record = (kinds(), 0..2000_u16, sources).prop_map(|(kind, group, sources)| {
        let sources = sources.into_iter().map(|n| F::number(n, false)).collect();
        (kind, F::number(group, true), sources)
    });
    vec(record, 0..40)
}

/// What says something arrives whole and in order, in messages that keep to the MTU.
fn arrives<F: Numbered>(wishes: Vec<Told<F>>) -> Result<(), TestCaseError> {
    let sent = built::<F>(&wishes);
    let headers = if F::AF == Af::Ip4 { 0 } else { 48 };
    prop_assert!(sent.iter().all(|sent| sent.bytes.len() + headers <= 1500));
    let silent = [RecordType::IsIn, RecordType::Allow, RecordType::Block];
    let said = wishes.into_iter().filter(|(k, _, list)| !(list.is_empty() && silent.contains(k)));
    prop_assert_eq!(records::<F>(&sent).concat(), said.collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #[test]
    fn igmp_reports_arrive(wishes in wishes::<V4>()) {
        arrives::<V4>(wishes)?;
    }

    #[test]
    fn mld_reports_arrive(wishes in wishes::<V6>()) {
        arrives::<V6>(wishes)?;
    }

    #[test]
    fn no_octets_make_the_parser_panic(mut bytes in vec(any::<u8>(), 0..200), first in 0..4_usize) {
        if let (Some(head), Some(with)) = (bytes.first_mut(), [0x45, 0x46, 0x60].get(first)) {
            *head = *with;
        }
        let _ = parse_ipv4(&bytes, &receiver());
        let _ = parse_ipv6(&bytes, &receiver());
    }
}
