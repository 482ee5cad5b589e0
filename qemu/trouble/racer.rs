// SPDX-License-Identifier: GPL-2.0

//! A race that only a kernel whose KCSAN watches Rust code finds.

/// Writes a word that another thread writes too.
///
/// # Safety
///
/// There is none: it is called by two threads at once.
#[no_mangle]
pub unsafe extern "C" fn rust_racer(word: *mut u64) {
    // SAFETY: The word is there. That nobody else writes it is not true, and to be found out.
    unsafe { *word += 1 };
}
