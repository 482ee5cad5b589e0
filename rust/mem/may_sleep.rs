// SPDX-License-Identifier: GPL-2.0

//! Where code may sleep, as a value.

use core::marker::PhantomData;

/// Says that the code that has it may sleep, for as long as the call lasts that it came with.
///
/// What waits (for memory, a lock, a device) takes one, or an `Option` of one if it can do without
/// waiting. It is given to code that runs in process context and holds no lock of device mapper's or
/// of the abstraction's that forbids it; code that may run in an interrupt is given none. It can
/// neither be made by safe code, nor kept, nor handed to another thread, nor put into what is kept
/// with a bio or in a target, which all may be sent.
///
/// What it cannot know of are spin locks that the code took itself.
#[derive(Clone, Copy)]
pub struct MaySleep<'call>(PhantomData<(&'call (), *mut ())>);

impl MaySleep<'_> {
    /// # Safety
    ///
    /// Code may sleep here until the end of `'call`.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(PhantomData)
    }
}
