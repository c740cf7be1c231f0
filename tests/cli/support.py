# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""What the tests of the command line tool share.

Everything happens in a temporary directory, on files. TI_CLI is the program; TI_WRAPPER, if set, is put
before it (valgrind).
"""
from __future__ import annotations

import hashlib
import json
import os
import pty
import shlex
import shutil
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any, Optional, Sequence

CLI = os.environ["TI_CLI"]
SOURCE = Path(os.environ["TI_SOURCE"])
WRAPPER = shlex.split(os.environ.get("TI_WRAPPER", ""))

# What a command line is made of.
Words = Sequence["str | Path"]

CLEAN, DIFFERENT, USAGE, REFUSED, IO_ERROR, STOPPED = 0, 1, 2, 3, 4, 130

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class Outcome:
    """How a run of the program ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def json(self) -> Any:
        """The JSON object on stdout; there must be nothing else."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"status {self.status}\nstdout: {self.out}\nstderr: {self.err}"


def run(*words: str | Path, stdin: str = "", cwd: Optional[Path] = None,
        env: Optional[dict[str, str]] = None) -> Outcome:
    """Run the program; stdin is no terminal."""
    command = WRAPPER + [CLI] + [str(word) for word in words]
    return Outcome(subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd,
                                  timeout=100, check=False,
                                  env=None if env is None else {**os.environ, **env}))


def open_terminal() -> tuple[int, int]:
    """Both ends of a pseudo-terminal."""
    try:
        return pty.openpty()
    except OSError as error:
        raise AssertionError(
            "this test types at a terminal and there are no pseudo-terminals here "
            f"({error}): mount -t devpts devpts /dev/pts, and link /dev/ptmx to pts/ptmx") from error


def pattern(size: int, seed: int = 1) -> bytes:
    """Bytes that repeat nowhere."""
    out = bytearray()
    counter = 0
    while len(out) < size:
        out += hashlib.sha256(b"%d %d" % (seed, counter)).digest()
        counter += 1
    return bytes(out[:size])


# --- the format, a second time and in another language ---

def _crc_table() -> list[int]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Superblock:
    """The fields of a superblock, by the offsets of the format's description."""

    MAGIC = b"integrt\0"

    def __init__(self, raw: bytes) -> None:
        def number(offset: int, size: int) -> int:
            return int.from_bytes(raw[offset:offset + size], "little")

        self.magic = raw[:8]
        self.version = number(8, 1)
        self.tag_size = number(10, 2)
        self.sections = number(12, 4)
        self.provided = number(16, 8)
        self.flags = number(24, 4)
        self.log2_spb = number(28, 1)
        self.log2_bitmap = number(29, 1)
        self.salt = raw[48:64]
        self.rest = raw[64:4096]

    @property
    def block_size(self) -> int:
        """Bytes."""
        return 512 << self.log2_spb

    @property
    def blocks(self) -> int:
        """Of the LUN."""
        return self.provided >> self.log2_spb

    @property
    def initial_sectors(self) -> int:
        """Superblock and journal."""
        entry = (8 + 8 * (1 << self.log2_spb) + self.tag_size + 7) // 8 * 8
        entries = 8 * (504 // entry)
        return 8 + self.sections * (8 + entries * (1 << self.log2_spb))

    def tag(self, block: int, data: bytes) -> bytes:
        """What the tag of this block must be."""
        salt = self.salt if self.flags & 0x10 else b""
        crc = crc32c(salt + struct.pack("<Q", block << self.log2_spb) + data)
        return (struct.pack("<I", crc) + bytes(256))[:self.tag_size]


class Pair:
    """Two files that stand for the devices."""

    def __init__(self, directory: Path, data_size: int = MIB, meta_size: int = MIB,
                 name: str = "") -> None:
        self.data = directory / f"{name}data"
        self.meta = directory / f"{name}meta"
        self.data.write_bytes(pattern(data_size, 1))
        self.meta.write_bytes(bytes(meta_size))

    def format(self, *words: str) -> Outcome:
        """Format it, agreeing to everything."""
        return run("format", self.meta, "--data-device", self.data, "--yes", *words)

    def check(self, *words: str) -> Outcome:
        """Check it."""
        return run("check", self.meta, "--data-device", self.data, *words)

    def digest(self) -> str:
        """Of both files' contents."""
        return hashlib.sha256(self.data.read_bytes() + b"|" + self.meta.read_bytes()).hexdigest()

    def superblock(self, start: int = 0) -> Superblock:
        """As it lies on the metadata device."""
        with self.meta.open("rb") as file:
            file.seek(start * 512)
            return Superblock(file.read(4096))

    def tag_offset(self, start: int = 0) -> int:
        """Bytes from the metadata device's start."""
        return (start + self.superblock(start).initial_sectors) * 512

    def change(self, which: Path, offset: int, new: bytes) -> None:
        """Overwrite some bytes."""
        with which.open("r+b") as file:
            file.seek(offset)
            file.write(new)

    def flip(self, which: Path, offset: int, bit: int = 0) -> None:
        """Flip one bit."""
        with which.open("rb") as file:
            file.seek(offset)
            byte = file.read(1)[0]
        self.change(which, offset, bytes([byte ^ 1 << bit]))


class CliTest(unittest.TestCase):
    """A test with a directory of its own."""

    def setUp(self) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="tcmu-integrity-cli."))
        self.addCleanup(shutil.rmtree, self.dir)
        self.before = ""  # a pair's digest, for the tests that expect it unchanged

    def pair(self, data_size: int = MIB, meta_size: int = MIB, name: str = "") -> Pair:
        """A new pair of files: random data, zeros for metadata."""
        return Pair(self.dir, data_size, meta_size, name)

    def formatted(self, *words: str, data_size: int = MIB, meta_size: int = MIB) -> Pair:
        """A new pair with right tags over random data."""
        pair = self.pair(data_size, meta_size)
        self.expect(pair.format("--keep-data", *words), CLEAN)
        return pair

    def expect(self, outcome: Outcome, status: int, *words: str) -> Outcome:
        """It ended with this status, and stderr holds all of these words."""
        self.assertEqual(outcome.status, status, str(outcome))
        for word in words:
            self.assertIn(word, outcome.err, str(outcome))
        self.assertNotIn("Sanitizer", outcome.err)
        self.assertNotIn("Assertion", outcome.err)
        return outcome

    def expect_complaint(self, outcome: Outcome, status: int, *words: str) -> Outcome:
        """One sentence on stderr, in our manner."""
        self.expect(outcome, status, *words)
        lines = [line for line in outcome.err.splitlines() if "warning:" not in line]
        self.assertEqual(len(lines), 1, str(outcome))
        self.assertTrue(lines[0].startswith("tcmu-integrity"), str(outcome))
        self.assertFalse(lines[0].endswith("."), str(outcome))
        return outcome
