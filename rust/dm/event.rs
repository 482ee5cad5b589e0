// SPDX-License-Identifier: GPL-2.0

//! Telling userspace that something has happened to a table.

use crate::bindings;
use core::ptr::NonNull;
use kernel::{alloc::AllocError, prelude::*, types::Opaque};

/// Raises an event of the table, which `dmsetup wait` waits for.
///
/// Given out by [`Constructor::event`](super::Constructor::event).
///
/// # Invariants
///
/// `work` is initialised; `table` is the table of the target that the event was made for. It lives
/// until [`EventList::cancel_all`] has waited for the work to end.
#[pin_data]
pub struct TableEvent {
    #[pin]
    work: Opaque<bindings::work_struct>,
    table: *mut bindings::dm_table,
}

// SAFETY: A work item and a table belong to no thread.
unsafe impl Send for TableEvent {}
// SAFETY: `trigger` may be called at once on several CPUs: queueing a work item is atomic.
unsafe impl Sync for TableEvent {}

impl TableEvent {
    fn new(table: *mut bindings::dm_table) -> impl PinInit<Self> {
        // INVARIANT: The caller knows the table.
        pin_init!(Self {
            work <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is ours to initialise, and stays where it is.
                unsafe { bindings::dm_rust_helper_init_work(slot, Some(Self::run)) }
            }),
            table,
        })
    }

    /// Raises the event, soon. May be called in any context.
    pub fn trigger(&self) {
        // SAFETY: By the type invariants the work is initialised; it stays until it was cancelled.
        unsafe { bindings::dm_rust_helper_schedule_work(self.work.get()) };
    }

    /// # Safety
    ///
    /// Only called by a workqueue, with the `work` of a `TableEvent`.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        let work = Opaque::cast_from(work).cast_mut();
        // SAFETY: As the caller says, this is a field of a `TableEvent`.
        let event = unsafe { kernel::container_of!(work, Self, work) };
        // SAFETY: The event lives until it was cancelled, which waits for this to return.
        let table = unsafe { (*event).table };
        // SAFETY: By the type invariants the table lives as long as the event.
        unsafe { bindings::dm_table_event(table) };
    }
}

/// The events of one target.
pub(super) struct EventList(KVec<Pin<KBox<TableEvent>>>);

impl EventList {
    pub(super) fn new() -> Self {
        Self(KVec::new())
    }

    /// Makes an event, which lives as long as the list does.
    ///
    /// # Safety
    ///
    /// `table` lives until [`cancel_all`](Self::cancel_all) has returned, which is called.
    pub(super) unsafe fn add(
        &mut self,
        table: *mut bindings::dm_table,
    ) -> Result<NonNull<TableEvent>, AllocError> {
        self.0.reserve(1, GFP_KERNEL)?;
        let event = KBox::pin_init(TableEvent::new(table), GFP_KERNEL).map_err(|_| AllocError)?;
        let pointer = NonNull::from(&*event);

        // There is room. Without it the event would be dropped here, unused, and not given out.
        self.0.push_within_capacity(event).map_err(|_| AllocError)?;
        Ok(pointer)
    }

    /// Waits for events that were triggered, and frees all.
    ///
    /// No reference to any of them may be left; see
    /// [`Constructor::event`](super::Constructor::event).
    pub(super) fn cancel_all(&mut self) {
        for event in &self.0 {
            // SAFETY: By the type invariants the work is initialised. Nobody can trigger it again.
            unsafe { bindings::flush_work(event.work.get()) };
        }
        self.0.clear();
    }
}
