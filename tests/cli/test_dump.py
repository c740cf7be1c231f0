# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""dump: the same facts for people, for programs, and as integritysetup has them."""
import re
import subprocess
import tarfile
import unittest

from support import CLEAN, DIFFERENT, REFUSED, SOURCE, CliTest, Words, run

GOLDEN = SOURCE / "tests" / "golden"

# Image: --start, version, tag, block, sections, provided, flags, journal state, sequence numbers.
IMAGES = {
    "B_crc32c_512.act": (0, 3, 4, 512, None, 2048, ["dirty_bitmap"], "bitmap", None),
    "B_crc32c_512.clean": (0, 3, 4, 512, None, 2048, [], "empty", {"0"}),
    "D_crc32c_4k.clean": (0, 2, 4, 4096, None, 2048, [], "empty", {"0"}),
    "J_hmac_fix.act": (16, 5, 32, 512, 5, 2048, ["journal_mac", "fix_hmac"], "full_ring", "22221"),
    "J_hmac_fix.clean": (16, 5, 32, 512, 5, 2048, ["journal_mac", "fix_hmac"], "empty", "33332"),
    "J_sha256_4k.act": (0, 2, 32, 4096, 5, 2048, [], "full_ring", "11111"),
    "J_sha256_4k.clean": (0, 2, 32, 4096, 5, 2048, [], "empty", "22222"),
    "J_wrap.act": (0, 2, 4, 512, 3, 2048, [], "full_ring", "221"),
    "J_wrap.clean": (0, 2, 4, 512, 3, 2048, [], "empty", "332"),
    "c2.cid": (0, 2, 4, 512, 3, 2048, [], "damaged", ["bad", "0", "0"]),
    "c3.torn": (0, 2, 4, 512, 4, 2048, [], "partial_ring", ["1", "mixed", "0", "0"]),
    "c6.b": (0, 2, 4, 512, 3, 4096, [], "empty", "000"),
}


class DumpTest(CliTest):
    """With the golden images at hand."""

    def unpack(self, name: str) -> None:
        """NAME.data and NAME.meta into the test's directory."""
        with tarfile.open(GOLDEN / f"{name}.tar.xz") as tar:
            for suffix in ("data", "meta"):
                file = tar.extractfile(f"{name}.{suffix}")
                assert file
                (self.dir / f"{name}.{suffix}").write_bytes(file.read())


class Golden(DumpTest):
    """Images that the kernel made."""

    def test_dump(self) -> None:
        """Each image's superblock and journal, as its README says."""
        for name, (start, version, tag, block, sections, provided, flags, state,
                   sequence) in IMAGES.items():
            with self.subTest(image=name):
                self.unpack(name)
                meta = self.dir / f"{name}.meta"
                facts = self.expect(run("dump", meta, "--start", str(start), "--json"), CLEAN).json
                sb = facts["superblock"]
                self.assertEqual(
                    (sb["version"], sb["integrity_tag_size"], sb["sector_size"],
                     sb["provided_data_sectors"], sb["flags"], facts["journal"]["state"]),
                    (version, tag, block, provided, flags, state))
                if sections is not None:
                    self.assertEqual(sb["journal_sections"], sections)
                seen = facts["journal"].get("sequence")
                if isinstance(sequence, set):
                    self.assertEqual(set(seen), sequence)
                elif sequence is not None:
                    self.assertEqual(seen, list(sequence))
                text = self.expect(run("dump", meta, "--start", str(start)), CLEAN).out
                self.assertRegex(text, rf"\njournal_state +{state}\n")

    def test_check(self) -> None:
        """Those that need no key: what was never written, and no more."""
        for name, bad in (("J_wrap.clean", {"never_written": 1688}),
                          # The newest version counts, in the journal too.
                          ("J_wrap.act", {"never_written": 1688}),
                          ("c3.torn", {"never_written": 1898}),
                          ("B_crc32c_512.clean", {"never_written": 1688}),
                          ("D_crc32c_4k.clean", {"never_written": 211 * 8}),
                          ("J_sha256_4k.act", {"never_written": 211 * 8}),
                          ("J_sha256_4k.clean", {"never_written": 211 * 8})):
            with self.subTest(image=name):
                self.unpack(name)
                found = self.expect(run("check", self.dir / f"{name}.meta", "--data-device",
                                        self.dir / f"{name}.data", "--integrity",
                                        "sha256" if "sha256" in name else "crc32c",
                                        "--json"), DIFFERENT).json
                for kind in ("mismatch", "never_written", "data_unreadable", "tag_unreadable"):
                    self.assertEqual(found[f"{kind}_sectors"], bad.get(kind, 0))
                self.assertEqual(found["checked_sectors"], 2048)
        # Discarded sectors have a filler for a tag, which only matches where discards are allowed.
        self.unpack("c6.b")
        found = self.expect(run("check", self.dir / "c6.b.meta", "--data-device",
                                self.dir / "c6.b.data", "--json"), DIFFERENT).json
        self.assertEqual([(r["kind"], r["first_sector"], r["length_sectors"])
                          for r in found["ranges"]],
                         [("discarded", 10, 20), ("discarded", 3000, 20)])
        found = self.expect(run("check", self.dir / "c6.b.meta", "--data-device",
                                self.dir / "c6.b.data", "--json", "--allow-discards"), CLEAN).json
        self.assertEqual((found["discarded_sectors"], found["ranges"]), (40, []))
        found = self.expect(run("check", self.dir / "c6.b.meta", "--data-device",
                                self.dir / "c6.b.data", "--allow-discards"), CLEAN)
        self.assertIn("discarded: 40 sectors (20.0 KiB)\n", found.out)
        self.assertIn("match their tags or are discarded\n", found.out)

    def test_dirty_bitmap(self) -> None:
        """Tags of dirty regions are neither good nor bad; dump counts the regions."""
        name = "B_crc32c_512.act"
        self.unpack(name)
        meta, data = self.dir / f"{name}.meta", self.dir / f"{name}.data"
        facts = self.expect(run("dump", meta, "--json"), CLEAN).json["journal"]
        self.assertEqual((facts["bitmap_regions"], facts["bitmap_dirty"]), (32, 2))
        self.assertRegex(run("dump", meta).out, r"\nbitmap_dirty +2\n")
        found = self.expect(run("check", meta, "--data-device", data, "--json"), DIFFERENT).json
        self.assertEqual(found["unsettled_sectors"], 128)
        self.assertEqual(found["never_written_sectors"], 1600)
        self.assertEqual(found["mismatch_sectors"], 0)
        # Nothing is to be replayed, and the bitmap stays.
        before = meta.read_bytes()
        self.expect(run("check", meta, "--data-device", data, "--replay"), DIFFERENT)
        self.assertEqual(meta.read_bytes(), before)

    def test_check_refuses(self) -> None:
        """Those whose tags cannot be judged."""
        for name, says in (("c2.cid", "damaged"),):
            with self.subTest(image=name):
                self.unpack(name)
                self.expect_complaint(run("check", self.dir / f"{name}.meta", "--data-device",
                                          self.dir / f"{name}.data"), REFUSED, says)


class Facts(CliTest):
    """Our own pairs."""

    def test_as_integritysetup(self) -> None:
        """integritysetup dump and ours print the same fields with the same values."""
        shapes: list[list[str]] = [
            [], ["--sector-size", "4096", "--tag-size", "2"],
            ["--integrity-legacy-hmac", "--bitmap-sectors-per-bit", "256"],
        ]
        for words in shapes:
            with self.subTest(words=words):
                pair = self.formatted(*words)
                theirs = subprocess.run(["integritysetup", "dump", str(pair.meta)], check=True,
                                        capture_output=True, text=True).stdout
                ours = run("dump", pair.meta).out
                fields = re.findall(r"^([a-z]\w*) (\S.*?) *$", theirs, re.M)
                self.assertGreaterEqual(len(fields), 7)
                for name, value in fields:
                    self.assertRegex(ours, rf"(?m)^{name} +{value}( |$)")

    def test_text_and_json_agree(self) -> None:
        """Every number of the text is in the object, under the same name."""
        pair = self.formatted("--start", "8", "--journal-size", "400K")
        text = dict(re.findall(r"^(\w+) {2,}(\d+)(?: \(.*\))?$",
                               run("dump", pair.meta, "--start", "8").out, re.M))
        facts = run("dump", pair.meta, "--start", "8", "--json").json
        flat = {**facts["superblock"], **facts["geometry"],
                **{f"journal_{key}": value for key, value in facts["journal"].items()},
                "superblock_version": facts["superblock"]["version"]}
        # A single sequence number, which the object has in a list.
        text.pop("journal_sequence", None)
        self.assertGreater(len(text), 14)
        for name, value in text.items():
            self.assertEqual(int(value), flat[name], name)

    def test_json_is_complete(self) -> None:
        """The keys are stable: an addition is added here, nothing is removed."""
        pair = self.formatted()
        facts = run("dump", pair.meta, "-j").json
        self.assertEqual(list(facts), ["metadata_device", "start_sector", "superblock", "geometry",
                                       "journal", "store_files", "error"])
        self.assertEqual(set(facts["superblock"]), {
            "version", "log2_interleave_sectors", "integrity_tag_size", "journal_sections",
            "provided_data_sectors", "sector_size", "log2_blocks_per_bitmap", "bitmap_bit_sectors",
            "flags_value", "flags", "recalc_sector", "salt"})
        self.assertEqual(set(facts["geometry"]), {
            "block_size", "provided_sectors", "initial_sectors", "journal_offset", "journal_bytes",
            "journal_section_sectors", "journal_section_entries", "journal_entry_size", "tag_offset",
            "tag_bytes", "buffer_sectors"})
        self.assertEqual(set(facts["journal"]), {
            "state", "sections", "sequence", "used_entries", "replay_entries", "replay_sections",
            "replay_first"})
        self.assertIsNone(facts["error"])
        self.assertEqual(facts["superblock"]["salt"], pair.superblock().salt.hex())
        found = pair.check("-j").json
        self.assertEqual(set(found), {
            "metadata_device", "data_device", "start_sector", "integrity", "block_size", "tag_size",
            "salted", "provided_sectors", "checked_sectors", "complete", "clean",
            "mismatch_sectors", "never_written_sectors", "data_unreadable_sectors",
            "tag_unreadable_sectors", "discarded_sectors", "unsettled_sectors", "ranges_total", "ranges_listed", "store_files",
            "ranges", "seconds", "error"})

    def test_failures_are_objects_too(self) -> None:
        """An error comes as an object with errno and sentence."""
        gone = self.dir / "gone"
        calls: list[Words] = [["dump", gone, "--json"], ["check", gone, "--data-device", gone, "-j"]]
        for words in calls:
            done = run(*words)
            self.assertEqual(done.status, REFUSED)
            self.assertEqual(done.json["error"]["errno"], "ENOENT")
            self.assertIn(str(gone), done.json["error"]["message"])

    def test_what_does_not_fit_is_shown(self) -> None:
        """A superblock larger than its device: shown, with the reason, and status 3."""
        pair = self.formatted()
        with pair.meta.open("r+b") as file:
            file.truncate(16384)
        done = run("dump", pair.meta, "--json")
        self.assertEqual(done.status, REFUSED)
        self.assertEqual(done.json["superblock"]["provided_data_sectors"], 2048)
        self.assertIsNone(done.json["geometry"])
        self.assertIn(done.json["error"]["message"], done.err)


if __name__ == "__main__":
    unittest.main()
