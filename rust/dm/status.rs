// SPDX-License-Identifier: GPL-2.0

//! Status lines.

use super::TargetType;
use crate::bindings;
use core::{
    fmt::{self, Write},
    slice,
};
use kernel::ffi::c_char;

/// Which status line is asked for, `status_type_t` in C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum StatusType {
    /// How the target fares: `dmsetup status`.
    Info,
    /// The arguments that would make the target again: `dmsetup table`.
    Table,
    /// What the integrity measurement architecture records.
    Ima,
}

impl StatusType {
    /// Nothing if the kernel has a type that this does not know.
    pub(super) fn from_raw(kind: bindings::status_type_t) -> Option<Self> {
        match kind {
            bindings::status_type_t_STATUSTYPE_INFO => Some(Self::Info),
            bindings::status_type_t_STATUSTYPE_TABLE => Some(Self::Table),
            bindings::status_type_t_STATUSTYPE_IMA => Some(Self::Ima),
            _ => None,
        }
    }
}

/// A buffer that a status line or a reply is written to, as `DMEMIT()` does in C.
///
/// What does not fit is cut off, which device mapper notices by the buffer being full; userspace
/// asks again with a larger one.
///
/// # Invariants
///
/// `used < buffer.len()`, unless the buffer is empty; the byte at `used` is NUL.
pub struct StatusLine<'a> {
    buffer: &'a mut [u8],
    used: usize,
    flags: u32,
}

impl<'a> StatusLine<'a> {
    /// `DM_STATUS_NOFLUSH_FLAG` of `drivers/md/dm.h`, which modules outside of the tree cannot
    /// include.
    const NOFLUSH: u32 = 1 << 0;

    /// An empty line, asked for with `flags`.
    ///
    /// # Safety
    ///
    /// `buffer` is valid for reads and writes of `len` bytes for `'a`, and nobody else's.
    pub(super) unsafe fn from_raw(buffer: *mut c_char, len: u32, flags: u32) -> Self {
        let buffer: &'a mut [u8] = if len == 0 {
            &mut []
        } else {
            // SAFETY: The caller says so. A `u32` fits in a `usize`.
            unsafe { slice::from_raw_parts_mut(buffer.cast(), len as usize) }
        };

        if let Some(first) = buffer.first_mut() {
            *first = 0;
        }
        // INVARIANT: The line is empty and has its NUL.
        Self {
            buffer,
            used: 0,
            flags,
        }
    }

    /// Whether the answer may leave out what is not yet on the device: nothing is to be flushed for
    /// it.
    pub fn noflush(&self) -> bool {
        self.flags & Self::NOFLUSH != 0
    }

    /// Name and version of the target type, as `DMEMIT_TARGET_NAME_VERSION()` in C.
    pub fn target_name_version<T: TargetType>(&mut self) -> fmt::Result {
        let [major, minor, patch] = T::VERSION;
        let name = T::NAME.to_str().map_err(|_| fmt::Error)?;

        write!(
            self,
            "target_name={name},target_version={major}.{minor}.{patch}"
        )
    }
}

impl StatusLine<'_> {
    /// Writes text of any encoding.
    pub fn write_bytes(&mut self, text: &[u8]) {
        let Some(free) = self.buffer.get_mut(self.used..) else {
            return;
        };
        // The last byte is for the NUL.
        let count = text.len().min(free.len().saturating_sub(1));

        if let (Some(to), Some(from)) = (free.get_mut(..count), text.get(..count)) {
            to.copy_from_slice(from);
        }
        if let Some(nul) = free.get_mut(count) {
            *nul = 0;
        }
        // INVARIANT: `count` is less than what was free, if anything was, and a NUL follows.
        self.used += count;
    }
}

impl Write for StatusLine<'_> {
    /// Never fails.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes());
        Ok(())
    }
}
