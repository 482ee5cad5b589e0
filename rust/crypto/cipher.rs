// SPDX-License-Identifier: GPL-2.0

//! Transforms, and requests to them.

use super::{
    aead::Aead,
    transform::{Direction, Setup, Transform, Work},
};
use crate::{
    bindings,
    mem::{MaySleep, Pool, PoolBox, Segment, SegmentMut},
};
use core::{
    mem::{align_of, size_of},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::{
    alloc::{flags::*, KVec},
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
};

/// Requests that the pool keeps, as dm-crypt does.
const MIN_REQUESTS: u16 = 64;

/// Associated data, data, tag.
const PIECES: usize = 3;

/// Bytes of an IV of AES.
const USUAL_IV: usize = 16;

/// The last piece of a list, `SG_END` in C.
const SG_END: usize = 2;

/// Where the parts of a request lie in its memory, in bytes.
#[derive(Clone, Copy)]
struct Layout {
    lists: usize,
    iv: usize,
    iv_len: usize,
    assoc: usize,
    assoc_len: usize,
    align_mask: usize,
    size: usize,
}

/// What a request has beside C's own part.
#[repr(C)]
struct Lists {
    src: [bindings::scatterlist; PIECES],
    dst: [bindings::scatterlist; PIECES],
    /// Where the IV lies.
    iv: *mut u8,
}

/// Transforms of one algorithm, and requests to them.
///
/// # Invariants
///
/// Each slot is null, or holds the one pointer to a block of `layout.size` bytes that was set up as
/// a request.
pub struct Cipher<T: Transform> {
    transforms: KVec<T>,
    layout: Layout,
    is_async: bool,
    /// One for each CPU, so that most requests come from where the last one on this CPU went.
    slots: KVec<Slot>,
    pool: Pin<KBox<Pool>>,
}

/// A cache line of its own: CPUs do not share them.
#[repr(align(64))]
struct Slot(AtomicPtr<u8>);

impl<T: Transform> Cipher<T> {
    /// Makes room for requests to `transforms`, all of one algorithm and at least one: with an IV
    /// of `iv_len` bytes, and `assoc_len` bytes of associated data, each at most a page.
    pub fn new(
        transforms: KVec<T>,
        iv_len: usize,
        assoc_len: usize,
        sleep: MaySleep<'_>,
    ) -> Result<Self> {
        let align_mask = transforms.iter().fold(0, |mask, t| mask | t.align_mask());
        let request = transforms.iter().map(T::request_size).max().ok_or(EINVAL)?;
        let iv_len = transforms
            .iter()
            .fold(iv_len, |len, transform| len.max(transform.iv_size()));

        if iv_len > PAGE_SIZE || assoc_len > PAGE_SIZE {
            return Err(EINVAL);
        }
        let lists = request.next_multiple_of(align_of::<Lists>());
        let iv = lists + size_of::<Lists>();
        // The memory is aligned for any type, not for any cipher: where the IV starts is found
        // when there is memory, within this.
        let iv_space = iv_len + align_mask;
        let assoc = (iv + iv_space).next_multiple_of(align_of::<u64>());
        let layout = Layout {
            lists,
            iv,
            iv_len,
            assoc,
            assoc_len,
            align_mask,
            size: assoc + assoc_len,
        };
        let mut slots = KVec::new();

        for _ in 0..kernel::cpu::nr_cpu_ids() {
            slots.push(Slot(AtomicPtr::new(ptr::null_mut())), GFP_KERNEL)?;
        }
        let pool = KBox::pin_init(Pool::new(MIN_REQUESTS, layout.size, sleep), GFP_KERNEL)?;
        let is_async = transforms.iter().any(T::is_async);

        // INVARIANT: All slots are empty.
        Ok(Self {
            transforms,
            layout,
            is_async,
            slots,
            pool,
        })
    }

    /// The transforms.
    pub fn transforms(&self) -> &[T] {
        &self.transforms
    }

    /// Sets the key of a transform.
    ///
    /// (The transforms are not given out to be changed: they could be exchanged for others, for
    /// which the requests are too small.)
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such transform, or if the key has the wrong size or is too weak.
    pub fn set_key(&mut self, transform: usize, key: &[u8], sleep: MaySleep<'_>) -> Result {
        self.transforms
            .get_mut(transform)
            .ok_or(EINVAL)?
            .set_key(key, sleep)
    }

    /// Whether a call may have to wait for a device, and so may sleep.
    pub fn is_async(&self) -> bool {
        self.is_async
    }

    fn slot(&self) -> Option<&AtomicPtr<u8>> {
        // SAFETY: Only reads which CPU this is. Any other will do as well.
        let cpu = unsafe { bindings::raw_smp_processor_id() };

        self.slots.get(cpu as usize).map(|slot| &slot.0)
    }

    /// A request. Waits for one when there is no memory for another, if it may sleep.
    ///
    /// Where it may not there is none for a cipher that [may have to wait](Self::is_async).
    #[inline]
    pub fn request<'a>(&'a self, sleep: Option<MaySleep<'a>>) -> Option<Request<'a, T>> {
        if sleep.is_none() && self.is_async {
            return None;
        }
        if let Some(slot) = self.slot() {
            let memory = slot.swap(ptr::null_mut(), Ordering::Acquire);

            if !memory.is_null() {
                // INVARIANT: By the type invariants this was the only pointer to a request.
                return Some(Request {
                    memory,
                    cipher: self,
                });
            }
        }
        self.new_request(sleep)
    }

    #[cold]
    fn new_request<'a>(&'a self, sleep: Option<MaySleep<'a>>) -> Option<Request<'a, T>> {
        let memory = self.pool.take(sleep)?.into_raw();
        let mask = self.layout.align_mask;
        // SAFETY: The block is as large as the layout says.
        let iv = unsafe { memory.add(self.layout.iv) };
        // SAFETY: There is room for that much in front of the IV.
        let iv = unsafe { iv.add(iv.align_offset(mask + 1).min(mask)) };
        // SAFETY: As above; the offset is aligned, and so is the block.
        let lists = unsafe { memory.add(self.layout.lists) }.cast::<Lists>();
        // SAFETY: The lists lie in the block, which is nobody else's.
        let src = unsafe { &raw mut (*lists).src };
        let setup = Setup {
            iv,
            src: src.cast(),
        };

        // SAFETY: As above.
        unsafe { (*lists).iv = iv };

        // SAFETY: The block is zeroed, and starts with room for a request.
        unsafe { T::set_up(memory, setup) };
        // INVARIANT: The block was just set up.
        Some(Request {
            memory,
            cipher: self,
        })
    }
}

impl Cipher<Aead> {
    /// Sets how many bytes a tag has.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the algorithm cannot do that.
    pub fn set_tag_size(&mut self, size: u32) -> Result {
        self.transforms
            .iter_mut()
            .try_for_each(|transform| transform.set_tag_size(size))
    }
}

impl<T: Transform> Drop for Cipher<T> {
    fn drop(&mut self) {
        for slot in &self.slots {
            let memory = slot.0.load(Ordering::Relaxed);

            if !memory.is_null() {
                // SAFETY: By the type invariants this is the only pointer to a block of the pool.
                drop(unsafe { PoolBox::from_raw(memory, &self.pool) });
            }
        }
    }
}

/// One call of a transform.
pub struct Call<'a> {
    /// Which transform.
    pub transform: usize,
    /// Which way.
    pub direction: Direction,
    /// What is read, and as long, what is written. May be the same, or else do not overlap.
    pub src: Segment<'a>,
    /// See `src`.
    pub dst: SegmentMut<'a>,
    /// What authenticates the data, read when decrypting and written when encrypting, as long as
    /// the transform's tags are. For an [`Aead`] only, and then the request's associated data come
    /// in front.
    pub tag: Option<SegmentMut<'a>>,
}

/// Calls for bytes that follow each other.
struct Calls {
    direction: Direction,
    /// Whether the result takes the place of what was read.
    in_place: bool,
    /// Bytes of each, more than none.
    len: u32,
    /// Bytes of all of them.
    all: u32,
}

/// Memory for one call at a time, with its IV and its associated data.
///
/// It stays in the thread that asked for it, and in the call that may sleep, so that a call of a
/// cipher that is [asynchronous](Cipher::is_async) can wait.
///
/// # Invariants
///
/// `memory` is a block of `cipher`'s pool, set up as a request, idle, and nobody else's. Its lists
/// say where in the block the IV lies.
pub struct Request<'c, T: Transform> {
    memory: *mut u8,
    cipher: &'c Cipher<T>,
}

impl<T: Transform> Request<'_, T> {
    /// The IV, which a call may change.
    #[inline(always)]
    pub fn iv(&mut self) -> &mut [u8] {
        let iv = self.lists().iv;

        // SAFETY: By the type invariants the IV is there. It is that long, initialised, and ours
        // while the request is borrowed.
        unsafe { core::slice::from_raw_parts_mut(iv, self.cipher.layout.iv_len) }
    }

    /// The associated data, which a call does not change.
    #[inline(always)]
    pub fn assoc(&mut self) -> &mut [u8] {
        let layout = &self.cipher.layout;
        // SAFETY: It lies in the block.
        let assoc = unsafe { self.memory.add(layout.assoc) };

        // SAFETY: It is that long, initialised, and ours while the request is borrowed.
        unsafe { core::slice::from_raw_parts_mut(assoc, layout.assoc_len) }
    }

    /// Copies the associated data from `at` on to the IV, as much as it holds.
    #[inline(always)]
    pub fn iv_from_assoc(&mut self, at: usize) {
        let len = self
            .cipher
            .layout
            .iv_len
            .min(self.cipher.layout.assoc_len.saturating_sub(at));
        let from = self.assoc().as_ptr().wrapping_add(at);
        let to = self.iv().as_mut_ptr();

        // SAFETY: Both are that long, and lie apart in the block.
        unsafe { ptr::copy_nonoverlapping(from, to, len) };
    }

    /// Copies the IV to the associated data from `at` on, as much as that holds.
    pub fn iv_to_assoc(&mut self, at: usize) {
        let len = self
            .cipher
            .layout
            .iv_len
            .min(self.cipher.layout.assoc_len.saturating_sub(at));
        let from = self.iv().as_ptr();
        let to = self.assoc().as_mut_ptr().wrapping_add(at);

        // SAFETY: Both are that long, and lie apart in the block.
        unsafe { ptr::copy_nonoverlapping(from, to, len) };
    }

    #[inline(always)]
    fn lists(&mut self) -> &mut Lists {
        // SAFETY: The lists lie in the block.
        let lists = unsafe { self.memory.add(self.cipher.layout.lists) };

        // SAFETY: They are initialised: zeroes will do. They are ours, since the request is idle.
        unsafe { &mut *lists.cast::<Lists>() }
    }

    /// Makes the call, and returns when it is done.
    ///
    /// Sleeps if the cipher [may](Cipher::is_async).
    ///
    /// # Errors
    ///
    /// `EBADMSG` if the data are not authentic, `EINVAL` if the call makes no sense, and those of
    /// the algorithm.
    #[inline]
    pub fn run(&mut self, call: &Call<'_>) -> Result {
        let transform = self.cipher.transforms.get(call.transform).ok_or(EINVAL)?;
        let len = call.src.len();

        // What is written is as long as what is read, and a tag.
        if call.dst.len() != len || call.tag.map_or(0, |tag| tag.len()) != transform.tag_size() {
            return Err(EINVAL);
        }
        let (assoc, tag) = match &call.tag {
            None => {
                let lists = self.lists();

                set(&mut lists.src, [call.src]);
                set(&mut lists.dst, [*call.dst]);
                (0, 0)
            }
            Some(tag) => {
                let assoc = self.assoc();
                // There is at most a page.
                let (start, assoc_len) = (assoc.as_mut_ptr(), assoc.len() as u32);
                // SAFETY: The associated data lie in the block, which stays for the call, and which
                // nobody else uses.
                let assoc = unsafe { SegmentMut::of_kmalloc(start, assoc_len) };

                // C does not expect empty pieces between others.
                if assoc.len() == 0 || len == 0 || tag.len() == 0 {
                    return Err(EINVAL);
                }
                let lists = self.lists();

                set(&mut lists.src, [*assoc, call.src, **tag]);
                set(&mut lists.dst, [*assoc, *call.dst, **tag]);
                (assoc.len(), tag.len())
            }
        };
        let len = match call.direction {
            Direction::Encrypt => len,
            Direction::Decrypt => len.checked_add(tag).ok_or(EINVAL)?,
        };
        let mut wait = bindings::crypto_wait::default();
        let is_async = self.cipher.is_async;
        let work = Work {
            direction: call.direction,
            assoc,
            len,
            dst: self.lists().dst.as_mut_ptr(),
            complete: is_async.then_some(bindings::crypto_req_done),
            data: ptr::from_mut(&mut wait).cast(),
        };

        if !is_async {
            // SAFETY: The request is idle, and set up for these transforms. It is done when this
            // returns, and what the lists hold is borrowed until then.
            return to_result(unsafe { transform.start(self.memory, work) });
        }
        // SAFETY: `wait` stays where it is until this function returns.
        unsafe { bindings::dm_rust_helper_init_wait(&mut wait) };
        // SAFETY: As above, but that it is done after the wait below.
        let started = unsafe { transform.start(self.memory, work) };
        // SAFETY: The wait was initialised, and was given to the call that this waits for.
        to_result(unsafe { bindings::dm_rust_helper_wait_req(started, &mut wait) })
    }

    /// Makes calls of one transform, without a tag: each for the next `len` bytes of `src`, whose
    /// result goes to the same place of `dst`. `fill_iv` writes the IV of each.
    ///
    /// Sleeps if the cipher [may](Cipher::is_async).
    ///
    /// # Errors
    ///
    /// `EINVAL` if the segments are not as long as each other, and a multiple of `len`; those of
    /// the algorithm.
    #[inline(always)]
    pub fn run_each(
        &mut self,
        call: &Call<'_>,
        len: u32,
        mut fill_iv: impl FnMut(&mut [u8]),
    ) -> Result {
        let all = call.src.len();

        if self.cipher.is_async || call.dst.len() != all || len == 0 {
            return Err(EINVAL);
        }
        let transform = self.cipher.transforms.get(call.transform).ok_or(EINVAL)?;

        if transform.tag_size() != 0 || call.tag.is_some() {
            return Err(EINVAL);
        }
        // Each list holds what the next call is for.
        let src = call.src.part(0, len).ok_or(EINVAL)?;
        let dst = call.dst.part(0, len).ok_or(EINVAL)?;
        let in_place = call.src.is_same_place(&call.dst);
        let memory = self.memory;
        let iv = ptr::from_mut(self.iv());
        let lists = ptr::from_mut(self.lists());

        // SAFETY: The lists are ours while the request is idle.
        set(unsafe { &mut (*lists).src }, [src]);
        let dst = if in_place {
            // SAFETY: As above.
            unsafe { &raw mut (*lists).src }
        } else {
            // SAFETY: As above.
            set(unsafe { &mut (*lists).dst }, [dst]);
            // SAFETY: As above.
            unsafe { &raw mut (*lists).dst }
        };
        let work = Work {
            direction: call.direction,
            assoc: 0,
            len,
            dst: dst.cast(),
            complete: None,
            data: ptr::null_mut(),
        };

        // SAFETY: The request is idle, and set up for these transforms.
        unsafe { transform.prepare(memory, &work) };
        let calls = Calls {
            direction: call.direction,
            in_place,
            len,
            all,
        };
        let usual_iv = iv.cast::<[u8; USUAL_IV]>();
        let is_usual = iv.len() == USUAL_IV;

        // The usual cases are named, and so need not be told apart again for each call.
        match (call.direction, in_place) {
            (Direction::Encrypt, false) if is_usual => {
                // SAFETY: The IV is that long, and ours while the request is idle.
                let fill = || fill_iv(unsafe { &mut *usual_iv });
                let (direction, in_place) = (Direction::Encrypt, false);

                // SAFETY: The request was just prepared for these.
                unsafe {
                    self.repeat(
                        Calls {
                            direction,
                            in_place,
                            ..calls
                        },
                        fill,
                    )
                }
            }
            (Direction::Decrypt, true) if is_usual => {
                // SAFETY: As above.
                let fill = || fill_iv(unsafe { &mut *usual_iv });
                let (direction, in_place) = (Direction::Decrypt, true);

                // SAFETY: As above.
                unsafe {
                    self.repeat(
                        Calls {
                            direction,
                            in_place,
                            ..calls
                        },
                        fill,
                    )
                }
            }
            _ => {
                // SAFETY: The IV is ours while the request is idle.
                let fill = || fill_iv(unsafe { &mut *iv });

                // SAFETY: As above.
                unsafe { self.repeat(calls, fill) }
            }
        }
    }

    /// Makes calls, `fill_iv` before each.
    ///
    /// # Safety
    ///
    /// The request is prepared for the first of them, and idle but for `fill_iv`.
    #[inline(always)]
    unsafe fn repeat(&mut self, calls: Calls, mut fill_iv: impl FnMut()) -> Result {
        let memory = self.memory;
        let lists = ptr::from_mut(self.lists());
        let mut left = calls.all;

        while left >= calls.len {
            fill_iv();
            // SAFETY: The request was prepared, and has not been used otherwise since. It is done
            // when this returns. The lists hold as many bytes of the segments as one call is for.
            let done = unsafe { T::repeat(memory, calls.direction) };

            if done != 0 {
                return to_result(done);
            }
            left = left.wrapping_sub(calls.len);
            // SAFETY: The lists are ours while the request is idle.
            advance(unsafe { &mut (*lists).src }, calls.len);
            if !calls.in_place {
                // SAFETY: As above.
                advance(unsafe { &mut (*lists).dst }, calls.len);
            }
        }
        if left == 0 {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Encrypts as many zeroes as the IV has bytes, with the IV as it is, and puts the result in
    /// the associated data from `at` on.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    pub fn encrypt_zeroes_to_assoc(&mut self, transform: usize, at: usize) -> Result {
        let len = self.cipher.layout.iv_len;
        let to = self
            .assoc()
            .get_mut(at..)
            .and_then(|to| to.get_mut(..len))
            .ok_or(EINVAL)?;
        // There is at most a page.
        let (start, len) = (to.as_mut_ptr(), to.len() as u32);
        // SAFETY: This lies in the block, which stays for the call, and which nobody else uses.
        let dst = unsafe { SegmentMut::of_kmalloc(start, len) };
        // SAFETY: The page of zeroes is always there. It is only read.
        let src = unsafe { Segment::new(bindings::dm_rust_helper_zero_page(), 0, dst.len()) };

        self.run(&Call {
            transform,
            direction: Direction::Encrypt,
            src,
            dst,
            tag: None,
        })
    }
}

impl<T: Transform> Drop for Request<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.cipher.slot() {
            let empty = ptr::null_mut();

            // INVARIANT: The pointer is given up here.
            if slot
                .compare_exchange(empty, self.memory, Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
        }
        // SAFETY: By the type invariants the block came from the pool, and is given up here.
        drop(unsafe { PoolBox::from_raw(self.memory, &self.cipher.pool) });
    }
}

/// Fills a list, as `sg_set_page()` and `sg_mark_end()` in C.
#[inline(always)]
fn set<const N: usize>(list: &mut [bindings::scatterlist; PIECES], pieces: [Segment<'_>; N]) {
    for (i, (entry, piece)) in list.iter_mut().zip(pieces).enumerate() {
        entry.page_link = piece.page() as usize | if i + 1 == N { SG_END } else { 0 };
        entry.offset = piece.offset();
        entry.length = piece.len();
    }
}

/// Moves the first piece of a list by `len` bytes.
#[inline(always)]
fn advance(list: &mut [bindings::scatterlist; PIECES], len: u32) {
    let [first, ..] = list;

    first.offset = first.offset.wrapping_add(len);
}
