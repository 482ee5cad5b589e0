// SPDX-License-Identifier: GPL-2.0

//! Bios for the device below: clones that share the pages of a bio, and bios with pages of their
//! own.
//!
//! There is always memory for one more in the end: bios and pages come from pools, and who waits
//! for pages of the pool holds none of another's. For that, see [`Buffers::new_bio`].

use super::{
    cursor::{Cursor, CursorMut},
    held::HeldBio,
    Device, HoldsBios, Op, Sector,
};
use crate::{
    bindings,
    mem::{MaySleep, Pool, PoolBox, NOIO, NOWAIT},
};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering},
};
use kernel::{
    alloc::KVec,
    error::to_result,
    ffi::{c_int, c_void},
    new_mutex,
    prelude::*,
    sync::Mutex,
    types::Opaque,
};

/// Bios that the pool keeps, as dm-crypt does.
const MIN_BIOS: u32 = 64;
/// The share of memory that all targets together may have in flight, in percent.
const MEMORY_PERCENT: usize = 2;
/// What each target may have at least, in pages.
const MIN_PAGES: usize = bindings::BIO_MAX_VECS as usize * 16;

const PAGE_SIZE: u32 = kernel::page::PAGE_SIZE as u32;

/// How many targets share the memory.
static CLIENTS: AtomicUsize = AtomicUsize::new(0);

/// How many pages each may have in flight.
static PAGES_PER_CLIENT: AtomicUsize = AtomicUsize::new(MIN_PAGES);

/// One of those that share the memory.
struct Client;

impl Client {
    fn new() -> Self {
        CLIENTS.fetch_add(1, Ordering::Relaxed);
        Self::share();
        Self
    }

    /// Shares the memory out anew.
    fn share() {
        // SAFETY: Only reads counters.
        let pages = unsafe { bindings::dm_rust_helper_lowmem_pages() } as usize;

        loop {
            let clients = CLIENTS.load(Ordering::SeqCst);
            let each = pages.saturating_mul(MEMORY_PERCENT) / 100 / clients.max(1);

            PAGES_PER_CLIENT.store(each.max(MIN_PAGES), Ordering::SeqCst);
            if CLIENTS.load(Ordering::SeqCst) == clients {
                break;
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        CLIENTS.fetch_sub(1, Ordering::Relaxed);
        Self::share();
    }
}

fn pages_per_client() -> usize {
    PAGES_PER_CLIENT.load(Ordering::Relaxed)
}

/// The largest piece of memory that is kept, as a power of two in pages: 128 KiB, as much as a bio
/// has that is not split.
const MAX_KEPT_ORDER: usize = 5;

/// Memory that has just been written out, for the next bio on the same CPU: one piece of each size.
///
/// The kernel may clear memory that it hands out, which takes as long as copying it.
///
/// # Invariants
///
/// Each slot is null, or holds the one pointer to a page that `Buffers::pages` gave, of the order
/// that is the index of the slot.
#[repr(align(64))]
struct Kept([AtomicPtr<bindings::page>; MAX_KEPT_ORDER + 1]);

impl Kept {
    /// One for each CPU.
    fn all() -> Result<KVec<Self>> {
        let mut all = KVec::new();

        for _ in 0..kernel::cpu::nr_cpu_ids() {
            let empty = |_| AtomicPtr::new(core::ptr::null_mut());

            // INVARIANT: All slots are empty.
            all.push(Self(core::array::from_fn(empty)), GFP_KERNEL)?;
        }
        Ok(all)
    }
}

/// The pools that bios and their pages come from.
///
/// Made by [`Constructor::buffers`](super::Constructor::buffers). The fields are dropped in this
/// order: pages are counted when they are freed.
#[pin_data(PinnedDrop)]
pub struct Buffers {
    #[pin]
    bios: BioSet,
    #[pin]
    pages: PagePool,
    kept: KVec<Kept>,
    #[pin]
    counter: Counter,
    /// Held by who waits for pages, so that no two wait for what the other has.
    #[pin]
    waiting: Mutex<()>,
    _client: Client,
}

// SAFETY: Pools belong to no thread.
unsafe impl Send for Buffers {}
// SAFETY: Pools have locks of their own.
unsafe impl Sync for Buffers {}

/// Bios, `struct bio_set` in C.
///
/// # Invariants
///
/// Initialised.
#[pin_data(PinnedDrop)]
struct BioSet {
    #[pin]
    inner: Opaque<bindings::bio_set>,
}

impl BioSet {
    fn new() -> impl PinInit<Self, Error> {
        const FLAGS: u32 = bindings::BIOSET_NEED_BVECS | bindings::BIOSET_PERCPU_CACHE;

        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(|slot| {
                // SAFETY: `slot` is ours; zeroes are what C starts with.
                unsafe { core::ptr::write_bytes(slot, 0, 1) };
                // SAFETY: `slot` is ours, and stays where it is.
                to_result(unsafe {
                    bindings::bioset_init(slot, MIN_BIOS, 0, FLAGS as c_int)
                })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for BioSet {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants; all bios have been given back.
        unsafe { bindings::bioset_exit(self.inner.get()) };
    }
}

/// Pages in use, `struct percpu_counter` in C.
///
/// # Invariants
///
/// Initialised.
#[pin_data(PinnedDrop)]
struct Counter {
    #[pin]
    inner: Opaque<bindings::percpu_counter>,
}

impl Counter {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(|slot| {
                // SAFETY: `slot` is ours, and stays where it is.
                if unsafe { bindings::dm_rust_helper_counter_init(slot) } {
                    Ok(())
                } else {
                    Err(ENOMEM)
                }
            }),
        })
    }

    fn add(&self, pages: i64) {
        // SAFETY: By the type invariants.
        unsafe { bindings::dm_rust_helper_counter_add(self.inner.get(), pages) };
    }

    fn read(&self) -> usize {
        // SAFETY: By the type invariants.
        let pages = unsafe { bindings::dm_rust_helper_counter_read_positive(self.inner.get()) };

        usize::try_from(pages).unwrap_or(0)
    }
}

#[pinned_drop]
impl PinnedDrop for Counter {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants; nobody uses it any more.
        unsafe { bindings::percpu_counter_destroy_many(self.inner.get(), 1) };
    }
}

/// Single pages, `mempool_t` in C.
///
/// # Invariants
///
/// Initialised, with the [`Counter`] of the same [`Buffers`] as its data.
#[pin_data(PinnedDrop)]
struct PagePool {
    #[pin]
    inner: Opaque<bindings::mempool_t>,
}

impl PagePool {
    /// # Safety
    ///
    /// `counter` is initialised and outlives the pool.
    unsafe fn new(counter: *const Counter) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::mempool_t| {
                // SAFETY: `slot` is ours. C fills a pool from what it counts in it so far, so it
                // has to be zeroes.
                unsafe { core::ptr::write_bytes(slot, 0, 1) };
                // SAFETY: `slot` is ours, zeroes, and stays where it is. The functions take the
                // counter.
                to_result(unsafe {
                    bindings::mempool_init_node(
                        slot,
                        bindings::BIO_MAX_VECS as c_int,
                        Some(alloc_page),
                        Some(free_page),
                        counter.cast_mut().cast(),
                        bindings::GFP_KERNEL,
                        bindings::NUMA_NO_NODE,
                    )
                })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for PagePool {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants; all pages have been given back.
        unsafe { bindings::mempool_exit(self.inner.get()) };
    }
}

/// # Safety
///
/// Called by the pool, with a [`Counter`].
unsafe extern "C" fn alloc_page(gfp: bindings::gfp_t, data: *mut c_void) -> *mut c_void {
    // SAFETY: As the caller says.
    let counter = unsafe { &*data.cast::<Counter>() };

    // The pool first asks so that it may fail.
    if gfp & bindings::DM_RUST_GFP_NORETRY != 0 && counter.read() >= pages_per_client() {
        return core::ptr::null_mut();
    }
    // SAFETY: Any context in which the flags are right.
    let page = unsafe { bindings::alloc_pages(gfp, 0) };

    if !page.is_null() {
        counter.add(1);
    }
    page.cast()
}

/// # Safety
///
/// Called by the pool, with a page that `alloc_page` gave, and a [`Counter`].
unsafe extern "C" fn free_page(page: *mut c_void, data: *mut c_void) {
    // SAFETY: As the caller says.
    let counter = unsafe { &*data.cast::<Counter>() };

    // SAFETY: As the caller says; nobody uses the page.
    unsafe { bindings::__free_pages(page.cast(), 0) };
    counter.add(-1);
}

impl Buffers {
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(&this in Self {
            bios <- BioSet::new(),
            counter <- Counter::new(),
            // SAFETY: The counter was initialised, and is dropped after the pool.
            pages <- unsafe { PagePool::new(&raw const (*this.as_ptr()).counter) },
            kept: Kept::all()?,
            waiting <- new_mutex!((), "dm_rust::Buffers::waiting"),
            _client: Client::new(),
        })
    }

    /// A bio that reads into the pages of `base`, from `dev`.
    pub(super) fn clone_of(
        &self,
        base: NonNull<bindings::bio>,
        dev: &Device,
        sleep: Option<MaySleep<'_>>,
    ) -> Option<NonNull<bindings::bio>> {
        let gfp = if sleep.is_some() { NOIO } else { NOWAIT };

        // SAFETY: The bio is the caller's, the device open, the pool initialised.
        NonNull::new(unsafe {
            bindings::bio_alloc_clone(dev.bdev(), base.as_ptr(), gfp, self.bios.inner.get())
        })
    }

    /// A bio for `sector` of `dev` that does what `base` does, on as many bytes of memory of its
    /// own. All of it has to be written: it holds what was written out before.
    ///
    /// First tries to get pages without waiting, as many at once as possible. If that fails it
    /// gives back what it has and, if it may sleep, starts again: it waits for pages of the pool
    /// then, one bio after the other. So those that wait do not wait for each other. Sleeps for a
    /// bio, too.
    #[inline]
    pub fn new_bio<'ti, T: HoldsBios<'ti>>(
        &'ti self,
        base: &HeldBio<'_, 'ti, T>,
        dev: &'ti Device,
        sector: Sector,
        sleep: Option<MaySleep<'_>>,
    ) -> Option<BufferBio<'ti>> {
        // SAFETY: The bio is there while it is borrowed.
        let base = unsafe { &*base.as_raw() };

        self.try_new_bio(base, dev, sector, Hurry::Few)
            .or_else(|| self.new_bio_slowly(base, dev, sector, sleep))
    }

    #[cold]
    fn new_bio_slowly<'ti>(
        &'ti self,
        base: &bindings::bio,
        dev: &'ti Device,
        sector: Sector,
        sleep: Option<MaySleep<'_>>,
    ) -> Option<BufferBio<'ti>> {
        sleep?;
        if let Some(bio) = self.try_new_bio(base, dev, sector, Hurry::Some) {
            return Some(bio);
        }
        let _guard = self.waiting.lock();

        self.try_new_bio(base, dev, sector, Hurry::None)
    }

    #[inline]
    fn try_new_bio<'ti>(
        &'ti self,
        base: &bindings::bio,
        dev: &'ti Device,
        sector: Sector,
        hurry: Hurry,
    ) -> Option<BufferBio<'ti>> {
        let size = base.bi_iter.bi_size;
        let pages = size.div_ceil(PAGE_SIZE);
        let highmem = bindings::__GFP_HIGHMEM;

        // The size of a discard is that of a range.
        if pages > bindings::BIO_MAX_VECS || !Op::from_raw(base.bi_opf).has_data() {
            return None;
        }
        let (vecs, bio_gfp, page_gfp) = match hurry {
            Hurry::Few => (pages.count_ones(), NOWAIT, NOWAIT | highmem),
            Hurry::Some => (pages, NOIO, NOWAIT | highmem),
            Hurry::None => (
                pages,
                NOIO,
                NOWAIT | highmem | bindings::DM_RUST_GFP_DIRECT_RECLAIM,
            ),
        };
        // Whose I/O it is is said when it is submitted: without a device, nobody looks that up here.
        // SAFETY: The pool is initialised.
        let bio = NonNull::new(unsafe {
            bindings::bio_alloc_bioset(
                core::ptr::null_mut(),
                vecs as u16,
                base.bi_opf,
                bio_gfp,
                self.bios.inner.get(),
            )
        })?;
        // SAFETY: The bio is ours.
        let fields = unsafe { &mut *bio.as_ptr() };

        fields.bi_bdev = dev.bdev();
        fields.bi_ioprio = base.bi_ioprio;
        fields.bi_iter.bi_sector = sector;
        let most_vecs = fields.bi_max_vecs;
        // INVARIANT: The bio has no pages yet.
        let buffer = BufferBio { bio, buffers: self };
        let mut left = size;
        let mut order = match hurry {
            Hurry::None => 0,
            _ => bindings::MAX_PAGE_ORDER,
        };

        while left > 0 {
            // SAFETY: The bio is ours.
            if unsafe { (*bio.as_ptr()).bi_vcnt } >= most_vecs {
                return None;
            }
            order = order.min(left.div_ceil(PAGE_SIZE).checked_ilog2().unwrap_or(0));
            let page = self.pages(page_gfp, &mut order)?;
            let len = left.min(PAGE_SIZE << order);

            // SAFETY: The bio has room for another entry; the pages are ours.
            unsafe { bindings::__bio_add_page(bio.as_ptr(), page.as_ptr(), len, 0) };
            left = left.saturating_sub(len);
        }
        Some(buffer)
    }

    #[inline]
    fn slot(&self, order: u32) -> Option<&AtomicPtr<bindings::page>> {
        // SAFETY: Only reads which CPU this is. Any other will do as well.
        let cpu = unsafe { bindings::raw_smp_processor_id() };

        self.kept.get(cpu as usize)?.0.get(order as usize)
    }

    /// Pages that follow each other: two to the power of `order`, which becomes smaller if there
    /// are not so many.
    #[inline]
    fn pages(&self, gfp: bindings::gfp_t, order: &mut u32) -> Option<NonNull<bindings::page>> {
        if let Some(slot) = self.slot(*order) {
            let page = slot.swap(core::ptr::null_mut(), Ordering::Acquire);

            if let Some(page) = NonNull::new(page) {
                return Some(page);
            }
        }
        self.new_pages(gfp, order)
    }

    #[cold]
    fn new_pages(&self, gfp: bindings::gfp_t, order: &mut u32) -> Option<NonNull<bindings::page>> {
        while *order > 0 {
            if self.counter.read().saturating_add(1 << *order) <= pages_per_client() {
                // SAFETY: The flags are right for where the caller is.
                let page = unsafe { bindings::dm_rust_helper_alloc_compound(gfp, *order) };

                if let Some(page) = NonNull::new(page) {
                    self.counter.add(1 << *order);
                    return Some(page);
                }
            }
            *order = order.saturating_sub(1);
        }
        // SAFETY: The pool is initialised, and gives pages.
        NonNull::new(unsafe { bindings::mempool_alloc_noprof(self.pages.inner.get(), gfp) })
            .map(NonNull::cast)
    }

    /// Gives back what is one entry of a bio.
    ///
    /// # Safety
    ///
    /// The memory came from [`pages`](Self::pages), and is given up.
    #[inline]
    unsafe fn put(&self, vec: &bindings::bio_vec) {
        // SAFETY: The page is there, as the caller says.
        let order = unsafe { bindings::dm_rust_helper_compound_order(vec.bv_page) };

        // The pool comes first: somebody may be waiting for it. What is kept counts as in flight, so
        // on a machine with many CPUs it must leave something.
        if vec.bv_len <= PAGE_SIZE << (order & 15)
            && !self.is_short()
            && self.counter.read() <= pages_per_client() / 2
        {
            if let Some(slot) = self.slot(order) {
                let empty = core::ptr::null_mut();
                // INVARIANT: The page is of that order, and given up here.
                let kept =
                    slot.compare_exchange(empty, vec.bv_page, Ordering::Release, Ordering::Relaxed);

                if kept.is_ok() {
                    return;
                }
            }
        }
        // SAFETY: As the caller says.
        unsafe { self.free(vec.bv_page, vec.bv_len) };
    }

    /// Whether the pool has given out pages that it wants back.
    fn is_short(&self) -> bool {
        let pool = self.pages.inner.get();
        // SAFETY: The pool is initialised. Others change the number at the same time, which is why it
        // is read as `READ_ONCE()` does. A stale value is harmless.
        let now = unsafe { (&raw const (*pool).curr_nr).read_volatile() };
        // SAFETY: The pool is initialised. This does not change: nobody resizes the pool.
        let wanted = unsafe { (*pool).min_nr };

        now < wanted
    }

    /// Frees the `len` bytes from the start of `page` on.
    ///
    /// # Safety
    ///
    /// As for [`put`](Self::put).
    unsafe fn free(&self, page: *mut bindings::page, len: u32) {
        // SAFETY: As the caller says.
        unsafe {
            bindings::dm_rust_helper_free_pages(
                page,
                len,
                self.pages.inner.get(),
                self.counter.inner.get(),
            )
        };
    }
}

#[pinned_drop]
impl PinnedDrop for Buffers {
    fn drop(self: Pin<&mut Self>) {
        for kept in &self.kept {
            for slot in &kept.0 {
                let page = slot.swap(core::ptr::null_mut(), Ordering::Acquire);

                if !page.is_null() {
                    // SAFETY: By the type invariants this was the only pointer to the page.
                    unsafe { self.free(page, 1) };
                }
            }
        }
    }
}

/// How little time there is to get memory.
#[derive(Clone, Copy)]
enum Hurry {
    /// None at all: as few large pieces as possible, or nothing.
    Few,
    /// Pieces of any size; waits for a bio.
    Some,
    /// Waits for pages as well.
    None,
}

/// A bio with pages of its own.
///
/// # Invariants
///
/// `bio` and its pages come from `buffers`, and are nobody else's.
pub struct BufferBio<'ti> {
    bio: NonNull<bindings::bio>,
    buffers: &'ti Buffers,
}

// SAFETY: A bio belongs to no thread.
unsafe impl Send for BufferBio<'_> {}
// SAFETY: What can be done to a shared one is to look where its data are.
unsafe impl Sync for BufferBio<'_> {}

impl<'ti> BufferBio<'ti> {
    /// Gives up the ownership, for the time of the I/O.
    pub(super) fn into_raw(self) -> (NonNull<bindings::bio>, &'ti Buffers) {
        let parts = (self.bio, self.buffers);

        core::mem::forget(self);
        parts
    }

    /// # Safety
    ///
    /// Both came from [`into_raw`](Self::into_raw), and the bio is not under I/O.
    pub(super) unsafe fn from_raw(bio: NonNull<bindings::bio>, buffers: &'ti Buffers) -> Self {
        // INVARIANT: As the caller says.
        Self { bio, buffers }
    }

    /// The data, from the start.
    pub fn cursor(&self) -> Cursor<'_> {
        // SAFETY: By the type invariants the bio is there, and nobody changes it.
        unsafe { Cursor::new(self.bio.as_ptr()) }
    }

    /// The data, from the start, to be written.
    pub fn cursor_mut(&self) -> CursorMut<'_> {
        // SAFETY: As above; the pages are our own.
        unsafe { CursorMut::new(self.bio.as_ptr()) }
    }

    /// Copies the data of `from`. `bio_copy_data()` in C.
    pub fn copy_from<'x, T: HoldsBios<'x>>(&mut self, from: &HeldBio<'_, 'x, T>) {
        if !from.op().has_data() {
            return;
        }
        // SAFETY: Both bios are there, and nobody changes them.
        unsafe { bindings::bio_copy_data(self.bio.as_ptr(), from.as_raw()) };
    }
}

impl Drop for BufferBio<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the bio is ours.
        let (table, count) =
            unsafe { ((*self.bio.as_ptr()).bi_io_vec, (*self.bio.as_ptr()).bi_vcnt) };

        for i in 0..count {
            // SAFETY: The table is the bio's, and has that many entries.
            let vec = unsafe { &*table.add(i.into()) };

            // SAFETY: By the type invariants the pages are from these pools, and nobody else's.
            unsafe { self.buffers.put(vec) };
        }
        // SAFETY: The bio is given up here.
        unsafe { bindings::bio_put(self.bio.as_ptr()) };
    }
}

/// A bio with pages of its own that has completed below.
///
/// It cannot be submitted again: what the block layer keeps in it counts from a new one.
pub struct DoneBuffer<'ti>(BufferBio<'ti>);

impl<'ti> DoneBuffer<'ti> {
    /// # Safety
    ///
    /// Both came from [`BufferBio::into_raw`], and the bio has completed.
    pub(super) unsafe fn from_raw(bio: NonNull<bindings::bio>, buffers: &'ti Buffers) -> Self {
        // SAFETY: As the caller says.
        Self(unsafe { BufferBio::from_raw(bio, buffers) })
    }

    /// The data, once [`rewind`](Self::rewind) was called.
    pub fn cursor(&self) -> Cursor<'_> {
        self.0.cursor()
    }

    /// As [`cursor`](Self::cursor), to be written.
    pub fn cursor_mut(&self) -> CursorMut<'_> {
        self.0.cursor_mut()
    }

    /// Goes back to the start of the data, all `size` bytes, if it has so many.
    pub fn rewind(&mut self, size: u32) {
        // SAFETY: The bio is ours.
        let (table, count) = unsafe {
            (
                (*self.0.bio.as_ptr()).bi_io_vec,
                (*self.0.bio.as_ptr()).bi_vcnt,
            )
        };
        let vecs: &[bindings::bio_vec] = if count == 0 {
            // There may be no table.
            &[]
        } else {
            // SAFETY: The table is the bio's, and has that many entries.
            unsafe { core::slice::from_raw_parts(table, count.into()) }
        };
        let all = vecs
            .iter()
            .fold(0u32, |all, vec| all.saturating_add(vec.bv_len));
        // SAFETY: The bio is ours.
        let iter = unsafe { &mut (*self.0.bio.as_ptr()).bi_iter };

        iter.bi_idx = 0;
        bindings::set_bvec_iter_done(iter, 0);
        iter.bi_size = size.min(all);
    }

    /// Copies the data to `to`, if that is a read: the pages of a write are not for us to change.
    pub fn copy_to<'x, T: HoldsBios<'x>>(&self, to: &mut HeldBio<'_, 'x, T>) {
        if to.op() != Op::READ {
            return;
        }
        // SAFETY: Both bios are there, and nobody changes them.
        unsafe { bindings::bio_copy_data(to.as_raw(), self.0.bio.as_ptr()) };
    }
}

/// The integrity tags of one bio.
///
/// Those who work on parts of the bio at the same time share them. So there is never a reference to
/// plain bytes: ciphers get an address, and code gets atomics.
///
/// # Invariants
///
/// `start` points to `len` initialised bytes of `kmalloc`, which belong to `_memory` and are used by
/// nothing but this.
pub struct Tags<'p> {
    start: NonNull<u8>,
    len: u32,
    _memory: Memory<'p>,
}

/// What the tags of a bio lie in.
enum Memory<'p> {
    /// Memory of their own.
    Own(#[expect(dead_code)] KVec<u8>),
    /// The beginning of a block of a pool.
    Pooled(#[expect(dead_code)] PoolBox<'p>),
}

// SAFETY: Memory belongs to no thread.
unsafe impl Send for Tags<'_> {}
// SAFETY: What is shared are atomics.
unsafe impl Sync for Tags<'_> {}

impl<'p> Tags<'p> {
    /// Memory for `len` bytes of tags, if there is any without trying hard.
    pub fn own(len: u32) -> Option<Self> {
        let mut bytes = KVec::new();
        // What C asks for: it may wait, but neither tries again nor takes reserves.
        let flags = kernel::alloc::flags::GFP_NOWAIT;

        bytes.resize(len as usize, 0, flags).ok()?;
        // INVARIANT: The vector is that long, is not moved in memory with its owner, and is not used
        // otherwise. If it is empty there are no bytes.
        Some(Self {
            start: NonNull::new(bytes.as_mut_ptr())?,
            len,
            _memory: Memory::Own(bytes),
        })
    }

    /// A block of `pool`, of which `len` bytes are used. Waits for one.
    pub fn pooled(pool: &'p Pool, len: u32, sleep: MaySleep<'_>) -> Option<Self> {
        let mut block = pool.take(Some(sleep))?;

        // INVARIANT: The block is long enough, initialised, and stays where it is.
        (len as usize <= block.len()).then(|| Self {
            start: NonNull::from(&mut *block).cast(),
            len,
            _memory: Memory::Pooled(block),
        })
    }

    /// The tags.
    pub fn bytes(&self) -> &[AtomicU8] {
        let start = self.start.as_ptr().cast::<AtomicU8>();

        // SAFETY: By the type invariants they are there, and nobody else has a reference to them.
        // Ciphers and the device below use them from C.
        unsafe { core::slice::from_raw_parts(start, self.len as usize) }
    }

    /// The tag of `len` bytes from `at` on, for a cipher; not if it is empty.
    pub fn segment(&self, at: usize, len: usize) -> Option<crate::mem::SegmentMut<'_>> {
        let bytes = self.bytes().get(at..)?.get(..len)?;

        // No bytes may be nowhere, and no memory of `kmalloc`.
        if bytes.is_empty() {
            return None;
        }
        // SAFETY: They begin within the memory.
        let start = unsafe { self.start.as_ptr().add(at) };

        // SAFETY: Both kinds are memory of `kmalloc`, borrowed as long as the segment. By the type
        // invariants they are used as atomics only. There are no more than `self.len`.
        Some(unsafe { crate::mem::SegmentMut::of_kmalloc(start, bytes.len() as u32) })
    }

    /// Gives a bio these tags.
    ///
    /// # Safety
    ///
    /// They stay until the bio has completed, and nobody uses them until then.
    pub(super) unsafe fn add_to(&mut self, bio: NonNull<bindings::bio>) -> Result {
        // As in `segment`.
        if self.len == 0 {
            return Err(EINVAL);
        }
        let start = self.start.as_ptr().cast();

        // SAFETY: The bio is new, and the tags are memory of `kmalloc`, which stays.
        to_result(unsafe { bindings::dm_rust_helper_add_integrity(bio.as_ptr(), start, self.len) })
    }
}
