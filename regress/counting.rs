//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets allocated now.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// Allocations so far.
static MADE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Octets that this thread has allocated and not freed; less when others allocated them.
    #[allow(
        clippy::missing_const_for_thread_local,
        reason = "it is const, which the lint sees only where the sources of std are installed"
    )]
    static HERE: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

/// Counts for this thread, unless it is ending.
fn count_here(octets: isize) {
    let _ = HERE.try_with(|here| here.set(here.get() + octets));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        MADE.fetch_add(1, Ordering::Relaxed);
        count_here(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        count_here(-layout.size().cast_signed());
        // SAFETY: the pointer came from `System` by `alloc`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Octets allocated now.
pub(crate) fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// Octets that this thread has allocated and not freed.
pub(crate) fn held_here() -> isize {
    HERE.get()
}

/// Allocations so far.
pub(crate) fn made() -> usize {
    MADE.load(Ordering::Relaxed)
}
