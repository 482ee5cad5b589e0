// SPDX-License-Identifier: GPL-2.0

//! The ciphers of a target with their keys, and what makes its IVs.

use super::{
    iv::{self, BenbiError},
    key::Shape,
};
use crate::{
    crypto::{
        aes_schedule, fips_enabled, md5_unpadded, Aead, AesSchedule, Cipher, Request, Skcipher,
        Transform,
    },
    mem::{fill_random, MaySleep, Secret, Segment, SegmentMut},
};
use core::sync::atomic::AtomicU32;
use kernel::prelude::*;

/// Bytes of what loop-AES hashes before the data: a key, and zeroes.
const LMK_SEED_SIZE: usize = 64;
/// Bytes of an MD5 sum.
const MD5_SIZE: usize = 16;
/// Bytes of TrueCrypt's whitening.
pub(crate) const TCW_WHITENING_SIZE: usize = 16;
/// The largest key of Elephant, in bytes.
pub(crate) const ELEPHANT_MAX_KEY_SIZE: usize = 32;
/// The sectors of loop-AES and TrueCrypt, in bytes.
const SECTOR_SIZE: usize = 512;

/// All that depends on the key: changed only while the device is suspended.
pub(crate) struct Keyed {
    pub(crate) cipher: Kind,
    pub(crate) iv: Option<Iv>,
}

impl Keyed {
    /// Whether what is written is copied first and then encrypted where it is: what is authenticated
    /// must not change meanwhile, and the pages are the writer's.
    #[inline(always)]
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self.cipher, Kind::Aead(_))
    }
}

/// The kind of cipher.
pub(crate) enum Kind {
    Skcipher(Cipher<Skcipher>),
    Aead(Cipher<Aead>),
}

/// An IV mode.
pub(crate) enum Iv {
    Plain,
    Plain64,
    Plain64be,
    /// The cipher itself encrypts the sector's number.
    Essiv,
    Benbi {
        shift: u32,
    },
    Null,
    /// loop-AES.
    Lmk {
        seed: Option<Secret>,
    },
    /// TrueCrypt.
    Tcw {
        seed: Secret,
        whitening: Secret,
    },
    Random,
    /// BitLocker.
    Eboiv,
    /// BitLocker with its diffuser; no key while that is wiped.
    Elephant(Option<AesSchedule>),
}

/// The name of an IV mode, before anything is known about the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IvName {
    Plain,
    Plain64,
    Plain64be,
    Essiv,
    Benbi,
    Null,
    Lmk,
    Tcw,
    Random,
    Eboiv,
    Elephant,
}

impl IvName {
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"plain" => Self::Plain,
            b"plain64" => Self::Plain64,
            b"plain64be" => Self::Plain64be,
            b"essiv" => Self::Essiv,
            b"benbi" => Self::Benbi,
            b"null" => Self::Null,
            b"lmk" => Self::Lmk,
            b"tcw" => Self::Tcw,
            b"random" => Self::Random,
            b"eboiv" => Self::Eboiv,
            b"elephant" => Self::Elephant,
            _ => return None,
        })
    }
}

/// What an IV mode is checked against.
pub(crate) struct IvInput {
    pub(crate) name: IvName,
    pub(crate) iv_size: usize,
    pub(crate) block_size: u32,
    pub(crate) sector_size: u32,
    pub(crate) aead: bool,
}

impl Iv {
    /// An IV mode, without its keys.
    pub(crate) fn new(input: &IvInput, shape: &Shape, sleep: MaySleep<'_>) -> Result<Self> {
        let refuse = |condition: bool| if condition { Err(EINVAL) } else { Ok(()) };
        let eboiv = || refuse(input.aead || input.block_size as usize != input.iv_size);
        let small_sectors = || refuse(input.sector_size as usize != SECTOR_SIZE);

        Ok(match input.name {
            IvName::Plain => Self::Plain,
            IvName::Plain64 => Self::Plain64,
            IvName::Plain64be => Self::Plain64be,
            IvName::Essiv => Self::Essiv,
            IvName::Null => Self::Null,
            IvName::Random => Self::Random,
            IvName::Benbi => Self::Benbi {
                shift: iv::benbi_shift(input.block_size).map_err(|e| match e {
                    BenbiError::NotPowerOfTwo | BenbiError::TooLarge => EINVAL,
                })?,
            },
            IvName::Lmk => {
                small_sectors()?;
                refuse(fips_enabled())?;
                let seed = if shape.parts == shape.count {
                    None
                } else {
                    Some(Secret::zeroed(LMK_SEED_SIZE, sleep)?)
                };

                Self::Lmk { seed }
            }
            IvName::Tcw => {
                small_sectors()?;
                refuse(shape.size <= input.iv_size.saturating_add(TCW_WHITENING_SIZE))?;
                Self::Tcw {
                    seed: Secret::zeroed(input.iv_size, sleep)?,
                    whitening: Secret::zeroed(TCW_WHITENING_SIZE, sleep)?,
                }
            }
            IvName::Eboiv => {
                eboiv()?;
                Self::Eboiv
            }
            IvName::Elephant => {
                eboiv()?;
                Self::Elephant(None)
            }
        })
    }

    /// Takes what the mode needs of a key.
    pub(crate) fn set_key(&mut self, shape: &Shape, key: &[u8], sleep: MaySleep<'_>) -> Result {
        match self {
            Self::Lmk { seed: Some(seed) } => {
                let parts = usize::try_from(shape.parts).map_err(|_| EINVAL)?;
                let count = usize::try_from(shape.count).map_err(|_| EINVAL)?;
                let size = shape.size.checked_div(parts).ok_or(EINVAL)?;
                let start = count.checked_mul(size).ok_or(EINVAL)?;
                let from = key.get(start..).unwrap_or_default();

                for (to, from) in seed.iter_mut().zip(from.iter().take(MD5_SIZE)) {
                    *to = *from;
                }
            }
            Self::Tcw { seed, whitening } => {
                let extra = shape.extra_of(key)?;
                let (first, second) = extra.split_at_checked(seed.len()).ok_or(EINVAL)?;

                seed.copy_from_slice(first);
                whitening.copy_from_slice(second.get(..TCW_WHITENING_SIZE).ok_or(EINVAL)?);
            }
            Self::Elephant(schedule) => {
                *schedule = Some(aes_schedule(shape.extra_of(key)?, sleep)?)
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes the IV of a sector, if that needs nothing but the sector's number and touches no data;
    /// see [`is_plain`](Self::is_plain).
    #[inline(always)]
    pub(crate) fn fill_plain(&self, sector: u64, iv: &mut [u8]) {
        match self {
            Self::Plain => iv::plain(sector, iv),
            Self::Plain64be => iv::plain64be(sector, iv),
            Self::Benbi { shift } => iv::benbi(sector, *shift, iv),
            Self::Null => iv.fill(0),
            _ => iv::plain64(sector, iv),
        }
    }

    /// Whether [`fill_plain`](Self::fill_plain) makes the IV.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        matches!(
            self,
            Self::Plain
                | Self::Plain64
                | Self::Essiv
                | Self::Plain64be
                | Self::Benbi { .. }
                | Self::Null
        )
    }

    /// Writes the IV of a sector to a request. What depends on the data reads `src`.
    #[inline(always)]
    pub(crate) fn fill<T: Transform>(
        &self,
        request: &mut Request<'_, T>,
        at: &SectorAt,
        src: &Segment<'_>,
        writing: bool,
    ) -> Result {
        let iv = request.iv();

        match self {
            Self::Plain => iv::plain(at.sector, iv),
            Self::Plain64 | Self::Essiv => iv::plain64(at.sector, iv),
            Self::Plain64be => iv::plain64be(at.sector, iv),
            Self::Benbi { shift } => iv::benbi(at.sector, *shift, iv),
            Self::Null => iv.fill(0),
            Self::Random => fill_random(iv),
            Self::Lmk { seed } => {
                iv.fill(0);
                if writing {
                    copy(iv, &lmk_hash(seed, at.sector, src).ok_or(EIO)?);
                }
            }
            Self::Tcw { seed, .. } => iv::tcw(at.sector, seed, iv),
            Self::Eboiv | Self::Elephant(_) => {
                iv::plain64(at.byte, iv);
                request.encrypt_zeroes_to_assoc(0, ASSOC_SECTOR)?;
                request.iv_from_assoc(ASSOC_SECTOR);
            }
        }
        Ok(())
    }

    /// Whether something is done to the data beside what the cipher does.
    #[inline(always)]
    pub(crate) fn touches_data(&self) -> bool {
        matches!(
            self,
            Self::Lmk { .. } | Self::Tcw { .. } | Self::Elephant(_)
        )
    }

    /// What is done before the cipher: to its output `dst`, which is the input then, in place of
    /// `src`. Returns whether that is so.
    pub(crate) fn before(
        &self,
        at: &SectorAt,
        src: &Segment<'_>,
        dst: &SegmentMut<'_>,
        writing: bool,
    ) -> Result<bool> {
        match self {
            Self::Tcw { whitening, .. } if !writing => {
                dst.copy_from(src).ok_or(EIO)?;
                dst.with_words(|words| whiten(whitening, at.sector, words))
                    .ok_or(EIO)?;
                Ok(true)
            }
            Self::Elephant(schedule) if writing => {
                let key = elephant_key(schedule, at.byte)?;

                dst.copy_from(src).ok_or(EIO)?;
                dst.with_words(|words| iv::elephant_encrypt(words, key))
                    .ok_or(EIO)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// What is done after the cipher, to its output.
    pub(crate) fn after(&self, at: &SectorAt, dst: &SegmentMut<'_>, writing: bool) -> Result {
        match self {
            Self::Lmk { seed } if !writing => {
                let hash = lmk_hash(seed, at.sector, dst).ok_or(EIO)?;

                dst.with_words(|words| iv::xor_bytes(words, &hash))
                    .ok_or(EIO)
            }
            Self::Tcw { whitening, .. } if writing => dst
                .with_words(|words| whiten(whitening, at.sector, words))
                .ok_or(EIO),
            Self::Elephant(schedule) if !writing => {
                let key = elephant_key(schedule, at.byte)?;

                dst.with_words(|words| iv::elephant_decrypt(words, key))
                    .ok_or(EIO)
            }
            _ => Ok(()),
        }
    }
}

/// Where the IV starts in the associated data of a request, after the sector's number.
pub(crate) const ASSOC_SECTOR: usize = 8;

/// A sector, as IV modes count.
pub(crate) struct SectorAt {
    /// Its number.
    pub(crate) sector: u64,
    /// The same in bytes.
    pub(crate) byte: u64,
}

/// Copies as much as both have.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// The IV of loop-AES: MD5 of the seed, all blocks of the sector but the first, and its number.
fn lmk_hash(seed: &Option<Secret>, sector: u64, data: &Segment<'_>) -> Option<[u8; MD5_SIZE]> {
    let mut copy = [0; SECTOR_SIZE];

    data.copy_out(&mut copy)?;
    let seed = seed.as_deref().unwrap_or_default();

    md5_unpadded(seed, copy.get(MD5_SIZE..)?, &iv::lmk_tail(sector))
}

fn whiten(whitening: &Secret, sector: u64, words: &[AtomicU32]) {
    let mut pattern = [0; TCW_WHITENING_SIZE];

    copy(&mut pattern, whitening);
    iv::xor(words, iv::tcw_whitening(sector, &pattern));
}

fn elephant_key(schedule: &Option<AesSchedule>, byte: u64) -> Result<[[u8; 4]; 8]> {
    let schedule = schedule.as_ref().ok_or(EIO)?;
    let mut key = [[0; 4]; 8];
    let blocks = iv::elephant_blocks(byte).map(|block| schedule.encrypt(&block));

    copy(key.as_flattened_mut(), blocks.as_flattened());
    Ok(key)
}

impl Keyed {
    /// Gives the transforms their keys.
    pub(crate) fn apply(&mut self, shape: &Shape, key: &[u8], sleep: MaySleep<'_>) -> Result {
        match &mut self.cipher {
            Kind::Skcipher(cipher) => shape.apply(cipher, key, sleep),
            Kind::Aead(cipher) => shape.apply(cipher, key, sleep),
        }
    }

    /// Forgets what the IV mode has of the key.
    pub(crate) fn wipe_iv(&mut self) {
        match &mut self.iv {
            Some(Iv::Lmk { seed: Some(seed) }) => seed.wipe(),
            Some(Iv::Tcw { seed, whitening }) => {
                seed.wipe();
                whitening.wipe();
            }
            Some(Iv::Elephant(schedule)) => *schedule = None,
            _ => {}
        }
    }
}
