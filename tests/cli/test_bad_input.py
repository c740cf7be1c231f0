# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""Bad input: a clear sentence, the right status, and nothing changed on the devices."""
import os
import struct
import subprocess
import unittest
from pathlib import Path
from typing import NamedTuple

from support import (CLEAN, CLI, DIFFERENT, IO_ERROR, KIB, MIB, REFUSED, CliTest, Outcome, Pair, Words,
                     pattern, run)


class Change(NamedTuple):
    """One field of the superblock, changed."""
    field: str
    offset: int
    new: bytes
    dump: int  # status
    check: int
    says: str  # in check's sentence, and in dump's if it fails


def little(size: int, value: int) -> bytes:
    """A little-endian integer."""
    return value.to_bytes(size, "little")


# The pair has 2048 sectors in blocks of 512 bytes, tags of 4 bytes, one section.
CHANGES = [
    Change("magic", 0, b"integrx\0", REFUSED, REFUSED, "other data where a dm-integrity superblock"),
    Change("magic", 0, bytes(4096), REFUSED, REFUSED, "only zeros in its place"),
    Change("version", 8, little(1, 0), REFUSED, REFUSED, "version 0"),
    Change("version", 8, little(1, 6), REFUSED, REFUSED, "inline"),
    Change("version", 8, little(1, 7), REFUSED, REFUSED, "keyed discards"),
    Change("version", 8, little(1, 255), REFUSED, REFUSED, "version 255"),
    Change("log2_interleave_sectors", 9, little(1, 15), REFUSED, REFUSED, "log2_interleave_sectors 15"),
    Change("integrity_tag_size", 10, little(2, 0), REFUSED, REFUSED, "integrity_tag_size 0"),
    Change("integrity_tag_size", 10, little(2, 256), REFUSED, REFUSED, "integrity_tag_size 256"),
    Change("integrity_tag_size", 10, little(2, 65535), REFUSED, REFUSED, "integrity_tag_size 65535"),
    Change("journal_sections", 12, little(4, 0), REFUSED, REFUSED, "journal_sections 0"),
    Change("journal_sections", 12, little(4, 100), REFUSED, REFUSED, "journal"),
    Change("journal_sections", 12, little(4, 0xFFFFFFFF), REFUSED, REFUSED, "journal"),
    Change("provided_data_sectors", 16, little(8, 0), REFUSED, REFUSED, "provided_data_sectors 0"),
    Change("provided_data_sectors", 16, little(8, 2049), CLEAN, REFUSED, "data"),
    Change("provided_data_sectors", 16, little(8, 1 << 40), REFUSED, REFUSED, "meta"),
    Change("provided_data_sectors", 16, little(8, (1 << 64) - 1), REFUSED, REFUSED,
           "provided_data_sectors 18446744073709551615"),
    Change("flags", 24, little(4, 0x01), CLEAN, REFUSED, "journal_mac"),
    Change("flags", 24, little(4, 0x12), CLEAN, DIFFERENT, ""),
    Change("flags", 24, little(4, 0x14), CLEAN, CLEAN, ""),
    Change("flags", 24, little(4, 0x80), REFUSED, REFUSED, "0x80"),
    Change("flags", 24, little(4, 0xFFFFFFFF), REFUSED, REFUSED, "flag"),
    Change("flags", 24, little(4, 0), CLEAN, DIFFERENT, ""),
    Change("log2_sectors_per_block", 28, little(1, 4), REFUSED, REFUSED, "log2_sectors_per_block 4"),
    Change("log2_sectors_per_block", 28, little(1, 255), REFUSED, REFUSED, "log2_sectors_per_block 255"),
    Change("log2_blocks_per_bitmap_bit", 29, little(1, 255), REFUSED, REFUSED,
           "log2_blocks_per_bitmap_bit 255"),
    Change("salt", 48, bytes(16), CLEAN, DIFFERENT, ""),
]


class Superblock(CliTest):
    """Every field in turn."""

    def test_fields(self) -> None:
        """dump and check say what is wrong with it, by name."""
        pair = self.formatted("--sector-size", "512")
        good = pair.meta.read_bytes()
        for change in CHANGES:
            with self.subTest(field=change.field, new=change.new[:8]):
                pair.meta.write_bytes(good)
                pair.change(pair.meta, change.offset, change.new)
                before = pair.digest()
                says = (change.says, str(self.dir)) if change.says else ()
                for outcome, status in ((run("dump", pair.meta), change.dump),
                                        (run("dump", pair.meta, "--json"), change.dump),
                                        (pair.check(), change.check),
                                        (pair.check("--json"), change.check)):
                    if status == REFUSED:
                        self.expect_complaint(outcome, status, *says)
                    else:
                        self.expect(outcome, status)
                self.assertEqual(pair.digest(), before)

    def test_every_byte(self) -> None:
        """Each byte of the superblock set to 00 and f7: never a crash, never a change."""
        pair = self.formatted()
        good = pair.meta.read_bytes()
        for offset in range(64):
            for value in (0x00, 0xF7):
                pair.meta.write_bytes(good)
                pair.change(pair.meta, offset, bytes([value]))
                before = pair.digest()
                done = pair.check("--max-ranges", "1")
                self.assertIn(done.status, (CLEAN, DIFFERENT, REFUSED), f"{offset}: {done}")
                if done.status == REFUSED:
                    self.expect_complaint(done, REFUSED)
                self.assertEqual(pair.digest(), before)


class Devices(CliTest):
    """Missing, short, twice the same, read-only, in use, of the wrong kind."""

    def expect_unchanged(self, pair: Pair, outcome: Outcome, status: int, *words: str) -> None:
        """A complaint, and the pair is as it was."""
        self.expect_complaint(outcome, status, *words)
        self.assertEqual(pair.digest(), self.before)

    def remember(self, pair: Pair) -> Pair:
        """For expect_unchanged()."""
        self.before = pair.digest()
        return pair

    def test_missing(self) -> None:
        """A name that does not exist is not created."""
        pair = self.remember(self.formatted())
        gone = self.dir / "gone"
        calls: list[Words] = [
            ["dump", gone],
            ["check", gone, "--data-device", pair.data],
            ["check", pair.meta, "--data-device", gone],
            ["format", gone, "--data-device", pair.data, "--yes"],
            ["format", pair.meta, "--data-device", gone, "--yes", "--force"],
        ]
        for words in calls:
            with self.subTest(words=words):
                self.expect_unchanged(pair, run(*words), REFUSED, str(gone), "does not exist")
                self.assertFalse(gone.exists())

    def test_same_device(self) -> None:
        """Data and metadata on one device, by the same name or another."""
        pair = self.remember(self.formatted())
        link, hard = self.dir / "link", self.dir / "hard"
        link.symlink_to(pair.meta)
        os.link(pair.meta, hard)
        for name in (pair.meta, link, hard, self.dir / "." / "meta"):
            calls: list[Words] = [
                ["check", pair.meta, "--data-device", name],
                ["format", pair.meta, "--data-device", name, "--yes", "--force"],
            ]
            for words in calls:
                with self.subTest(words=words):
                    self.expect_unchanged(pair, run(*words), REFUSED, "same")

    def test_truncated_metadata(self) -> None:
        """Cut off in the superblock, in the journal, in the tags, and whole."""
        pair = self.formatted()
        good = pair.meta.read_bytes()
        end = pair.tag_offset() + 2048 * 4
        for size in (0, 511, 512, 4095, 4096, 8192, pair.tag_offset(), end - 512, end - 1):
            with self.subTest(size=size):
                pair.meta.write_bytes(good[:size])
                self.remember(pair)
                self.expect_unchanged(pair, pair.check(), REFUSED, str(pair.meta))
                dumped = run("dump", pair.meta)
                self.expect_complaint(dumped, REFUSED, str(pair.meta))
                self.assertEqual("provided_data_sectors" in dumped.out, size >= 4096)

    def test_truncated_data(self) -> None:
        """A data device smaller than what the superblock provides."""
        pair = self.formatted()
        for size in (0, 511, 512, MIB - 512, MIB - 1):
            with self.subTest(size=size):
                pair.data.write_bytes(pattern(MIB)[:size])
                self.remember(pair)
                self.expect_unchanged(pair, pair.check(), REFUSED, str(pair.data))

    def test_larger_data(self) -> None:
        """What a data device has behind the LUN's end is nobody's."""
        pair = self.formatted()
        with pair.data.open("ab") as file:
            file.write(b"x" * 4096)
        self.expect(pair.check(), CLEAN)

    def test_sizes_that_do_not_fit(self) -> None:
        """format: a metadata or data device too small for anything."""
        cases: list[tuple[int, int, list[str], str]] = [
            (MIB, 4096, [], "meta"), (MIB, 64 * KIB, [], "meta"), (MIB, 96 * KIB, [], "meta"),
            (0, MIB, [], "data"), (512, MIB, ["--sector-size", "4096"], "data"),
            (MIB, MIB, ["--start", "2041"], "meta"), (MIB, MIB, ["--start", "1900"], "meta"),
            (MIB, 256 * KIB, ["--tag-size", "255"], "meta"),
        ]
        for data, meta, words, says in cases:
            with self.subTest(data=data, meta=meta, words=words):
                pair = self.remember(self.pair(data, meta))
                self.expect_unchanged(pair, pair.format(*words), REFUSED, str(self.dir / says))
        pair = self.remember(self.pair())
        self.expect_unchanged(pair, pair.format("--start", "18014398509481983"), REFUSED,
                              "start sector 18014398509481983")

    def test_wrong_start(self) -> None:
        """A superblock that is elsewhere."""
        pair = self.remember(self.formatted("--start", "8"))
        for start, says in (("0", "only zeros"), ("16", "dm-integrity superblock"),
                            ("2047", "ends at sector 2048"), ("9", "dm-integrity superblock"),
                            ("18014398509481983", "ends at sector 2048")):
            with self.subTest(start=start):
                self.expect_unchanged(pair, run("dump", pair.meta, "--start", start), REFUSED, says)
                self.expect_unchanged(pair, pair.check("--start", start), REFUSED, says)

    def test_kinds_of_files(self) -> None:
        """Directories, character devices and pipes are no devices."""
        pair = self.remember(self.formatted())
        fifo = self.dir / "fifo"
        os.mkfifo(fifo)
        for path in (self.dir, Path("/dev/null"), fifo):
            with self.subTest(path=path):
                self.expect_unchanged(pair, run("dump", path), REFUSED, str(path))
                self.expect_unchanged(pair, run("check", pair.meta, "--data-device", path), REFUSED,
                                      str(path))
                self.expect_unchanged(pair, run("format", path, "--data-device", pair.data, "--yes"),
                                      REFUSED, str(path))

    def test_in_use(self) -> None:
        """A file that somebody holds: check and format are refused, dump is not."""
        pair = self.remember(self.formatted())
        with subprocess.Popen(["flock", "--exclusive", str(pair.data), "sh", "-c",
                               "echo held; read _"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdin and holder.stdout
            self.assertEqual(holder.stdout.readline(), "held\n")
            self.expect_unchanged(pair, pair.check(), REFUSED, str(pair.data), "locked")
            self.expect_unchanged(pair, pair.format("--force"), REFUSED, str(pair.data), "locked")
            holder.stdin.write("\n")
        with subprocess.Popen(["flock", "--exclusive", str(pair.meta), "sh", "-c",
                               "echo held; read _"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdin and holder.stdout
            self.assertEqual(holder.stdout.readline(), "held\n")
            self.expect(run("dump", pair.meta), CLEAN)
            self.expect_unchanged(pair, pair.check(), REFUSED, str(pair.meta), "locked")
            holder.stdin.write("\n")

    def test_read_only(self) -> None:
        """Devices that may only be read: format is refused, dump and check work."""
        pair = self.remember(self.formatted())
        read_only = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        if os.geteuid() != 0:
            read_only = []
        self.dir.chmod(0o755)
        for which in (pair.data, pair.meta):
            pair.data.chmod(0o666)
            pair.meta.chmod(0o666)
            which.chmod(0o444)
            cases: list[tuple[str, list[str], int]] = [
                ("dump", [], CLEAN), ("check", [], CLEAN), ("format", ["--yes", "--force"], REFUSED),
            ]
            for verb, words, status in cases:
                data = [] if verb == "dump" else ["--data-device", str(pair.data)]
                done = Outcome(subprocess.run(
                    [*read_only, CLI, verb, str(pair.meta), *data, *words], capture_output=True,
                    text=True, check=False))
                with self.subTest(which=which.name, verb=verb):
                    if status == REFUSED:
                        self.expect_unchanged(pair, done, status, str(which), "Permission denied")
                    else:
                        self.expect(done, status)


class Journal(CliTest):
    """The journal's bytes are as hostile as the superblock's."""

    def test_all_four_sequence_numbers(self) -> None:
        """Numbers that make no sense together are damage."""
        pair = self.formatted("--journal-size", "704K")
        ids = (0x1111111111111111, 0x2222222222222222, 0x3333333333333333, 0x4444444444444444)
        for section, base in enumerate(ids):
            for j in range(176):
                pair.change(pair.meta, 4096 + (section * 176 + j) * 512 + 504,
                            struct.pack("<Q", base ^ section << 32 ^ j))
        before = pair.digest()
        self.expect_complaint(pair.check(), REFUSED, "damaged", "all four sequence numbers")
        dumped = self.expect(run("dump", pair.meta, "--json"), CLEAN).json
        self.assertEqual(dumped["journal"]["state"], "damaged")
        self.assertEqual(pair.digest(), before)


class Output(CliTest):
    """Results that cannot be written are no success."""

    def test_full_stdout(self) -> None:
        """/dev/full"""
        pair = self.formatted()
        with open("/dev/full", "wb") as full:
            done = subprocess.run([CLI, "dump", str(pair.meta)], stdout=full, stderr=subprocess.PIPE,
                                  text=True, check=False)
        self.assertEqual(done.returncode, IO_ERROR)
        self.assertIn("stdout", done.stderr)


if __name__ == "__main__":
    unittest.main()
