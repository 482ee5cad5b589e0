// SPDX-License-Identifier: GPL-2.0

//! Where code runs, and what it tells the kernel log.

use crate::bindings;
use kernel::prelude::*;

/// Whether this is a hard interrupt, or interrupts are off: no place for ciphers.
pub fn hard_irq_or_irqs_off() -> bool {
    // SAFETY: Only looks.
    unsafe { bindings::dm_rust_helper_in_hardirq_or_irqs_off() }
}

/// Whether this is an interrupt of any kind, or a place where those are held off.
pub fn in_interrupt() -> bool {
    // SAFETY: Only looks.
    unsafe { bindings::dm_rust_helper_in_interrupt() }
}

/// Lets others run, where the caller may sleep.
pub fn cond_resched() {
    // SAFETY: Sleeping where that is not allowed is a bug, but no memory is touched.
    unsafe { bindings::dm_rust_helper_cond_resched() };
}

/// How bad it is.
#[derive(Clone, Copy)]
pub enum Level {
    /// `DMWARN()` in C.
    Warning,
    /// `DMERR()` in C.
    Error,
}

/// A line for the kernel log, with device mapper's prefix and the name of the target.
pub fn log(level: Level, target: &CStr, message: &CStr) {
    let [target, message] = [target, message].map(CStr::as_char_ptr);

    match level {
        // SAFETY: Both are strings.
        Level::Warning => unsafe { bindings::dm_rust_helper_warn(target, message) },
        // SAFETY: As above.
        Level::Error => unsafe { bindings::dm_rust_helper_err(target, message) },
    }
}
