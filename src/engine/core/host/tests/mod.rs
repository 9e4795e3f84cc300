//! Scenarios with virtual time; what is sent is read back by the parser.

mod changes;
mod model;
mod older;
mod pacing;
mod queries;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Endpoint, Host, HostConfig, Subscription};
use crate::imsg::ctl::Mode;
use crate::imsg::{Envelope, Packet, Transmit};
use crate::sys::time::{Millis, Tick};
use crate::wire::{
    Af, Family, Message, QuerySpec, Receiver, RecordType, Sender, V4, V6, default_ssm, query,
};

/// A family with addresses for tests.
trait Sample: Family {
    /// A group, any-source.
    fn group(n: u32) -> Self::Addr;
    /// A group, source-specific.
    fn ssm_group(n: u32) -> Self::Addr;
    /// A source.
    fn source(n: u32) -> Self::Addr;
    /// A host on the link.
    fn host(n: u32) -> Self::Addr;
}

impl Sample for V4 {
    fn group(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::from_be_bytes([239, 1, 0, 0]) + n)
    }
    fn ssm_group(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::from_be_bytes([232, 1, 0, 0]) + n)
    }
    fn source(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::from_be_bytes([10, 0, 0, 0]) + n)
    }
    fn host(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::from_be_bytes([192, 0, 2, 0]) + n)
    }
}

impl Sample for V6 {
    fn group(n: u32) -> Ipv6Addr {
        Ipv6Addr::from_bits((0xff08_0db8 << 96) + u128::from(n))
    }
    fn ssm_group(n: u32) -> Ipv6Addr {
        Ipv6Addr::from_bits((0xff38 << 112) + 0x8000_0000 + u128::from(n))
    }
    fn source(n: u32) -> Ipv6Addr {
        Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(n))
    }
    fn host(n: u32) -> Ipv6Addr {
        Ipv6Addr::from_bits((0xfe80 << 112) + u128::from(n))
    }
}

/// What one message says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said<A> {
    Record(RecordType, A, Vec<A>),
    Report(u8, A),
    Leave(A),
}

impl<A: Copy> Said<A> {
    fn group(&self) -> A {
        match self {
            Self::Record(_, group, _) | Self::Report(_, group) | Self::Leave(group) => *group,
        }
    }
}

/// A packet, as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent<F: Family> {
    at: Tick,
    source: F::Addr,
    destination: F::Addr,
    said: Vec<Said<F::Addr>>,
}

/// A host with a clock and what it sent.
struct Bench<F: Family> {
    host: Host<F>,
    now: Tick,
    sent: Vec<Sent<F>>,
}

const MTU: u32 = 1500;

impl<F: Sample> Bench<F> {
    /// With the interface up since 0 and nothing subscribed to.
    fn new() -> Self {
        let mut bench = Self::down();
        bench.up(1);
        bench
    }

    fn down() -> Self {
        let config =
            HostConfig { ifindex: 7, max_version: F::LAYOUT.newest, ssm: vec![default_ssm::<F>()] };
        Self { host: Host::new(config, [11, 22]), now: Tick(0), sent: Vec::new() }
    }

    fn up(&mut self, address: u32) {
        let endpoint = Endpoint { source: F::host(address), mtu: MTU };
        self.host.set_endpoint(self.now, Some(endpoint));
    }

    fn set(&mut self, group: F::Addr, subscription: Subscription<F::Addr>) {
        self.host.subscribe(self.now, vec![(group, subscription)]);
    }

    /// Takes what is sent now.
    fn poll(&mut self) {
        while let Some(transmit) = self.host.poll_transmit() {
            assert_eq!(transmit.ifindex, 7);
            self.sent.push(read(self.now, transmit));
        }
    }

    /// Lets the time pass.
    fn run(&mut self, wait: Millis) {
        let end = self.now + wait;
        self.poll();
        while let Some(deadline) = self.host.next_deadline().filter(|d| *d <= end) {
            assert!(deadline > self.now, "it spins at {:?}", self.now);
            self.now = deadline;
            self.host.on_time(self.now);
            self.poll();
        }
        self.now = end;
    }

    /// What was sent since the last call.
    fn take(&mut self) -> Vec<Sent<F>> {
        std::mem::take(&mut self.sent)
    }

    /// The same, without the times.
    fn said(&mut self) -> Vec<Said<F::Addr>> {
        self.take().into_iter().flat_map(|sent| sent.said).collect()
    }

    /// Lets all repetitions pass and forgets what they were.
    fn settle(&mut self) {
        self.run(Millis(100_000));
        self.sent.clear();
    }

    fn ask(&mut self, spec: &QuerySpec<'_, F>) {
        let from = Sender { ifindex: 7, source: F::host(254), mtu: MTU };
        for transmit in query(&from, spec) {
            let packet = packet(transmit);
            let Ok((_, Message::Query(query))) = F::parse(&packet, &receiver()) else {
                panic!("no query: {packet:?}");
            };
            self.host.on_query(self.now, &query);
        }
    }
}

/// A query of the newest version with the default robustness and interval.
fn spec<F: Family>(group: F::Addr, sources: &[F::Addr], response: u32) -> QuerySpec<'_, F> {
    QuerySpec {
        version: F::LAYOUT.newest,
        group,
        max_response: Millis(response),
        suppress: false,
        robustness: 2,
        query_interval: Millis(125_000),
        sources,
    }
}

fn general<F: Family>(response: u32) -> QuerySpec<'static, F> {
    spec(<F::Addr as crate::wire::Address>::UNSPECIFIED, &[], response)
}

fn include<F: Sample>(sources: &[u32]) -> Subscription<F::Addr> {
    Subscription { mode: Mode::Include, sources: addresses::<F>(sources) }
}

fn exclude<F: Sample>(sources: &[u32]) -> Subscription<F::Addr> {
    Subscription { mode: Mode::Exclude, sources: addresses::<F>(sources) }
}

fn addresses<F: Sample>(sources: &[u32]) -> Vec<F::Addr> {
    sources.iter().map(|n| F::source(*n)).collect()
}

fn record<F: Sample>(kind: RecordType, group: u32, sources: &[u32]) -> Said<F::Addr> {
    Said::Record(kind, F::group(group), addresses::<F>(sources))
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

/// What arrives of it.
fn packet(transmit: Transmit) -> Packet {
    let envelope = match (transmit.source, transmit.destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => Envelope::Ip6 {
            source,
            destination,
            hop_limit: 1,
            router_alert: true,
            checksum_verified: true,
        },
        (_, IpAddr::V4(_) | IpAddr::V6(_)) => Envelope::Ip4,
    };
    Packet { ifindex: transmit.ifindex, envelope, bytes: transmit.bytes }
}

fn read<F: Sample>(at: Tick, transmit: Transmit) -> Sent<F> {
    assert!(F::AF == Af::Ip6 || transmit.bytes.len() <= MTU as usize);
    let packet = packet(transmit);
    let (header, message) = F::parse(&packet, &receiver()).expect("a valid message");
    let said = match message {
        Message::Report(records) => records
            .map(|r| r.expect("a valid record"))
            .map(|r| Said::Record(r.kind, r.group, r.sources.iter().collect()))
            .collect(),
        Message::OldReport { version, group } => vec![Said::Report(version, group)],
        Message::Leave { group } => vec![Said::Leave(group)],
        Message::Query(_) | Message::Mrdisc(_) => panic!("a host says no such thing: {message:?}"),
    };
    Sent { at, source: header.source, destination: header.destination, said }
}

/// The test of this name in both families.
macro_rules! both {
    ($($name:ident)*) => {
        mod ip4 {
            $(#[test] fn $name() { super::$name::<crate::wire::V4>(); })*
        }
        mod ip6 {
            $(#[test] fn $name() { super::$name::<crate::wire::V6>(); })*
        }
    };
}
use both;
