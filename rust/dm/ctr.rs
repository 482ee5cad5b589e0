// SPDX-License-Identifier: GPL-2.0

//! Making a target.

use super::{
    buffers::Buffers,
    device::{self, Device},
    event::{EventList, TableEvent},
    later::Agenda,
    queue::{QueueId, QueueOptions, Shelf, SubmitThread, Workqueue},
    settled::{Gate, Settled},
    Arg, DmTarget, Sector,
};
use crate::{
    bindings,
    mem::{MaySleep, Pool},
};
use core::{marker::PhantomData, ops::Deref, ptr::NonNull};
use kernel::{alloc::AllocError, error::to_result, ffi::c_int, prelude::*};

/// So many bytes of the name of a queue are its prefix, at most: the kernel cuts the name after 31, and
/// the device and the number are in what is left.
const MAX_PREFIX: usize = 12;

/// Why a target could not be made: an errno for userspace, a message for the kernel log.
#[derive(Clone, Copy)]
pub struct CtrError {
    errno: Error,
    message: Option<&'static CStr>,
}

/// The result of a constructor or a part of it.
pub type CtrResult<T = ()> = Result<T, CtrError>;

impl CtrError {
    /// An error with the message that the kernel log gets (`ti->error` in C).
    pub const fn new(errno: Error, message: &'static CStr) -> Self {
        Self {
            errno,
            message: Some(message),
        }
    }

    pub(super) fn errno(&self) -> Error {
        self.errno
    }

    pub(super) fn message(&self) -> Option<&'static CStr> {
        self.message
    }
}

/// No memory for the target itself. Device mapper is told [`TargetType::NO_MEMORY`].
///
/// [`TargetType::NO_MEMORY`]: super::TargetType::NO_MEMORY
impl From<AllocError> for CtrError {
    fn from(_: AllocError) -> Self {
        Self {
            errno: ENOMEM,
            message: None,
        }
    }
}

impl From<core::convert::Infallible> for CtrError {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

/// A target that is being made: a [`DmTarget`] whose properties can still be set and that can open
/// devices.
///
/// There is one for each call of [`Target::ctr`](super::Target::ctr), and none after it.
pub struct Constructor<'ti> {
    /// # Invariants
    ///
    /// Valid, and nobody else uses it, until the constructor returns.
    ti: NonNull<bindings::dm_target>,
    resources: Resources,
    /// `'ti` is neither longer nor shorter than it is.
    _life: PhantomData<fn(&'ti ()) -> &'ti ()>,
}

/// What a target has borrowed for `'ti`, to be given back when the target is gone.
///
/// There is one with each segment of each table. Nearly all targets have one device and nothing
/// else, so that one is here, and the rest in memory of its own.
pub(super) struct Resources {
    first: Option<NonNull<bindings::dm_dev>>,
    more: Option<KBox<More>>,
}

/// What few targets have: one reference for each further call of `dm_get_device`, and events.
struct More {
    devices: KVec<NonNull<bindings::dm_dev>>,
    events: EventList,
    extras: Option<KBox<Extras>>,
}

/// What few targets borrow.
struct Extras {
    gate: Option<Pin<KBox<Gate>>>,
    queues: KVec<KBox<Workqueue>>,
    threads: KVec<KBox<SubmitThread>>,
    shelves: KVec<KBox<Shelf>>,
    buffers: KVec<Pin<KBox<Buffers>>>,
    pools: KVec<Pin<KBox<Pool>>>,
    agendas: KVec<Pin<KBox<Agenda>>>,
    queue_id: Option<QueueId>,
}

impl Extras {
    /// The number that names of queues end in. It is kept until the queues are gone.
    fn number(&mut self, message: &'static CStr) -> CtrResult<c_int> {
        if let Some(QueueId(number)) = self.queue_id {
            return Ok(number);
        }
        let id = QueueId::new().map_err(|e| CtrError::new(e, message))?;

        Ok(self.queue_id.insert(id).0)
    }
}

impl Resources {
    pub(super) fn new() -> Self {
        Self {
            first: None,
            more: None,
        }
    }

    /// What tells whether the device is suspended, if the target has asked for that.
    pub(super) fn gate(&self) -> Option<&Gate> {
        self.more.as_ref()?.extras.as_ref()?.gate.as_deref()
    }

    /// Ends what works for the target.
    ///
    /// # Safety
    ///
    /// No bio is in flight, nor will be. Called once.
    pub(super) unsafe fn stop(&self) {
        let Some(extras) = self.more.as_ref().and_then(|more| more.extras.as_ref()) else {
            return;
        };

        for agenda in &extras.agendas {
            // SAFETY: Only bios are put off, and the caller says that there are none.
            unsafe { agenda.stop() };
        }
        for thread in &extras.threads {
            // SAFETY: Only bios are pushed, and the caller says that there are none.
            unsafe { thread.stop() };
        }
        for shelf in &extras.shelves {
            // SAFETY: As above.
            unsafe { shelf.stop() };
        }
        for queue in &extras.queues {
            // SAFETY: As above.
            unsafe { queue.stop() };
        }
    }

    fn more(&mut self) -> Result<&mut More, AllocError> {
        let more = match self.more.take() {
            Some(more) => more,
            None => KBox::new(
                More {
                    devices: KVec::new(),
                    events: EventList::new(),
                    extras: None,
                },
                GFP_KERNEL,
            )?,
        };

        Ok(self.more.insert(more))
    }

    fn extras(&mut self) -> Result<&mut Extras, AllocError> {
        let more = self.more()?;
        let extras = match more.extras.take() {
            Some(extras) => extras,
            None => KBox::new(
                Extras {
                    gate: None,
                    queues: KVec::new(),
                    threads: KVec::new(),
                    shelves: KVec::new(),
                    buffers: KVec::new(),
                    pools: KVec::new(),
                    agendas: KVec::new(),
                    queue_id: None,
                },
                GFP_KERNEL,
            )?,
        };

        Ok(more.extras.insert(extras))
    }

    /// Makes room for one more device, so that [`push_device`](Self::push_device) cannot fail.
    fn reserve_device(&mut self) -> Result {
        if self.first.is_some() {
            self.more()?.devices.reserve(1, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Takes over a reference. There must be room, see [`reserve_device`](Self::reserve_device).
    fn push_device(&mut self, dev: NonNull<bindings::dm_dev>) {
        if self.first.is_none() {
            self.first = Some(dev);
        } else if let Some(more) = &mut self.more {
            // There is room. Without it the reference would leak, which device mapper reports when
            // the table is destroyed.
            let _ = more.devices.push_within_capacity(dev);
        }
    }

    /// Waits for events, and closes all devices, the last one first.
    ///
    /// # Safety
    ///
    /// They belong to `ti`, whose constructor has failed or whose destructor is running. Nothing
    /// that was borrowed is used any more, and [`stop`](Self::stop) was called.
    pub(super) unsafe fn release(mut self, ti: NonNull<bindings::dm_target>) {
        if let Some(more) = &mut self.more {
            more.events.cancel_all();
        }
        while let Some(dev) = self.pop_device() {
            // SAFETY: The reference was held here, and is given up. The rest is as the caller says.
            unsafe { device::put(ti, dev) };
        }
    }

    fn pop_device(&mut self) -> Option<NonNull<bindings::dm_dev>> {
        let last = self.more.as_mut().and_then(|more| more.devices.pop());

        last.or_else(|| self.first.take())
    }
}

/// Sets a number of bios of the target.
macro_rules! bio_counts {
    ($($(#[$doc:meta])* $set:ident => $field:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $set(&mut self, count: u32) {
                // SAFETY: By the type invariants nobody else uses the target now.
                unsafe { (*self.ti.as_ptr()).$field = count };
            }
        )*
    };
}

/// Sets a flag of the target.
macro_rules! target_flags {
    ($($(#[$doc:meta])* $set:ident => $field:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $set(&mut self) {
                // SAFETY: By the type invariants nobody else uses the target now.
                unsafe { (*self.ti.as_ptr()).$field(true) };
            }
        )*
    };
}

impl<'ti> Constructor<'ti> {
    /// # Safety
    ///
    /// Device mapper is calling the constructor of `ti`, and the value does not outlive the call.
    /// `'ti` ends no later than the target's destructor does, or, if the constructor fails, than
    /// the call.
    pub(super) unsafe fn from_raw(ti: NonNull<bindings::dm_target>) -> Self {
        // INVARIANT: During its constructor a target is known to the caller only.
        Self {
            ti,
            resources: Resources::new(),
            _life: PhantomData,
        }
    }

    pub(super) fn into_resources(self) -> Resources {
        self.resources
    }

    /// A constructor may sleep.
    pub fn may_sleep<'a>(&'a self) -> MaySleep<'a> {
        // SAFETY: There is one only while a table is loaded, in the context of an ioctl or of a
        // thread that starts the system.
        unsafe { MaySleep::new() }
    }

    /// Opens the device that `path` names (`/dev/…` or `major:minor`), with the access mode of the
    /// table.
    ///
    /// It stays open until the target is gone. Mirrors `dm_get_device()`.
    ///
    /// # Errors
    ///
    /// Those of opening a block device (`ENODEV`, `EBUSY`, `ENOTBLK`, …), with `message`.
    pub fn get_device(&mut self, path: Arg<'_>, message: &'static CStr) -> CtrResult<&'ti Device> {
        let failed = |errno| CtrError::new(errno, message);

        self.resources.reserve_device().map_err(failed)?;

        // SAFETY: By the type invariants the target is valid.
        let table = unsafe { (*self.ti.as_ptr()).table };
        // SAFETY: A target belongs to a table, which outlives it.
        let mode = unsafe { bindings::dm_table_get_mode(table) };
        let mut dev = core::ptr::null_mut();
        // SAFETY: The target is valid, the path is a string that lives as long as this call, and
        // `dev` can be written to.
        to_result(unsafe {
            bindings::dm_get_device(
                self.ti.as_ptr(),
                path.as_c_str().as_char_ptr(),
                mode,
                &mut dev,
            )
        })
        .map_err(failed)?;

        let dev = NonNull::new(dev).ok_or(failed(ENODEV))?;
        self.resources.push_device(dev);

        // SAFETY: `Resources` hold the reference that `dm_get_device` took. It is put after the
        // target was dropped, or when the constructor has failed: not before the end of `'ti`.
        Ok(unsafe { Device::from_raw(dev) })
    }

    /// An event that the target can raise, see [`TableEvent`].
    ///
    /// # Errors
    ///
    /// No memory.
    pub fn event(&mut self) -> CtrResult<&'ti TableEvent> {
        // SAFETY: By the type invariants the target is valid.
        let table = unsafe { (*self.ti.as_ptr()).table };
        // SAFETY: A target belongs to a table, which outlives it; `Resources::release` is called
        // while the target is still there.
        let event = unsafe { self.resources.more()?.events.add(table) }?;

        // SAFETY: `Resources` hold the event. It is freed after the target was dropped, or when the
        // constructor has failed: not before the end of `'ti`.
        Ok(unsafe { event.as_ref() })
    }

    /// Never give the target a bio of more than `len` sectors, nor one that crosses a multiple of
    /// `len`.
    ///
    /// Mirrors `dm_set_target_max_io_len()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it does not fit in 32 bits.
    pub fn set_max_io_len(&mut self, len: Sector) -> CtrResult {
        // SAFETY: By the type invariants the target is valid and ours.
        to_result(unsafe { bindings::dm_set_target_max_io_len(self.ti.as_ptr(), len) })
            .map_err(|e| CtrError::new(e, c"Maximum size of target IO is too large"))
    }

    /// The name of the mapped device: `major:minor`.
    pub fn device_name(&self) -> &CStr {
        // SAFETY: By the type invariants the target is valid.
        let table = unsafe { (*self.ti.as_ptr()).table };
        // SAFETY: A target belongs to a table, which outlives it.
        let name = unsafe { bindings::dm_table_device_name(table) };

        // SAFETY: Device mapper keeps the string as long as the device.
        unsafe { CStr::from_char_ptr(name) }
    }

    /// A value that is changed only while the device is suspended, see [`Settled`].
    ///
    /// # Errors
    ///
    /// No memory.
    pub fn settled<V>(&mut self, value: V) -> CtrResult<Settled<'ti, V>> {
        let extras = self.resources.extras()?;

        if extras.gate.is_none() {
            let gate = KBox::pin_init(Gate::new(), GFP_KERNEL).map_err(|_| AllocError)?;

            extras.gate = Some(gate);
        }
        let gate = NonNull::from(extras.gate.as_deref().ok_or(AllocError)?);
        // SAFETY: `Resources` hold the gate until the target was dropped: not before the end of
        // `'ti`.
        Ok(Settled::new(unsafe { gate.as_ref() }, value))
    }

    /// Takes the number that names of queues end in, unless it was taken. The first queue does so
    /// itself: this is for targets that have a message of their own for it.
    ///
    /// # Errors
    ///
    /// No number is left, with `message`.
    pub fn number_queues(&mut self, message: &'static CStr) -> CtrResult {
        self.resources.extras()?.number(message).map(drop)
    }

    /// A queue for the bios that the target holds, named `PREFIX-DEVICE-rNUMBER`. The number is the
    /// table's own: another table of the device may have its queues at the same time.
    ///
    /// # Errors
    ///
    /// No memory or no number is left; a queue of the target has this prefix, or it has more than
    /// twelve bytes, so that names may be cut short and no longer differ. With `message`.
    pub fn queue(
        &mut self,
        prefix: &'static CStr,
        options: QueueOptions,
        message: &'static CStr,
    ) -> CtrResult<&'ti Workqueue> {
        let failed = CtrError::new(ENOMEM, message);
        let name = NonNull::from(self.device_name());
        let extras = self.resources.extras()?;

        // Queues are in sysfs, which prints a trace when a name is there already.
        if extras.queues.iter().any(|queue| queue.prefix() == prefix) {
            return Err(CtrError::new(EEXIST, message));
        }
        if prefix.to_bytes().len() > MAX_PREFIX {
            return Err(CtrError::new(EINVAL, message));
        }
        let id = extras.number(message)?;

        extras.queues.reserve(1, GFP_KERNEL).map_err(|_| failed)?;
        // SAFETY: The name stays as long as the device.
        let name = unsafe { name.as_ref() };
        let slot = KBox::new_uninit(GFP_KERNEL).map_err(|_| failed)?;
        let queue = Workqueue::new(prefix, name, id, options).ok_or(failed)?;
        let queue = KBox::write(slot, queue);
        let pointer = NonNull::from(&*queue);

        // There is room. Without it the queue would not be given out.
        extras
            .queues
            .push_within_capacity(queue)
            .map_err(|_| failed)?;
        // SAFETY: `Resources` hold the queue until the target was dropped: not before the end of
        // `'ti`.
        Ok(unsafe { pointer.as_ref() })
    }

    /// A shelf for bios, which `queue` works on unless somebody else is faster.
    ///
    /// # Errors
    ///
    /// No memory, with `message`.
    pub fn shelf(
        &mut self,
        queue: &'ti Workqueue,
        message: &'static CStr,
    ) -> CtrResult<&'ti Shelf> {
        let failed = CtrError::new(ENOMEM, message);
        let extras = self.resources.extras()?;
        let shelf = KBox::new(Shelf::new(queue), GFP_KERNEL).map_err(|_| failed)?;
        let pointer = NonNull::from(&*shelf);

        extras.shelves.push(shelf, GFP_KERNEL).map_err(|_| failed)?;
        // SAFETY: `Resources` hold the shelf until the queues were stopped and the target was
        // dropped: not before the end of `'ti`.
        let shelf = unsafe { pointer.as_ref() };

        // SAFETY: Nobody has it yet, and it stays in its box. `Resources::stop` stops it, and then
        // its queue.
        unsafe { shelf.start() };
        Ok(shelf)
    }

    /// A thread that submits bios, named `PREFIX/DEVICE`.
    ///
    /// # Errors
    ///
    /// That it cannot be started, with `message`.
    pub fn submit_thread(
        &mut self,
        prefix: &CStr,
        high_priority: bool,
        message: &'static CStr,
    ) -> CtrResult<&'ti SubmitThread> {
        let failed = CtrError::new(ENOMEM, message);
        let name = NonNull::from(self.device_name());
        let extras = self.resources.extras()?;
        let thread = KBox::new(SubmitThread::new(), GFP_KERNEL).map_err(|_| failed)?;
        let pointer = NonNull::from(&*thread);

        extras
            .threads
            .push(thread, GFP_KERNEL)
            .map_err(|_| failed)?;
        // SAFETY: `Resources` hold the thread until the target was dropped: not before the end of
        // `'ti`.
        let thread: &'ti SubmitThread = unsafe { pointer.as_ref() };
        // SAFETY: The name stays as long as the device.
        let name = unsafe { name.as_ref() };
        // SAFETY: `Resources::stop` is called before the thread is freed, which is in a box.
        unsafe { thread.start(prefix, name, high_priority) }
            .map_err(|e| CtrError::new(e, message))?;
        Ok(thread)
    }

    /// A thread for bios that are put off, named `PREFIX/DEVICE`.
    ///
    /// # Errors
    ///
    /// That it cannot be started, with `message`.
    pub fn agenda(&mut self, prefix: &CStr, message: &'static CStr) -> CtrResult<&'ti Agenda> {
        let failed = CtrError::new(ENOMEM, message);
        let name = NonNull::from(self.device_name());
        let extras = self.resources.extras()?;
        let agenda = KBox::pin_init(Agenda::new(), GFP_KERNEL).map_err(|_| failed)?;
        let pointer = NonNull::from(&*agenda);

        extras
            .agendas
            .push(agenda, GFP_KERNEL)
            .map_err(|_| failed)?;
        // SAFETY: `Resources` hold the agenda until the target was dropped: not before the end of
        // `'ti`.
        let agenda: &'ti Agenda = unsafe { pointer.as_ref() };
        // SAFETY: The name stays as long as the device.
        let name = unsafe { name.as_ref() };
        // SAFETY: `Resources::stop` is called before the agenda is freed, which is in a box.
        unsafe { agenda.start(prefix, name) }.map_err(|e| CtrError::new(e, message))?;
        Ok(agenda)
    }

    /// Pools of bios and pages.
    ///
    /// # Errors
    ///
    /// No memory, with `message`.
    pub fn buffers(&mut self, message: &'static CStr) -> CtrResult<&'ti Buffers> {
        let failed = CtrError::new(ENOMEM, message);
        let extras = self.resources.extras()?;
        let buffers = KBox::pin_init(Buffers::new(), GFP_KERNEL).map_err(|_| failed)?;
        let pointer = NonNull::from(&*buffers);

        extras
            .buffers
            .push(buffers, GFP_KERNEL)
            .map_err(|_| failed)?;
        // SAFETY: `Resources` hold the pools until the target was dropped: not before the end of
        // `'ti`.
        Ok(unsafe { pointer.as_ref() })
    }

    /// A pool of blocks of `size` bytes, of which `count` are kept.
    ///
    /// # Errors
    ///
    /// No memory, with `message`.
    pub fn pool(
        &mut self,
        count: u16,
        size: usize,
        message: &'static CStr,
    ) -> CtrResult<&'ti Pool> {
        let failed = CtrError::new(ENOMEM, message);
        let pool = Pool::new(count, size, self.may_sleep());
        let extras = self.resources.extras()?;
        let pool = KBox::pin_init(pool, GFP_KERNEL).map_err(|_| failed)?;
        let pointer = NonNull::from(&*pool);

        extras.pools.push(pool, GFP_KERNEL).map_err(|_| failed)?;
        // SAFETY: `Resources` hold the pool until the target was dropped: not before the end of
        // `'ti`.
        Ok(unsafe { pointer.as_ref() })
    }

    bio_counts! {
        /// How many bios a flush becomes, zero if the target takes none.
        /// [`Bio::number`](super::Bio::number) tells them apart.
        set_num_flush_bios => num_flush_bios;
        /// How many bios a discard becomes, zero if the target takes none.
        set_num_discard_bios => num_discard_bios;
        /// How many bios a secure erase becomes, zero if the target takes none.
        set_num_secure_erase_bios => num_secure_erase_bios;
        /// How many bios a write-zeroes becomes, zero if the target takes none.
        set_num_write_zeroes_bios => num_write_zeroes_bios;
    }

    target_flags! {
        /// The target takes flushes even if none of its devices does.
        set_flush_supported => set_flush_supported;
        /// The target takes discards even if none of its devices does.
        set_discards_supported => set_discards_supported;
        /// Discards are split at multiples of the largest discard.
        set_max_discard_granularity => set_max_discard_granularity;
        /// The number of bios in flight is limited while swapping.
        set_limit_swap_bios => set_limit_swap_bios;
        /// The target says itself when I/O of a bio that it holds starts, which
        /// [`HeldBio::submit`](super::HeldBio::submit) does.
        set_accounts_remapped_io => set_accounts_remapped_io;
        /// Zone append is emulated by plain writes.
        set_emulate_zone_append => set_emulate_zone_append;
        /// Flushes need not pass through [`Target::map`](super::Target::map): device mapper may
        /// send one to each device of the table. If that has one device only, `map` is given a
        /// flush and the data that come with it as one bio, to be mapped as any other.
        set_flush_bypasses_map => set_flush_bypasses_map;
    }
}

impl Deref for Constructor<'_> {
    type Target = DmTarget;

    fn deref(&self) -> &DmTarget {
        // SAFETY: By the type invariants the target is valid, and the shared borrow of `self`
        // keeps the setters away.
        unsafe { DmTarget::from_raw(self.ti.as_ptr()) }
    }
}
