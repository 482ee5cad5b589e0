#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes the start of a TrueCrypt volume: its header, and the first sectors of its data.

The header is laid out as TrueCrypt's documentation says ("Volume Format Specification"): AES in
XTS mode, its key from PBKDF2 with SHA-512, passphrase `secret`. The plain data are those of
dm_crypt.py. The first 512 bytes of the output belong at the start of the volume, all others at byte
131072. To make it anew:

    pip install cryptography
    tests/known-answers/truecrypt.py > tests/known-answers/truecrypt.bin
"""

import hashlib
import struct
import sys
import zlib

from dm_crypt import SECTORS, plain64, plaintext, xts

DATA = 131072
SIZE = 16 << 20


def main():
    salt = hashlib.sha512(b"salt").digest()
    keys = hashlib.sha512(b"the keys of the data").digest()
    area = keys.ljust(256, b"\0")
    fields = struct.pack(">4sHHI16xQQQQII120x", b"TRUE", 5, 0x0700, zlib.crc32(area), 0, SIZE, DATA, SIZE, 0, 512)
    header = fields + struct.pack(">I", zlib.crc32(fields)) + area
    derived = hashlib.pbkdf2_hmac("sha512", b"secret", salt, 1000, 64)
    sys.stdout.buffer.write(salt + xts(derived, plain64(0), header))
    data = plaintext(SECTORS * 512)
    for i in range(SECTORS):
        # Sectors are counted from the start of the volume.
        sys.stdout.buffer.write(xts(keys, plain64(DATA // 512 + i), data[i * 512 :][:512]))


if __name__ == "__main__":
    main()
