// SPDX-License-Identifier: GPL-2.0

//! Queues and threads of a target, which work on the bios that it holds.

use super::{bio::Owned, held::Job, Sector};
use crate::bindings;
use core::{
    cell::UnsafeCell,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};
use kernel::{
    ffi::{c_int, c_void},
    prelude::*,
};

/// What kind of queue.
#[derive(Clone, Copy)]
pub struct QueueOptions {
    /// Its workers come before others.
    pub high_priority: bool,
    /// The work is done on the CPU that it was given on.
    pub per_cpu: bool,
    /// The work is long, and does not keep other work on the CPU from starting.
    pub cpu_intensive: bool,
    /// How many bios are worked on at once; 0 for as many as there are CPUs.
    pub max_active: u16,
}

/// A queue for held bios, `struct workqueue_struct` in C.
///
/// Made by [`Constructor::queue`](super::Constructor::queue). It can always make progress, even
/// when there is no memory.
///
/// # Invariants
///
/// `queue` is there until [`stop`](Self::stop) is called, which happens when no bio is held.
pub struct Workqueue {
    queue: *mut bindings::workqueue_struct,
    prefix: &'static CStr,
    _owned: Owned,
}

// SAFETY: A queue belongs to no thread.
unsafe impl Send for Workqueue {}
// SAFETY: Work may be queued by several threads at once.
unsafe impl Sync for Workqueue {}

impl Workqueue {
    pub(super) fn new(
        prefix: &'static CStr,
        name: &CStr,
        id: c_int,
        options: QueueOptions,
    ) -> Option<Self> {
        // SAFETY: The names are strings, which C copies.
        let queue = unsafe {
            bindings::dm_rust_helper_queue(
                prefix.as_char_ptr(),
                name.as_char_ptr(),
                id,
                options.high_priority,
                options.per_cpu,
                options.cpu_intensive,
                options.max_active.into(),
            )
        };

        (!queue.is_null()).then_some(Self {
            queue,
            prefix,
            _owned: Owned,
        })
    }

    pub(super) fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.queue
    }

    /// What the name begins with.
    pub(super) fn prefix(&self) -> &'static CStr {
        self.prefix
    }

    /// Waits for work that is being done, and frees the queue.
    ///
    /// # Safety
    ///
    /// Nothing is queued after this. It is called once.
    pub(super) unsafe fn stop(&self) {
        // SAFETY: By the type invariants the queue is there.
        unsafe { bindings::destroy_workqueue(self.queue) };
    }
}

/// A number in the names of queues, given back when this is dropped.
pub(super) struct QueueId(pub(super) c_int);

impl QueueId {
    pub(super) fn new() -> Result<Self> {
        // SAFETY: Has no requirements but that it may sleep.
        let id = unsafe { bindings::dm_rust_helper_queue_id() };

        if id < 0 {
            return Err(Error::from_errno(id));
        }
        Ok(Self(id))
    }
}

impl Drop for QueueId {
    fn drop(&mut self) {
        // SAFETY: The number was taken by `new`.
        unsafe { bindings::dm_rust_helper_put_queue_id(self.0) };
    }
}

/// A lower bio that waits for the thread.
///
/// # Invariants
///
/// Points to the entry of the job of a held bio, filled.
pub(super) struct Submission(NonNull<Entry>);

/// The part of a [`Job`] that the thread needs.
#[repr(C)]
pub(super) struct Entry {
    node: bindings::list_head,
    pub(super) base: *mut bindings::bio,
    pub(super) lower: *mut bindings::bio,
    pub(super) sector: Sector,
    pub(super) waiting: Waiting,
}

/// The part of a [`Job`] that a [`Shelf`] needs.
pub(super) struct Waiting {
    base: *mut bindings::bio,
    /// Has the target work on the bio.
    run: Run,
    /// Which part of the bio, if it is worked on in parts.
    part: u32,
}

/// # Safety
///
/// The bio was given to a [`Shelf`] and taken from it, with the number of the part.
type Run = unsafe fn(NonNull<bindings::bio>, u32);

impl Waiting {
    #[inline(always)]
    pub(super) fn new(base: *mut bindings::bio, run: Run, part: u32) -> Self {
        Self { base, run, part }
    }
}

impl Entry {
    #[inline(always)]
    pub(super) fn new(base: *mut bindings::bio, run: Run) -> Self {
        Self {
            waiting: Waiting::new(base, run, 0),
            node: bindings::list_head::default(),
            base,
            lower: ptr::null_mut(),
            sector: 0,
        }
    }
}

impl Submission {
    /// # Safety
    ///
    /// The job stays where it is until its lower bio has completed, and is the caller's.
    pub(super) unsafe fn of<D>(job: *mut Job<'_, D>) -> Self {
        // SAFETY: The job is there, as the caller says.
        let entry = unsafe { &raw mut (*job).entry };

        // SAFETY: A field is not null.
        // INVARIANT: As the caller says.
        Self(unsafe { NonNull::new_unchecked(entry) })
    }
}

/// A thread that submits lower bios, in the order of their sectors.
///
/// Made by [`Constructor::submit_thread`](super::Constructor::submit_thread).
///
/// # Invariants
///
/// `list` holds entries, linked by `node.next`, that nobody else uses. `task` is there until
/// [`stop`](Self::stop) is called, which happens when no bio is held.
pub struct SubmitThread {
    list: AtomicPtr<Entry>,
    task: AtomicPtr<bindings::task_struct>,
    /// How many are pushing.
    pushing: AtomicUsize,
}

// SAFETY: The list is passed on atomically.
unsafe impl Send for SubmitThread {}
// SAFETY: As above.
unsafe impl Sync for SubmitThread {}

impl SubmitThread {
    pub(super) fn new() -> Self {
        Self {
            list: AtomicPtr::new(ptr::null_mut()),
            task: AtomicPtr::new(ptr::null_mut()),
            pushing: AtomicUsize::new(0),
        }
    }

    /// Starts the thread.
    ///
    /// # Safety
    ///
    /// `self` stays where it is until [`stop`](Self::stop) was called, which is.
    pub(super) unsafe fn start(&self, prefix: &CStr, name: &CStr, high_priority: bool) -> Result {
        // SAFETY: The names are strings. The thread gets a pointer that stays valid as long as it
        // runs, as the caller says.
        let task = kernel::error::from_err_ptr(unsafe {
            bindings::dm_rust_helper_thread(
                Some(Self::run),
                ptr::from_ref(self).cast_mut().cast(),
                prefix.as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;

        self.task.store(task, Ordering::Release);
        if high_priority {
            // SAFETY: The task was just made; `MIN_NICE` is a valid value.
            unsafe { bindings::set_user_nice(task, -20) };
        }
        // SAFETY: The task is there.
        unsafe { bindings::wake_up_process(task) };
        Ok(())
    }

    /// Ends the thread, if it was started.
    ///
    /// # Safety
    ///
    /// Nothing is pushed after this. It is called once.
    pub(super) unsafe fn stop(&self) {
        let task = self.task.load(Ordering::Acquire);

        // The bio of who pushes may have completed before the pushing was.
        while self.pushing.load(Ordering::Acquire) != 0 {
            core::hint::spin_loop();
            // SAFETY: The caller may sleep.
            unsafe { bindings::dm_rust_helper_cond_resched() };
        }
        if !task.is_null() {
            // SAFETY: By the type invariants the task is there; it ends only when it is told so.
            unsafe { bindings::kthread_stop(task) };
        }
    }

    /// Gives the thread a bio to submit. May be called in any context.
    pub(super) fn push(&self, submission: Submission) {
        let entry = submission.0.as_ptr();
        let mut first = self.list.load(Ordering::Relaxed);

        // From when the entry is on the list its bio may complete; this keeps the thread.
        self.pushing.fetch_add(1, Ordering::Relaxed);
        loop {
            // SAFETY: The entry is ours until it is on the list.
            unsafe { (*entry).node.next = first.cast() };
            // INVARIANT: The entry is on the list from here on.
            match self
                .list
                .compare_exchange_weak(first, entry, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        // Whoever finds the list empty wakes the thread.
        if first.is_null() {
            let task = self.task.load(Ordering::Acquire);

            // SAFETY: The task is there: `stop` waits for who pushes.
            unsafe { bindings::wake_up_process(task) };
        }
        self.pushing.fetch_sub(1, Ordering::Release);
    }

    /// # Safety
    ///
    /// Called as the function of a thread, with a `SubmitThread` that stays until it ends.
    unsafe extern "C" fn run(data: *mut c_void) -> c_int {
        // SAFETY: As the caller says.
        let this = unsafe { &*data.cast::<Self>() };

        loop {
            let list = this.list.swap(ptr::null_mut(), Ordering::Acquire);

            if !list.is_null() {
                // SAFETY: The entries are this thread's now.
                unsafe { submit_sorted(list) };
                continue;
            }
            // SAFETY: Called by a thread that was made as one.
            if unsafe { bindings::kthread_should_stop() } {
                return 0;
            }
            let head = ptr::from_ref(&this.list).cast_mut().cast();
            // SAFETY: The list is one pointer, as that of C is.
            unsafe { bindings::dm_rust_helper_thread_wait(head) };
        }
    }
}

/// How many bios a [`Shelf`] holds.
const SLOTS: usize = 16;

/// Held bios that anybody may work on who has time: a queue is told of each, and a target can ask for
/// one at any time.
///
/// Made by [`Constructor::shelf`](super::Constructor::shelf).
///
/// # Invariants
///
/// Each slot is null, or holds the one pointer to the [`Waiting`] of a held bio. `queue` is there until
/// [`stop`](Self::stop) was called, which happens when no bio is held.
pub struct Shelf {
    slots: [Slot; SLOTS],
    queue: *mut bindings::workqueue_struct,
    /// How many are pushing.
    pushing: AtomicUsize,
}

/// A place for a bio, and the work of looking there.
struct Slot {
    waiting: AtomicPtr<Waiting>,
    work: UnsafeCell<bindings::work_struct>,
}

// SAFETY: Entries are passed on atomically, and their bios may be sent to other threads.
unsafe impl Send for Shelf {}
// SAFETY: As above; the work is used by C only, which has a lock for it.
unsafe impl Sync for Shelf {}

impl Shelf {
    /// An empty shelf, whose bios `queue` is told of.
    pub(super) fn new(queue: &Workqueue) -> Self {
        Self {
            slots: core::array::from_fn(|_| Slot {
                waiting: AtomicPtr::new(ptr::null_mut()),
                // SAFETY: Zero is valid for all of it.
                work: UnsafeCell::new(unsafe { core::mem::zeroed() }),
            }),
            queue: queue.as_raw(),
            pushing: AtomicUsize::new(0),
        }
    }

    /// Prepares the work.
    ///
    /// # Safety
    ///
    /// Called once, before the shelf is used. It stays where it is until [`stop`](Self::stop) was
    /// called and the queue was stopped.
    pub(super) unsafe fn start(&self) {
        for slot in &self.slots {
            // SAFETY: The work is not used yet.
            unsafe { bindings::dm_rust_helper_init_work(slot.work.get(), Some(Slot::run)) };
        }
    }

    /// Waits until nobody uses the shelf but its queue.
    ///
    /// # Safety
    ///
    /// Nothing is pushed after this.
    pub(super) unsafe fn stop(&self) {
        // The bio of who pushes may have completed before the pushing was.
        while self.pushing.load(Ordering::Acquire) != 0 {
            core::hint::spin_loop();
            // SAFETY: The caller may sleep.
            unsafe { bindings::dm_rust_helper_cond_resched() };
        }
    }

    pub(super) fn queue(&self) -> *mut bindings::workqueue_struct {
        self.queue
    }

    /// Puts a bio on the shelf, unless that is full. May be called in any context.
    ///
    /// # Safety
    ///
    /// `waiting` is that of a held bio, or of a part of it, which is the caller's, and is given up if
    /// this returns true.
    pub(super) unsafe fn push(&self, waiting: NonNull<Waiting>) -> bool {
        // From when it is there its bio may complete; this keeps the shelf.
        self.pushing.fetch_add(1, Ordering::Relaxed);
        let empty = ptr::null_mut();
        // INVARIANT: The pointer is given up here.
        let found = self.slots.iter().find(|slot| {
            slot.waiting.load(Ordering::Relaxed).is_null()
                && slot
                    .waiting
                    .compare_exchange(empty, waiting.as_ptr(), Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
        });

        if let Some(slot) = found {
            // SAFETY: The work was initialised, and the queue is there: `stop` waits for who pushes.
            unsafe {
                bindings::queue_work_on(
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                    self.queue,
                    slot.work.get(),
                )
            };
        }
        let pushed = found.is_some();

        self.pushing.fetch_sub(1, Ordering::Release);
        pushed
    }

    /// Works on one of the bios, if there is any: calls
    /// [`HoldsBios::quick`](super::HoldsBios::quick) or
    /// [`HoldsBios::part`](super::HoldsBios::part).
    pub fn help(&self) {
        let busy = |slot: &&Slot| !slot.waiting.load(Ordering::Relaxed).is_null();

        if let Some(slot) = self.slots.iter().find(busy) {
            slot.work_on();
        }
    }
}

impl Slot {
    fn work_on(&self) {
        let waiting = self.waiting.swap(ptr::null_mut(), Ordering::AcqRel);

        if let Some(waiting) = NonNull::new(waiting) {
            // SAFETY: By the type invariants this was the only pointer. What it points to is there,
            // since its bio is held.
            let Waiting { base, run, part } = unsafe { waiting.read() };
            // SAFETY: There is a bio.
            let base = unsafe { NonNull::new_unchecked(base) };

            // SAFETY: The bio was taken from the shelf just now.
            unsafe { run(base, part) };
        }
    }

    /// # Safety
    ///
    /// Called by a workqueue with the work of a slot.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: As the caller says; a cell is as what it holds.
        let slot = unsafe { &*kernel::container_of!(work.cast::<UnsafeCell<_>>(), Slot, work) };

        slot.work_on();
    }
}

/// Submits what is on a list, sorted by sector; equals in the order in which they came.
///
/// # Safety
///
/// The entries are the caller's, linked by `node.next`, the last one first.
unsafe fn submit_sorted(mut list: *mut Entry) {
    let mut head = bindings::list_head::default();
    let mut plug = bindings::blk_plug::default();
    let head_ptr = &raw mut head;

    head.next = head_ptr;
    head.prev = head_ptr;
    while !list.is_null() {
        let entry = list;

        // SAFETY: The entry is ours.
        list = unsafe { (*entry).node.next }.cast();
        // Each goes to the front, so that the first one that came ends up there.
        // SAFETY: The head is a list, and the entry is on none.
        unsafe { push_front(head_ptr, entry.cast()) };
    }
    // SAFETY: The head is a list of entries, which the comparison reads.
    unsafe { bindings::list_sort(ptr::null_mut(), head_ptr, Some(by_sector)) };
    // SAFETY: The plug is ours, and is finished below.
    unsafe { bindings::blk_start_plug(&mut plug) };
    let mut node = head.next;

    while node != head_ptr {
        let entry = node.cast::<Entry>();
        // SAFETY: The entry is ours until its bio is submitted.
        let (next, base, lower) = unsafe { ((*entry).node.next, (*entry).base, (*entry).lower) };

        // SAFETY: The lower bio is complete and ours. Its completion may free the entry.
        unsafe { bindings::dm_submit_bio_remap(base, lower) };
        // SAFETY: A thread may sleep.
        unsafe { bindings::dm_rust_helper_cond_resched() };
        node = next;
    }
    // SAFETY: The plug was started above.
    unsafe { bindings::blk_finish_plug(&mut plug) };
}

/// Puts a node at the front of a list.
///
/// # Safety
///
/// `head` is a list, and `node` is on none and the caller's.
unsafe fn push_front(head: *mut bindings::list_head, node: *mut bindings::list_head) {
    // SAFETY: As the caller says.
    let first = unsafe { (*head).next };

    // SAFETY: As the caller says.
    unsafe {
        *node = bindings::list_head {
            next: first,
            prev: head,
        }
    };
    // SAFETY: The neighbours are on the list.
    unsafe { (*first).prev = node };
    // SAFETY: As above.
    unsafe { (*head).next = node };
}

/// # Safety
///
/// Called by `list_sort` with nodes of entries.
unsafe extern "C" fn by_sector(
    _: *mut c_void,
    a: *const bindings::list_head,
    b: *const bindings::list_head,
) -> c_int {
    // SAFETY: The nodes are the first fields of entries.
    let [a, b] = [a, b].map(|node| unsafe { (*node.cast::<Entry>()).sector });

    c_int::from(a > b)
}
