# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""What docs/guide.md says is so: sizes, messages, pictures, links."""
from __future__ import annotations

import re
import subprocess
import sys
import unittest
from pathlib import Path

from support import CLEAN, GIB, MIB, REFUSED, SOURCE, CliTest, run

GUIDE = (SOURCE / "docs" / "guide.md").read_text()
PICTURES = SOURCE / "docs" / "pictures"


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", GUIDE, re.M | re.S)
    assert section, heading
    rows = re.findall(r"^\|(.*)\|$", section.group(1), re.M)[2:]
    return [[cell.strip() for cell in row.split("|")] for row in rows]


class Guide(CliTest):
    """Against the program and its sources."""

    def sparse(self, data_size: int, meta_size: int) -> tuple[Path, Path]:
        """Two files that hold nothing."""
        files = self.dir / "data", self.dir / "meta"
        for file, size in zip(files, (data_size, meta_size)):
            with file.open("wb") as out:
                out.truncate(size)
        return files

    def test_sizes_are_those_that_format_makes(self) -> None:
        """On files that hold nothing."""
        rows = table("Sizing")
        self.assertGreaterEqual(len(rows), 6)
        for size, block, digest, tags, journal in rows:
            number, unit = size.split()
            data, meta = self.sparse(int(number) * {"GiB": GIB, "TiB": 1024 * GIB}[unit], 16 * GIB)
            self.expect(run("format", meta, "--data-device", data, "--no-wipe", "--yes", "-q",
                            "--integrity", digest, "--sector-size", block), CLEAN)
            geometry = run("dump", meta, "--json").json["geometry"]
            with self.subTest(size=size, block=block, digest=digest):
                self.assertEqual(geometry["tag_bytes"], int(tags.split()[0]) * MIB)
                self.assertEqual(round(geometry["journal_bytes"] / MIB), int(journal.split()[0]))

    def test_a_small_metadata_device_shrinks_the_journal(self) -> None:
        """And one that takes not even one section is refused."""
        sizes = []
        for meta_size, status in ((64 * MIB, CLEAN), (9 * MIB, CLEAN), (4 * MIB, REFUSED)):
            data, meta = self.sparse(GIB, meta_size)
            self.expect(run("format", meta, "--data-device", data, "--no-wipe", "--yes", "-q"), status)
            if not status:
                geometry = run("dump", meta, "--json").json["geometry"]
                self.assertEqual(geometry["provided_sectors"] * 512, GIB)
                sizes.append(geometry["journal_bytes"])
        self.assertLess(sizes[1], sizes[0])

    def test_a_larger_metadata_device_takes_a_copy(self) -> None:
        """What 'Replacing a metadata device' does."""
        pair = self.formatted()
        with pair.meta.open("ab") as meta:
            meta.truncate(3 * MIB)
        self.expect(run("check", pair.meta, "--data-device", pair.data), CLEAN)

    def test_messages_are_in_the_sources(self) -> None:
        """Word by word."""
        text = " ".join(path.read_text() for room in ("common", "handler")
                       for path in sorted((SOURCE / room).glob("*.c")))
        text = re.sub(r'"\s*(?:PRI\w+\s*)?"', "", text)
        rows = table("What messages mean")
        self.assertGreaterEqual(len(rows), 15)
        for row in rows:
            for message in re.findall(r"`([^`]+)`", row[0]):
                for part in message.split("..."):
                    part = part.strip()
                    # Put together of a format and a word: "is %s by %s", "tag mismatch on %s".
                    part = re.sub(r"^is (in use|locked) by$", r"\1", part)
                    part = re.sub(r"^(tag mismatch on) (read|scrub)$", r"\1", part)
                    self.assertIn(part, text)

    def test_all_messages_are_in_the_guide(self) -> None:
        """Each that is a warning or an error, by its beginning."""
        known = [part.strip() for row in table("What messages mean") for message in re.findall(r"`([^`]+)`", row[0])
                 for part in message.split("...") if len(part.strip()) >= 10]
        found = 0
        for path in sorted(path for room in ("common", "handler") for path in (SOURCE / room).glob("*.c")):
            text = re.sub(r'"\s*(?:PRI\w+\s*)?"', "", path.read_text())
            for level, message in re.findall(r'TI_LOG_(WARN|ERR)\b[^"]{0,40}"([^"]+)"', text):
                # A sentence of others', or the line itself.
                if message == "refused: %s" or message.startswith("%s"):
                    continue
                found += 1
                # A word may be put in.
                message = re.sub(r"^tag mismatch on %s", "tag mismatch on read", message)
                message = re.sub(r"^io_flusher=%s", "io_flusher=no", message)
                message = re.sub(r"op=%s device=%s", "op=", message)
                with self.subTest(level=level, file=path.name, message=message):
                    self.assertTrue(any(part in message for part in known))
        self.assertGreaterEqual(found, 40)

    def test_pictures_are_those_that_the_script_draws(self) -> None:
        """Every byte."""
        subprocess.run([sys.executable, "-B", str(PICTURES / "make"), str(self.dir)], check=True)
        drawn = sorted(path.name for path in self.dir.glob("*.svg"))
        self.assertEqual(drawn, sorted(path.name for path in PICTURES.glob("*.svg")))
        for name in drawn:
            self.assertEqual((self.dir / name).read_text(), (PICTURES / name).read_text(), name)
            self.assertIn(f"](pictures/{name})", GUIDE)

    def test_links_lead_somewhere(self) -> None:
        """In the guide, to files."""
        for link in re.findall(r"\]\(([^)#]+)", GUIDE):
            self.assertTrue((SOURCE / "docs" / link).exists(), link)

    def test_options_exist(self) -> None:
        """Each --option of ours that is named in a command of ours."""
        known = {"--" + option for verb in ("format", "check", "status", "scrub", "metrics", "dump")
                 for option in re.findall(r"--([a-z-]+)", run(verb, "--help").out)}
        known |= {"--integrity-no-journal", "--integrity-bitmap-mode"}  # integritysetup's
        for option in re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", GUIDE):
            if option not in ("--now", "--clear"):
                self.assertIn(option, known)


if __name__ == "__main__":
    unittest.main()
