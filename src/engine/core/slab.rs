//! Records by four-octet handles, in chunks, so that a million of them neither move nor pay an
//! allocation each.

/// A handle that names no record.
pub const NONE: u32 = u32::MAX;

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Records of one type. A handle is valid from [`Slab::insert`] to [`Slab::remove`]; using it
/// afterwards reads a default or another record, never memory outside. The first chunk is there from
/// the start and stays: few records that come and go leave no holes in the heap.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
    len: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: vec![Vec::with_capacity(CHUNK)], free: Vec::new(), len: 0 }
    }
}

const fn place(handle: u32) -> (usize, usize) {
    ((handle >> CHUNK_BITS) as usize, handle as usize & (CHUNK - 1))
}

impl<T: Default> Slab<T> {
    /// Takes a record in; its handle is below [`NONE`].
    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(handle) = self.free.pop() {
            self[handle] = value;
            return handle;
        }
        if self.chunks.last().is_none_or(|c| c.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let at = self.chunks.len() - 1;
        let chunk = &mut self.chunks[at];
        chunk.push(value);
        u32::try_from((at << CHUNK_BITS) + chunk.len() - 1).unwrap_or(NONE)
    }

    /// Takes a record out. Memory beyond the first chunk returns when the last one goes.
    pub fn remove(&mut self, handle: u32) -> T {
        let value = std::mem::take(&mut self[handle]);
        self.len -= 1;
        if self.len == 0 {
            self.chunks.truncate(1);
            self.chunks.shrink_to_fit();
            self.chunks.iter_mut().for_each(Vec::clear);
            self.free = Vec::new();
        } else {
            self.free.push(handle);
        }
        value
    }

    /// Records held.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.len
    }

    /// Handles ever given out, for a walk with [`Slab::at`].
    #[must_use]
    pub fn extent(&self) -> u32 {
        u32::try_from(self.chunks.iter().map(Vec::len).sum::<usize>()).unwrap_or(NONE)
    }

    /// The record or free place of that number.
    #[must_use]
    pub fn at(&self, handle: u32) -> Option<&T> {
        let (chunk, at) = place(handle);
        self.chunks.get(chunk)?.get(at)
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, handle: u32) -> &T {
        let (chunk, at) = place(handle);
        &self.chunks[chunk][at]
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, handle: u32) -> &mut T {
        let (chunk, at) = place(handle);
        &mut self.chunks[chunk][at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_reused_and_an_empty_slab_holds_nothing() {
        let mut slab = Slab::default();
        let handles: Vec<u32> = (0..3000_u32).map(|n| slab.insert(n)).collect();
        assert_eq!(slab[handles[2500]], 2500);
        assert_eq!(slab.remove(handles[7]), 7);
        assert_eq!(slab.insert(99), handles[7]);
        for handle in handles {
            slab.remove(handle);
        }
        assert_eq!((slab.count(), slab.extent()), (0, 0));
    }
}
