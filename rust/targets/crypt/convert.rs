// SPDX-License-Identifier: GPL-2.0

//! Encrypting and decrypting the data of a bio, sector by sector.

use super::{
    iv,
    mode::{Iv, Keyed, Kind, SectorAt, ASSOC_SECTOR},
    CryptTarget,
};
use crate::{
    crypto::{not_authentic, Call, Cipher, Direction, Request, Skcipher, Transform},
    dm::{self, prelude::*, Data, Tags},
    mem::{MaySleep, Segment, SegmentMut},
};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Why data could not be converted.
pub(crate) enum Failure {
    /// There was no memory for a request, and this is no place to wait. Nothing was done.
    TryLater,
    /// The data of a sector are not authentic.
    Tampered(Sector),
    /// Anything else.
    Io,
}

/// What to convert.
pub(crate) struct Conversion<'a, 'p> {
    pub(crate) writing: bool,
    pub(crate) data: Data<'a>,
    /// The tags of the bio, and where in them those of the data begin, in bytes.
    pub(crate) tags: Option<(&'a Tags<'p>, usize)>,
    /// Where the data lie on the target.
    pub(crate) sector: Sector,
    /// Waits for memory if it may.
    pub(crate) sleep: Option<MaySleep<'a>>,
    /// Lets others run in between if it may.
    pub(crate) yields: Option<MaySleep<'a>>,
}

impl CryptTarget<'_> {
    /// Converts all data.
    #[inline]
    pub(crate) fn convert(
        &self,
        keyed: &Keyed,
        conversion: Conversion<'_, '_>,
    ) -> Result<(), Failure> {
        match &keyed.cipher {
            Kind::Skcipher(cipher) if conversion.tags.is_none() && !cipher.is_async() => {
                match &keyed.iv {
                    // The usual mode, without asking for each sector which one it is.
                    Some(Iv::Plain64)
                        if cipher.transforms().len() == 1 && !self.options.iv_large_sectors =>
                    {
                        self.convert_plain(cipher, conversion, iv::plain64)
                    }
                    Some(iv) if iv.is_plain() && cipher.transforms().len() == 1 => self
                        .convert_plain(cipher, conversion, |sector, bytes| {
                            iv.fill_plain(self.iv_number(sector), bytes);
                        }),
                    iv => self.convert_by(cipher, iv.as_ref(), conversion, false),
                }
            }
            Kind::Skcipher(cipher) => self.convert_by(cipher, keyed.iv.as_ref(), conversion, false),
            Kind::Aead(cipher) => self.convert_by(cipher, keyed.iv.as_ref(), conversion, true),
        }
    }

    /// What a sector's IV is made of, when sectors are counted in those of 512 bytes.
    #[inline(always)]
    fn iv_number(&self, sector: Sector) -> u64 {
        if self.options.iv_large_sectors {
            sector >> (self.sector_shift & 63)
        } else {
            sector
        }
    }

    /// Converts all data by calls of one transform that differ in the number of the sector only,
    /// in those of 512 bytes.
    #[inline]
    fn convert_plain(
        &self,
        cipher: &Cipher<Skcipher>,
        mut conversion: Conversion<'_, '_>,
        fill_iv: impl Fn(u64, &mut [u8]),
    ) -> Result<(), Failure> {
        let mut request = cipher.request(conversion.sleep).ok_or(Failure::TryLater)?;
        let step = u64::from(self.sector_size >> 9);
        // In small sectors also if large ones count: where these wrap around, those do.
        let mut sector = conversion.sector.wrapping_add(self.iv_offset);
        let direction = if conversion.writing {
            Direction::Encrypt
        } else {
            Direction::Decrypt
        };

        while conversion.data.left() > 0 {
            let taken = conversion.data.take_multiple(self.sector_size);
            let (src, dst) = taken.ok_or(Failure::Io)?;
            let call = Call {
                transform: 0,
                direction,
                src,
                dst,
                tag: None,
            };
            let done = request.run_each(&call, self.sector_size, |bytes| {
                fill_iv(sector, bytes);
                sector = sector.wrapping_add(step);
            });

            done.map_err(|_| Failure::Io)?;
            if let Some(sleep) = conversion.yields {
                dm::cond_resched(sleep);
            }
        }
        Ok(())
    }

    #[inline]
    fn convert_by<T: Transform>(
        &self,
        cipher: &Cipher<T>,
        iv: Option<&Iv>,
        mut conversion: Conversion<'_, '_>,
        aead: bool,
    ) -> Result<(), Failure> {
        let mut request = cipher.request(conversion.sleep).ok_or(Failure::TryLater)?;
        let step = u64::from(self.sector_size >> 9);
        let last_key = cipher.transforms().len().wrapping_sub(1);
        let mut sector = conversion.sector.wrapping_add(self.iv_offset);
        let mut tag = conversion.tags.map(|(tags, at)| Tag { tags, at });

        while conversion.data.left() > 0 {
            let taken = conversion.data.take(self.sector_size);
            let (src, dst) = taken.ok_or(Failure::Io)?;
            // The number of keys is a power of two.
            let key = sector as usize & last_key;
            let one = One {
                src,
                dst,
                sector,
                key,
                writing: conversion.writing,
                aead,
            };

            match self.convert_one(&mut request, iv, &one, tag.as_ref()) {
                Ok(()) => {}
                Err(e) if not_authentic(e) => {
                    return Err(Failure::Tampered(sector.wrapping_sub(self.iv_offset)));
                }
                Err(_) => return Err(Failure::Io),
            }
            sector = sector.wrapping_add(step);
            if let Some(tag) = &mut tag {
                tag.at = tag.at.wrapping_add(self.tuple_size);
            }
            if let Some(sleep) = conversion.yields {
                dm::cond_resched(sleep);
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn convert_one<T: Transform>(
        &self,
        request: &mut Request<'_, T>,
        iv: Option<&Iv>,
        one: &One<'_>,
        tag: Option<&Tag<'_, '_>>,
    ) -> Result {
        let number = self.iv_number(one.sector);
        let at = SectorAt {
            sector: number,
            byte: number.wrapping_mul(self.sector_size.into()),
        };
        let mut src = one.src;

        if let Some(iv) = iv {
            match tag {
                // What was written beside the data is the IV of what is read.
                Some(tag) if self.integrity_iv_size != 0 && !one.writing => {
                    let stored = tag.part(self.integrity_tag_size, self.integrity_iv_size)?;

                    for (to, from) in request.iv().iter_mut().zip(stored) {
                        *to = from.load(Relaxed);
                    }
                }
                _ => {
                    iv.fill(request, &at, &src, one.writing)?;
                    if let Some(tag) = tag.filter(|_| self.integrity_iv_size != 0) {
                        let stored = tag.part(self.integrity_tag_size, self.integrity_iv_size)?;

                        for (to, from) in stored.iter().zip(request.iv()) {
                            to.store(*from, Relaxed);
                        }
                    }
                }
            }
            if iv.touches_data() && iv.before(&at, &src, &one.dst, one.writing)? {
                src = *one.dst;
            }
        }
        let direction = if one.writing {
            Direction::Encrypt
        } else {
            Direction::Decrypt
        };
        let mut call = Call {
            transform: one.key,
            direction,
            src,
            dst: one.dst,
            tag: None,
        };

        if one.aead {
            self.authenticate(request, one, &mut call, tag.ok_or(EIO)?)?;
        } else {
            request.run(&call)?;
        }
        match iv {
            Some(iv) if iv.touches_data() => iv.after(&at, &one.dst, one.writing),
            _ => Ok(()),
        }
    }

    /// Runs a call with the sector's number and the IV as associated data.
    fn authenticate<T: Transform>(
        &self,
        request: &mut Request<'_, T>,
        one: &One<'_>,
        call: &mut Call<'_>,
        tag: &Tag<'_, '_>,
    ) -> Result {
        let number = one.sector.wrapping_sub(self.iv_offset);

        copy(request.assoc(), &number.to_le_bytes());
        request.iv_to_assoc(ASSOC_SECTOR);
        {
            let mut call = Call {
                tag: Some(
                    tag.tags
                        .segment(tag.at, self.integrity_tag_size)
                        .ok_or(EIO)?,
                ),
                ..*call
            };

            call.transform = 0;
            request.run(&call)?;
        }
        if one.writing {
            let used = self.integrity_tag_size.wrapping_add(self.integrity_iv_size);

            for byte in tag.part(used, self.tuple_size.saturating_sub(used))? {
                byte.store(0, Relaxed);
            }
        }
        Ok(())
    }
}

/// One sector.
struct One<'a> {
    src: Segment<'a>,
    dst: SegmentMut<'a>,
    /// Its number, with the offset of the IV.
    sector: Sector,
    /// Which key.
    key: usize,
    writing: bool,
    aead: bool,
}

/// The tag of one sector.
struct Tag<'a, 'p> {
    tags: &'a Tags<'p>,
    at: usize,
}

impl Tag<'_, '_> {
    fn part(&self, start: usize, len: usize) -> Result<&[AtomicU8]> {
        self.tags
            .bytes()
            .get(self.at..)
            .and_then(|tag| tag.get(start..))
            .and_then(|tag| tag.get(..len))
            .ok_or(EIO)
    }
}

/// Copies as much as both have.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
