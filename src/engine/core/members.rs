//! What forwarding asks of the membership state.

use super::slot::Slot;
use crate::wire::Family;

/// What a downstream link's state for a group lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Every source: EXCLUDE with nothing excluded.
    All,
    /// Some sources: INCLUDE, or EXCLUDE with excluded ones.
    Some,
}

/// The membership state of the downstream links, static groups included.
pub trait Members<F: Family> {
    /// Calls `visit` for each link that has members of the group.
    fn links(&self, group: F::Addr, visit: &mut dyn FnMut(Slot, Filter));

    /// Calls `visit` for each group that has members.
    fn groups(&self, visit: &mut dyn FnMut(F::Addr));

    /// Whether the link wants (source, group). RFC 9776, section 6.3.
    fn wants(&self, slot: Slot, group: F::Addr, source: F::Addr) -> bool;
}
