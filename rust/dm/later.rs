// SPDX-License-Identifier: GPL-2.0

//! Bios that a target puts off, and the thread that comes back to them.
//!
//! A target that implements [`PutsOff`] and has [`PutOff`] as its per-bio data can hand the [`Bio`]
//! of `map` to an [`Agenda`], with a time. When it has come, the thread of the agenda calls
//! [`PutsOff::due`] with the bio, by value; what that returns says where the bio goes.
//!
//! As with [`held`](super::held), code of the target runs for bios only that have not completed, and
//! device mapper keeps the table of a bio that has not completed. What the agenda keeps of a bio is
//! in the bio's own data, so that putting one off takes no memory.

use super::{
    bio::{Bio, Mapped, Owned},
    cursor::Cursor,
    per_bio::PerBioData,
    Device, Moment, Op, OpFlags, Sector, Status,
};
use crate::{bindings, mem::MaySleep};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{self, NonNull},
};
use kernel::{
    ffi::{c_int, c_void},
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        SpinLock,
    },
};

/// A target that puts bios off.
pub trait PutsOff<'ti>: Sized + Send + Sync + 'ti {
    /// What the target keeps with each bio that it has put off.
    type Data: Send;

    /// Called by the thread of an agenda for a bio whose time has come; for one bio at a time, and
    /// for those that are due at once in the order in which they were put off. May sleep.
    fn due<'call>(&self, bio: DueBio<'call, 'ti, Self>) -> Next<'call>;
}

/// The per-bio data of a target that puts bios off.
///
/// # Invariants
///
/// `target` is there until the bio has completed. (No safe code makes a value of this type.)
pub struct PutOff<'ti, T: PutsOff<'ti>> {
    target: NonNull<T>,
    entry: MaybeUninit<Entry>,
    data: MaybeUninit<T::Data>,
    _life: PhantomData<fn(&'ti ()) -> &'ti ()>,
}

// SAFETY: The target is shared between threads, and what is kept with a bio may be sent to another.
unsafe impl<'ti, T: PutsOff<'ti>> Send for PutOff<'ti, T> {}

impl<'ti, T: PutsOff<'ti>> PerBioData<T> for PutOff<'ti, T> {
    unsafe fn new(target: &T) -> Self {
        // INVARIANT: As the caller says.
        Self {
            target: target.into(),
            entry: MaybeUninit::uninit(),
            data: MaybeUninit::uninit(),
            _life: PhantomData,
        }
    }
}

/// What an agenda keeps of a bio.
struct Entry {
    next: *mut Entry,
    bio: NonNull<bindings::bio>,
    due: Moment,
    /// Calls the target, and does what it says. Safe to call with `bio` once, when it is due.
    serve: unsafe fn(&Agenda, NonNull<bindings::bio>),
}

/// Entries, first to last.
///
/// # Invariants
///
/// Each entry lies in the data of a bio that has not completed, and belongs to the list; they are
/// linked by `next`, up to `last`, whose `next` is null. `last` means nothing if `first` is null.
struct List {
    first: *mut Entry,
    last: *mut Entry,
}

// SAFETY: A bio belongs to no thread.
unsafe impl Send for List {}

impl List {
    const fn new() -> Self {
        Self {
            first: ptr::null_mut(),
            last: ptr::null_mut(),
        }
    }

    /// # Safety
    ///
    /// The entry is the caller's, and lies in the data of a bio that has not completed.
    unsafe fn push(&mut self, entry: NonNull<Entry>) {
        let entry = entry.as_ptr();

        // SAFETY: The entry is ours.
        unsafe { (*entry).next = ptr::null_mut() };
        if self.first.is_null() {
            self.first = entry;
        } else {
            // SAFETY: By the type invariants the last entry is there.
            unsafe { (*self.last).next = entry };
        }
        // INVARIANT: The entry belongs to the list from here on.
        self.last = entry;
    }

    fn pop(&mut self) -> Option<NonNull<Entry>> {
        let entry = NonNull::new(self.first)?;

        // SAFETY: By the type invariants the entry is there. INVARIANT: It leaves the list.
        self.first = unsafe { entry.as_ref() }.next;
        Some(entry)
    }

    /// Puts all of `front` before what is here.
    fn prepend(&mut self, mut front: List) {
        if front.first.is_null() {
            return;
        }
        if !self.first.is_null() {
            // SAFETY: By the type invariants the last entry is there.
            unsafe { (*front.last).next = self.first };
            front.last = self.last;
        }
        *self = front;
    }

    /// When the first of them is due.
    fn earliest(&self) -> Moment {
        let mut earliest = Moment::NEVER;
        let mut entry = self.first;

        // SAFETY: By the type invariants the entries are there.
        while let Some(here) = unsafe { entry.as_ref() } {
            earliest = earliest.min(here.due);
            entry = here.next;
        }
        earliest
    }
}

/// What is shared with the thread.
struct Shared {
    list: List,
    /// When the thread wakes up by itself.
    wakes: Moment,
}

/// Bios to come back to, and the thread that does.
///
/// Made by [`Constructor::agenda`](super::Constructor::agenda).
///
/// # Invariants
///
/// `task` is null, or there until [`stop`](Self::stop) takes it away, which happens when no bio has
/// been put off and only the target's destructor is left to run.
#[pin_data]
pub struct Agenda {
    #[pin]
    shared: SpinLock<Shared>,
    hurries: Atomic<bool>,
    task: core::sync::atomic::AtomicPtr<bindings::task_struct>,
}

impl Agenda {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            shared <- new_spinlock!(
                Shared {
                    list: List::new(),
                    wakes: Moment::NEVER,
                },
                "dm_rust::Agenda"
            ),
            hurries: Atomic::new(false),
            task: core::sync::atomic::AtomicPtr::new(ptr::null_mut()),
        })
    }

    /// Starts the thread.
    ///
    /// # Safety
    ///
    /// `self` stays where it is until [`stop`](Self::stop) was called, which is.
    pub(super) unsafe fn start(&self, prefix: &CStr, name: &CStr) -> Result {
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

        self.task.store(task, core::sync::atomic::Ordering::Release);
        // SAFETY: The task is there.
        unsafe { bindings::wake_up_process(task) };
        Ok(())
    }

    /// Ends the thread, if it was started.
    ///
    /// # Safety
    ///
    /// Nothing has been put off, nor will be, and nobody uses the agenda at the same time.
    pub(super) unsafe fn stop(&self) {
        // INVARIANT: The target, which is dropped after this, may still ask for a hurry.
        let task = self
            .task
            .swap(ptr::null_mut(), core::sync::atomic::Ordering::AcqRel);

        if !task.is_null() {
            // SAFETY: By the type invariants the task is there; it ends only when it is told so.
            unsafe { bindings::kthread_stop(task) };
        }
    }

    /// Whether all that has been and will be put off is due at once: for
    /// [`presuspend`](super::Target::presuspend), since nobody can wait for I/O then. May be called in
    /// any context.
    pub fn hurry(&self, hurries: bool) {
        self.hurries.store(hurries, Relaxed);
        if !hurries {
            return;
        }
        let task = self.task.load(core::sync::atomic::Ordering::Acquire);

        // The thread looks whether to hurry after it has said that it is about to sleep.
        if !task.is_null() {
            // SAFETY: By the type invariants the task is there: `stop` is not called at the same time.
            unsafe { bindings::wake_up_process(task) };
        }
    }

    /// Sees to it that the thread is awake at `due`.
    fn wake(&self, shared: &mut Shared, due: Moment) {
        let task = self.task.load(core::sync::atomic::Ordering::Acquire);

        if due < shared.wakes && !task.is_null() {
            shared.wakes = due;
            // SAFETY: By the type invariants the task is there: there is a bio that was put off.
            unsafe { bindings::wake_up_process(task) };
        }
    }

    /// # Safety
    ///
    /// The entry is the caller's, filled, in the data of a bio that has not completed.
    unsafe fn push(&self, entry: NonNull<Entry>) {
        // SAFETY: The entry is the caller's.
        let due = unsafe { entry.as_ref() }.due;
        let mut shared = self.shared.lock();

        // SAFETY: As the caller says.
        unsafe { shared.list.push(entry) };
        // The thread cannot take the entry before this is done, since it takes the lock for that.
        self.wake(&mut shared, due);
    }

    /// Serves what is due, once.
    fn pass(&self) {
        let mut list = core::mem::replace(&mut self.shared.lock().list, List::new());
        let mut rest = List::new();
        let now = Moment::now();

        while let Some(entry) = list.pop() {
            // SAFETY: The entry was on the list, so it is there, and ours now.
            let (bio, due, serve) = unsafe {
                let entry = entry.as_ref();
                (entry.bio, entry.due, entry.serve)
            };

            if due <= now || self.hurries.load(Relaxed) {
                // SAFETY: The bio is due, and is off the list.
                unsafe { serve(self, bio) };
                // SAFETY: This is the thread of the agenda, and it holds no lock.
                unsafe { bindings::dm_rust_helper_cond_resched() };
            } else {
                // SAFETY: The entry is ours.
                unsafe { rest.push(entry) };
            }
        }
        self.shared.lock().list.prepend(rest);
    }

    /// # Safety
    ///
    /// Called as the function of a thread, with an agenda that stays until it ends.
    unsafe extern "C" fn run(data: *mut c_void) -> c_int {
        // SAFETY: As the caller says.
        let this = unsafe { &*data.cast::<Self>() };

        loop {
            this.pass();
            // From here on whoever wakes the thread keeps it from falling asleep.
            // SAFETY: This is a thread, which goes to sleep below.
            unsafe { bindings::dm_rust_helper_about_to_sleep() };
            let earliest = {
                let mut shared = this.shared.lock();
                let mut earliest = shared.list.earliest();

                if earliest != Moment::NEVER && this.hurries.load(Relaxed) {
                    earliest = Moment::now();
                }
                shared.wakes = earliest;
                earliest
            };

            // SAFETY: Called by a thread that was made as one.
            if unsafe { bindings::kthread_should_stop() } {
                // SAFETY: As above.
                unsafe { bindings::dm_rust_helper_stay_awake() };
                return 0;
            }
            // SAFETY: As above.
            unsafe { bindings::dm_rust_helper_sleep_until(earliest.nanos()) };
        }
    }
}

/// A bio that was put off, and whose time has come.
///
/// # Invariants
///
/// `bio` is a clone that device mapper made for a target of type `T`; its per-bio data are a
/// [`PutOff`] whose entry and data are initialised. It has not completed, and nobody else uses it.
pub struct DueBio<'call, 'ti, T: PutsOff<'ti>> {
    bio: NonNull<bindings::bio>,
    _owned: Owned,
    _call: PhantomData<fn(&'call ()) -> &'call ()>,
    _target: PhantomData<fn(&'ti T) -> &'ti T>,
}

/// What becomes of a bio that was due.
#[must_use = "the function that got the bio returns this"]
pub struct Next<'call> {
    kind: Kind,
    _call: PhantomData<fn(&'call ()) -> &'call ()>,
}

enum Kind {
    End(Status),
    Submit,
    Later(Moment),
}

impl<'map, 'ti, T: PutsOff<'ti>> Bio<'map, PutOff<'ti, T>> {
    /// Keeps the bio, with `data`, until it is `due`. `DM_MAPIO_SUBMITTED` in C.
    pub fn put_off(self, agenda: &'ti Agenda, due: Moment, data: T::Data) -> Mapped<'map> {
        let bio = self.into_raw();
        // SAFETY: The bio is ours, with its per-bio data.
        let kept = unsafe { super::per_bio::get::<PutOff<'ti, T>>(bio.as_ptr()) };

        kept.data.write(data);
        let entry = kept.entry.write(Entry {
            next: ptr::null_mut(),
            bio,
            due,
            serve: serve::<T>,
        });
        let entry = NonNull::from(entry);

        // SAFETY: The entry is filled, and the bio is given up to the agenda.
        unsafe { agenda.push(entry) };
        Mapped::submitted()
    }
}

/// Calls the target with a bio that is due, and does what it says.
///
/// # Safety
///
/// `bio` was put off by a `T` on this agenda, and has been taken off its list.
unsafe fn serve<'ti, T: PutsOff<'ti>>(agenda: &Agenda, bio: NonNull<bindings::bio>) {
    // SAFETY: The bio was put off, so it has such data, and has not completed.
    let kept = unsafe { super::per_bio::of::<PutOff<'ti, T>>(bio.as_ptr()) };
    // SAFETY: As above.
    let target = unsafe { (*kept).target };
    // INVARIANT: The entry and the data were written when the bio was put off.
    let due = DueBio {
        bio,
        _owned: Owned,
        _call: PhantomData,
        _target: PhantomData,
    };
    // SAFETY: The target is there, since the bio has not completed.
    let next = unsafe { target.as_ref() }.due(due);

    match next.kind {
        Kind::Later(moment) => {
            // SAFETY: The data are there, and nobody else's.
            let entry = unsafe { (*kept).entry.assume_init_mut() };

            entry.due = moment;
            let entry = NonNull::from(entry);
            // SAFETY: The entry is filled, and on no list.
            unsafe { agenda.push(entry) };
        }
        Kind::End(status) => {
            // SAFETY: The data were initialised, and are used for the last time.
            unsafe { (*kept).data.assume_init_drop() };
            // SAFETY: The bio is ours.
            unsafe { (*bio.as_ptr()).bi_status = status.into_raw() };
            // SAFETY: The bio is ours, and given up.
            unsafe { bindings::bio_endio(bio.as_ptr()) };
        }
        Kind::Submit => {
            // SAFETY: The data were initialised, and are used for the last time.
            unsafe { (*kept).data.assume_init_drop() };
            // SAFETY: The bio is ours, has got its device, and is given up.
            unsafe { bindings::dm_submit_bio_remap(bio.as_ptr(), ptr::null_mut()) };
        }
    }
}

impl<'call, 'ti, T: PutsOff<'ti>> DueBio<'call, 'ti, T> {
    fn raw(&self) -> &bindings::bio {
        // SAFETY: By the type invariants the bio is initialised, and changed by nobody else.
        unsafe { self.bio.as_ref() }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::bio {
        self.bio.as_ptr()
    }

    /// The thread of the agenda may sleep.
    pub fn may_sleep(&self) -> MaySleep<'call> {
        // SAFETY: A bio is due only while that thread calls `due`, without a lock.
        unsafe { MaySleep::new() }
    }

    fn kept(&self) -> *mut PutOff<'ti, T> {
        // SAFETY: By the type invariants the data are such.
        unsafe { super::per_bio::of::<PutOff<'ti, T>>(self.bio.as_ptr()) }
    }

    /// What the target keeps with the bio.
    pub fn data(&self) -> &T::Data {
        // SAFETY: By the type invariants the data are initialised, and nobody else's.
        unsafe { (*self.kept()).data.assume_init_ref() }
    }

    /// What the target keeps with the bio, to be changed.
    pub fn data_mut(&mut self) -> &mut T::Data {
        // SAFETY: By the type invariants the data are initialised, and nobody else's.
        unsafe { (*self.kept()).data.assume_init_mut() }
    }

    /// What is to be done.
    pub fn op(&self) -> Op {
        Op::from_raw(self.raw().bi_opf)
    }

    /// How it is to be done.
    pub fn flags(&self) -> OpFlags {
        OpFlags::from_raw(self.raw().bi_opf)
    }

    /// How many bytes.
    pub fn size(&self) -> u32 {
        self.raw().bi_iter.bi_size
    }

    /// How many sectors.
    pub fn nr_sectors(&self) -> Sector {
        Sector::from(self.size() >> bindings::SECTOR_SHIFT)
    }

    /// Where it starts on the mapped device.
    pub fn sector(&self) -> Sector {
        self.raw().bi_iter.bi_sector
    }

    /// The data, from the start.
    pub fn cursor(&self) -> Cursor<'_> {
        // SAFETY: By the type invariants the bio is initialised and stays while it is borrowed.
        unsafe { Cursor::new(self.bio.as_ptr()) }
    }

    fn next(self, kind: Kind) -> Next<'call> {
        let Self { _owned, .. } = self;

        Next {
            kind,
            _call: PhantomData,
        }
    }

    /// Completes the bio with `status`. The data are dropped.
    pub fn end(self, status: Status) -> Next<'call> {
        self.next(Kind::End(status))
    }

    /// Sends the bio to `sector` of `dev`. The data are dropped.
    pub fn submit(self, dev: &'ti Device, sector: Sector) -> Next<'call> {
        // SAFETY: The bio is ours by the type invariants, and is submitted next. The device stays
        // open as long as the table, which device mapper keeps while bios are in flight.
        unsafe { bindings::dm_bio_remap(self.bio.as_ptr(), dev.bdev(), sector) };
        self.next(Kind::Submit)
    }

    /// Puts the bio off once more, until it is `due`.
    pub fn later(self, due: Moment) -> Next<'call> {
        self.next(Kind::Later(due))
    }
}
