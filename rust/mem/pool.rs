// SPDX-License-Identifier: GPL-2.0

//! Pools of equal blocks of memory, of which some are kept for when there is no other.
//!
//! C header: [`include/linux/mempool.h`](srctree/include/linux/mempool.h)

use super::{MaySleep, NOIO, NOWAIT};
use crate::bindings;
use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};
use kernel::{error::to_result, ffi::c_void, prelude::*, types::Opaque};

/// A pool of blocks of bytes, `mempool_t` over `kmalloc` in C.
///
/// # Invariants
///
/// `inner` is initialised, and gives out blocks of `size` bytes, aligned for any type.
#[pin_data(PinnedDrop)]
pub struct Pool {
    #[pin]
    inner: Opaque<bindings::mempool_t>,
    size: usize,
}

// SAFETY: A pool belongs to no thread.
unsafe impl Send for Pool {}
// SAFETY: A pool has a lock of its own.
unsafe impl Sync for Pool {}

impl Pool {
    /// A pool of blocks of `size` bytes (at least one), of which `count` are kept.
    pub fn new(count: u16, size: usize, _sleep: MaySleep<'_>) -> impl PinInit<Self, Error> {
        let size = size.max(1);

        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::mempool_t| {
                // SAFETY: `slot` is ours. C fills a pool from what it counts in it so far, so it
                // has to be zeroes.
                unsafe { core::ptr::write_bytes(slot, 0, 1) };
                // SAFETY: `slot` is ours, zeroes, and stays where it is. `mempool_kmalloc` takes
                // the size for its data.
                to_result(unsafe {
                    bindings::mempool_init_node(
                        slot,
                        count.into(),
                        Some(bindings::mempool_kmalloc),
                        Some(bindings::mempool_kfree),
                        size as *mut c_void,
                        bindings::GFP_KERNEL,
                        bindings::NUMA_NO_NODE,
                    )
                })
            }),
            size,
        })
    }

    /// A block, full of zeroes. Waits until there is one, if it may sleep.
    pub fn take(&self, sleep: Option<MaySleep<'_>>) -> Option<PoolBox<'_>> {
        let gfp = if sleep.is_some() { NOIO } else { NOWAIT };
        // SAFETY: By the type invariants the pool is initialised.
        let block = unsafe { bindings::mempool_alloc_noprof(self.inner.get(), gfp) };
        let block = NonNull::new(block)?.cast::<u8>();

        // SAFETY: By the type invariants the block is of that size, and it is ours.
        unsafe { block.as_ptr().write_bytes(0, self.size) };
        Some(PoolBox { block, pool: self })
    }
}

#[pinned_drop]
impl PinnedDrop for Pool {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants the pool is initialised. Each block borrows it, so all
        // have been given back.
        unsafe { bindings::mempool_exit(self.inner.get()) };
    }
}

/// A block of a [`Pool`], given back when this is dropped.
///
/// # Invariants
///
/// `block` came from `pool`, is initialised, and is nobody else's.
pub struct PoolBox<'p> {
    block: NonNull<u8>,
    pool: &'p Pool,
}

// SAFETY: A block belongs to no thread.
unsafe impl Send for PoolBox<'_> {}
// SAFETY: A shared block is only read.
unsafe impl Sync for PoolBox<'_> {}

impl<'p> PoolBox<'p> {
    /// Gives up the ownership: the block has to get back by [`from_raw`](Self::from_raw).
    pub(crate) fn into_raw(self) -> *mut u8 {
        let block = self.block.as_ptr();

        core::mem::forget(self);
        block
    }

    /// # Safety
    ///
    /// `block` came from [`into_raw`](Self::into_raw) of a block of `pool`, and is given up.
    pub(crate) unsafe fn from_raw(block: *mut u8, pool: &'p Pool) -> Self {
        // INVARIANT: As the caller says.
        Self {
            // SAFETY: As the caller says, this is a block, and so not null.
            block: unsafe { NonNull::new_unchecked(block) },
            pool,
        }
    }
}

impl Deref for PoolBox<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariants.
        unsafe { slice::from_raw_parts(self.block.as_ptr(), self.pool.size) }
    }
}

impl DerefMut for PoolBox<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: By the type invariants.
        unsafe { slice::from_raw_parts_mut(self.block.as_ptr(), self.pool.size) }
    }
}

impl Drop for PoolBox<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the block is of this pool, and is given up here.
        unsafe { bindings::mempool_free(self.block.as_ptr().cast(), self.pool.inner.get()) };
    }
}
