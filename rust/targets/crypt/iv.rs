// SPDX-License-Identifier: GPL-2.0

//! The arithmetic of initialisation vectors: what is made of a sector's number alone, and what
//! loop-AES, TrueCrypt and BitLocker do to the data besides.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Little endian, cut off at the end of the IV: `plain64`, and what `essiv` encrypts.
#[inline(always)]
pub(crate) fn plain64(sector: u64, iv: &mut [u8]) {
    // The usual size, in two stores.
    if let Ok(iv) = <&mut [u8; 16]>::try_from(&mut *iv) {
        *iv = u128::from(sector).to_le_bytes();
        return;
    }
    iv.fill(0);
    for (to, from) in iv.iter_mut().zip(sector.to_le_bytes()) {
        *to = from;
    }
}

/// The lower 32 bits, little endian.
#[inline(always)]
pub(crate) fn plain(sector: u64, iv: &mut [u8]) {
    plain64(sector & 0xffff_ffff, iv);
}

/// Big endian, at the end of the IV.
pub(crate) fn plain64be(sector: u64, iv: &mut [u8]) {
    iv.fill(0);
    for (to, from) in iv.iter_mut().rev().zip(sector.to_le_bytes()) {
        *to = from;
    }
}

/// How far a sector's number is shifted to count blocks of the cipher.
pub(crate) fn benbi_shift(block_size: u32) -> Result<u32, BenbiError> {
    if !block_size.is_power_of_two() {
        return Err(BenbiError::NotPowerOfTwo);
    }
    9u32.checked_sub(block_size.trailing_zeros())
        .ok_or(BenbiError::TooLarge)
}

/// Why a cipher has no [`benbi`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BenbiError {
    NotPowerOfTwo,
    TooLarge,
}

/// The number of the sector's first block, from 1 on, big endian.
pub(crate) fn benbi(sector: u64, shift: u32, iv: &mut [u8]) {
    plain64be((sector << (shift & 63)).wrapping_add(1), iv);
}

/// What loop-AES hashes after a sector's data: its number, in 56 bits, and its size.
pub(crate) fn lmk_tail(sector: u64) -> [u8; 16] {
    let low = sector & 0xffff_ffff;
    let high = (sector >> 32) & 0x00ff_ffff | 0x8000_0000;
    let both = u128::from(low) | (u128::from(high) << 32) | (4024 << 64);

    both.to_le_bytes()
}

/// The IV of TrueCrypt: the seed, with the number mixed into each 8 bytes.
pub(crate) fn tcw(sector: u64, seed: &[u8], iv: &mut [u8]) {
    let number = sector.to_le_bytes();

    for ((to, seed), number) in iv.iter_mut().zip(seed).zip(number.iter().cycle()) {
        *to = seed ^ number;
    }
}

/// CRC-32 as the kernel's `crc32_le()` has it, from a register of 0.
fn crc32(bytes: [u8; 4]) -> u32 {
    let mut crc = u32::from_le_bytes(bytes);

    for _ in 0..32 {
        crc = (crc >> 1) ^ if crc & 1 != 0 { 0xedb8_8320 } else { 0 };
    }
    crc
}

/// The two words that TrueCrypt mixes into each 8 bytes of a sector, as they lie in memory.
pub(crate) fn tcw_whitening(sector: u64, whitening: &[u8; 16]) -> [[u8; 4]; 2] {
    let number = u128::from(sector) | (u128::from(sector) << 64);
    let mixed = (u128::from_le_bytes(*whitening) ^ number).to_le_bytes();
    let mut crcs = [0; 4];

    for (crc, word) in crcs.iter_mut().zip(mixed.chunks_exact(4)) {
        *crc = crc32(word.try_into().unwrap_or_default());
    }
    let [a, b, c, d] = crcs;
    [(a ^ d).to_le_bytes(), (b ^ c).to_le_bytes()]
}

/// Mixes a pattern, over and over, into words.
pub(crate) fn xor<const N: usize>(words: &[AtomicU32], pattern: [[u8; 4]; N]) {
    for (word, pattern) in words.iter().zip(pattern.iter().cycle()) {
        word.store(word.load(Relaxed) ^ u32::from_ne_bytes(*pattern), Relaxed);
    }
}

/// Mixes bytes into the first words.
pub(crate) fn xor_bytes(words: &[AtomicU32], bytes: &[u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks_exact(4)) {
        let bytes = u32::from_ne_bytes(bytes.try_into().unwrap_or_default());

        word.store(word.load(Relaxed) ^ bytes, Relaxed);
    }
}

/// One of the two diffusers of BitLocker's Elephant: how far the two words lie that are mixed into
/// one, how the second is rotated in turn, and how often all is done.
struct Diffuser {
    near: usize,
    far: usize,
    rotations: [u32; 4],
    rounds: usize,
}

const DIFFUSER_A: Diffuser = Diffuser {
    near: 2,
    far: 5,
    rotations: [9, 0, 13, 0],
    rounds: 5,
};
const DIFFUSER_B: Diffuser = Diffuser {
    near: usize::MAX - 1,
    far: usize::MAX - 4,
    rotations: [0, 10, 0, 25],
    rounds: 3,
};

impl Diffuser {
    /// What is mixed into word `i`. The number of words is a power of two, so that indices wrap.
    fn mix(&self, words: &[AtomicU32], i: usize) -> u32 {
        let word = |distance: usize| {
            let index = i.wrapping_sub(distance) & words.len().wrapping_sub(1);

            words
                .get(index)
                .map_or(0, |word| u32::from_le(word.load(Relaxed)))
        };
        let rotation = self.rotations.get(i % 4).copied().unwrap_or_default();

        word(self.near) ^ word(self.far).rotate_left(rotation)
    }

    fn decrypt(&self, words: &[AtomicU32]) {
        for _ in 0..self.rounds {
            for (i, word) in words.iter().enumerate() {
                let value = u32::from_le(word.load(Relaxed)).wrapping_add(self.mix(words, i));

                word.store(value.to_le(), Relaxed);
            }
        }
    }

    fn encrypt(&self, words: &[AtomicU32]) {
        for _ in 0..self.rounds {
            for (i, word) in words.iter().enumerate().rev() {
                let value = u32::from_le(word.load(Relaxed)).wrapping_sub(self.mix(words, i));

                word.store(value.to_le(), Relaxed);
            }
        }
    }
}

/// Elephant, before the cipher encrypts. The sector has a power of two words.
pub(crate) fn elephant_encrypt(words: &[AtomicU32], key: [[u8; 4]; 8]) {
    xor(words, key);
    DIFFUSER_A.encrypt(words);
    DIFFUSER_B.encrypt(words);
}

/// Elephant, after the cipher has decrypted.
pub(crate) fn elephant_decrypt(words: &[AtomicU32], key: [[u8; 4]; 8]) {
    DIFFUSER_B.decrypt(words);
    DIFFUSER_A.decrypt(words);
    xor(words, key);
}

/// The two blocks that Elephant encrypts for the key of a sector that starts at byte `at`.
pub(crate) fn elephant_blocks(at: u64) -> [[u8; 16]; 2] {
    let first = u128::from(at).to_le_bytes();
    let second = (u128::from(at) | (0x80 << 120)).to_le_bytes();

    [first, second]
}
