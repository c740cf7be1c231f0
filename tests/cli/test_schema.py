# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""What --json prints is what docs/schema says; and no schema is so wide that anything would do.

The schemas of status, scrub, recalculate and flush are tried by test_bus.py and in the lab; here they fail.
"""
import copy
import json
import unittest
from pathlib import Path
from typing import Any, Iterator

import jsonschema

from support import CLEAN, DIFFERENT, REFUSED, SOURCE, CliTest, Outcome, run

SCHEMAS = SOURCE / "docs" / "schema"

# Nobody is at the other end.
NO_BUS = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus"}


def validator(verb: str) -> Any:
    """The schema of a verb."""
    schema = json.loads((SCHEMAS / f"{verb}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def keys(value: Any) -> Iterator[str]:
    """All keys, on all levels."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


class Schemas(CliTest):
    """Every verb, when it goes well and when it does not."""

    def fits(self, verb: str, outcome: Outcome) -> None:
        """What was printed fits, and with a key more or less it would not."""
        schema = validator(verb)
        schema.validate(outcome.json)
        for key in keys(outcome.json):
            self.assertRegex(key, r"^[a-z][a-z0-9_]*$")
        for key in outcome.json:
            less = copy.deepcopy(outcome.json)
            del less[key]
            more = {**outcome.json, key + "x": 1}
            self.assertFalse(schema.is_valid(less) and schema.is_valid(more), key)

    def test_each_schema_is_one(self) -> None:
        """They are of the version that they say, and there is one for each of these."""
        names = sorted(Path(path).stem for path in SCHEMAS.glob("*.json"))
        self.assertEqual(names, ["check", "config", "doctor", "dump", "flush", "recalculate", "scrub", "status",
                                 "version"])
        for name in names:
            validator(name)

    def test_version_and_doctor(self) -> None:
        """They need nothing."""
        self.fits("version", run("version", "--json"))
        self.fits("doctor", run("doctor", "--json"))

    def test_check(self) -> None:
        """Clean, with bad blocks, and not to be opened."""
        pair = self.pair()
        self.expect(run("format", pair.meta, "--data-device", pair.data, "--yes"), CLEAN)
        words = ["check", str(pair.meta), "--data-device", str(pair.data), "--json"]
        done = self.expect(run(*words), CLEAN)
        self.fits("check", done)
        with pair.data.open("r+b") as data:
            data.seek(5 * 512)
            data.write(b"x" * 1024)
        done = self.expect(run(*words), DIFFERENT)
        self.fits("check", done)
        self.assertEqual(done.json["ranges"][0]["first_sector"], 5)
        self.fits("check", self.expect(run("check", self.dir / "none", "--data-device",
                                           pair.data, "--json"), REFUSED))

    def test_config(self) -> None:
        """Good and bad files, values, one key and all, and a string that is refused."""
        profile = self.dir / "p.conf"
        profile.write_text("[lun]\ndata=/dev/a\nmeta=/dev/b\nhash=hmac-sha256\n"
                           "integrity_key_file=/k\nintegrity_key_size=32\n")
        bad = self.dir / "integrity.conf"
        bad.write_text("[lun]\ncache_mb=0\nmode=x\n")
        words = ["--json", "--profile-dir", self.dir, "--defaults-file", self.dir / "none"]
        self.fits("config", self.expect(run("config", "check", profile, *words), CLEAN))
        self.fits("config", self.expect(run("config", "check", bad, profile, *words), DIFFERENT))
        self.fits("config", self.expect(run("config", "show", "profile=p", *words), CLEAN))
        self.fits("config", self.expect(run("config", "show", "profile=q", *words), REFUSED))
        self.fits("config", self.expect(run("config", "explain", *words), CLEAN))
        self.fits("config", self.expect(run("config", "explain", "mode", *words), CLEAN))

    def test_dump(self) -> None:
        """A pair, and something else."""
        pair = self.pair()
        self.expect(run("format", pair.meta, "--data-device", pair.data, "--yes"), CLEAN)
        self.fits("dump", self.expect(run("dump", pair.meta, "--json"), CLEAN))
        sealed = self.formatted("--journal-integrity", "sha256", "--force")
        self.fits("dump", self.expect(run("dump", sealed.meta, "--journal-integrity", "sha256", "--json"), CLEAN))
        self.fits("dump", self.expect(run("dump", pair.data, "--json"), REFUSED))

    def test_without_a_bus(self) -> None:
        """status, scrub and recalculate say why not, in one sentence."""
        for words in (["status"], ["scrub", "status", "x"], ["scrub", "start", "x"],
                      ["recalculate", "x"], ["flush", "x"]):
            done = self.expect_complaint(run(*words, "--json", env=NO_BUS), REFUSED,
                                         "no connection to the system bus")
            self.fits(words[0], done)
            self.assertEqual(done.json["error"]["errno"], "ENOTCONN")

    def test_metrics_without_a_bus(self) -> None:
        """They say that nobody could be asked, also in the file, of which nobody sees a half."""
        done = self.expect_complaint(run("metrics", env=NO_BUS), REFUSED, "system bus")
        self.assertIn("tcmu_integrity_up 0\n# EOF\n", done.out)
        file = self.dir / "tcmu.prom"
        file.write_text("old")
        before = file.stat().st_ino
        self.expect_complaint(run("metrics", "--output", file, env=NO_BUS), REFUSED, "system bus")
        self.assertEqual(file.read_text(), done.out)
        self.assertNotEqual(file.stat().st_ino, before)
        self.assertEqual([path.name for path in self.dir.iterdir()], ["tcmu.prom"])


if __name__ == "__main__":
    unittest.main()
