// SPDX-License-Identifier: GPL-2.0

//! The key of a target: where it comes from, how it is cut into the keys of the transforms.

use super::{
    mode::Keyed,
    scan::{self, KeyArgument, KeySource},
};
use crate::{
    crypto::{Cipher, Transform},
    dm,
    mem::{MaySleep, Secret},
};
use kernel::prelude::*;

/// The key, as the status line shows it.
pub(crate) struct Key {
    /// Zeroes, if the key came from a keyring or was wiped.
    pub(crate) bytes: Secret,
    /// `TYPE:DESCRIPTION` of the key in a keyring.
    pub(crate) name: Option<Secret>,
}

/// How a key is cut.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Bytes in all.
    pub(crate) size: usize,
    /// Keys of equal size, extra ones included: what the IMA line shows.
    pub(crate) parts: u32,
    /// Bytes at the end that are not for the transforms.
    pub(crate) extra: usize,
    /// Bytes of each transform's key that are for its hash.
    pub(crate) mac: u32,
    /// How many transforms there are, a power of two.
    pub(crate) count: u32,
    /// Whether the transforms want the two keys of `authenc()` in one.
    pub(crate) authenc: bool,
}

impl Shape {
    /// Bytes of the key of one transform.
    fn subkey_size(&self) -> Result<usize> {
        let size = self.size.checked_sub(self.extra).ok_or(EINVAL)?;

        Ok(size >> self.count.trailing_zeros().min(31))
    }

    /// Gives the transforms their keys. The last error counts.
    pub(crate) fn apply<T: Transform>(
        &self,
        cipher: &mut Cipher<T>,
        key: &[u8],
        sleep: MaySleep<'_>,
    ) -> Result {
        let size = self.subkey_size()?;
        let mut result = Ok(());

        for i in 0..cipher.transforms().len() {
            let set = if self.authenc {
                let key = key.get(..size).ok_or(EINVAL)?;

                cipher.set_key(i, &authenc_key(key, self.mac, sleep)?, sleep)
            } else {
                let start = i.checked_mul(size).ok_or(EINVAL)?;
                let key = key.get(start..).and_then(|key| key.get(..size));

                cipher.set_key(i, key.ok_or(EINVAL)?, sleep)
            };
            if set.is_err() {
                result = set;
            }
        }
        result
    }

    /// The bytes that are not for the transforms.
    pub(crate) fn extra_of<'a>(&self, key: &'a [u8]) -> Result<&'a [u8]> {
        let start = self.size.checked_sub(self.extra).ok_or(EINVAL)?;

        key.get(start..).ok_or(EINVAL)
    }
}

/// A key for `authenc()`: a routing attribute with the size of the cipher's key, the hash's key, the
/// cipher's.
fn authenc_key(key: &[u8], mac: u32, sleep: MaySleep<'_>) -> Result<Secret> {
    /// Bytes of the attribute: length, type (1: this one), and the size, big endian.
    const HEADER: u16 = 8;
    let mac = usize::try_from(mac).map_err(|_| EINVAL)?;
    let cipher_len = key.len().checked_sub(mac).ok_or(EINVAL)?;
    let (cipher, mac) = key.split_at_checked(cipher_len).ok_or(EINVAL)?;
    let size = u32::try_from(cipher.len()).map_err(|_| EINVAL)?;
    let header = [HEADER.to_ne_bytes(), 1u16.to_ne_bytes()];
    let parts: [&[u8]; 4] = [header.as_flattened(), &size.to_be_bytes(), mac, cipher];
    let mut all = Secret::zeroed(key.len().saturating_add(HEADER.into()), sleep)?;
    let bytes = parts.into_iter().flatten();

    for (to, from) in all.iter_mut().zip(bytes) {
        *to = *from;
    }
    Ok(all)
}

impl Key {
    /// No key yet, of `size` bytes.
    pub(crate) fn empty(size: usize, sleep: MaySleep<'_>) -> Result<Self> {
        Ok(Self {
            bytes: Secret::zeroed(size, sleep)?,
            name: None,
        })
    }

    /// Takes the key that an argument gives or names, and gives it to the transforms.
    ///
    /// `valid` tells whether the transforms have a key that was given to them as a whole.
    pub(crate) fn set(
        &mut self,
        argument: &KeyArgument<'_>,
        shape: &Shape,
        keyed: &mut Keyed,
        sleep: MaySleep<'_>,
        valid: impl Fn(bool),
    ) -> Result {
        match argument.source {
            // A hyphen means that there is no key.
            KeySource::Hex(digits) if shape.size == 0 && digits != b"-" => Err(EINVAL),
            KeySource::Keyring(_) if shape.size == 0 => Err(EINVAL),
            KeySource::Hex(digits) => {
                valid(false);
                self.name = None;
                if shape.size != 0 {
                    scan::hex_decode(digits, &mut self.bytes).ok_or(EINVAL)?;
                }
                keyed.apply(shape, &self.bytes, sleep)?;
                valid(true);
                Ok(())
            }
            KeySource::Keyring(name) => {
                if name.iter().any(|c| scan::is_space(*c)) {
                    dm::log(
                        dm::Level::Error,
                        super::LOG_NAME,
                        c"whitespace chars not allowed in key string",
                    );
                    return Err(EINVAL);
                }
                let (kind, description) = scan::keyring_name(name).ok_or(EINVAL)?;
                let copy = Secret::copy_of(name, sleep)?;
                let description = with_nul(description)?;
                let description = CStr::from_bytes_with_nul(&description).map_err(|_| EINVAL)?;

                dm::read_key(sleep, kind, description, &mut self.bytes)?;
                valid(false);
                keyed.apply(shape, &self.bytes, sleep)?;
                valid(true);
                self.name = Some(copy);
                Ok(())
            }
        }
    }

    /// Forgets the key: the transforms get noise for one.
    pub(crate) fn wipe(&mut self, shape: &Shape, keyed: &mut Keyed, sleep: MaySleep<'_>) -> Result {
        self.bytes.randomize();
        keyed.wipe_iv();
        self.name = None;
        let result = keyed.apply(shape, &self.bytes, sleep);

        self.bytes.wipe();
        result
    }
}

/// The same with a NUL at its end.
fn with_nul(bytes: &[u8]) -> Result<KVec<u8>> {
    let mut copy = KVec::with_capacity(bytes.len().saturating_add(1), GFP_KERNEL)?;

    copy.extend_from_slice(bytes, GFP_KERNEL)?;
    copy.push(0, GFP_KERNEL)?;
    Ok(copy)
}
