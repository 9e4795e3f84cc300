//! What a router upstream knows of us when it tracks each host and no message is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast_proxy::imsg::ctl::Mode;
use mcast_proxy::imsg::{Packet, Transmit};
use mcast_proxy::wire::{Af, Family, Message, Receiver, RecordType, V4, V6};

use super::parent::envelope;

/// A subscription.
pub(super) type Claim = (Mode, BTreeSet<IpAddr>);

/// How we are on a link: the version that we speak and our address; nothing while it is down.
type Here = Option<(u8, Option<u8>)>;

/// The claims of each link.
#[derive(Default)]
pub(super) struct Heard {
    links: BTreeMap<(Af, u32), (Here, BTreeMap<IpAddr, Claim>)>,
}

impl Heard {
    /// On a link where we are another one than before, all is said again.
    pub(super) fn meet(&mut self, family: Af, ifindex: u32, here: Here) {
        let link = self.links.entry((family, ifindex)).or_default();
        if link.0 != here {
            *link = (here, BTreeMap::new());
        }
    }

    /// The claims on a link.
    pub(super) fn on(&self, family: Af, ifindex: u32) -> BTreeMap<IpAddr, Claim> {
        self.links.get(&(family, ifindex)).map(|(_, claims)| claims.clone()).unwrap_or_default()
    }

    pub(super) fn hear(&mut self, sent: &Transmit) {
        match Af::of(sent.destination) {
            Af::Ip4 => self.hear_of::<V4>(sent),
            Af::Ip6 => self.hear_of::<V6>(sent),
        }
    }

    fn hear_of<F: Family>(&mut self, sent: &Transmit) {
        let Transmit { ifindex, source, destination, bytes } = sent;
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
        let (_, claims) = self.links.entry((F::AF, *ifindex)).or_default();
        let all = (Mode::Exclude, BTreeSet::new());
        match message {
            Message::Query(_) | Message::Mrdisc(_) => {}
            Message::OldReport { group, .. } => _ = claims.insert(group.into(), all),
            Message::Leave { group } => _ = claims.remove(&group.into()),
            Message::Report(records) => {
                for record in records {
                    let record = record.expect("a record that others can read");
                    let list = record.sources.iter().map(Into::into).collect();
                    record_of(claims, record.group.into(), record.kind, list);
                }
            }
        }
    }
}

/// RFC 9776, section 4.2.13.
fn record_of(
    claims: &mut BTreeMap<IpAddr, Claim>,
    group: IpAddr,
    kind: RecordType,
    list: BTreeSet<IpAddr>,
) {
    let (mode, sources) = claims.remove(&group).unwrap_or((Mode::Include, BTreeSet::new()));
    let claim = match (kind, mode) {
        (RecordType::ToIn, _) => (Mode::Include, list),
        (RecordType::ToEx | RecordType::IsEx, _) => (Mode::Exclude, list),
        (RecordType::Allow | RecordType::IsIn, Mode::Include)
        | (RecordType::Block, Mode::Exclude) => (mode, &sources | &list),
        (RecordType::Allow, Mode::Exclude) | (RecordType::Block, Mode::Include) => {
            (mode, &sources - &list)
        }
        (RecordType::IsIn, Mode::Exclude) => {
            assert!(sources.is_disjoint(&list), "an answer for what is excluded");
            (mode, sources)
        }
    };
    if claim != (Mode::Include, BTreeSet::new()) {
        claims.insert(group, claim);
    }
}
