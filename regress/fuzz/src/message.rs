//! What holds of every message that the parser takes, whatever the bytes.

use mcast_proxy::imsg::Packet;
use mcast_proxy::wire::RecordType::{self, Allow, Block, IsIn};
use mcast_proxy::wire::{
    Address, Family, GroupScope, Message, Query, Receiver, Record, Records, ReportBuilder, Sender,
    default_ssm,
};

const LONGEST: usize = 65_000;

/// A receiver that refuses as little as can be.
pub fn receiver<F: Family>() -> Receiver<'static, F> {
    Receiver {
        addresses: &[],
        sources: &[],
        verify_source_subnet: false,
        require_router_alert: false,
        ssm: &[],
    }
}

/// Parses the packet and checks what comes of it.
pub fn check<F: Family>(packet: &Packet) {
    let ssm = [default_ssm::<F>()];
    for receiver in [receiver(), Receiver { ssm: &ssm, ..receiver() }] {
        let Ok((_, message)) = F::parse(packet, &receiver) else { continue };
        match message {
            Message::Query(query) => check_query(&query),
            Message::OldReport { group, .. } | Message::Leave { group } => {
                assert_eq!(group.scope(), GroupScope::Routable);
            }
            Message::Report(records) => check_records(records, packet),
            Message::Mrdisc(_) => {}
        }
    }
}

fn check_query<F: Family>(query: &Query<'_, F>) {
    assert!(query.group.is_multicast() || query.group.is_unspecified());
    assert!(query.sources.is_empty() || query.group.is_multicast());
    assert!((1..=3).contains(&query.version) && query.robustness <= 7);
    assert!(query.max_response.0 >= 10);
    assert!(query.sources.iter().count() <= query.sources.len());
    assert!(query.sources.iter().all(|source| !source.is_multicast()));
}

/// The records that are taken say the same after they are sent on; those of a packet that a sender's
/// longer IP header would not leave room for are not tried.
fn check_records<F: Family>(records: Records<'_, F>, packet: &Packet) {
    let left = records.len();
    assert_eq!(records.count(), left);
    if packet.bytes.len() > LONGEST {
        return;
    }
    let mut taken = told(records);
    let from = Sender { ifindex: 1, source: F::Addr::UNSPECIFIED, mtu: 65_535 };
    let mut report = ReportBuilder::<F>::new(from);
    taken.iter().for_each(|(kind, group, sources)| report.push(*kind, *group, sources));
    taken.retain(|(kind, _, list)| !(list.is_empty() && [IsIn, Allow, Block].contains(kind)));
    let mut again = Vec::new();
    for sent in report.finish() {
        let packet = Packet { bytes: sent.bytes, ..*packet };
        match F::parse(&packet, &receiver()) {
            Ok((_, Message::Report(records))) => again.append(&mut told(records)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(again, taken);
}

fn told<F: Family>(records: Records<'_, F>) -> Vec<(RecordType, F::Addr, Vec<F::Addr>)> {
    let record = |r: Record<'_, F>| (r.kind, r.group, r.sources.iter().collect());
    records.flatten().map(record).collect()
}
