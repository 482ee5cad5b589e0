// SPDX-License-Identifier: GPL-2.0

//! Bios that a target keeps beyond `map`.
//!
//! A target that implements [`HoldsBios`] and has [`Held`] as its per-bio data can turn the
//! [`Bio`] of `map` into a [`HeldBio`], with data of its own. From then on the bio goes from one
//! function of the target to the next: each gets it by value, and returns a [`Fate`] for it, which
//! says where it goes. The abstraction carries that out after the function has returned.
//!
//! That is why a target never outlives its use: whenever code of the target runs for a bio, that
//! bio has not completed, and device mapper keeps the table of a bio that has not completed.

use super::{
    bio::{Bio, Mapped, Owned},
    buffers::{BufferBio, Buffers, DoneBuffer, Tags},
    cursor::{Cursor, CursorMut},
    per_bio::PerBioData,
    queue::{Entry, Shelf, SubmitThread, Waiting, Workqueue},
    Device, Op, OpFlags, Sector, Status,
};
use crate::{bindings, mem::MaySleep};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

/// A target that keeps bios.
pub trait HoldsBios<'ti>: Sized + Send + Sync + 'ti {
    /// What the target keeps with each bio that it holds.
    type Data: Send + Sync;

    /// Called by a queue that the bio was given to. May sleep, unless that was
    /// [`HeldBio::queue_bh`]: then there is no `sleep`.
    fn work<'call>(
        &self,
        bio: HeldBio<'call, 'ti, Self>,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call>;

    /// Called with a bio from a [`Shelf`], by the queue that was told of it or by who called
    /// [`Shelf::help`], in whose place nothing may be waited for.
    fn quick<'call>(&self, bio: HeldBio<'call, 'ti, Self>) -> Fate<'call>;

    /// Called with the number of a part of a bio, see [`HeldBio::in_parts`]. The others may be
    /// worked on at the same time. Nothing may be waited for. Returns whether that went well.
    fn part(&self, bio: &HeldBio<'_, 'ti, Self>, number: u32) -> bool;

    /// Called when all parts are done: whether they went well. Nothing may be waited for.
    fn parts_done<'call>(&self, bio: HeldBio<'call, 'ti, Self>, good: bool) -> Fate<'call>;

    /// Called when the lower bio has completed with `status`; `buffer` is what was submitted, if
    /// that had pages of its own.
    ///
    /// May run in hard interrupt context.
    fn lower_done<'call>(
        &self,
        bio: HeldBio<'call, 'ti, Self>,
        buffer: Option<DoneBuffer<'ti>>,
        status: Status,
    ) -> Fate<'call>;

    /// Where the integrity tags of a bio are, if it has any.
    fn tags<'a>(data: &'a mut Self::Data) -> Option<&'a mut Tags<'ti>>;
}

/// The per-bio data of a target that keeps bios.
///
/// # Invariants
///
/// `target` is there until the bio has completed. (No safe code makes a value of this type, so none
/// can put another in its place: that of a bio is the one that was made for it.)
pub struct Held<'ti, T: HoldsBios<'ti>> {
    target: NonNull<T>,
    job: MaybeUninit<Job<'ti, T::Data>>,
}

// SAFETY: The target is shared between threads, and what the job has may be sent to another.
unsafe impl<'ti, T: HoldsBios<'ti>> Send for Held<'ti, T> {}

impl<'ti, T: HoldsBios<'ti>> PerBioData<T> for Held<'ti, T> {
    unsafe fn new(target: &T) -> Self {
        // INVARIANT: As the caller says.
        Self {
            target: target.into(),
            job: MaybeUninit::uninit(),
        }
    }
}

/// What is kept with a bio while it is held.
pub(super) struct Job<'ti, D> {
    work: bindings::work_struct,
    pub(super) entry: Entry,
    buffers: Option<&'ti Buffers>,
    saved: MaybeUninit<Saved>,
    parts: Parts,
    data: D,
}

/// The most parts that a bio is worked on in.
const MAX_PARTS: usize = 4;

/// What is kept while a bio is worked on in parts.
struct Parts {
    /// How many are not done.
    left: AtomicU32,
    failed: AtomicBool,
    waiting: [MaybeUninit<Waiting>; MAX_PARTS - 1],
}

/// What of a bio changes while it is below, `struct dm_bio_details` in C.
struct Saved {
    bdev: *mut bindings::block_device,
    flags: kernel::ffi::c_ushort,
    iter: bindings::bvec_iter,
    end_io: bindings::bio_end_io_t,
}

/// A bio that the target holds.
///
/// # Invariants
///
/// `bio` is a clone that device mapper made for a target of type `T`; its per-bio data are `held`,
/// with its job initialised. It has not completed, and nobody else uses it.
pub struct HeldBio<'call, 'ti, T: HoldsBios<'ti>> {
    bio: NonNull<bindings::bio>,
    held: NonNull<Held<'ti, T>>,
    _owned: Owned,
    _call: PhantomData<fn(&'call ()) -> &'call ()>,
    _target: PhantomData<fn(&'ti T) -> &'ti T>,
}

/// What becomes of a held bio.
#[must_use = "the function that got the bio returns this"]
pub struct Fate<'call> {
    kind: Kind,
    _call: PhantomData<fn(&'call ()) -> &'call ()>,
}

enum Kind {
    End(Status),
    Queue(*mut bindings::workqueue_struct),
    QueueBh,
    Share(NonNull<Shelf>),
    Parts(NonNull<Shelf>, u32),
    Submit(NonNull<bindings::bio>),
    SubmitItself,
    Thread(NonNull<SubmitThread>),
}

impl<'map, 'ti, T: HoldsBios<'ti>> Bio<'map, Held<'ti, T>> {
    /// Keeps the bio, with `data`.
    pub fn hold(self, data: T::Data) -> HeldBio<'map, 'ti, T> {
        let bio = self.into_raw();
        // SAFETY: The bio is ours, with its per-bio data.
        let held = unsafe { super::per_bio::get::<Held<'ti, T>>(bio.as_ptr()) };

        held.job.write(Job {
            // SAFETY: Zero is valid for all of it.
            work: unsafe { core::mem::zeroed() },
            entry: Entry::new(bio.as_ptr(), quick::<T>),
            buffers: None,
            saved: MaybeUninit::uninit(),
            parts: Parts {
                left: AtomicU32::new(0),
                failed: AtomicBool::new(false),
                waiting: [const { MaybeUninit::uninit() }; MAX_PARTS - 1],
            },
            data,
        });
        let held = NonNull::from(held);

        // INVARIANT: The job was just initialised.
        HeldBio {
            bio,
            held,
            _owned: Owned,
            _call: PhantomData,
            _target: PhantomData,
        }
    }
}

impl<'call, 'ti, T: HoldsBios<'ti>> HeldBio<'call, 'ti, T> {
    /// # Safety
    ///
    /// The bio is as the type invariants have it.
    #[inline(always)]
    unsafe fn of(bio: NonNull<bindings::bio>) -> Self {
        // SAFETY: The data are a `Held`, as the caller says.
        let held = unsafe { super::per_bio::of::<Held<'ti, T>>(bio.as_ptr()) };

        // INVARIANT: As the caller says.
        Self {
            bio,
            // SAFETY: The data are there.
            held: unsafe { NonNull::new_unchecked(held) },
            _owned: Owned,
            _call: PhantomData,
            _target: PhantomData,
        }
    }

    fn raw(&self) -> &bindings::bio {
        // SAFETY: By the type invariants the bio is initialised, and changed by nobody else.
        unsafe { self.bio.as_ref() }
    }

    #[inline(always)]
    fn job_ptr(&self) -> *mut Job<'ti, T::Data> {
        // SAFETY: By the type invariants the data are there.
        unsafe { &raw mut (*self.held.as_ptr()).job }.cast()
    }

    /// The target, for as long as the caller knows that it is there.
    #[inline(always)]
    fn target(&self) -> NonNull<T> {
        // SAFETY: By the type invariants the data are there.
        unsafe { (*self.held.as_ptr()).target }
    }

    /// Another one of the same bio, for [`carry_out`].
    #[inline(always)]
    fn again(&self) -> Self {
        Self {
            bio: self.bio,
            held: self.held,
            _owned: Owned,
            _call: PhantomData,
            _target: PhantomData,
        }
    }

    #[inline(always)]
    fn job(&self) -> &Job<'ti, T::Data> {
        // SAFETY: By the type invariants it is initialised, and nobody else's.
        unsafe { &*self.job_ptr() }
    }

    #[inline(always)]
    fn job_mut(&mut self) -> &mut Job<'ti, T::Data> {
        // SAFETY: By the type invariants it is initialised, and nobody else's.
        unsafe { &mut *self.job_ptr() }
    }

    /// What the target keeps with the bio.
    #[inline(always)]
    pub fn data(&self) -> &T::Data {
        &self.job().data
    }

    /// What the target keeps with the bio, to be changed.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut T::Data {
        &mut self.job_mut().data
    }

    /// What is to be done.
    #[inline(always)]
    pub fn op(&self) -> Op {
        Op::from_raw(self.raw().bi_opf)
    }

    /// How it is to be done.
    #[inline(always)]
    pub fn flags(&self) -> OpFlags {
        OpFlags::from_raw(self.raw().bi_opf)
    }

    /// How many bytes.
    #[inline(always)]
    pub fn size(&self) -> u32 {
        self.raw().bi_iter.bi_size
    }

    /// How many sectors.
    #[inline(always)]
    pub fn nr_sectors(&self) -> Sector {
        Sector::from(self.size() >> bindings::SECTOR_SHIFT)
    }

    /// The data, from the start.
    #[inline(always)]
    pub fn cursor(&self) -> Cursor<'_> {
        // SAFETY: By the type invariants the bio is initialised and stays while it is borrowed.
        unsafe { Cursor::new(self.bio.as_ptr()) }
    }

    /// The data, from the start, to be written: of a read only.
    #[inline(always)]
    pub fn cursor_mut(&self) -> Option<CursorMut<'_>> {
        // SAFETY: As above; the pages of a read are there to be written.
        (self.op() == Op::READ).then(|| unsafe { CursorMut::new(self.bio.as_ptr()) })
    }

    pub(super) fn as_raw(&self) -> *mut bindings::bio {
        self.bio.as_ptr()
    }

    #[inline(always)]
    fn fate(self, kind: Kind) -> Fate<'call> {
        let Self { _owned, .. } = self;

        Fate {
            kind,
            _call: PhantomData,
        }
    }

    /// Completes the bio with `status`. The data are dropped.
    #[inline(always)]
    pub fn end(self, status: Status) -> Fate<'call> {
        self.fate(Kind::End(status))
    }

    /// Gives the bio to a queue, which calls [`HoldsBios::work`].
    pub fn queue(self, queue: &'ti Workqueue) -> Fate<'call> {
        let queue = queue.as_raw();

        self.fate(Kind::Queue(queue))
    }

    /// Puts the bio on a shelf: whoever takes it calls [`HoldsBios::quick`]. If the shelf is full its
    /// queue calls [`HoldsBios::work`].
    pub fn share(self, shelf: &'ti Shelf) -> Fate<'call> {
        self.fate(Kind::Share(shelf.into()))
    }

    /// Has [`HoldsBios::part`] called for each of `count` parts, from 0 on: for the first one here,
    /// and for the others by who takes them from the shelf. There are four at most, so that is what a
    /// larger number counts for. [`HoldsBios::parts_done`] is called last.
    pub fn in_parts(self, shelf: &'ti Shelf, count: u32) -> Fate<'call> {
        self.fate(Kind::Parts(shelf.into(), count))
    }

    /// Has [`HoldsBios::work`] called soon on this CPU, where it must not sleep.
    pub fn queue_bh(self) -> Fate<'call> {
        self.fate(Kind::QueueBh)
    }

    /// Reads what the bio wants, from `sector` of `dev`, into the bio's own pages.
    /// [`HoldsBios::lower_done`] is called then.
    ///
    /// The bio itself goes there, if it carries nothing but its data.
    ///
    /// # Errors
    ///
    /// The bio, if there is no memory. Where it may sleep that happens for tags only.
    #[inline(always)]
    pub fn submit_read(
        mut self,
        buffers: &'ti Buffers,
        dev: &'ti Device,
        sector: Sector,
        sleep: Option<MaySleep<'_>>,
    ) -> Result<Fate<'call>, Self> {
        const INTEGRITY: u32 = 1 << bindings::req_flag_bits___REQ_INTEGRITY;

        if T::tags(self.data_mut()).is_some() || self.raw().bi_opf & INTEGRITY != 0 {
            self.submit_clone(buffers, dev, sector, sleep)
        } else {
            Ok(self.submit_itself(dev, sector))
        }
    }

    /// Sends the bio below. When it has completed there it is what it was: see [`itself_end_io`].
    #[inline(always)]
    fn submit_itself(mut self, dev: &'ti Device, sector: Sector) -> Fate<'call> {
        const REMAPPED: u16 = 1 << bindings::BIO_REMAPPED;
        const BPS_THROTTLED: u16 = 1 << bindings::BIO_BPS_THROTTLED;
        // SAFETY: By the type invariants the bio is ours.
        let bio = unsafe { &mut *self.bio.as_ptr() };
        let job = self.job_mut();

        job.buffers = None;
        job.saved.write(Saved {
            bdev: bio.bi_bdev,
            flags: bio.bi_flags,
            iter: bindings::copy_bvec_iter(&bio.bi_iter),
            end_io: bio.bi_end_io,
        });
        bio.bi_flags &= !(REMAPPED | BPS_THROTTLED);
        bio.bi_bdev = dev.bdev();
        bio.bi_iter.bi_sector = sector;
        bio.bi_end_io = Some(itself_end_io::<T>);
        self.fate(Kind::SubmitItself)
    }

    /// As [`submit_read`](Self::submit_read), by a clone.
    fn submit_clone(
        mut self,
        buffers: &'ti Buffers,
        dev: &'ti Device,
        sector: Sector,
        sleep: Option<MaySleep<'_>>,
    ) -> Result<Fate<'call>, Self> {
        let Some(lower) = buffers.clone_of(self.bio, dev, sleep) else {
            return Err(self);
        };
        // SAFETY: The clone is new, and ours.
        let fields = unsafe { &mut *lower.as_ptr() };

        fields.bi_iter.bi_sector = sector;
        fields.bi_end_io = Some(lower_end_io::<T>);
        fields.bi_private = self.bio.as_ptr().cast();
        if let Some(tags) = T::tags(self.data_mut()) {
            // SAFETY: The tags stay in the bio's data, which nobody touches until the lower bio
            // has completed.
            if unsafe { tags.add_to(lower) }.is_err() {
                // SAFETY: The clone is given up.
                unsafe { bindings::bio_put(lower.as_ptr()) };
                return Err(self);
            }
        }
        self.job_mut().buffers = None;
        Ok(self.fate(Kind::Submit(lower)))
    }

    fn take_buffer(&mut self, buffer: BufferBio<'ti>) -> Result<NonNull<bindings::bio>, ()> {
        let (lower, buffers) = buffer.into_raw();
        let base = self.bio.as_ptr().cast();
        // SAFETY: The buffer is ours.
        let fields = unsafe { &mut *lower.as_ptr() };

        fields.bi_end_io = Some(lower_end_io::<T>);
        fields.bi_private = base;
        if let Some(tags) = T::tags(self.data_mut()) {
            // SAFETY: The tags stay in the bio's data, which nobody touches until the lower bio
            // has completed.
            if unsafe { tags.add_to(lower) }.is_err() {
                // SAFETY: These were just taken apart, and the bio was not submitted.
                drop(unsafe { BufferBio::from_raw(lower, buffers) });
                return Err(());
            }
        }
        self.job_mut().buffers = Some(buffers);
        Ok(lower)
    }

    /// Submits a bio with pages of its own, for this one. [`HoldsBios::lower_done`] is called when
    /// it has completed.
    pub fn submit(mut self, buffer: BufferBio<'ti>) -> Fate<'call> {
        match self.take_buffer(buffer) {
            Ok(lower) => self.fate(Kind::Submit(lower)),
            Err(()) => self.end(Status::IOERR),
        }
    }

    /// As [`submit`](Self::submit), but by a thread, which sorts what it has by `sector`.
    pub fn submit_by(
        mut self,
        thread: &'ti SubmitThread,
        buffer: BufferBio<'ti>,
        sector: Sector,
    ) -> Fate<'call> {
        match self.take_buffer(buffer) {
            Ok(lower) => {
                let job = self.job_mut();

                job.entry.lower = lower.as_ptr();
                job.entry.sector = sector;
                self.fate(Kind::Thread(thread.into()))
            }
            Err(()) => self.end(Status::IOERR),
        }
    }

    /// Carries out what was decided in `map`.
    pub fn submitted(self, decide: impl FnOnce(Self) -> Fate<'call>) -> Mapped<'call> {
        let held = self.again();
        let fate = decide(self);

        // SAFETY: The fate has the lifetime of this call, so it is this bio's.
        unsafe { carry_out(held, fate) };
        Mapped::submitted()
    }
}

/// Does what a fate says.
///
/// # Safety
///
/// The fate is that of `held`, which came from [`HeldBio::again`]. No code of the target runs for it
/// any more that device mapper does not protect otherwise.
#[inline]
unsafe fn carry_out<'ti, T: HoldsBios<'ti>>(mut held: HeldBio<'_, 'ti, T>, fate: Fate<'_>) {
    let bio = held.bio;

    match fate.kind {
        Kind::End(status) => {
            // SAFETY: The data were initialised, and are used for the last time.
            unsafe { ptr::drop_in_place(&mut held.job_mut().data) };
            // SAFETY: The bio is ours.
            unsafe { (*bio.as_ptr()).bi_status = status.into_raw() };
            // SAFETY: The bio is ours, and given up.
            unsafe { bindings::bio_endio(bio.as_ptr()) };
        }
        // SAFETY: The queue is there, since the bio has not completed.
        Kind::Queue(queue) => unsafe { held.queue_work(queue) },
        Kind::Share(shelf) => {
            let entry = NonNull::from(&mut held.job_mut().entry.waiting);
            // SAFETY: The shelf is there, since the bio has not completed.
            let shelf = unsafe { shelf.as_ref() };

            // SAFETY: The bio is ours, and given up if this succeeds.
            if !unsafe { shelf.push(entry) } {
                // SAFETY: The queue is there, since the bio has not completed.
                unsafe { held.queue_work(shelf.queue()) };
            }
        }
        Kind::QueueBh => {
            let work = &raw mut held.job_mut().work;

            // SAFETY: The work is not queued, the bio being here, and stays until it has run.
            unsafe { bindings::dm_rust_helper_queue_bh_work(work, Some(bh_work_fn::<T>)) };
        }
        // SAFETY: The shelf is there, since the bio has not completed.
        Kind::Parts(shelf, count) => unsafe { work_in_parts(held, shelf.as_ref(), count) },
        // SAFETY: The lower bio is complete and ours; the bio stays until it has completed.
        Kind::Submit(lower) => unsafe {
            bindings::dm_submit_bio_remap(bio.as_ptr(), lower.as_ptr())
        },
        // SAFETY: The bio is ours, and was prepared for the device below.
        Kind::SubmitItself => unsafe {
            bindings::dm_submit_bio_remap(bio.as_ptr(), core::ptr::null_mut())
        },
        Kind::Thread(thread) => {
            let job: *mut Job<'ti, T::Data> = held.job_mut();
            // SAFETY: The job stays until the lower bio has completed.
            let submission = unsafe { super::queue::Submission::of(job) };

            // SAFETY: The thread is there, since the bio has not completed.
            unsafe { thread.as_ref() }.push(submission);
        }
    }
}

impl<'ti, T: HoldsBios<'ti>> HeldBio<'_, 'ti, T> {
    /// # Safety
    ///
    /// The queue is there.
    unsafe fn queue_work(&mut self, queue: *mut bindings::workqueue_struct) {
        let work = &raw mut self.job_mut().work;

        // SAFETY: The work is not queued: the bio is here.
        unsafe { bindings::dm_rust_helper_init_work(work, Some(work_fn::<T>)) };
        // SAFETY: The work is new, and stays until it has run. The queue is as the caller says.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
                queue,
                work,
            )
        };
    }
}

/// # Safety
///
/// The bio was given to a [`Shelf`] as a [`HeldBio`] of a `T`, and taken from it.
unsafe fn quick<'ti, T: HoldsBios<'ti>>(bio: NonNull<bindings::bio>, _: u32) {
    // SAFETY: The bio is held, as the caller says.
    let held = unsafe { HeldBio::<T>::of(bio) };
    let again = held.again();
    // SAFETY: The target is there, since the bio has not completed.
    let fate = unsafe { held.target().as_ref() }.quick(held);

    // SAFETY: The fate is this bio's, and the function has returned.
    unsafe { carry_out(again, fate) };
}

/// Works on the first part of a bio, and gives out the others.
///
/// # Safety
///
/// The bio was given up by its target, and is not used by the caller any more.
unsafe fn work_in_parts<'ti, T: HoldsBios<'ti>>(
    mut held: HeldBio<'_, 'ti, T>,
    shelf: &Shelf,
    count: u32,
) {
    let count = count.clamp(1, MAX_PARTS as u32);
    let bio = held.bio;
    let parts = &mut held.job_mut().parts;

    parts.left = AtomicU32::new(count);
    parts.failed = AtomicBool::new(false);
    for (number, waiting) in (1..count).zip(&mut parts.waiting) {
        waiting.write(Waiting::new(bio.as_ptr(), run_part::<T>, number));
    }
    // From here on the bio is shared: nothing of it is changed but what is atomic.
    let job = held.job_ptr();

    for i in 0..count.wrapping_sub(1) {
        // SAFETY: The job is there until all parts are done, and this one is not.
        let waiting = unsafe { &raw mut (*job).parts.waiting };
        // SAFETY: There are that many, as `count` is at most one more.
        let waiting = unsafe { waiting.cast::<Waiting>().add(i as usize) };
        // SAFETY: A field is not null.
        let waiting = unsafe { NonNull::new_unchecked(waiting) };

        // SAFETY: It was just written, and is given up.
        if !unsafe { shelf.push(waiting) } {
            // SAFETY: Nobody else works on this part.
            unsafe { run_part::<T>(bio, i.wrapping_add(1)) };
        }
    }
    let good = do_part(&held, 0);

    // What nobody has begun with is done here. The bio is there: this part is not counted yet.
    for _ in 1..count {
        shelf.help();
    }
    // SAFETY: The part was done, and the bio is not used after this.
    unsafe { part_done(held, good) };
}

/// # Safety
///
/// The bio is a held bio of a `T` that is worked on in parts, and this one is the caller's.
unsafe fn run_part<'ti, T: HoldsBios<'ti>>(bio: NonNull<bindings::bio>, number: u32) {
    // SAFETY: The bio is held, as the caller says. It is shared with those who work on other parts,
    // none of whom changes it.
    let held = unsafe { HeldBio::<T>::of(bio) };
    let good = do_part(&held, number);

    // SAFETY: The part was done, and the bio is not used after this.
    unsafe { part_done(held, good) };
}

fn do_part<'ti, T: HoldsBios<'ti>>(held: &HeldBio<'_, 'ti, T>, number: u32) -> bool {
    // SAFETY: The target is there, since the bio has not completed.
    unsafe { held.target().as_ref() }.part(held, number)
}

/// Counts a part as done, and goes on with the bio after the last one.
///
/// # Safety
///
/// The part is the caller's, who does not use the bio any more.
unsafe fn part_done<'ti, T: HoldsBios<'ti>>(held: HeldBio<'_, 'ti, T>, good: bool) {
    let parts = &held.job().parts;

    if !good {
        parts.failed.store(true, Ordering::Relaxed);
    }
    if parts.left.fetch_sub(1, Ordering::AcqRel) != 1 {
        return;
    }
    let good = !parts.failed.load(Ordering::Relaxed);
    let again = held.again();
    // SAFETY: The target is there, since the bio has not completed. All parts are done, so the bio
    // is the caller's alone.
    let fate = unsafe { held.target().as_ref() }.parts_done(held, good);

    // SAFETY: The fate is this bio's, and the function has returned.
    unsafe { carry_out(again, fate) };
}

/// # Safety
///
/// Called by a workqueue with the work of a [`Job`] of a `T`.
unsafe extern "C" fn work_fn<'ti, T: HoldsBios<'ti>>(work: *mut bindings::work_struct) {
    // SAFETY: A worker may sleep, and has called this for this one bio.
    let sleep = unsafe { MaySleep::new() };

    // SAFETY: As the caller says.
    unsafe { work_on::<T>(work, Some(sleep)) };
}

/// # Safety
///
/// Called in a soft interrupt with the work of a [`Job`] of a `T`.
unsafe extern "C" fn bh_work_fn<'ti, T: HoldsBios<'ti>>(work: *mut bindings::work_struct) {
    // SAFETY: As the caller says.
    unsafe { work_on::<T>(work, None) };
}

/// # Safety
///
/// `work` is the work of a [`Job`] of a `T`, which is done.
#[inline(always)]
unsafe fn work_on<'ti, T: HoldsBios<'ti>>(
    work: *mut bindings::work_struct,
    sleep: Option<MaySleep<'_>>,
) {
    // SAFETY: The work is a field of a job, as the caller says.
    let job = unsafe { kernel::container_of!(work, Job<'ti, T::Data>, work) };
    // SAFETY: The job is initialised.
    let bio = unsafe { NonNull::new_unchecked((*job).entry.base) };
    // SAFETY: A bio with a job is held.
    let held = unsafe { HeldBio::<T>::of(bio) };
    let again = held.again();
    // SAFETY: The target is there, since the bio has not completed.
    let fate = unsafe { held.target().as_ref() }.work(held, sleep);

    // SAFETY: The fate is this bio's, and the function has returned.
    unsafe { carry_out(again, fate) };
}

/// # Safety
///
/// Called as `bi_end_io` of a bio that was submitted for a [`HeldBio`] of a `T`.
unsafe extern "C" fn lower_end_io<'ti, T: HoldsBios<'ti>>(lower: *mut bindings::bio) {
    // SAFETY: The lower bio has completed, so it is ours.
    let status = Status::from_raw(unsafe { (*lower).bi_status });
    // SAFETY: `submit` has stored the bio there.
    let bio = unsafe { NonNull::new_unchecked((*lower).bi_private.cast::<bindings::bio>()) };
    // SAFETY: A lower bio is not null.
    let lower = unsafe { NonNull::new_unchecked(lower) };
    // SAFETY: The bio is held: it waits for the lower one.
    let mut held = unsafe { HeldBio::<T>::of(bio) };
    let again = held.again();
    let buffer = match held.job_mut().buffers.take() {
        // SAFETY: `take_buffer` has taken these two apart; the bio has completed.
        Some(buffers) => Some(unsafe { DoneBuffer::from_raw(lower, buffers) }),
        None => {
            // SAFETY: The clone is done with.
            unsafe { bindings::bio_put(lower.as_ptr()) };
            None
        }
    };
    // SAFETY: The target is there, since the bio has not completed.
    let fate = unsafe { held.target().as_ref() }.lower_done(held, buffer, status);

    // SAFETY: The fate is this bio's, and the function has returned.
    unsafe { carry_out(again, fate) };
}

/// # Safety
///
/// Called as `bi_end_io` of a [`HeldBio`] of a `T` that was submitted itself.
unsafe extern "C" fn itself_end_io<'ti, T: HoldsBios<'ti>>(bio: *mut bindings::bio) {
    // SAFETY: A bio that completes is not null.
    let bio = unsafe { NonNull::new_unchecked(bio) };
    // SAFETY: The bio is held: it has come back.
    let held = unsafe { HeldBio::<T>::of(bio) };
    let again = held.again();
    // SAFETY: The bio has completed below, so it is ours.
    let fields = unsafe { &mut *bio.as_ptr() };
    // SAFETY: `submit_itself` has written it. It is read once.
    let saved = unsafe { (*held.job_ptr()).saved.assume_init_read() };
    let status = Status::from_raw(fields.bi_status);

    fields.bi_bdev = saved.bdev;
    fields.bi_flags = saved.flags;
    fields.bi_iter = saved.iter;
    fields.bi_end_io = saved.end_io;
    fields.bi_status = Status::OK.into_raw();
    fields.__bi_remaining.counter = 1;
    // SAFETY: The target is there, since the bio has not completed.
    let fate = unsafe { held.target().as_ref() }.lower_done(held, None, status);

    // SAFETY: The fate is this bio's, and the function has returned.
    unsafe { carry_out(again, fate) };
}
