//! What a router shows, and what it says on its links, as short text: `G` is group 1, numbers are
//! sources.

use std::net::IpAddr;

use mcast_proxy::imsg::ctl::{
    CounterRow, GroupRow, InterfaceRow, LinkRow, Mode, Rows, Status, Table,
};
use mcast_proxy::imsg::ctl::{HostRow, UpstreamRow};
use mcast_proxy::imsg::{Packet, Transmit};
use mcast_proxy::sys::time::Tick;
use mcast_proxy::wire::{
    Address, Af, Family, Message, Mrdisc, Query, Receiver, Record, RecordType,
};

use crate::router::{Net, Router};

macro_rules! rows {
    ($name:ident $kind:ident $row:ty) => {
        #[doc = concat!("All rows of `show ", stringify!($name), "`.")]
        pub(crate) fn $name(&self) -> Vec<$row> {
            let rows = |rows| if let Rows::$kind(rows) = rows { rows } else { Vec::new() };
            self.rows(Table::$kind).into_iter().flat_map(rows).collect()
        }
    };
}

impl Router {
    rows!(groups Groups GroupRow);
    rows!(hosts Hosts HostRow);
    rows!(upstream Upstream UpstreamRow);
    rows!(counters Counters CounterRow);
    rows!(interfaces Interfaces InterfaceRow);

    pub(crate) fn status(&self) -> Status {
        let Rows::Status(status) = self.core.show(self.now, Table::Status, 0).0 else {
            panic!("no status");
        };
        *status
    }

    fn rows(&self, table: Table) -> Vec<Rows> {
        let (mut all, mut cursor) = (Vec::new(), Some(0));
        while let Some(at) = cursor {
            let (rows, next) = self.core.show(self.now, table, at);
            all.push(rows);
            cursor = next;
        }
        all
    }

    /// The family's part of an interface in `show interfaces`.
    pub(crate) fn link<F: Family>(&self, name: &str) -> LinkRow {
        let row = self.interfaces().into_iter().find(|row| row.interface == name).unwrap();
        if F::AF == Af::Ip4 { row.ipv4.unwrap() } else { row.ipv6.unwrap() }
    }

    /// How often something was discarded on an interface for this reason.
    pub(crate) fn discarded<F: Family>(&self, name: &str, reason: &str) -> u64 {
        let rows = self.counters();
        let row = rows.iter().find(|r| r.interface == name && r.family == F::AF).unwrap();
        row.discarded.get(reason).copied().unwrap_or_default()
    }

    /// The state of group 1 on an interface: `EXCLUDE(270) 1:100 2:-`, timers in seconds.
    pub(crate) fn state<F: Net>(&self, name: &str) -> String {
        let is = |r: &&GroupRow| r.interface == name && r.group == F::GROUP.into();
        let rows = self.groups();
        let Some(row) = rows.iter().find(is) else { return "none".into() };
        let timer = |t: Option<u64>| t.map_or("-".to_owned(), |t| t.to_string());
        let mut text = match row.filter_mode {
            Mode::Include => "INCLUDE".to_owned(),
            Mode::Exclude => format!("EXCLUDE({})", timer(row.expire)),
        };
        for s in &row.sources {
            text += &format!(" {}:{}", number::<F>(s.source), timer(s.expire));
        }
        text
    }

    /// What is asked for of group 1 on an upstream: `EXCLUDE 1 2`.
    pub(crate) fn wanted<F: Net>(&self, name: &str) -> String {
        let is = |r: &&UpstreamRow| r.interface == name && r.group == F::GROUP.into();
        let rows = self.upstream();
        let Some(row) = rows.iter().find(is) else { return "none".into() };
        let mode = if row.filter_mode == Mode::Include { "INCLUDE" } else { "EXCLUDE" };
        let sources = row.sources.iter().map(|s| format!(" {}", number::<F>(*s)));
        mode.to_owned() + &sources.collect::<String>()
    }

    /// Takes what was sent on the link in this family, as text.
    pub(crate) fn said<F: Net>(&mut self, ifindex: u32) -> Vec<String> {
        self.said_at::<F>(ifindex).into_iter().flat_map(|(_, said)| said).collect()
    }

    /// The same with its time.
    pub(crate) fn said_at<F: Net>(&mut self, ifindex: u32) -> Vec<(Tick, Vec<String>)> {
        let is = |(_, t): &(Tick, Transmit)| t.ifindex == ifindex && Af::of(t.destination) == F::AF;
        let (taken, left) = self.sent.drain(..).partition(is);
        self.sent = left;
        let taken: Vec<(Tick, Transmit)> = taken;
        taken.into_iter().map(|(at, transmit)| (at, read::<F>(transmit))).collect()
    }
}

fn number<F: Net>(source: IpAddr) -> String {
    let known = (1..=255).find(|n| F::source(*n).into() == source);
    known.map_or_else(|| source.to_string(), |n| n.to_string())
}

fn group_name<F: Net>(group: F::Addr) -> String {
    let known = (2..=255).find(|n| F::group(*n) == group);
    match known {
        _ if group == F::GROUP => "G".into(),
        Some(n) => format!("G{n}"),
        None => group.to_string(),
    }
}

fn list<F: Net>(sources: impl Iterator<Item = F::Addr>) -> String {
    let names: Vec<String> = sources.map(|s| number::<F>(s.into())).collect();
    names.join(",")
}

/// What a packet says, a line for each record of it.
fn read<F: Net>(transmit: Transmit) -> Vec<String> {
    let destination = F::Addr::from_ip(transmit.destination).unwrap();
    let source = F::Addr::from_ip(transmit.source).unwrap();
    let envelope = F::envelope(source, destination);
    let packet = Packet { ifindex: transmit.ifindex, envelope, bytes: transmit.bytes };
    let receiver = Receiver {
        addresses: &[],
        sources: &[],
        verify_source_subnet: false,
        require_router_alert: true,
        ssm: &[],
    };
    let (header, message) = F::parse(&packet, &receiver).unwrap();
    assert_eq!((header.source, header.ttl), (source, 1));
    match message {
        Message::Query(query) => {
            let to = if query.group.is_unspecified() { F::ALL_SYSTEMS } else { query.group };
            assert_eq!(destination, to);
            vec![query_text(&query)]
        }
        Message::OldReport { version, group } => {
            vec![format!("report-v{version}({})", group_name::<F>(group))]
        }
        Message::Leave { group } => vec![format!("leave({})", group_name::<F>(group))],
        Message::Report(records) => {
            assert_eq!(destination, F::REPORTS);
            records.map(|r| record_text::<F>(&r.unwrap())).collect()
        }
        Message::Mrdisc(Mrdisc::Advertisement { interval, query_interval, robustness }) => {
            vec![format!("advertisement {interval} QI={query_interval} RV={robustness}")]
        }
        Message::Mrdisc(Mrdisc::Solicitation) => vec!["solicitation".into()],
        Message::Mrdisc(Mrdisc::Termination) => vec!["termination".into()],
    }
}

/// `general` or `Q(G,1,2)`, then `S`, then the version where it is not the newest.
fn query_text<F: Net>(query: &Query<'_, F>) -> String {
    let mut text = if query.group.is_unspecified() {
        "general".to_owned()
    } else if query.sources.is_empty() {
        format!("Q({})", group_name::<F>(query.group))
    } else {
        format!("Q({},{})", group_name::<F>(query.group), list::<F>(query.sources.iter()))
    };
    if query.suppress {
        text += " S";
    }
    if query.version < F::LAYOUT.newest {
        text += &format!(" v{}", query.version);
    }
    text
}

/// `TO_EX(G,1,2)`.
fn record_text<F: Net>(record: &Record<'_, F>) -> String {
    let name = match record.kind {
        RecordType::IsIn => "IS_IN",
        RecordType::IsEx => "IS_EX",
        RecordType::ToIn => "TO_IN",
        RecordType::ToEx => "TO_EX",
        RecordType::Allow => "ALLOW",
        RecordType::Block => "BLOCK",
    };
    let group = group_name::<F>(record.group);
    if record.sources.is_empty() {
        return format!("{name}({group})");
    }
    format!("{name}({group},{})", list::<F>(record.sources.iter()))
}
