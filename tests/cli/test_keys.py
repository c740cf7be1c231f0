# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""Digests and keys: tags as Python's hmac has them, and keys from everywhere but the command line."""
import hashlib
import hmac
import os
import struct
import threading
import time
import unittest
from pathlib import Path

from support import (CLEAN, DIFFERENT, KIB, REFUSED, USAGE, CliTest, Outcome, Pair, run)

KEY = bytes(range(0x80, 0xa0))
WRONG = bytes(range(0x81, 0xa1))


class Keyed(CliTest):
    """A pair of 64 KiB with keyed tags."""

    def key_file(self, key: bytes = KEY, name: str = "key") -> Path:
        """A file with a key in it."""
        path = self.dir / name
        path.write_bytes(key)
        return path

    def keyed(self, *words: str, integrity: str = "hmac-sha256") -> Pair:
        """A new pair, its tags made with KEY."""
        return self.formatted("--integrity", integrity, "--integrity-key-file",
                              str(self.key_file()), *words, data_size=64 * KIB, meta_size=256 * KIB)

    def check(self, pair: Pair, *words: "str | Path") -> Outcome:
        """Check with the digest and whatever key."""
        return run("check", pair.meta, "--data-device", pair.data, "--batch-mode", "--integrity",
                   *words)

    def test_tags(self) -> None:
        """Salt, sector and block under HMAC, for blocks of both sizes and both spellings."""
        for block, spelled in ((512, "hmac-sha256"), (4096, "hmac(sha256)")):
            with self.subTest(block=block):
                pair = self.keyed("--sector-size", str(block), integrity=spelled)
                sb = pair.superblock()
                self.assertEqual((sb.tag_size, sb.flags), (32, 0x10))
                data, meta, at = pair.data.read_bytes(), pair.meta.read_bytes(), pair.tag_offset()
                for n in range(64 * KIB // block):
                    message = sb.salt + struct.pack("<Q", n * block // 512)
                    message += data[n * block:(n + 1) * block]
                    self.assertEqual(meta[at + 32 * n:at + 32 * n + 32],
                                     hmac.new(KEY, message, hashlib.sha256).digest())
                self.expect(self.check(pair, spelled, "--integrity-key-file", self.dir / "key"),
                            CLEAN)

    def test_wrong_key(self) -> None:
        """Every block differs, and another digest of the same size does not fit either."""
        pair = self.keyed()
        wrong = self.key_file(WRONG, "wrong")
        found = self.expect(self.check(pair, "hmac-sha256", "--integrity-key-file", wrong, "--json"),
                            DIFFERENT).json
        self.assertEqual(found["mismatch_sectors"], 128, found)
        self.expect(self.check(pair, "sha256"), DIFFERENT)
        self.expect(self.check(pair, "hmac-sha3-256", "--integrity-key-file", self.dir / "key"),
                    DIFFERENT)

    def test_flipped_bits(self) -> None:
        """One in the data, one in a tag: each is found at its block."""
        pair = self.keyed()
        key = str(self.dir / "key")
        for which, offset in ((pair.data, 5 * 512 + 77), (pair.meta, pair.tag_offset() + 5 * 32 + 31)):
            pair.flip(which, offset)
            found = self.expect(self.check(pair, "hmac-sha256", "--integrity-key-file", key, "--json"),
                                DIFFERENT).json
            self.assertEqual(found["mismatch_sectors"], 1)
            pair.flip(which, offset)
        # In the salt: no block matches any more.
        pair.flip(pair.meta, 48)
        found = self.expect(self.check(pair, "hmac-sha256", "--integrity-key-file", key, "--json"),
                            DIFFERENT).json
        self.assertEqual(found["mismatch_sectors"], 128)

    def test_superblock_mac(self) -> None:
        """A wrong key of journal_integrity, or a changed superblock, is no I/O error."""
        key, wrong = str(self.key_file()), str(self.key_file(WRONG, "wrong"))
        mac = ["--journal-integrity", "hmac-sha256", "--journal-integrity-key-file"]
        pair = self.formatted(*mac, key, data_size=64 * KIB, meta_size=256 * KIB)
        self.expect(self.check(pair, "crc32c", *mac, key), CLEAN)
        for words in ([wrong], [wrong, "--replay"]):
            self.expect_complaint(self.check(pair, "crc32c", *mac, *words), REFUSED,
                                  "does not match its MAC")
        self.expect_complaint(run("dump", pair.meta, *mac, wrong), REFUSED, "does not match its MAC")
        pair.flip(pair.meta, 32)  # recalc_sector
        self.expect_complaint(self.check(pair, "crc32c", *mac, key), REFUSED, "does not match its MAC")

    def test_tag_size(self) -> None:
        """Short keyed tags must be told where nothing protects the superblock; long ones need not."""
        key = ["--integrity-key-file", str(self.key_file())]
        mac = ["--journal-integrity", "hmac-sha256", "--journal-integrity-key-file", str(self.dir / "key")]
        cases: list[tuple[int, list[str], bool]] = [
            (31, [], True), (1, [], True), (32, [], False), (40, [], False), (7, mac, False),
            (7, [*mac, "--integrity-legacy-hmac"], True)]
        for size, words, needed in cases:
            with self.subTest(size=size, words=words):
                pair = self.formatted("--integrity", "hmac-sha256", *key, "--tag-size", str(size),
                                      *words, "--force", data_size=64 * KIB, meta_size=256 * KIB)
                keys = ["hmac-sha256", *key, *(word for word in words if "legacy" not in word)]
                for more in ([], ["--replay"]):
                    done = self.check(pair, *keys, *more)
                    if needed:
                        self.expect_complaint(done, REFUSED, f"tags of {size} bytes", "can be guessed")
                    else:
                        self.expect(done, CLEAN)
                    self.expect(self.check(pair, *keys, *more, "--tag-size", str(size)), CLEAN)
                    self.expect_complaint(self.check(pair, *keys, *more, "--tag-size", "20"), REFUSED,
                                          "and 20 are")

    def test_section_macs(self) -> None:
        """dump looks at those of all sections, also where the superblock has none."""
        key, wrong = str(self.key_file()), str(self.key_file(WRONG, "wrong"))
        mac = ["--journal-integrity", "hmac-sha256", "--journal-integrity-key-file"]
        crypt = ["--journal-crypt", "cbc-aes", "--journal-crypt-key-file", key]
        for words in ([], crypt):
            with self.subTest(words=words):
                pair = self.formatted(*mac, key, *words, "--integrity-legacy-hmac", "--journal-size",
                                      "400K", "--force", data_size=64 * KIB, meta_size=512 * KIB)
                dump = ["dump", pair.meta, *words, "--json"]
                facts = self.expect(run(*dump, *mac, key), CLEAN).json
                journal = facts["journal"]
                self.assertEqual((journal["bad_macs"], "first_bad_mac" in journal), (0, False))
                sections = journal["sections"]
                self.assertGreater(sections, 1)
                journal = self.expect(run(*dump, *mac, wrong), CLEAN).json["journal"]
                self.assertEqual((journal["bad_macs"], journal["first_bad_mac"]), (sections, 0))
                self.assertNotIn("bad_macs", self.expect(run(*dump), CLEAN).json["journal"])
                if not words:
                    # The sector of the second section's first entry.
                    pair.flip(pair.meta, 4096 + facts["geometry"]["journal_section_sectors"] * 512)
                    done = self.expect(run("dump", pair.meta, *mac, key), CLEAN)
                    self.assertRegex(done.out, r"\njournal_bad_macs +1\njournal_first_bad_mac +1\n")

    def test_places(self) -> None:
        """A descriptor, a credential, the beginning of a file."""
        pair = self.keyed()
        longer = self.key_file(KEY + b"and more", "longer")
        self.expect(self.check(pair, "hmac-sha256", "--integrity-key-file", longer), DIFFERENT)
        self.expect(self.check(pair, "hmac-sha256", "--integrity-key-file", longer,
                               "--integrity-key-size", "32"), CLEAN)
        self.expect(self.check(pair, "hmac-sha256", "--integrity-key", f"file:{self.dir}/key"), CLEAN)
        self.expect(run("check", pair.meta, "--data-device", pair.data, "-q", "--integrity",
                        "hmac-sha256", "--integrity-key", "credential:key",
                        env={"CREDENTIALS_DIRECTORY": str(self.dir)}), CLEAN)
        # /dev/stdin is a descriptor, too.
        typed = "a key that can be typed 01234567"
        pair = self.formatted("--integrity", "hmac-sha256", "--integrity-key-file",
                              str(self.key_file(typed.encode(), "typed")), data_size=64 * KIB,
                              meta_size=256 * KIB)
        for stdin, status in ((typed, CLEAN), ("x" * 32, DIFFERENT)):
            self.expect(run("check", pair.meta, "--data-device", pair.data, "-q", "--integrity",
                            "hmac-sha256", "--integrity-key", "fd:0", stdin=stdin), status)
        self.expect(self.check(pair, "hmac-sha256", "--integrity-key", "fd:77"), REFUSED,
                    "cannot be read from descriptor 77")

    def test_pipe(self) -> None:
        """A key that comes through a named pipe, late and in two pieces."""
        pair = self.keyed()
        pipe = self.dir / "pipe"
        os.mkfifo(pipe)

        def write() -> None:
            with pipe.open("wb", 0) as file:
                for piece in KEY[:10], KEY[10:]:
                    time.sleep(0.2)
                    file.write(piece)

        writer = threading.Thread(target=write)
        writer.start()
        self.expect(self.check(pair, "hmac-sha256", "--integrity-key-file", pipe), CLEAN)
        writer.join()

    def test_exposed(self) -> None:
        """A key that everybody may read is used, with a warning."""
        pair = self.keyed()
        key = self.dir / "key"
        for mode, warned in ((0o604, True), (0o602, True), (0o640, False)):
            key.chmod(mode)
            done = self.expect(self.check(pair, "hmac-sha256", "--integrity-key-file", key), CLEAN)
            self.assertEqual("chmod 600 it" in done.err, warned, str(done))

    def test_refused(self) -> None:
        """What is no place for a key; nothing is formatted, and no message repeats a key."""
        pair = self.pair(64 * KIB, 256 * KIB)
        before = (pair.data.read_bytes(), pair.meta.read_bytes())
        empty = self.key_file(b"", "empty")
        cases: list[tuple[list[str], int, str]] = [
            (["hmac-sha256"], USAGE, "needs a key"),
            (["sha256", "--integrity-key-file", str(self.key_file())], USAGE, "takes no key"),
            (["hmac-crc32c"], USAGE, "not known"),
            (["hmac-sha256", "--integrity-key", "00112233445566778899"], REFUSED,
             "never the key itself"),
            (["hmac-sha256", "--integrity-key", "keyring:logon:disk"], REFUSED, "only the kernel"),
            (["hmac-sha256", "--integrity-key-file", str(empty)], REFUSED, "empty"),
            (["hmac-sha256", "--integrity-key-file", "/no/such/file"], REFUSED, "cannot be read"),
            (["hmac-sha256", "--integrity-key-file", str(self.dir / "key"),
              "--integrity-key-size", "33"], REFUSED, "33 are wanted"),
            (["hmac-sha256", "--integrity-key-file", str(self.dir / "key"), "--integrity-key",
              "fd:0"], USAGE, "not both"),
        ]
        for words, status, says in cases:
            with self.subTest(words=words):
                outcome = run("format", pair.meta, "--data-device", pair.data, "-q", "--integrity",
                              *words)
                self.expect(outcome, status, says)
                self.assertNotIn("00112233", outcome.err)
        self.assertEqual(before, (pair.data.read_bytes(), pair.meta.read_bytes()))


if __name__ == "__main__":
    unittest.main()
