// SPDX-License-Identifier: GPL-2.0

//! Making a target from a table line.

use super::{
    key::{Key, Shape},
    mode::{
        Iv, IvInput, IvName, Keyed, Kind, ASSOC_SECTOR, ELEPHANT_MAX_KEY_SIZE, TCW_WHITENING_SIZE,
    },
    options::Options,
    scan::{self, KeyArgument},
    spec::{self, Name, Spec, SpecError},
    spread::Spread,
    CryptTarget, Flags, LOG_NAME,
};
use crate::{
    crypto::{mac_size, Aead, Cipher, Skcipher, Transform},
    dm::{self, prelude::*, QueueOptions, Sector},
    mem::MaySleep,
};
use kernel::{
    new_mutex,
    sync::atomic::{Atomic, Relaxed},
};

/// Blocks for tags that are kept, and how large one is at least, in bytes.
const MIN_TAG_BLOCKS: u16 = 64;
const TAG_BLOCK_SIZE: usize = 512;

fn invalid<T>(message: &'static CStr) -> CtrResult<T> {
    Err(CtrError::new(EINVAL, message))
}

/// Makes the target.
pub(super) fn target<'ti>(
    ti: &mut Constructor<'ti>,
    mut args: Args<'_>,
) -> CtrResult<CryptTarget<'ti>> {
    let few = CtrError::new(EINVAL, c"Not enough arguments");
    let sleep = args.may_sleep();
    let mut next = || args.next().ok_or(few);
    let (cipher, key, iv_offset, path, start) = (next()?, next()?, next()?, next()?, next()?);
    let argument = scan::key_argument(key.as_bytes())
        .ok_or(CtrError::new(EINVAL, c"Cannot parse key size"))?;
    let mut key = Key::empty(argument.size, sleep)
        .map_err(|e| CtrError::new(e, c"Cannot allocate encryption context"))?;
    let (options, aead) = options(args, ti.len())?;

    let key_valid = Atomic::new(false);
    let cipher_string = copy(cipher.as_bytes(), c"Cannot allocate cipher strings")?;
    let making = Making {
        argument: &argument,
        options: &options,
        aead,
        sleep,
    };
    let Made {
        keyed,
        shape,
        iv_size,
        is_random,
    } = making.keyed(cipher.as_bytes(), &mut key, &key_valid)?;

    let buffers = ti.buffers(c"Cannot allocate page mempool")?;
    let sector_size = u32::from(options.sector_size);
    let sector_shift = sector_size.trailing_zeros().saturating_sub(9);
    let iv_offset = iv_offset
        .sector(c"Invalid iv_offset sector")
        .ok()
        .filter(|offset| offset & Sector::from((sector_size >> 9) - 1) == 0)
        .ok_or(CtrError::new(EINVAL, c"Invalid iv_offset sector"))?;
    let dev = ti.get_device(path, c"Device lookup failed")?;
    let start = start.sector(c"Invalid device sector")?;
    let zoned = dev.is_zoned();

    if zoned {
        // Writes must reach the device in the order in which they came, and an append has to know
        // its sector before it is encrypted.
        ti.set_emulate_zone_append();
    }
    let mut keyed = keyed;
    let integrity_iv_size = if is_random { iv_size } else { 0 };
    let mut tuple_size = 0;
    let mut integrity_tag_size = 0;
    let mut tag_pool = None;
    let mut tag_pool_sectors = 0;

    if aead || integrity_iv_size != 0 {
        let used = options.integrity.map_or(0, |integrity| integrity.tag_size);

        tuple_size = profile(dev, used, sector_size)?;
        if let Kind::Aead(cipher) = &mut keyed.cipher {
            integrity_tag_size = tag_size(cipher, used, integrity_iv_size)?;
        }
        if integrity_tag_size + integrity_iv_size > tuple_size {
            return invalid(c"Not enough space for integrity tag in the profile.");
        }
        let sectors = TAG_BLOCK_SIZE.checked_div(tuple_size).unwrap_or(1).max(1);

        tag_pool = Some(ti.pool(
            MIN_TAG_BLOCKS,
            sectors * tuple_size,
            c"Cannot allocate integrity tags mempool",
        )?);
        tag_pool_sectors = (sectors << sector_shift) as u32;
    }

    ti.number_queues(c"Couldn't get workqueue id")?;
    let high_priority = options.high_priority;
    let io_queue = ti.queue(
        c"kcryptd_io",
        QueueOptions {
            high_priority,
            per_cpu: true,
            cpu_intensive: false,
            max_active: 1,
        },
        c"Couldn't create kcryptd io queue",
    )?;
    let crypt_queue = ti.queue(
        c"kcryptd",
        QueueOptions {
            high_priority,
            per_cpu: options.same_cpu_crypt,
            cpu_intensive: options.same_cpu_crypt,
            max_active: u16::from(options.same_cpu_crypt),
        },
        c"Couldn't create kcryptd queue",
    )?;
    let thread = ti.submit_thread(
        c"dmcrypt_write",
        high_priority,
        c"Couldn't spawn write thread",
    )?;

    ti.set_num_flush_bios(1);
    ti.set_limit_swap_bios();
    ti.set_accounts_remapped_io();
    if options.allow_discards {
        ti.set_num_discard_bios(1);
    }
    Ok(CryptTarget {
        dev,
        start,
        iv_offset,
        sector_size,
        sector_shift,
        options: Flags {
            allow_discards: options.allow_discards,
            same_cpu_crypt: options.same_cpu_crypt,
            high_priority,
            submit_from_crypt_cpus: options.submit_from_crypt_cpus,
            no_read_workqueue: options.no_read_workqueue,
            no_write_workqueue: options.no_write_workqueue || zoned,
            iv_large_sectors: options.iv_large_sectors,
            integrity: options.integrity.map(|integrity| integrity.tag_size),
            integrity_key_size: options.integrity_key_size,
        },
        cipher_string,
        integrity_kind: copy(
            options.integrity.map_or(b"", |integrity| integrity.kind),
            c"Cannot allocate encryption context",
        )?,
        zoned,
        lower_rotates: dev.rotates(),
        lower_is_synchronous: dev.is_synchronous(),
        key: KBox::pin_init(new_mutex!(key, "dm_rust::crypt::Key"), GFP_KERNEL)
            .map_err(|e| CtrError::new(e, c"Cannot allocate encryption context"))?,
        shape,
        keyed: ti.settled(keyed)?,
        key_valid,
        suspended: Atomic::new(false),
        tuple_size,
        integrity_tag_size,
        integrity_iv_size,
        tag_pool,
        tag_pool_sectors,
        spread: Spread::new()
            .map_err(|e| CtrError::new(e, c"Cannot allocate encryption context"))?,
        reads: ti.shelf(crypt_queue, c"Couldn't create kcryptd queue")?,
        writes: ti.shelf(crypt_queue, c"Couldn't create kcryptd queue")?,
        buffers,
        io_queue,
        crypt_queue,
        thread,
    })
}

fn copy(bytes: &[u8], message: &'static CStr) -> CtrResult<KVec<u8>> {
    let mut copy = KVec::new();

    copy.extend_from_slice(bytes, GFP_KERNEL)
        .map_err(|_| CtrError::new(ENOMEM, message))?;
    Ok(copy)
}

/// The arguments after the fifth.
struct OptionArgs<'a>(Args<'a>);

impl<'a> Iterator for OptionArgs<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next().map(|arg| arg.as_bytes())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl ExactSizeIterator for OptionArgs<'_> {}

fn options<'a>(args: Args<'a>, len: Sector) -> CtrResult<(Options<'a>, bool)> {
    Options::parse(OptionArgs(args), len).or_else(invalid)
}

/// How many bytes of metadata a device has for each sector, if it can be used.
fn profile(dev: &Device, used: u32, sector_size: u32) -> CtrResult<usize> {
    let Some(profile) = dev.integrity_profile().filter(|profile| profile.plain) else {
        return invalid(c"Integrity profile not supported.");
    };

    if profile.metadata_size < used {
        return invalid(c"Integrity profile tag size mismatch.");
    }
    if 1u32.checked_shl(profile.interval_exp) != Some(sector_size) {
        return invalid(c"Integrity profile sector size mismatch.");
    }
    Ok(profile.metadata_size as usize)
}

/// Tells the cipher how long its tags are: what the IV leaves.
fn tag_size(cipher: &mut Cipher<Aead>, used: u32, iv_size: usize) -> CtrResult<usize> {
    let refused = CtrError::new(EINVAL, c"Integrity AEAD auth tag size is not supported.");
    let iv_size = u32::try_from(iv_size).map_err(|_| refused)?;
    let size = used.checked_sub(iv_size).ok_or(refused)?;

    cipher.set_tag_size(size).map_err(|_| refused)?;
    Ok(size as usize)
}

/// What a target's ciphers are made of.
struct Making<'a> {
    argument: &'a KeyArgument<'a>,
    options: &'a Options<'a>,
    aead: bool,
    sleep: MaySleep<'a>,
}

/// The ciphers, and what was found out about them.
struct Made {
    keyed: Keyed,
    shape: Shape,
    iv_size: usize,
    is_random: bool,
}

impl Making<'_> {
    fn keyed(&self, text: &[u8], key: &mut Key, key_valid: &Atomic<bool>) -> CtrResult<Made> {
        let spec = spec::parse(text, self.aead).map_err(spec_error)?;
        let authenc = spec.auth_hash.as_ref();
        let mut mac = self.options.integrity_key_size.unwrap_or(0);

        if let Some(hash) = authenc {
            let size = mac_size(name(hash), self.sleep)
                .map_err(|e| CtrError::new(e, c"Invalid AEAD cipher spec"))?;

            if self.options.integrity_key_size.is_none() {
                mac = size;
            }
        }
        let mut shape = Shape {
            size: self.argument.size,
            parts: spec.key_count,
            extra: 0,
            mac,
            count: spec.key_count,
            authenc: self.aead && mac != 0,
        };

        if self.aead {
            let (cipher, iv, iv_size) = self.cipher::<Aead>(&spec, &mut shape)?;

            self.finish(Kind::Aead(cipher), iv, shape, iv_size, key, key_valid)
        } else {
            let (cipher, iv, iv_size) = self.cipher::<Skcipher>(&spec, &mut shape)?;

            self.finish(Kind::Skcipher(cipher), iv, shape, iv_size, key, key_valid)
        }
    }

    /// The transforms, the IV mode and the size of an IV.
    fn cipher<T: Transform>(
        &self,
        spec: &Spec<'_>,
        shape: &mut Shape,
    ) -> CtrResult<(Cipher<T>, Option<IvInput>, usize)> {
        let failed = |e| CtrError::new(e, c"Error allocating crypto tfm");
        let count = spec.key_count as usize;
        let mut transforms =
            KVec::with_capacity(count, GFP_KERNEL | __GFP_NOWARN).map_err(|_| failed(ENOMEM))?;

        for _ in 0..count {
            let transform = T::new(name(&spec.name), self.sleep).map_err(failed)?;

            transforms
                .push(transform, GFP_KERNEL)
                .map_err(|_| failed(ENOMEM))?;
        }
        let first: &T = transforms.first().ok_or(failed(EINVAL))?;
        let block_size = first.block_size();
        // There is room for a sector's number in any IV.
        let iv_size = match first.iv_size() {
            0 => 0,
            size => size.max(8),
        };
        let iv_name = match (iv_size, spec.iv_mode) {
            (_, None) => None,
            (0, Some(_)) => {
                dm::log(
                    dm::Level::Warning,
                    LOG_NAME,
                    c"Selected cipher does not support IVs",
                );
                None
            }
            (_, Some(mode)) => {
                Some(IvName::of(mode).ok_or(CtrError::new(EINVAL, c"Invalid IV mode"))?)
            }
        };

        match iv_name {
            Some(IvName::Elephant) => {
                shape.parts = 2;
                shape.extra = shape.size / 2;
                if shape.extra > ELEPHANT_MAX_KEY_SIZE {
                    return invalid(c"Unknown error");
                }
            }
            // One key more is the seed.
            Some(IvName::Lmk) if shape.size.checked_rem(shape.parts as usize) != Some(0) => {
                shape.parts = shape.parts.saturating_add(1);
                shape.extra = shape.size.checked_div(shape.parts as usize).unwrap_or(0);
            }
            Some(IvName::Tcw) => {
                shape.parts = shape.parts.saturating_add(2);
                shape.extra = iv_size + TCW_WHITENING_SIZE;
            }
            _ => {}
        }
        let cipher = Cipher::new(transforms, iv_size, ASSOC_SECTOR + iv_size, self.sleep)
            .map_err(|e| CtrError::new(e, c"Cannot allocate crypt request mempool"))?;
        let input = iv_name.map(|name| IvInput {
            name,
            iv_size,
            block_size,
            sector_size: self.options.sector_size.into(),
            aead: self.aead,
        });

        Ok((cipher, input, iv_size))
    }

    /// Sets the keys.
    fn finish(
        &self,
        cipher: Kind,
        input: Option<IvInput>,
        shape: Shape,
        iv_size: usize,
        key: &mut Key,
        key_valid: &Atomic<bool>,
    ) -> CtrResult<Made> {
        let mut keyed = Keyed { cipher, iv: None };

        key.set(self.argument, &shape, &mut keyed, self.sleep, |valid| {
            key_valid.store(valid, Relaxed);
        })
        .map_err(|e| CtrError::new(e, c"Error decoding and setting key"))?;
        if let Some(input) = &input {
            let mut iv = Iv::new(input, &shape, self.sleep)
                .map_err(|e| CtrError::new(e, c"Error creating IV"))?;

            iv.set_key(&shape, &key.bytes, self.sleep)
                .map_err(|e| CtrError::new(e, c"Error initialising IV"))?;
            keyed.iv = Some(iv);
        }
        if key.name.is_some() {
            key.bytes.wipe();
        }
        Ok(Made {
            keyed,
            shape,
            iv_size,
            is_random: input.is_some_and(|input| input.name == IvName::Random),
        })
    }
}

/// A name as C has it.
fn name(name: &Name) -> &CStr {
    CStr::from_bytes_with_nul(name.with_nul()).unwrap_or_default()
}

fn spec_error(error: SpecError) -> CtrError {
    let (errno, message) = match error {
        SpecError::BadSpecification => (EINVAL, c"Bad cipher specification"),
        SpecError::BadKeyCount => (EINVAL, c"Bad cipher key count specification"),
        SpecError::IvRequired => (EINVAL, c"IV mechanism required"),
        SpecError::DigestMissing => (EINVAL, c"Digest algorithm missing for ESSIV mode"),
        SpecError::TooLong => (ENOMEM, c"Cannot allocate cipher strings"),
        SpecError::TooLongNew => (ENOMEM, c"Cannot allocate cipher string"),
        SpecError::BadAead => (EINVAL, c"Invalid AEAD cipher spec"),
        SpecError::LmkWithAead => (EINVAL, c"AEAD transforms not supported for LMK"),
    };

    CtrError::new(errno, message)
}
