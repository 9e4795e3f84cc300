//! What a link counts: messages by kind, discards by reason.

use std::collections::BTreeMap;

use crate::wire::{Discard, Kind};

/// The counters of one link and family; never reset while the link exists.
#[derive(Clone, Debug)]
pub struct Counters {
    received: Vec<u64>,
    sent: Vec<u64>,
    discarded: Vec<u64>,
    /// IGMP with a TTL other than 1, which is taken all the same.
    pub other_ttl: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            received: vec![0; Kind::ALL.len()],
            sent: vec![0; Kind::ALL.len()],
            discarded: vec![0; Discard::ALL.len()],
            other_ttl: 0,
        }
    }
}

impl Counters {
    /// A valid message arrived.
    pub fn received(&mut self, kind: Kind) {
        self.received[kind as usize] += 1;
    }

    /// A message is sent.
    pub fn sent(&mut self, kind: Kind) {
        self.sent[kind as usize] += 1;
    }

    /// A packet, record or wish had no effect.
    pub fn discarded(&mut self, reason: Discard) {
        self.discarded[reason as usize] += 1;
    }

    /// How often for this reason.
    #[must_use]
    pub fn discards(&self, reason: Discard) -> u64 {
        self.discarded[reason as usize]
    }

    /// The columns of `show counters`: received, sent, discarded; what is zero is left out.
    #[must_use]
    pub fn columns(&self) -> [BTreeMap<String, u64>; 3] {
        let kinds = |counts: &[u64]| named(Kind::ALL.iter().map(|k| k.name()), counts);
        [
            kinds(&self.received),
            kinds(&self.sent),
            named(Discard::ALL.iter().map(|d| d.name()), &self.discarded),
        ]
    }
}

fn named<'a>(names: impl Iterator<Item = &'a str>, counts: &[u64]) -> BTreeMap<String, u64> {
    names.zip(counts).filter(|(_, n)| **n > 0).map(|(name, n)| (name.to_owned(), *n)).collect()
}
