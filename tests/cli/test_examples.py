# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""The manual page's EXAMPLES work as they stand there, with files in the place of the disks."""
import re
import shlex
import unittest

from support import CLEAN, MIB, SOURCE, CliTest, pattern, run


class Examples(CliTest):
    """One after the other, as a reader would."""

    def test_all(self) -> None:
        """Every command of the section ends with 0."""
        page = (SOURCE / "docs" / "tcmu-integrity.8.scd").read_text()
        section = page[page.index("\n# EXAMPLES\n"):page.index("\n# SEE ALSO\n")]
        commands = re.findall(r"^\$ tcmu-integrity (.*)$", section, re.M)
        self.assertGreaterEqual(len(commands), 6)
        disks: dict[str, str] = {}
        for command in commands:
            words = shlex.split(command)
            for i, word in enumerate(words):
                if word.startswith("/dev/"):
                    if word not in disks:
                        file = self.dir / f"disk{len(disks)}"
                        # The second of each pair is the data device.
                        file.write_bytes(pattern(4 * MIB) if len(disks) % 2 else bytes(4 * MIB))
                        disks[word] = str(file)
                    words[i] = disks[word]
            with self.subTest(command=command):
                self.expect(run(*words), CLEAN)
        self.assertEqual(len(disks), 4)


if __name__ == "__main__":
    unittest.main()
