//! What the core sends, as those who hear it read it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mcast_proxy::imsg::{Packet, Transmit};
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::{Af, Family, Message, Query, Receiver, RecordType, V4, V6};

use super::net::{canonical, envelope};

/// A message, and when and where it was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) at: Tick,
    pub(super) family: Af,
    pub(super) ifindex: u32,
    pub(super) says: Says,
}

/// What a message says.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Query {
        /// None is all.
        group: Option<IpAddr>,
        sources: BTreeSet<IpAddr>,
        suppress: bool,
        /// How many versions are newer.
        behind: u8,
        response: Millis,
        robustness: u8,
        interval: Millis,
    },
    Report(Vec<Record>),
    /// Of the version before the newest.
    OldReport(IpAddr),
    Leave(IpAddr),
}

/// A record of a report.
pub(super) type Record = (IpAddr, RecordType, BTreeSet<IpAddr>);

impl Sent {
    /// # Panics
    /// When nobody could read it.
    pub(super) fn new(at: Tick, transmit: &Transmit) -> Self {
        let family = Af::of(transmit.destination);
        let says = match family {
            Af::Ip4 => says::<V4>(transmit),
            Af::Ip6 => says::<V6>(transmit),
        };
        Self { at, family, ifindex: transmit.ifindex, says }
    }

    /// The same in both families, if they are treated alike.
    pub(super) fn line(&self) -> String {
        let list =
            |of: &BTreeSet<IpAddr>| of.iter().map(|a| canonical(*a)).collect::<BTreeSet<_>>();
        let says = match &self.says {
            Says::Query { group, sources, suppress, behind, response, robustness, interval } => {
                let (group, sources) = (group.map(canonical), list(sources));
                format!(
                    "query {group:?} {sources:?} {suppress} {behind} {response:?} {robustness} \
                     {interval:?}"
                )
            }
            // Which group has which of the random moments is by the order of a keyed hash.
            Says::Report(_) => "report".to_owned(),
            Says::OldReport(group) => format!("older report {}", canonical(*group)),
            Says::Leave(group) => format!("leave {}", canonical(*group)),
        };
        format!("sent {} {} {says}", self.at.0, self.ifindex)
    }
}

fn says<F: Family>(transmit: &Transmit) -> Says {
    let Transmit { ifindex, source, destination, bytes } = transmit;
    let envelope = envelope(F::AF, *source, *destination);
    let packet = Packet { ifindex: *ifindex, envelope, bytes: bytes.clone() };
    let receiver = Receiver::<F> {
        addresses: &[],
        sources: &[],
        verify_source_subnet: false,
        require_router_alert: true,
        ssm: &[],
    };
    let (_, message) = F::parse(&packet, &receiver).expect("a message that others can read");
    match message {
        Message::Query(query) => asks(&query),
        Message::OldReport { group, .. } => Says::OldReport(group.into()),
        Message::Leave { group } => Says::Leave(group.into()),
        Message::Report(records) => {
            let each = records.map(|record| {
                let record = record.expect("a record that others can read");
                (record.group.into(), record.kind, record.sources.iter().map(Into::into).collect())
            });
            Says::Report(each.collect())
        }
        Message::Mrdisc(_) => panic!("no link says that it routes"),
    }
}

fn asks<F: Family>(query: &Query<'_, F>) -> Says {
    Says::Query {
        group: Some(query.group.into()).filter(|group: &IpAddr| !group.is_unspecified()),
        sources: query.sources.iter().map(Into::into).collect(),
        suppress: query.suppress,
        behind: F::LAYOUT.newest - query.version,
        response: query.max_response,
        robustness: query.robustness,
        interval: query.query_interval,
    }
}
