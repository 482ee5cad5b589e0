// SPDX-License-Identifier: GPL-2.0

//! Pieces of memory that bios carry.

use crate::bindings;
use core::{
    marker::PhantomData,
    ops::Deref,
    slice,
    sync::atomic::{AtomicU32, AtomicU8, Ordering::Relaxed},
};

/// A piece of a page, which others may read and write at the same time: the page of a bio may be
/// mapped into a process, or be under I/O.
///
/// So there is never a reference to its bytes: ciphers get its address, and code a copy.
///
/// # Invariants
///
/// `len` bytes from `offset` of `page` on are there for `'a`, in one page or in pages that follow
/// each other, and may be read.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    page: *mut bindings::page,
    offset: u32,
    len: u32,
    _memory: PhantomData<&'a AtomicU32>,
}

impl<'a> Segment<'a> {
    /// # Safety
    ///
    /// The memory is as the type invariants have it.
    #[inline(always)]
    pub(crate) unsafe fn new(page: *mut bindings::page, offset: u32, len: u32) -> Self {
        // INVARIANT: As the caller says.
        Self {
            page,
            offset,
            len,
            _memory: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn page(&self) -> *mut bindings::page {
        self.page
    }

    #[inline(always)]
    pub(crate) fn offset(&self) -> u32 {
        self.offset
    }

    /// How many bytes.
    #[inline(always)]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The `len` bytes from `start` on, if they are within.
    #[inline(always)]
    pub fn part(&self, start: u32, len: u32) -> Option<Self> {
        let end = start.checked_add(len)?;

        // INVARIANT: A part of what is there is there.
        (end <= self.len).then(|| Self {
            offset: self.offset.wrapping_add(start),
            len,
            ..*self
        })
    }

    /// Whether both start in the same place.
    #[inline(always)]
    pub fn is_same_place(&self, other: &Segment<'_>) -> bool {
        (self.page, self.offset) == (other.page, other.offset)
    }

    /// Copies as many words as both have to `to`. Nothing if the memory is not aligned for words, or
    /// crosses a page.
    pub fn copy_out(&self, to: &mut [u8]) -> Option<()> {
        self.map_words(|words| {
            for (to, word) in to.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
            }
        })
    }

    /// Calls `f` with the memory as words, which it writes to only where that is allowed.
    fn map_words<R>(&self, f: impl FnOnce(&[AtomicU32]) -> R) -> Option<R> {
        let end = self.offset.checked_add(self.len)?;

        if (self.offset | self.len) % 4 != 0 || end as usize > kernel::page::PAGE_SIZE {
            return None;
        }
        // SAFETY: By the type invariants the page is there.
        let base = unsafe { bindings::kmap_local_page(self.page) };
        // SAFETY: The offset lies within the page.
        let start = unsafe { base.cast::<u8>().add(self.offset as usize) };
        // SAFETY: The memory is there, mapped until the call below, and aligned. Whoever else
        // uses it does so through atomic words, from C or from outside of the kernel.
        let words =
            unsafe { slice::from_raw_parts(start.cast::<AtomicU32>(), self.len as usize / 4) };
        let result = f(words);

        // SAFETY: This undoes the mapping above, the last one of this task.
        unsafe { bindings::kunmap_local(base) };
        Some(result)
    }
}

/// A [`Segment`] that may be written as well: memory of our own, or that of a bio that reads. The
/// pages of a bio that writes are not ours to change: one may be the page of zeroes.
///
/// # Invariants
///
/// The memory may be written for `'a`.
#[derive(Clone, Copy)]
pub struct SegmentMut<'a>(Segment<'a>);

impl<'a> SegmentMut<'a> {
    /// # Safety
    ///
    /// The memory may be written.
    #[inline(always)]
    pub(crate) unsafe fn new(segment: Segment<'a>) -> Self {
        // INVARIANT: As the caller says.
        Self(segment)
    }

    /// Memory of `kmalloc`.
    ///
    /// # Safety
    ///
    /// The `len` bytes from `start` on came from `kmalloc`, and stay for `'a`. Rust code touches them
    /// meanwhile, if at all, as atomics.
    pub(crate) unsafe fn of_kmalloc(start: *mut u8, len: u32) -> Self {
        // SAFETY: The address is one of the kernel's linear map, as the caller says.
        let page = unsafe { bindings::dm_rust_helper_virt_to_page(start.cast()) };
        let offset = start as usize % kernel::page::PAGE_SIZE;

        // SAFETY: The memory is there, as the caller says; `kmalloc` gives pages that follow each
        // other.
        let segment = unsafe { Segment::new(page, offset as u32, len) };
        // SAFETY: Memory of `kmalloc` may be written.
        unsafe { Self::new(segment) }
    }

    /// Writes one byte. Returns whether it lies within.
    pub fn store_byte(&self, index: u32, value: u8) -> bool {
        if index >= self.0.len {
            return false;
        }
        let at = self.0.offset.wrapping_add(index);
        let page = self
            .0
            .page
            .wrapping_add((at as usize) / kernel::page::PAGE_SIZE);
        // SAFETY: By the type invariants the page is there, and may be written.
        let base = unsafe { bindings::kmap_local_page(page) };
        // SAFETY: The offset lies within the page.
        let byte = unsafe { base.cast::<u8>().add(at as usize % kernel::page::PAGE_SIZE) };
        // SAFETY: The memory is there, mapped until the call below. Whoever else uses it does so
        // through atomics, from C or from outside of the kernel.
        unsafe { &*byte.cast::<AtomicU8>() }.store(value, Relaxed);

        // SAFETY: This undoes the mapping above, the last one of this task.
        unsafe { bindings::kunmap_local(base) };
        true
    }

    /// Calls `f` with the memory as words, in the byte order of the machine. Nothing if it is not
    /// aligned for words, or crosses a page.
    pub fn with_words<R>(&self, f: impl FnOnce(&[AtomicU32]) -> R) -> Option<R> {
        self.map_words(f)
    }

    /// Copies as many words as both have, if they do not lie in the same place. Nothing if one is
    /// not aligned for words, or crosses a page.
    pub fn copy_from(&self, from: &Segment<'_>) -> Option<()> {
        if self.is_same_place(from) {
            return Some(());
        }
        from.map_words(|from| {
            self.map_words(|to| {
                for (to, from) in to.iter().zip(from) {
                    to.store(from.load(Relaxed), Relaxed);
                }
            })
        })?
    }
}

impl<'a> Deref for SegmentMut<'a> {
    type Target = Segment<'a>;

    #[inline(always)]
    fn deref(&self) -> &Segment<'a> {
        &self.0
    }
}
