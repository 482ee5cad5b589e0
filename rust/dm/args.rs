// SPDX-License-Identifier: GPL-2.0

//! The arguments of a table line or a message.

use super::{parse, CtrError, CtrResult, Sector};
use crate::mem::MaySleep;
use core::{
    fmt::{self, Write},
    ops::RangeInclusive,
    slice,
};
use kernel::{ffi::c_char, prelude::*};

/// The arguments that are left, first to last.
///
/// They live as long as the call that they came with.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    /// # Invariants
    ///
    /// Each is a NUL-terminated string, valid for reads and unchanged for `'a`.
    argv: &'a [*const c_char],
}

impl<'a> Args<'a> {
    /// # Safety
    ///
    /// `argv` is an array of `argc` pointers to NUL-terminated strings (or `argc` is 0), which all
    /// live, unchanged, for `'a`.
    pub(super) unsafe fn from_raw(argc: u32, argv: *mut *mut c_char) -> Self {
        let argv: &'a [*const c_char] = if argc == 0 {
            &[]
        } else {
            // SAFETY: The caller says that this is an array of that length for `'a`. A `u32` fits
            // in a `usize`.
            unsafe { slice::from_raw_parts(argv.cast(), argc as usize) }
        };

        // INVARIANT: As the caller says.
        Self { argv }
    }

    /// Overwrites all arguments with the digit zero, as dm-crypt does.
    ///
    /// # Safety
    ///
    /// `argc` and `argv` are as for [`from_raw`](Self::from_raw), and nothing borrows from it any
    /// more.
    pub(super) unsafe fn wipe(argc: u32, argv: *mut *mut c_char) {
        for i in 0..argc as usize {
            // SAFETY: The caller says that there are so many.
            let arg = unsafe { *argv.add(i) };
            // SAFETY: As above, each is a string.
            let len = unsafe { CStr::from_char_ptr(arg) }.to_bytes().len();

            // SAFETY: The string is that long, and nobody else uses it.
            unsafe { core::ptr::write_bytes(arg.cast::<u8>(), b'0', len) };
        }
    }

    /// Whoever is given arguments may sleep: a constructor, or who takes a message.
    pub fn may_sleep(&self) -> MaySleep<'a> {
        // SAFETY: They last as long as a call of these two, both from an ioctl, without locks of
        // device mapper's that are not for sleepers.
        unsafe { MaySleep::new() }
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.argv.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.argv.is_empty()
    }

    /// All of them, if there are exactly `N`.
    ///
    /// # Errors
    ///
    /// `EINVAL` with `message`.
    pub fn exactly<const N: usize>(self, message: &'static CStr) -> CtrResult<[Arg<'a>; N]> {
        let argv: &[*const c_char; N] = self
            .argv
            .try_into()
            .map_err(|_| CtrError::new(EINVAL, message))?;

        // SAFETY: By the type invariants each is a string that lives for `'a`.
        Ok(argv.map(|arg| Arg(unsafe { CStr::from_char_ptr(arg) })))
    }

    /// The next argument, a number within `range`. `dm_read_arg()` in C.
    ///
    /// # Errors
    ///
    /// `EINVAL` with `message`, also if there is none.
    pub fn read(&mut self, range: RangeInclusive<u32>, message: &'static CStr) -> CtrResult<u32> {
        self.next()
            .and_then(|arg| arg.scan_u32())
            .filter(|value| range.contains(value))
            .ok_or(CtrError::new(EINVAL, message))
    }

    /// As [`read`](Self::read), the number of arguments that follow: no more than there are.
    /// `dm_read_arg_group()` in C.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn read_group(
        &mut self,
        range: RangeInclusive<u32>,
        message: &'static CStr,
    ) -> CtrResult<u32> {
        self.read(range, message).and_then(|count| {
            if count as usize > self.len() {
                return Err(CtrError::new(EINVAL, message));
            }
            Ok(count)
        })
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = Arg<'a>;

    /// The next argument, as `dm_shift_arg()` in C.
    fn next(&mut self) -> Option<Arg<'a>> {
        let (first, rest) = self.argv.split_first()?;

        self.argv = rest;
        // SAFETY: By the type invariants this is a string that lives for `'a`.
        Some(Arg(unsafe { CStr::from_char_ptr(*first) }))
    }
}

/// One argument. As text, what is not UTF-8 in it is replaced.
#[derive(Clone, Copy)]
pub struct Arg<'a>(&'a CStr);

impl fmt::Display for Arg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().utf8_chunks().try_for_each(|chunk| {
            f.write_str(chunk.valid())?;
            match chunk.invalid() {
                [] => Ok(()),
                _ => f.write_char(char::REPLACEMENT_CHARACTER),
            }
        })
    }
}

impl<'a> Arg<'a> {
    /// The bytes, without the NUL.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.to_bytes()
    }

    /// The argument as C has it.
    pub fn as_c_str(&self) -> &'a CStr {
        self.0
    }

    /// A number of sectors, in decimal.
    ///
    /// Takes what the in-tree targets take with `sscanf(arg, "%llu%c", …) == 1`: white space,
    /// then digits up to the end; a number beyond 64 bits becomes the largest that fits.
    ///
    /// # Errors
    ///
    /// `EINVAL` with `message`.
    pub fn sector(&self, message: &'static CStr) -> CtrResult<Sector> {
        parse::scan_u64(self.as_bytes()).ok_or(CtrError::new(EINVAL, message))
    }

    /// The number that `sscanf(arg, "%llu%c", …)` finds if it returns 1.
    pub fn scan_u64(&self) -> Option<u64> {
        parse::scan_u64(self.as_bytes())
    }

    /// The number that `sscanf(arg, "%u%c", …)` finds if it returns 1: what does not fit in 32 bits
    /// is dropped.
    pub fn scan_u32(&self) -> Option<u32> {
        self.scan_u64().map(|value| value as u32)
    }

    /// Whether the argument is `text`, in capitals or not. `strcasecmp()` in C.
    pub fn is(&self, text: &[u8]) -> bool {
        self.as_bytes().eq_ignore_ascii_case(text)
    }

    /// A 32-bit number, in decimal, if `kstrtouint(arg, 10, …)` takes it.
    pub fn kstrtouint(&self) -> Option<u32> {
        parse::kstrtouint(self.as_bytes()).ok()
    }
}
