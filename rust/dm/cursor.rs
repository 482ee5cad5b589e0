// SPDX-License-Identifier: GPL-2.0

//! Walking through the data of a bio.

use super::Op;
use crate::{
    bindings,
    mem::{Segment, SegmentMut},
};
use core::{marker::PhantomData, ops::Deref};

const PAGE_SIZE: u32 = kernel::page::PAGE_SIZE as u32;

/// Where a walk is, `struct bvec_iter` in C.
///
/// # Invariants
///
/// `iter` is a position in `table`, which has all that `bi_size` counts, and stays for `'a`.
pub struct Cursor<'a> {
    table: *const bindings::bio_vec,
    iter: bindings::bvec_iter,
    _bio: PhantomData<&'a bindings::bio>,
}

impl<'a> Cursor<'a> {
    /// # Safety
    ///
    /// `bio` is initialised, and stays as it is for `'a`.
    #[inline(always)]
    pub(super) unsafe fn new(bio: *const bindings::bio) -> Self {
        // SAFETY: As the caller says.
        let bio = unsafe { &*bio };

        // The size of a discard is that of a range.
        let size = if Op::from_raw(bio.bi_opf).has_data() {
            bio.bi_iter.bi_size
        } else {
            0
        };

        // INVARIANT: A bio with data has all that it says.
        Self {
            table: bio.bi_io_vec,
            iter: bindings::bvec_iter_at(
                bio.bi_iter.bi_sector,
                size,
                bio.bi_iter.bi_idx,
                bindings::bvec_iter_done(&bio.bi_iter),
            ),
            _bio: PhantomData,
        }
    }

    /// How many bytes of this entry have been passed.
    #[inline(always)]
    fn done(&self) -> u32 {
        bindings::bvec_iter_done(&self.iter)
    }

    #[inline(always)]
    fn set_done(&mut self, done: u32) {
        bindings::set_bvec_iter_done(&mut self.iter, done);
    }

    /// The `len` bytes from `start` on, or as much of them as there is.
    pub fn range(mut self, start: u32, len: u32) -> Self {
        let mut skip = start.min(self.iter.bi_size);
        let len = len.min(self.iter.bi_size.wrapping_sub(skip));

        self.iter.bi_size = len;
        while skip > 0 && len > 0 {
            // SAFETY: By the type invariants what is skipped is there.
            let vec = unsafe { &*self.table.add(self.iter.bi_idx as usize) };
            let here = vec.bv_len.wrapping_sub(self.done());

            if skip < here {
                self.set_done(self.done().wrapping_add(skip));
                break;
            }
            skip = skip.wrapping_sub(here);
            self.set_done(0);
            self.iter.bi_idx = self.iter.bi_idx.wrapping_add(1);
        }
        // INVARIANT: The data from here on are part of what there was.
        self
    }

    /// A walk from a position on.
    ///
    /// # Safety
    ///
    /// That is a position in `table` with `size` bytes from there on, and the table stays as it is
    /// for `'a`.
    pub(super) unsafe fn at(
        table: *const bindings::bio_vec,
        size: u32,
        index: u32,
        done: u32,
    ) -> Self {
        // INVARIANT: As the caller says.
        Self {
            table,
            iter: bindings::bvec_iter_at(0, size, index, done),
            _bio: PhantomData,
        }
    }

    /// The next bytes, as many as lie in one page, but at most `most`.
    pub fn next_part(&mut self, most: u32) -> Option<Segment<'a>> {
        if self.iter.bi_size == 0 || most == 0 {
            return None;
        }
        // SAFETY: By the type invariants something is left, so the entry is there.
        let vec = unsafe { &*self.table.add(self.iter.bi_idx as usize) };
        let at = vec.bv_offset.wrapping_add(self.done());
        let offset = at % PAGE_SIZE;
        let here = vec.bv_len.wrapping_sub(self.done());
        let here = here
            .min(self.iter.bi_size)
            .min(PAGE_SIZE.wrapping_sub(offset))
            .min(most);
        let page = vec.bv_page.wrapping_add((at / PAGE_SIZE) as usize);

        self.iter.bi_size = self.iter.bi_size.wrapping_sub(here);
        self.set_done(self.done().wrapping_add(here));
        if self.done() >= vec.bv_len {
            self.set_done(0);
            self.iter.bi_idx = self.iter.bi_idx.wrapping_add(1);
        }
        // SAFETY: By the type invariants the memory is there for `'a`.
        Some(unsafe { Segment::new(page, offset, here) })
    }

    /// Leaves out `len` bytes, or all that are left.
    pub fn skip(&mut self, len: u32) {
        let mut left = len;

        while let Some(part) = self.next_part(left) {
            left = left.saturating_sub(part.len());
        }
    }

    /// Byte `index`, counted from here on.
    pub fn skip_to(&mut self, index: u32) -> Option<Segment<'a>> {
        self.skip(index);
        self.next_part(1)
    }

    /// How many bytes are left.
    #[inline(always)]
    pub fn left(&self) -> u32 {
        self.iter.bi_size
    }

    /// What lies here, if anything is left.
    #[inline(always)]
    fn look(&self) -> Option<Here> {
        if self.iter.bi_size == 0 {
            return None;
        }
        // SAFETY: By the type invariants something is left, so the entry is there.
        let vec = unsafe { &*self.table.add(self.iter.bi_idx as usize) };
        let at = vec.bv_offset.wrapping_add(self.done());
        let offset = at % PAGE_SIZE;
        let in_entry = vec.bv_len.wrapping_sub(self.done());

        Some(Here {
            page: vec.bv_page.wrapping_add((at / PAGE_SIZE) as usize),
            offset,
            len: in_entry
                .min(self.iter.bi_size)
                .min(PAGE_SIZE.wrapping_sub(offset)),
            in_entry,
        })
    }

    /// The first `len` bytes of what [`look`](Self::look) just found.
    ///
    /// # Safety
    ///
    /// There are as many.
    #[inline(always)]
    unsafe fn pass(&mut self, here: &Here, len: u32) -> Segment<'a> {
        self.iter.bi_size = self.iter.bi_size.wrapping_sub(len);
        if len == here.in_entry {
            self.set_done(0);
            self.iter.bi_idx = self.iter.bi_idx.wrapping_add(1);
        } else {
            self.set_done(self.done().wrapping_add(len));
        }
        // SAFETY: By the type invariants the memory is there for `'a`.
        unsafe { Segment::new(here.page, here.offset, len) }
    }

    /// The next `len` bytes, if they are in one page.
    #[inline(always)]
    pub fn take(&mut self, len: u32) -> Option<Segment<'a>> {
        let here = self.look()?;

        if len == 0 || len > here.len {
            return None;
        }
        // SAFETY: There are as many.
        Some(unsafe { self.pass(&here, len) })
    }
}

/// What lies where a walk is.
struct Here {
    page: *mut bindings::page,
    offset: u32,
    /// Bytes that follow each other in one page.
    len: u32,
    /// Bytes of the entry of the table from here on.
    in_entry: u32,
}

/// A walk through memory that may be written.
///
/// # Invariants
///
/// All of it may be written for `'a`.
pub struct CursorMut<'a>(Cursor<'a>);

impl<'a> CursorMut<'a> {
    /// # Safety
    ///
    /// As for [`Cursor::new`]; and the pages of the bio may be written.
    #[inline(always)]
    pub(super) unsafe fn new(bio: *const bindings::bio) -> Self {
        // INVARIANT: As the caller says.
        // SAFETY: As the caller says.
        Self(unsafe { Cursor::new(bio) })
    }

    /// As [`Cursor::range`].
    pub fn range(self, start: u32, len: u32) -> Self {
        // INVARIANT: A part of what may be written may be written.
        Self(self.0.range(start, len))
    }

    /// As [`Cursor::take`].
    #[inline(always)]
    pub fn take(&mut self, len: u32) -> Option<SegmentMut<'a>> {
        let segment = self.0.take(len)?;

        // SAFETY: By the type invariants.
        Some(unsafe { SegmentMut::new(segment) })
    }
}

impl<'a> Deref for CursorMut<'a> {
    type Target = Cursor<'a>;

    #[inline(always)]
    fn deref(&self) -> &Cursor<'a> {
        &self.0
    }
}

/// Data that are read at one place, and written to the same or to another one.
pub enum Data<'a> {
    /// What is written takes the place of what was read.
    InPlace(CursorMut<'a>),
    /// Read here, and written there.
    Apart(Cursor<'a>, CursorMut<'a>),
}

impl<'a> Data<'a> {
    /// How many bytes are left.
    #[inline(always)]
    pub fn left(&self) -> u32 {
        match self {
            Data::InPlace(data) => data.left(),
            Data::Apart(from, to) => from.left().min(to.left()),
        }
    }

    /// The next `len` bytes, if they are in one page, of each.
    #[inline(always)]
    pub fn take(&mut self, len: u32) -> Option<(Segment<'a>, SegmentMut<'a>)> {
        match self {
            Data::InPlace(data) => {
                let segment = data.take(len)?;

                Some((*segment, segment))
            }
            Data::Apart(from, to) => Some((from.take(len)?, to.take(len)?)),
        }
    }

    /// The next bytes, as many as follow each other in one page of each: a multiple of `len`, a
    /// power of two, or nothing if that cannot be.
    #[inline(always)]
    pub fn take_multiple(&mut self, len: u32) -> Option<(Segment<'a>, SegmentMut<'a>)> {
        let fits = |all: u32| all & len.wrapping_sub(1) == 0 && all != 0;

        match self {
            Data::InPlace(CursorMut(data)) => {
                let here = data.look().filter(|here| fits(here.len))?;
                // SAFETY: There are as many.
                let segment = unsafe { data.pass(&here, here.len) };

                // SAFETY: By the type invariants of the cursor.
                Some((segment, unsafe { SegmentMut::new(segment) }))
            }
            Data::Apart(from, CursorMut(to)) => {
                let (here, there) = (from.look()?, to.look()?);
                let all = here.len.min(there.len);

                if !fits(all) {
                    return None;
                }
                // SAFETY: There are as many.
                let read = unsafe { from.pass(&here, all) };
                // SAFETY: As above.
                let written = unsafe { to.pass(&there, all) };

                // SAFETY: By the type invariants of the cursor.
                Some((read, unsafe { SegmentMut::new(written) }))
            }
        }
    }
}
