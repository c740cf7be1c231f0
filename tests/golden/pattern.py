#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""pattern.py G > FILE: 8192 sectors of generation G of the golden images' pattern."""
import sys


def sector(n: int, generation: int) -> bytes:
    """Sector n: 16 times a line of 32 bytes that names sector and generation."""
    return b"sector=%08x gen=%02x dmi-gold\n" % (n, generation) * 16


def main() -> None:
    """Write the sectors to standard output."""
    generation = int(sys.argv[1])
    sys.stdout.buffer.write(b"".join(sector(n, generation) for n in range(8192)))


if __name__ == "__main__":
    main()
