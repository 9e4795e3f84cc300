//! Queues that a burst does not leave its memory in.

use std::collections::VecDeque;

/// Takes the first. Memory returns with the last one.
pub(super) fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    first
}
