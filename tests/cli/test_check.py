# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""check: what it finds, how it says so, and what it will not look at."""
import os
import re
import signal
import struct
import subprocess
import time
import unittest

from support import (CLEAN, CLI, DIFFERENT, GIB, KIB, MIB, REFUSED, STOPPED, USAGE, CliTest, Pair,
                     open_terminal)


class Damage(CliTest):
    """Flipped bits are found where they are."""

    def test_flipped_bits(self) -> None:
        """In data and in tags, for each block size.

        Without a random salt: a short tag must not happen to be zero in one run of many.
        """
        for block_size, tag_size, start in ((512, 4, 0), (1024, 7, 8), (2048, 2, 24), (4096, 40, 8)):
            pair = self.formatted("--sector-size", str(block_size), "--tag-size", str(tag_size),
                                  "--start", str(start), "--integrity-legacy-hmac")
            sectors = block_size // 512
            for block in (0, 3, MIB // block_size - 1):
                places = ((pair.data, block * block_size + block_size // 2),
                          (pair.meta, pair.tag_offset(start) + block * tag_size))
                for which, offset in places:
                    with self.subTest(block_size=block_size, block=block, which=which.name):
                        pair.flip(which, offset, 3)
                        found = self.expect(pair.check("--start", str(start), "--json"), DIFFERENT)
                        self.assertEqual(found.json["ranges"], [{
                            "kind": "mismatch", "first_sector": block * sectors,
                            "length_sectors": sectors, "offset": block * block_size,
                            "length": block_size}])
                        self.assertEqual(found.json["mismatch_sectors"], sectors)
                        self.assertFalse(found.json["clean"])
                        pair.flip(which, offset, 3)
            self.expect(pair.check("--start", str(start)), CLEAN)

    def test_wrong_digest(self) -> None:
        """Where nothing matches, the digest is in doubt; where one block does, it is not."""
        pair = self.formatted()
        done = self.expect(pair.check("--integrity", "crc32"), DIFFERENT)
        self.assertIn("no block at all matches its tag: was the pair formatted with crc32", done.err)
        with pair.data.open("r+b") as data:
            data.write(b"x" * (MIB - 512))
        done = self.expect(pair.check(), DIFFERENT)
        self.assertNotIn("no block at all", done.err)

    def test_text(self) -> None:
        """Ranges, counts and sizes as a person reads them."""
        pair = self.formatted()
        for block in (9, 100, 101, 102):
            pair.flip(pair.data, block * 512)
        found = self.expect(pair.check(), DIFFERENT)
        self.assertIn("sector 9 (bytes 4608 to 5119): block and tag differ\n", found.out)
        self.assertIn("sectors 100 to 102 (bytes 51200 to 52735): block and tag differ\n", found.out)
        self.assertIn("block and tag differ: 4 sectors (2.0 KiB) in 2 ranges\n", found.out)
        self.assertNotIn("clean", found.out)
        clean = self.formatted().check()
        self.assertIn("clean: all 2048 sectors (1.0 MiB) match their tags\n", clean.out)

    def test_never_written(self) -> None:
        """Tags of zero are told apart from wrong ones, and are no clean pair either."""
        pair = self.pair()
        self.expect(pair.format("--no-wipe"), CLEAN)
        found = self.expect(pair.check("--json"), DIFFERENT)
        self.assertEqual(found.json["never_written_sectors"], 2048)
        self.assertEqual(found.json["mismatch_sectors"], 0)
        self.assertEqual([r["kind"] for r in found.json["ranges"]], ["never_written"])
        self.assertIn("tag never written", pair.check().out)

    def test_max_ranges(self) -> None:
        """The list is bounded, the counts are not."""
        pair = self.formatted()
        for block in range(0, 300, 2):
            pair.flip(pair.data, block * 512)
        cases: list[tuple[list[str], int]] = [
            ([], 100), (["--max-ranges", "7"], 7), (["--max-ranges", "0"], 0),
            (["--max-ranges", "1000"], 150),
        ]
        for words, listed in cases:
            found = self.expect(pair.check("--json", *words), DIFFERENT).json
            self.assertEqual((len(found["ranges"]), found["ranges_listed"], found["ranges_total"],
                              found["mismatch_sectors"]), (listed, listed, 150, 150))
        self.assertIn("and 143 more", pair.check("--max-ranges", "7").out)

    def test_nothing_is_written(self) -> None:
        """Neither a clean nor a damaged pair is changed."""
        pair = self.formatted()
        pair.flip(pair.data, 5)
        before = pair.digest()
        self.expect(pair.check(), DIFFERENT)
        self.assertEqual(pair.digest(), before)


class Journal(CliTest):
    """A journal's entries are newer than blocks and tags, and count instead of them."""

    def commit_section(self, pair: Pair, section: int, seq: int, blocks: list[int]) -> None:
        """Write a section of a 512-byte crc32c journal as the kernel commits it."""
        ids = (0x1111111111111111, 0x2222222222222222, 0x3333333333333333, 0x4444444444444444)
        raw = bytearray(176 * 512)
        for n in range(168):
            at = n % 8 * 512 + n // 8 * 24
            raw[at:at + 8] = struct.pack("<Q", blocks[n] if n < len(blocks) else 0xFFFFFFFF << 32)
            if n < len(blocks):  # what the devices hold; of the block all but the last 8 bytes
                with open(pair.data, "rb") as data, open(pair.meta, "rb") as meta:
                    data.seek(blocks[n] * 512)
                    meta.seek(pair.tag_offset(0) + blocks[n] * 4)
                    raw[(8 + n) * 512:(8 + n) * 512 + 504] = data.read(504)
                    raw[at + 8:at + 16] = data.read(8)
                    raw[at + 16:at + 20] = meta.read(4)
        for j in range(176):
            raw[j * 512 + 504:j * 512 + 512] = struct.pack("<Q", ids[seq] ^ section << 32 ^ j)
        pair.change(pair.meta, 4096 + section * 176 * 512, bytes(raw))

    def test_entries(self) -> None:
        """What the devices hold in place of a journalled block does not count; nothing is written."""
        pair = self.formatted("--journal-size", "264K")
        self.commit_section(pair, 0, 1, [4, 5, 6])
        pair.flip(pair.data, 5 * 512)
        pair.flip(pair.meta, pair.tag_offset(0) + 6 * 4)
        before = pair.digest()
        self.expect(pair.check(), CLEAN)
        self.assertIn("3 blocks are counted from the journal", pair.check("--verbose").err)
        self.assertEqual(pair.digest(), before)
        pair.flip(pair.data, 7 * 512)
        found = self.expect(pair.check("--json"), DIFFERENT)
        self.assertEqual(found.json["mismatch_sectors"], 1)

    def test_replay(self) -> None:
        """--replay writes them to their places and empties the journal."""
        pair = self.formatted("--journal-size", "264K")
        self.commit_section(pair, 0, 1, [4, 5, 6])
        pair.flip(pair.data, 5 * 512)
        self.expect(pair.check("--replay"), CLEAN)
        before = pair.digest()
        self.expect(pair.check(), CLEAN)
        self.assertNotIn("from the journal", pair.check("--verbose").err)
        self.expect(pair.check("--replay"), CLEAN)
        self.assertEqual(pair.digest(), before)

    def test_wrong_entry(self) -> None:
        """An entry that does not match its tag would not be replayed either."""
        pair = self.formatted("--journal-size", "264K")
        self.commit_section(pair, 0, 1, [4, 5, 6])
        pair.flip(pair.meta, 4096 + 8 * 512 + 2 * 512 + 7)
        before = pair.digest()
        for words in ((), ("--json",), ("--replay",)):
            self.expect_complaint(pair.check(*words), REFUSED, "sector 6 that does not match its tag")
        self.assertEqual(pair.digest(), before)

    def test_damaged(self) -> None:
        """A commit id that is none: nobody knows what the journal would change."""
        pair = self.formatted("--journal-size", "264K")
        pair.flip(pair.meta, 4096 + 176 * 512 + 3 * 512 + 510)
        self.expect_complaint(pair.check(), REFUSED, "damaged", "section 1, sector 3")

    def test_written_out(self) -> None:
        """Sections without entries are an empty journal, whatever their numbers."""
        pair = self.formatted("--journal-size", "264K")
        for section, seq in ((0, 3), (1, 3), (2, 2)):
            self.commit_section(pair, section, seq, [])
        self.expect(pair.check(), CLEAN)


class Terminal(CliTest):
    """The progress bar, and stopping."""

    def on_terminal(self, words: list[str], stop_after: float = 0) -> tuple[int, str, str]:
        """Run with stderr on a terminal; returns status, stdout and what the terminal saw."""
        parent, child = open_terminal()
        with subprocess.Popen([CLI, *words], stdout=subprocess.PIPE, stderr=child,
                              stdin=subprocess.DEVNULL) as process:
            os.close(child)
            if stop_after:
                time.sleep(stop_after)
                process.send_signal(signal.SIGINT)
            seen = bytearray()
            while True:
                try:
                    piece = os.read(parent, 4096)
                except OSError:
                    break
                if not piece:
                    break
                seen += piece
            out = process.stdout.read() if process.stdout else b""
            status = process.wait(60)
        os.close(parent)
        return status, out.decode(), seen.decode()

    def test_bar(self) -> None:
        """It counts to 100 % and leaves the line empty; -q draws none; a pipe gets none."""
        pair = self.formatted(data_size=16 * MIB)
        words = ["check", str(pair.meta), "--data-device", str(pair.data)]
        status, out, seen = self.on_terminal(words)
        self.assertEqual(status, CLEAN, seen)
        self.assertIn("clean", out)
        self.assertIn("100%  16.0 MiB of 16.0 MiB", seen)
        self.assertTrue(seen.endswith("\r\x1b[K"), repr(seen))
        self.assertNotIn("%", self.on_terminal([*words, "-q"])[2])
        self.assertNotIn("%", pair.check().err)

    def test_rate_and_eta(self) -> None:
        """After half a second the bar tells rate and time left."""
        pair = self.pair(4 * KIB, 4 * KIB)
        os.truncate(pair.data, 64 * GIB)
        os.truncate(pair.meta, 160 * MIB)
        self.expect(pair.format("--no-wipe", "--sector-size", "4096"), CLEAN)
        words = ["check", str(pair.meta), "--data-device", str(pair.data), "--max-ranges", "0"]
        status, out, seen = self.on_terminal(words, 1.5)
        # A machine that is done by then has drawn them, too.
        self.assertIn(status, (STOPPED, DIFFERENT))
        if status == STOPPED:
            self.assertRegex(out, r"stopped after \d+ of 134217728 sectors")
        self.assertIsNotNone(re.search(r"iB/s  ETA \d+:\d\d", seen), repr(seen[-500:]))


class Usage(CliTest):
    """Mistakes in the call."""

    def test_mistakes(self) -> None:
        """Each is named."""
        pair = self.formatted()
        meta, data = str(pair.meta), str(pair.data)
        for words, says in (
                (["check"], "META is missing"),
                (["check", meta], "--data-device DATA is missing"),
                (["check", meta, data, "--data-device", data], f"'{data}' is one operand too many"),
                (["check", meta, "--data-device", data, "--integrity", "md4"], "'md4' is not known"),
                (["check", meta, "--data-device", data, "--start", "-1"], "not '-1'"),
                (["check", meta, "--data-device", data, "--max-ranges", "1000001"], "1000000")):
            with self.subTest(words=words):
                process = subprocess.run([CLI, *words], capture_output=True, text=True, check=False)
                self.assertEqual(process.returncode, USAGE)
                self.assertIn(says, process.stderr)
                self.assertEqual(process.stdout, "")


if __name__ == "__main__":
    unittest.main()
