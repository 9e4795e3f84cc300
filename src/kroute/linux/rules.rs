//! The rules that send an interface's multicast to a table (`ip mrule`, `ip -6 mrule`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use netlink_packet_core::{Emitable, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage};

use super::abi::default_table;
use super::decode::{link_event, routing_family, u32_of};
use super::netlink::{Netlink, attributes};
use crate::kroute::links::LinkEvent;
use crate::wire::Af;

const FRA_IIFNAME: u16 = 3;
const FRA_TABLE: u16 = 15;
const FRA_PROTOCOL: u16 = 21;
const FR_ACT_TO_TBL: u8 = 1;

/// Who made a rule: a multicast daemon. `linux/rtnetlink.h`, `RTPROT_MROUTED`.
const MAKER: RouteProtocol = RouteProtocol::Mrouted;

/// The rules of one table that were added here; they are removed at drop.
pub(super) struct Rules {
    table: u32,
    netlink: Netlink,
    /// The interface's name by family and index.
    added: BTreeMap<(Af, u32), String>,
    /// Interfaces whose traffic a rule before ours sends to another table, which was told.
    shadowed: BTreeSet<(Af, String)>,
}

/// What there is for an interface.
#[derive(Default)]
struct Found {
    /// Who made the rule that sends its traffic to our table.
    maker: Option<RouteProtocol>,
    /// Where the first of its rules sends it.
    first: Option<u32>,
}

impl Rules {
    pub(super) const fn new(table: u32, netlink: Netlink) -> Self {
        Self { table, netlink, added: BTreeMap::new(), shadowed: BTreeSet::new() }
    }

    /// Makes sure that a rule sends the interface's traffic to the table. The default table needs
    /// none. One that a daemon made is a dead one's, since no other holds the table, and is taken
    /// over; one of the administrator stays at the end. Returns whether a rule was made.
    pub(super) fn add(&mut self, family: Af, ifindex: u32, name: &str) -> io::Result<bool> {
        if self.table == default_table(family) {
            return Ok(false);
        }
        let mut found = self.look(family, name)?;
        let made = found.maker.is_none();
        if made {
            let body = self.body(family, name);
            self.netlink.request(libc::RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &body)?;
            found.first = self.look(family, name)?.first;
        }
        self.tell_of_first(family, name, found.first);
        match found.maker {
            None => {}
            Some(MAKER) if self.added.iter().any(|((f, _), n)| *f == family && n == name) => {}
            Some(MAKER) => {
                log::warn!("{family}: rule of {name} left by a daemon that did not end in order");
            }
            Some(_) => return Ok(false),
        }
        self.added.insert((family, ifindex), name.to_owned());
        Ok(made)
    }

    /// Removes the rule if it was added here; one that is gone already is as good.
    pub(super) fn remove(&mut self, family: Af, ifindex: u32) {
        if let Some(name) = self.added.remove(&(family, ifindex)) {
            let body = self.body(family, &name);
            if let Err(e) = self.netlink.request(libc::RTM_DELRULE, 0, &body) {
                log::debug!("{family}: rule of {name}: {e}");
            }
        }
    }

    /// Follows renamed interfaces: rules go by name. Returns the interfaces whose rule another program
    /// had removed.
    pub(super) fn refresh(&mut self, family: Af, ifindices: &[u32]) -> io::Result<Vec<u32>> {
        let mut names = BTreeMap::new();
        self.netlink.dump(libc::RTM_GETLINK, &[0; 16], |kind, body| {
            if let Some(LinkEvent::Link(link)) = link_event(kind, body) {
                names.insert(link.ifindex, link.name);
            }
        })?;
        let mut restored = Vec::new();
        for &ifindex in ifindices {
            let Some(name) = names.get(&ifindex) else { continue };
            let known = self.added.get(&(family, ifindex)).map(|known| known == name);
            if known == Some(false) {
                self.remove(family, ifindex);
            }
            if self.add(family, ifindex, name)? && known == Some(true) {
                restored.push(ifindex);
            }
        }
        Ok(restored)
    }

    /// Tells once that the interface's traffic goes elsewhere.
    fn tell_of_first(&mut self, family: Af, name: &str, first: Option<u32>) {
        let key = (family, name.to_owned());
        match first.filter(|table| *table != self.table) {
            None => _ = self.shadowed.remove(&key),
            Some(other) if self.shadowed.insert(key) => log::warn!(
                "{family}: what arrives on {name} goes to table {other} by a rule before ours, and \
                 nothing of it to table {}: see ip mrule",
                self.table
            ),
            Some(_) => {}
        }
    }

    /// The rules of the interface, which come in the order in which the kernel looks at them.
    fn look(&mut self, family: Af, name: &str) -> io::Result<Found> {
        let mut request = [0; 12];
        let [first, ..] = &mut request;
        *first = routing_family(family);
        let (mut found, ours) = (Found::default(), self.table);
        self.netlink.dump(libc::RTM_GETRULE, &request, |_, body| {
            if let Some((table, maker)) = sends(body, name) {
                found.first.get_or_insert(table);
                if table == ours {
                    found.maker.get_or_insert(maker);
                }
            }
        })?;
        Ok(found)
    }

    fn body(&self, family: Af, name: &str) -> Vec<u8> {
        let mut message = RuleMessage::default();
        message.header = RuleHeader {
            family: AddressFamily::from(routing_family(family)),
            action: RuleAction::ToTable,
            ..RuleHeader::default()
        };
        message.attributes = vec![
            RuleAttribute::Iifname(name.to_owned()),
            RuleAttribute::Table(self.table),
            RuleAttribute::Protocol(MAKER),
        ];
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        body
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        for (family, ifindex) in self.added.keys().copied().collect::<Vec<_>>() {
            self.remove(family, ifindex);
        }
    }
}

/// The table of a rule (`struct fib_rule_hdr` and attributes) and who made it, if it sends what comes
/// in by the interface there.
fn sends(body: &[u8], name: &str) -> Option<(u32, RouteProtocol)> {
    let (&[_, _, _, _, short, _, _, action, ..], rest) = body.split_first_chunk::<12>()?;
    let (mut to, mut by, mut maker) = (u32::from(short), false, RouteProtocol::Unspec);
    for (kind, value) in attributes(rest) {
        match kind {
            FRA_TABLE => to = u32_of(value).unwrap_or_default(),
            FRA_IIFNAME => by = value.strip_suffix(&[0]) == Some(name.as_bytes()),
            FRA_PROTOCOL => maker = value.first().map_or(maker, |p| RouteProtocol::from(*p)),
            _ => {}
        }
    }
    (action == FR_ACT_TO_TBL && by).then_some((to, maker))
}
