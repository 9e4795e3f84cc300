//! Twenty flows of both families, and what of them is lost.

use std::net::IpAddr;

use crate::net::socket::{Flow, Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{ip, wait_for};

/// Ten groups of each family.
pub(crate) fn groups() -> Vec<IpAddr> {
    let of = |i: u32| [ip(&format!("239.1.1.{i}")), ip(&format!("ff15::1:{i}"))];
    (1..=10).flat_map(of).collect()
}

/// Every group joined at the first receiver and flowing.
pub(crate) struct Load {
    receivers: Vec<Receiver>,
    flows: Vec<Flow>,
}

impl Load {
    /// Begins, at `rate` datagrams a second and group, and waits until every flow arrives.
    pub(crate) fn new(network: &Network, rate: u32) -> Self {
        let groups = groups();
        let join = |group: &IpAddr| Receiver::join(&network.receivers[0], "eth0", *group);
        let mut receivers: Vec<Receiver> = groups.iter().map(join).collect();
        let send = |group: &IpAddr| {
            Sender::new(&network.source, "eth0", source(*group, 2), *group).flow(rate)
        };
        let flows = groups.iter().map(send).collect();
        wait_for("every flow arrives", || {
            receivers.iter_mut().all(|r| !r.got().is_empty()).then_some(())
        });
        Self { receivers, flows }
    }

    /// Waits until every receiver has got something that was sent after this call.
    pub(crate) fn pass(&mut self) {
        let marks: Vec<u64> = self.flows.iter().map(Flow::sent).collect();
        wait_for("every flow goes on", || {
            let on = |(r, mark): (&mut Receiver, &u64)| r.got().last().is_some_and(|n| n > mark);
            self.receivers.iter_mut().zip(&marks).all(on).then_some(())
        });
    }

    /// Stops; how many datagrams between a receiver's first and the last sent are missing, and how
    /// many were sent.
    pub(crate) fn lost(self) -> (u64, u64) {
        let (mut lost, mut sent) = (0, 0);
        for (flow, mut receiver) in self.flows.into_iter().zip(self.receivers) {
            let end = flow.stop().sent();
            let arrived = || (receiver.got().last() == Some(&(end - 1))).then_some(());
            wait_for("the last datagram", arrived);
            let got = receiver.got();
            lost += end - got[0] - got.len() as u64;
            sent += end;
        }
        (lost, sent)
    }
}
