# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""Every verb, well and badly called, under valgrind: no error, nothing lost."""
import os
import unittest

import support
from support import CLEAN, DIFFERENT, IO_ERROR, KIB, REFUSED, USAGE, CliTest, run

# What GLib's libraries keep for ever is reachable; leaks are what nothing points to.
VALGRIND = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full",
            "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]


class Memory(CliTest):
    """A wrapper in front of every call."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(setattr, support, "WRAPPER", support.WRAPPER)
        support.WRAPPER = VALGRIND

    def test_well(self) -> None:
        """format in its three ways, dump, check."""
        pair = self.pair(128 * KIB)
        self.expect(pair.format("--keep-data"), CLEAN)
        self.expect(run("dump", pair.meta), CLEAN)
        self.expect(run("dump", pair.meta, "--json"), CLEAN)
        self.expect(pair.check(), CLEAN)
        pair.flip(pair.data, 700)
        self.expect(pair.check(), DIFFERENT)
        self.expect(pair.check("--json"), DIFFERENT)
        self.expect(pair.format("--force", "--no-wipe"), CLEAN)
        self.expect(pair.format("--force", "--sector-size", "4096", "-q"), CLEAN)

    def test_badly(self) -> None:
        """Refusals and mistakes."""
        pair = self.formatted()
        self.expect(pair.format(), REFUSED)
        self.expect(run("dump", self.dir / "gone", "--json"), REFUSED)
        self.expect(run("format", pair.meta, "--frobnicate"), USAGE)
        self.expect(run("check", "--help"), CLEAN)
        os.truncate(pair.data, 512)
        self.expect(pair.check("--json"), REFUSED)
        self.assertIn(run("doctor").status, (CLEAN, DIFFERENT))
        self.assertIn(run("doctor", "--json").status, (CLEAN, DIFFERENT))
        self.assertNotEqual(run("version", "--json").status, IO_ERROR)


if __name__ == "__main__":
    unittest.main()
