//! Finds records by their addresses, by a keyed hash: what hosts send cannot be made to collide.

use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use crate::wire::Address;

/// Handles of records, each with its hash: growing the table reads no record.
#[derive(Clone, Debug)]
pub struct Index {
    key: SipHasher13,
    table: HashTable<(u32, u32)>,
}

/// The table looks at the high bits and at the low ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl Index {
    /// An empty one, its hash keyed by `seed`.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        Self { key: SipHasher13::new_with_keys(seed[0], seed[1]), table: HashTable::new() }
    }

    /// The hash by which records with these addresses are found.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each part has its own half or quarter")]
    pub fn hash<A: Address>(&self, addresses: &[A]) -> u32 {
        let mut hasher = self.key;
        for bits in addresses.iter().map(|a| a.bits()) {
            hasher.write_u64(bits as u64);
            if A::LEN > size_of::<u64>() {
                hasher.write_u64((bits >> 64) as u64);
            }
        }
        hasher.finish() as u32
    }

    /// The record of this hash that `is` the one.
    pub fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.table.find(spread(hash), |e| e.0 == hash && is(e.1)).map(|e| e.1)
    }

    /// Takes in a record that is not there.
    pub fn insert(&mut self, hash: u32, handle: u32) {
        self.table.insert_unique(spread(hash), (hash, handle), |e| spread(e.0));
    }

    /// Has the record `new` found in place of `old`.
    pub fn replace(&mut self, hash: u32, old: u32, new: u32) {
        if let Some(entry) = self.table.find_mut(spread(hash), |e| e.1 == old) {
            entry.1 = new;
        }
    }

    /// Forgets a record. Memory returns when the last one goes.
    pub fn remove(&mut self, hash: u32, handle: u32) {
        if let Ok(entry) = self.table.find_entry(spread(hash), |e| e.1 == handle) {
            entry.remove();
        }
        if self.table.is_empty() {
            self.table = HashTable::new();
        }
    }

    /// All records, in no order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.table.iter().map(|e| e.1)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn records_of_one_hash_are_told_apart_and_an_empty_index_holds_nothing() {
        let mut index = Index::new([1, 2]);
        (0..100).for_each(|handle| index.insert(7, handle));
        assert_eq!(index.find(7, |h| h == 42), Some(42));
        assert_eq!(index.find(8, |_| true), None);
        index.replace(7, 42, 1000);
        assert_eq!((index.find(7, |h| h == 42), index.find(7, |h| h == 1000)), (None, Some(1000)));
        (0..100).chain([1000]).for_each(|handle| index.remove(7, handle));
        assert_eq!((index.iter().count(), index.table.capacity()), (0, 0));
    }

    #[test]
    fn every_part_of_an_address_and_of_the_key_counts() {
        let index = Index::new([1, 2]);
        let one = |bits| index.hash(&[Ipv6Addr::from_bits(bits)]);
        assert_eq!(one(5), one(5));
        assert_ne!(one(5), one(5 << 64));
        let [a, b] = [1, 2].map(Ipv4Addr::from_bits);
        assert_ne!(index.hash(&[a, b]), index.hash(&[b, a]));
        assert_ne!(index.hash(&[a]), Index::new([1, 3]).hash(&[a]));
    }
}
