# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""format: what it makes, what it leaves alone, and whom it asks."""
import itertools
import os
import resource
import signal
import struct
import subprocess
import unittest

from support import (CLEAN, CLI, IO_ERROR, KIB, MIB, REFUSED, USAGE, CliTest, Outcome, Pair,
                     Superblock, open_terminal, pattern, run)


class Shapes(CliTest):
    """Every combination opens, checks clean, and has the tags that the format says."""

    def expect_tags(self, pair: Pair, start: int) -> None:
        """All tags, computed by an implementation of our own."""
        sb = pair.superblock(start)
        data = pair.data.read_bytes()
        meta = pair.meta.read_bytes()
        at = pair.tag_offset(start)
        size = sb.block_size
        for block in itertools.chain(range(0, sb.blocks, 1 + sb.blocks // 50), [sb.blocks - 1]):
            tag = sb.tag(block, data[block * size:(block + 1) * size])
            self.assertEqual(meta[at + block * sb.tag_size:at + (block + 1) * sb.tag_size], tag,
                             f"tag of block {block}")

    def test_block_and_tag_sizes(self) -> None:
        """Block sizes 512 to 4096, tags of 1 to 40 bytes, any start, salted and plain."""
        starts = itertools.cycle([0, 8, 24])
        for block, tag in itertools.product([512, 1024, 2048, 4096], [1, 2, 4, 7, 40]):
            start = next(starts)
            hows: list[list[str]] = [[], ["--integrity-legacy-hmac"]]
            for how in hows:
                with self.subTest(block=block, tag=tag, start=start, how=how):
                    pair = self.formatted(
                        "--sector-size", str(block), "--tag-size", str(tag), "--start", str(start),
                        *how, data_size=256 * KIB + block)
                    sb = pair.superblock(start)
                    self.assertEqual((sb.magic, sb.block_size, sb.tag_size),
                                     (Superblock.MAGIC, block, tag))
                    self.assertEqual(sb.version, 2 if how else 5)
                    self.assertEqual(sb.flags, 0 if how else 0x10)
                    self.assertEqual(sb.provided * 512, 256 * KIB + block)
                    self.assertEqual(sb.rest, bytes(4096 - 64))
                    self.assertEqual(sb.salt == bytes(16), bool(how))
                    self.expect_tags(pair, start)
                    self.expect(pair.check("--start", str(start)), CLEAN)

    def test_wiping(self) -> None:
        """By default the data becomes zeros, all of them with right tags."""
        pair = self.pair(3 * MIB + 512)
        self.expect(pair.format(), CLEAN)
        self.assertEqual(pair.data.read_bytes(), bytes(3 * MIB + 512))
        self.expect_tags(pair, 0)
        self.expect(pair.check(), CLEAN)

    def test_keeping(self) -> None:
        """--keep-data changes no byte of the data."""
        pair = self.pair(3 * MIB + 512)
        self.expect(pair.format("--keep-data"), CLEAN)
        self.assertEqual(pair.data.read_bytes(), pattern(3 * MIB + 512))
        self.expect(pair.check(), CLEAN)

    def test_not_wiping(self) -> None:
        """--no-wipe changes neither data nor tags."""
        pair = self.pair()
        self.expect(pair.format("--no-wipe"), CLEAN)
        self.assertEqual(pair.data.read_bytes(), pattern(MIB))
        at = pair.tag_offset()
        self.assertEqual(pair.meta.read_bytes()[at:], bytes(MIB - at))

    def test_start_is_left_alone(self) -> None:
        """What lies in front of --start, and behind the tags, stays."""
        pair = self.pair()
        before = bytearray(pattern(MIB, 7))
        pair.meta.write_bytes(before)
        self.expect(pair.format("--start", "24"), CLEAN)
        after = pair.meta.read_bytes()
        end = pair.tag_offset(24) + 2048 * 4
        self.assertEqual(after[:24 * 512], before[:24 * 512])
        self.assertEqual(after[end:], before[end:])

    def test_journal_sizes(self) -> None:
        """As many whole sections as were asked for and fit, with suffixes."""
        for text, sections in (("1", 1), ("512", 1), ("88K", 1), ("176K", 2), ("180224", 2),
                               ("500KiB", 5), ("1T", 10)):
            with self.subTest(size=text):
                pair = self.pair()
                if text == "1":
                    self.expect_complaint(pair.format("--journal-size", text), USAGE, "512")
                    continue
                self.expect(pair.format("--journal-size", text, "--no-wipe"), CLEAN)
                self.assertEqual(pair.superblock().sections, sections)

    def test_bitmap_bits(self) -> None:
        """The bitmap's granularity is written in every mode."""
        pair = self.pair()
        self.expect(pair.format("--bitmap-sectors-per-bit", "64", "--sector-size", "4096"), CLEAN)
        self.assertEqual(pair.superblock().log2_bitmap, 3)

    def test_salts_differ(self) -> None:
        """Two pairs have two salts."""
        one, two = self.pair(name="one"), self.pair(name="two")
        self.expect(one.format("--no-wipe"), CLEAN)
        self.expect(two.format("--no-wipe"), CLEAN)
        self.assertNotEqual(one.superblock().salt, two.superblock().salt)

    def test_batch_mode_is_silent(self) -> None:
        """-q agrees, and says nothing when all is well."""
        pair = self.pair()
        done = self.expect(run("format", pair.meta, "--data-device", pair.data, "-q"), CLEAN)
        self.assertEqual([line for line in done.err.splitlines() if "warning" not in line], [])
        self.assertEqual(done.out, "")


class Verbose(CliTest):
    """What -v tells."""

    def test_devices_and_rate(self) -> None:
        """Sizes, logical blocks, the back-end, and how fast it went."""
        pair = self.pair()
        for done in (pair.format("-v"), pair.check("-v"), run("dump", pair.meta, "-v")):
            self.expect(done, CLEAN, f"opened {pair.meta} bytes=1048576 logical_block_size=",
                        "backend=")
            if done.out.startswith("superblock of"):
                self.assertNotIn(str(pair.data), done.err)
            else:
                self.assertRegex(done.err, r"(wiped|checked) 1\.0 MiB in \d+\.\d s, \S+ [KMG]iB/s")


class Signatures(CliTest):
    """Devices with something on them are refused and stay as they are."""

    def make_ext4(self, pair: Pair, which: str) -> None:
        """A filesystem with a name."""
        path = getattr(pair, which)
        path.write_bytes(bytes(8 * MIB))
        subprocess.run(["mkfs.ext4", "-q", "-L", "backup", str(path)], check=True,
                       env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})

    def make_partition_table(self, pair: Pair, which: str) -> None:
        """A DOS partition table with one partition."""
        table = bytearray(512)
        table[446:462] = struct.pack("<B3sB3sII", 0, b"\0\0\0", 0x83, b"\0\0\0", 8, 512)
        table[510:512] = b"\x55\xaa"
        pair.change(getattr(pair, which), 0, bytes(table))

    def refused_unchanged(self, pair: Pair, *words: str, says: tuple[str, ...] = ()) -> None:
        """It is refused, with --yes, and nothing has changed."""
        before = pair.digest()
        self.expect_complaint(pair.format(*words), REFUSED, "nothing was changed", "--force", *says)
        self.assertEqual(pair.digest(), before)

    def test_filesystems(self) -> None:
        """ext4 on either device."""
        for which in ("data", "meta"):
            with self.subTest(which=which):
                pair = self.pair()
                self.make_ext4(pair, which)
                self.refused_unchanged(pair, says=("ext4, labelled 'backup'",
                                                   str(getattr(pair, which))))
                self.refused_unchanged(pair, "--no-wipe", says=("ext4",))
                self.expect(pair.format("--force"), CLEAN)
                self.expect(pair.check(), CLEAN)

    def test_keeping_a_filesystem(self) -> None:
        """--keep-data is for data devices with a filesystem; on the metadata device it is lost."""
        pair = self.pair()
        self.make_ext4(pair, "data")
        before = pair.data.read_bytes()
        self.expect(pair.format("--keep-data"), CLEAN)
        self.assertEqual(pair.data.read_bytes(), before)
        self.expect(pair.check(), CLEAN)
        other = self.pair(name="other")
        self.make_ext4(other, "meta")
        self.refused_unchanged(other, "--keep-data", says=("ext4",))

    def test_partition_tables(self) -> None:
        """A partition table counts."""
        for which in ("data", "meta"):
            with self.subTest(which=which):
                pair = self.pair()
                pair.data.write_bytes(bytes(MIB))
                self.make_partition_table(pair, which)
                self.refused_unchanged(pair, says=("a partition table (dos)",))

    def test_integrity_superblock(self) -> None:
        """A pair is not formatted again by mistake, wherever its superblock is."""
        for start in ("0", "8"):
            with self.subTest(start=start):
                pair = self.formatted("--start", start)
                self.refused_unchanged(pair, "--start", start,
                                       says=("a dm-integrity superblock", str(pair.meta)))
                self.expect(pair.format("--start", start, "--force"), CLEAN)

    def test_devices_swapped(self) -> None:
        """A metadata device given as data device is noticed, even when it would be kept."""
        pair = self.formatted(meta_size=4 * MIB)
        other = Pair(self.dir, name="other")
        other.data = pair.meta
        self.refused_unchanged(other, says=("a dm-integrity superblock",))
        self.refused_unchanged(other, "--keep-data", says=("a dm-integrity superblock",))

    def test_force_wipes_old_signatures(self) -> None:
        """After --force nobody sees the old filesystem, but what is in front of --start stays."""
        pair = self.pair()
        self.make_ext4(pair, "meta")
        self.expect(pair.format("--force"), CLEAN)
        seen = subprocess.run(["blkid", "-p", "-o", "value", "-s", "TYPE", str(pair.meta)],
                              capture_output=True, text=True, check=False)
        self.assertEqual(seen.stdout.strip(), "DM_integrity")
        pair.meta.write_bytes(bytes(MIB))
        self.make_partition_table(pair, "meta")
        head = pair.meta.read_bytes()[:4096]
        self.expect(pair.format("--force", "--start", "8"), CLEAN)
        self.assertEqual(pair.meta.read_bytes()[:4096], head)


class Asking(CliTest):
    """Nothing is written before the user has agreed."""

    def answer(self, pair: Pair, answer: str) -> tuple[int, str]:
        """Run format on a terminal and type an answer."""
        parent, child = open_terminal()
        try:
            with subprocess.Popen([CLI, "format", str(pair.meta), "--data-device", str(pair.data)],
                                  stdin=child, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) as process:
                os.write(parent, answer.encode())
                _, err = process.communicate(timeout=60)
                return process.returncode, err
        finally:
            os.close(parent)
            os.close(child)

    def test_yes_in_capitals(self) -> None:
        """YES formats; the plan names both devices and their fate."""
        pair = self.pair()
        status, err = self.answer(pair, "YES\n")
        self.assertEqual(status, CLEAN, err)
        for words in (str(pair.data), str(pair.meta), "will be filled with zeros",
                      "will be overwritten", "Type YES"):
            self.assertIn(words, err)
        self.expect(pair.check(), CLEAN)

    def test_anything_else(self) -> None:
        """Any other answer, or none, changes nothing."""
        for answer in ("yes\n", "y\n", "\n", "YES please\n", "\x04"):
            with self.subTest(answer=answer):
                pair = self.pair()
                before = pair.digest()
                status, err = self.answer(pair, answer)
                self.assertEqual(status, REFUSED, err)
                self.assertIn("nothing was changed", err)
                self.assertEqual(pair.digest(), before)

    def test_no_terminal(self) -> None:
        """Without a terminal and without --yes it is refused, whatever stdin says."""
        pair = self.pair()
        before = pair.digest()
        self.expect(run("format", pair.meta, "--data-device", pair.data, stdin="YES\n"), USAGE,
                    "--yes", "nothing was changed")
        self.assertEqual(pair.digest(), before)


class Unfinished(CliTest):
    """An interrupted format is never taken for a pair."""

    def test_marker(self) -> None:
        """The marker is known to every verb, and format goes over it."""
        pair = self.formatted()
        pair.change(pair.meta, 0,
                    b"tcmu-integrity: this device is being formatted\n".ljust(4096, b"\0"))
        self.expect_complaint(run("dump", pair.meta), REFUSED, "not finished", "format")
        self.expect_complaint(pair.check(), REFUSED, "not finished", "format")
        self.expect(pair.format(), CLEAN)
        self.expect(pair.check(), CLEAN)

    def test_failing_write(self) -> None:
        """A write that fails: the status says so, and there is no superblock."""
        def limit_files() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (512 * KIB, 512 * KIB))

        pair = self.pair(meta_size=256 * KIB)
        command = [CLI, "format", str(pair.meta), "--data-device", str(pair.data), "--yes"]
        done = Outcome(subprocess.run(command, capture_output=True, text=True, check=False,
                                      preexec_fn=limit_files))
        self.expect(done, IO_ERROR, "is not formatted", str(pair.data), "File too large")
        self.expect_complaint(run("dump", pair.meta), REFUSED, "not finished")


if __name__ == "__main__":
    unittest.main()
