//! Whole packets with the verdict expected of them.
//!
//! `vectors.json` and `further.json` hold hexadecimal packets from the IP header on. What a vector
//! expects is a part of what `describe` tells of the packet; `receiver` names settings other than
//! the defaults.

use std::net::IpAddr;

use mcast_proxy::wire::{
    Af, Discard, Family, Header, Kind, Message, Mrdisc, Net, Parsed, Query, Receiver, RecordType,
    Records, V4, V6, default_ssm, parse_ipv4, parse_ipv6,
};
use serde_json::{Map, Value, json};

const FILES: [&str; 2] = [include_str!("vectors.json"), include_str!("further.json")];
/// Members of an expectation that are for the reader, or for tests of other parts.
const REMARKS: [&str; 2] = ["note", "election"];

#[test]
fn vectors() {
    let mut wrong = Vec::new();
    for vector in FILES.iter().flat_map(|file| serde_json::from_str::<Vec<Value>>(file).unwrap()) {
        let packet = octets(vector["hex"].as_str().unwrap());
        let told = match vector["l3"].as_str().unwrap() {
            "ipv4" => verdict::<V4>(&vector, "192.0.2.1/24", |r| parse_ipv4(&packet, r)),
            "ipv6" => verdict::<V6>(&vector, "fe80::2/64", |r| parse_ipv6(&packet, r)),
            other => panic!("no such family: {other}"),
        };
        let mut expected = vector["expect"].clone();
        expected.as_object_mut().unwrap().retain(|key, _| !REMARKS.contains(&key.as_str()));
        if !covers(&told, &expected) {
            wrong.push(format!("{}: expected {expected}, told {told}", vector["name"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every reason that a packet or a record can be refused for has a vector; the others are not the
/// parser's.
#[test]
fn every_reason_has_a_vector() {
    let others = [
        Discard::Boundary,
        Discard::Policy,
        Discard::GroupLimit,
        Discard::SourceLimit,
        Discard::EntryLimit,
        Discard::HostLimit,
        Discard::MessageRate,
        Discard::Role,
    ];
    for reason in Discard::ALL.iter().filter(|reason| !others.contains(reason)) {
        let member = format!("\"reason\": \"{}\"", reason.name());
        assert!(FILES.iter().any(|file| file.contains(&member)), "{}", reason.name());
    }
}

fn octets(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Whether `told` has every member of `expected`; lists are of one length.
fn covers(told: &Value, expected: &Value) -> bool {
    match (told, expected) {
        (Value::Object(told), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| told.get(key).is_some_and(|t| covers(t, value)))
        }
        (Value::Array(told), Value::Array(expected)) => {
            told.len() == expected.len() && told.iter().zip(expected).all(|(t, e)| covers(t, e))
        }
        _ => told == expected,
    }
}

fn verdict<'a, F: Family>(
    vector: &Value,
    address: &str,
    parse: impl FnOnce(&Receiver<'a, F>) -> Parsed<'a, F>,
) -> Value {
    let settings = &vector["receiver"];
    let nets = |value: &Value| -> Vec<Net<F>> {
        let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(|text| F::net(text.parse().unwrap()).unwrap()).collect()
    };
    let ssm = &settings["ssm"];
    let ssm = if ssm.is_null() { vec![default_ssm::<F>()] } else { nets(ssm) };
    let receiver = Receiver {
        addresses: nets(&json!([address])).leak(),
        sources: nets(&settings["sources"]).leak(),
        verify_source_subnet: settings["verify_source_subnet"].as_bool().unwrap_or(true),
        require_router_alert: settings["require_router_alert"].as_bool().unwrap_or(false),
        ssm: ssm.leak(),
    };
    match parse(&receiver) {
        Ok((header, message)) => describe(&header, &message),
        Err(reason) => json!({"verdict": "discard", "reason": reason.name()}),
    }
}

fn describe<F: Family>(header: &Header<F>, message: &Message<'_, F>) -> Value {
    let (source, destination) = (text(header.source), text(header.destination));
    let mut told = json!({
        "verdict": "accept",
        "kind": kind::<F>(header.kind),
        "source": source,
        "destination": destination,
        "ttl": header.ttl,
    });
    let members = match message {
        Message::Query(query) => describe_query(query),
        Message::OldReport { group, .. } | Message::Leave { group } => {
            json!({"group": text(*group)})
        }
        Message::Report(records) => describe_records(*records),
        Message::Mrdisc(Mrdisc::Advertisement { interval, query_interval, robustness }) => json!({
            "interval_s": interval,
            "query_interval_s": query_interval,
            "robustness": robustness,
        }),
        Message::Mrdisc(Mrdisc::Solicitation | Mrdisc::Termination) => Value::Object(Map::new()),
    };
    told.as_object_mut().unwrap().append(&mut members.as_object().unwrap().clone());
    told
}

fn describe_query<F: Family>(query: &Query<'_, F>) -> Value {
    json!({
        "version": query.version,
        "group": text(query.group),
        "max_resp_ms": query.max_response.0,
        "s": query.suppress,
        "qrv": query.robustness,
        "qqi_s": query.query_interval.0 / 1000,
        "sources": query.sources.iter().map(text).collect::<Vec<_>>(),
    })
}

fn describe_records<F: Family>(records: Records<'_, F>) -> Value {
    let (mut taken, mut skipped) = (Vec::new(), Vec::new());
    for record in records {
        match record {
            Ok(record) => taken.push(json!({
                "type": record_type(record.kind),
                "group": text(record.group),
                "sources": record.sources.iter().map(text).collect::<Vec<_>>(),
            })),
            Err(record) => skipped.push(json!({
                "reason": record.reason.name(),
                "type": record.record_type,
                "group": text(record.group),
            })),
        }
    }
    json!({"records": taken, "skipped": skipped})
}

fn text(address: impl Into<IpAddr>) -> String {
    address.into().to_string()
}

fn record_type(kind: RecordType) -> &'static str {
    match kind {
        RecordType::IsIn => "IS_IN",
        RecordType::IsEx => "IS_EX",
        RecordType::ToIn => "TO_IN",
        RecordType::ToEx => "TO_EX",
        RecordType::Allow => "ALLOW",
        RecordType::Block => "BLOCK",
    }
}

fn kind<F: Family>(kind: Kind) -> String {
    let (protocol, leave) = match F::AF {
        Af::Ip4 => ("igmp", "igmpv2-leave"),
        Af::Ip6 => ("mld", "mldv1-done"),
    };
    match kind {
        Kind::QueryV1 => format!("{protocol}v1-query"),
        Kind::QueryV2 => format!("{protocol}v2-query"),
        Kind::QueryV3 => format!("{protocol}v3-query"),
        Kind::ReportV1 => format!("{protocol}v1-report"),
        Kind::ReportV2 => format!("{protocol}v2-report"),
        Kind::ReportV3 => format!("{protocol}v3-report"),
        Kind::Leave => leave.to_owned(),
        Kind::Advertisement => "mrdisc-advertisement".to_owned(),
        Kind::Solicitation => "mrdisc-solicitation".to_owned(),
        Kind::Termination => "mrdisc-termination".to_owned(),
    }
}
