#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Computes what dm-crypt writes, without a kernel, as the known answers of the tests in the guest.

Only the block ciphers and their chaining come from a library, the `cryptography` package; the
initialisation vectors are computed here, from their descriptions in dm-crypt's documentation and
the papers behind them. To make the answers anew:

    pip install cryptography
    tests/known-answers/dm_crypt.py > tests/known-answers/dm_crypt.json
"""

import hashlib
import json
import math
import struct
import zlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MASK64 = (1 << 64) - 1
SECTORS = 16


def plaintext(length):
    """What the tests write: the byte at `i` follows from `i` alone."""
    return bytes((i * 197 ^ i >> 7) & 0xFF for i in range(length))


def key_of(length):
    """A key that repeats nowhere."""
    return b"".join(hashlib.sha256(bytes([length & 0xFF, i])).digest() for i in range(length // 32 + 1))[:length]


def run(cipher, data):
    encryptor = cipher.encryptor()
    return encryptor.update(data) + encryptor.finalize()


def ecb(key, data):
    return run(Cipher(algorithms.AES(key), modes.ECB()), data)


def cbc(key, iv, data):
    return run(Cipher(algorithms.AES(key), modes.CBC(iv)), data)


def xts(key, iv, data):
    return run(Cipher(algorithms.AES(key), modes.XTS(iv)), data)


def ctr(key, iv, data):
    return run(Cipher(algorithms.AES(key), modes.CTR(iv)), data)


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


# Initialisation vectors, from the number of the sector.


def plain(n):
    return struct.pack("<I", n & 0xFFFFFFFF) + bytes(12)


def plain64(n):
    return struct.pack("<Q", n) + bytes(8)


def plain64be(n):
    return bytes(8) + struct.pack(">Q", n)


def benbi(n):
    """The number of the first block of the cipher, from 1 on: 32 of 16 bytes are in a sector."""
    return bytes(8) + struct.pack(">Q", (n * 32 + 1) & MASK64)


def null(_):
    return bytes(16)


def essiv(key, digest):
    salt = hashlib.new(digest, key).digest()
    return lambda n: ecb(salt, plain64(n))


# Loop-AES, versions 2 and 3: 64 keys in turn, and a vector that is a digest of the sector.


def md5_compress(state, block):
    """The compression function of MD5 (RFC 1321), without padding."""
    sines = [int(abs(math.sin(i + 1)) * (1 << 32)) & 0xFFFFFFFF for i in range(64)]
    shifts = [(7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21)]
    words = struct.unpack("<16I", block)
    a, b, c, d = state
    for i in range(64):
        which = i // 16
        if which == 0:
            f, g = (b & c) | (~b & d), i
        elif which == 1:
            f, g = (d & b) | (~d & c), (5 * i + 1) % 16
        elif which == 2:
            f, g = b ^ c ^ d, (3 * i + 5) % 16
        else:
            f, g = c ^ (b | ~d & 0xFFFFFFFF), (7 * i) % 16
        f = (f + a + sines[i] + words[g]) & 0xFFFFFFFF
        shift = shifts[which][i % 4]
        a, d, c = d, c, b
        b = (b + ((f << shift | f >> (32 - shift)) & 0xFFFFFFFF)) & 0xFFFFFFFF
    return [(x + y) & 0xFFFFFFFF for x, y in zip(state, (a, b, c, d))]


def md5_raw(data):
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    for at in range(0, len(data), 64):
        state = md5_compress(state, data[at : at + 64])
    return struct.pack("<4I", *state)


def padded(data):
    """As MD5 itself pads, to see that the function above is MD5's."""
    return data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", len(data) * 8)


assert md5_raw(padded(b"abc" * 50)) == hashlib.md5(b"abc" * 50).digest()


def lmk(key, parts):
    size = len(key) // parts
    keys = [key[i * size : (i + 1) * size] for i in range(parts)]
    seed = keys[64] + bytes(64 - size) if parts == 65 else b""
    count = min(parts, 64)

    def sector(n, data):
        number = struct.pack("<Q", (n & (1 << 56) - 1) | 1 << 63)
        iv = md5_raw(seed + data[16:] + number + struct.pack("<Q", 4024))
        return cbc(keys[n % count], iv, data)

    return sector


# TrueCrypt 4: a whitening of the ciphertext with checksums of seed and sector number.


def crc32_without_inversion(data):
    """The kernel's crc32(0, data): the register starts at zero and is not inverted at the end."""
    return zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF


def tcw(key):
    cipher_key, seed, whitening = key[:-32], key[-32:-16], key[-16:]

    def sector(n, data):
        number = struct.pack("<Q", n)
        encrypted = cbc(cipher_key, xor(seed, number * 2), data)
        mixed = xor(whitening, number * 2)
        sums = [struct.pack("<I", crc32_without_inversion(mixed[i : i + 4])) for i in range(0, 16, 4)]
        mask = xor(sums[0], sums[3]) + xor(sums[1], sums[2])
        return xor(encrypted, mask * 64)

    return sector


# BitLocker: eboiv, and the Elephant diffuser (N. Ferguson, "AES-CBC + Elephant diffuser", 2006).


def eboiv(key, size):
    return lambda n: ecb(key, plain64(n * size & MASK64))


def rotate(word, by):
    return (word << by | word >> (32 - by)) & 0xFFFFFFFF if by else word


def diffuse(words, rounds, rotations, near, far):
    """One diffuser in the direction of encryption: from the last word back to the first."""
    count = len(words)
    for _ in range(rounds):
        for i in reversed(range(count)):
            mixed = words[(i + near) % count] ^ rotate(words[(i + far) % count], rotations[i % 4])
            words[i] = (words[i] - mixed) & 0xFFFFFFFF


def elephant(key, size):
    half = len(key) // 2
    cipher_key, tweak_key = key[:half], key[half:]

    def sector(n, data):
        number = struct.pack("<Q", n * size & MASK64)
        first = ecb(tweak_key, number + bytes(8))
        second = ecb(tweak_key, number + bytes(7) + b"\x80")
        words = list(struct.unpack(f"<{size // 4}I", xor(data, (first + second) * (size // 32))))
        diffuse(words, 5, (9, 0, 13, 0), -2, -5)
        diffuse(words, 3, (0, 10, 0, 25), 2, 5)
        data = struct.pack(f"<{size // 4}I", *words)
        return cbc(cipher_key, eboiv(cipher_key, size)(n), data)

    return sector


def with_iv(chain, iv, keys=1):
    """A sector encryption of a chaining mode and a vector, with keys in turn."""

    def make(key):
        size = len(key) // keys

        def sector(n, data, number):
            part = key[number % keys * size :][:size]
            return chain(part, iv(n), data)

        return sector

    return make


def vectors():
    """Cipher, length of the key, and what makes a function of sector number and data of it."""
    in_turn = lambda f: lambda key, size: lambda n, data, number: f(key, size)(n, data)
    simple = lambda chain, iv, keys=1: lambda key, size: with_iv(chain, iv, keys)(key)
    of_key = lambda chain, iv: lambda key, size: with_iv(chain, iv(key, size))(key)
    only_512 = [
        ("aes:64-cbc-lmk", 64 * 16, in_turn(lambda key, size: lmk(key, 64))),
        ("aes:64-cbc-lmk", 65 * 16, in_turn(lambda key, size: lmk(key, 65))),
        ("aes-cbc-tcw", 64, in_turn(lambda key, size: tcw(key))),
        ("aes-cbc-tcw", 48, in_turn(lambda key, size: tcw(key))),
    ]
    any_size = [
        ("aes-xts-plain64", 64, simple(xts, plain64)),
        ("aes-xts-plain64", 32, simple(xts, plain64)),
        ("capi:xts(aes)-plain64", 64, simple(xts, plain64)),
        ("aes-xts-plain", 64, simple(xts, plain)),
        ("aes-xts-plain64be", 64, simple(xts, plain64be)),
        ("aes-xts-benbi", 64, simple(xts, benbi)),
        ("aes:2-xts-plain64", 128, simple(xts, plain64, 2)),
        ("aes", 32, simple(cbc, plain)),
        ("aes-cbc-plain", 24, simple(cbc, plain)),
        ("aes-cbc-plain64", 16, simple(cbc, plain64)),
        ("aes-cbc-plain64be", 32, simple(cbc, plain64be)),
        ("aes-cbc-null", 32, simple(cbc, null)),
        ("aes-cbc-benbi", 32, simple(cbc, benbi)),
        ("aes:4-cbc-plain64", 64, simple(cbc, plain64, 4)),
        ("aes-cbc-essiv:sha256", 32, of_key(cbc, lambda key, _: essiv(key, "sha256"))),
        ("aes-cbc-essiv:sha256", 16, of_key(cbc, lambda key, _: essiv(key, "sha256"))),
        ("aes-cbc-essiv:md5", 16, of_key(cbc, lambda key, _: essiv(key, "md5"))),
        ("capi:cbc(aes)-essiv:sha256", 24, of_key(cbc, lambda key, _: essiv(key, "sha256"))),
        ("aes-cbc-eboiv", 32, of_key(cbc, eboiv)),
        ("aes-cbc-elephant", 32, in_turn(elephant)),
        ("aes-cbc-elephant", 64, in_turn(elephant)),
        ("aes-ctr-plain64", 32, simple(ctr, plain64)),
        ("aes-ecb", 32, simple(lambda key, _, data: ecb(key, data), null)),
    ]
    large = ["1 sector_size:4096", "2 sector_size:4096 iv_large_sectors", "2 sector_size:1024 iv_large_sectors"]
    for cipher, length, make in any_size + only_512:
        for options in [""] + (large if (cipher, length, make) in any_size else []):
            for iv_offset in [0, (1 << 32) - 8, MASK64 - 7]:
                yield cipher, length, make, options, iv_offset


def main():
    lines = []
    for cipher, length, make, options, iv_offset in vectors():
        size = next((int(o.split(":")[1]) for o in options.split() if o.startswith("sector_size")), 512)
        shift = (size // 512).bit_length() - 1 if "iv_large_sectors" in options else 0
        key = key_of(length)
        encrypt = make(key, size)
        data = plaintext(SECTORS * 512)
        encrypted = b""
        for at in range(0, SECTORS * 512, size):
            number = iv_offset + at // 512 & MASK64
            encrypted += encrypt(number >> shift, data[at : at + size], number)
        lines.append(
            json.dumps(
                {
                    "cipher": cipher,
                    "key": key.hex(),
                    "iv_offset": iv_offset,
                    "options": options,
                    "sector_size": size,
                    "start": encrypted[:16].hex(),
                    "sha256": hashlib.sha256(encrypted).hexdigest(),
                }
            )
        )
    print("[\n" + ",\n".join(lines) + "\n]")


if __name__ == "__main__":
    main()
