// SPDX-License-Identifier: GPL-2.0

//! The compiler holds targets to safe code.

#![forbid(unsafe_code)]

fn zero(at: *mut u8) {
    unsafe { at.write(0) } //~ unsafe
}
