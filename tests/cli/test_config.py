# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""config check, show and explain; the examples that are installed; and the manual page about them."""
from __future__ import annotations

import os
import re
import subprocess
import unittest
from pathlib import Path
from typing import Any

from support import CLEAN, CLI, DIFFERENT, REFUSED, SOURCE, USAGE, CliTest, Outcome, run

EXAMPLES = SOURCE / "config" / "examples"


def explained() -> dict[str, Any]:
    """What is said of each key."""
    return {key["key"]: key for key in run("config", "explain", "--json").json["keys"]}


class Files(CliTest):
    """With settings files of our own."""

    def setUp(self) -> None:
        super().setUp()
        self.defaults = self.dir / "integrity.conf"
        self.profiles = self.dir / "integrity.d"
        self.profiles.mkdir()

    def config(self, *words: str | Path) -> Outcome:
        """Run it on these files."""
        return run("config", *words, "--defaults-file", self.defaults, "--profile-dir", self.profiles)

    def profile(self, name: str, text: str) -> Path:
        """Write a profile."""
        path = self.profiles / f"{name}.conf"
        path.write_text(text)
        return path

    def test_all_files_are_checked_in_order(self) -> None:
        """Without words: the defaults file, then all profiles by name."""
        done = self.expect(self.config("check"), CLEAN)
        self.assertIn("built-in values count", done.out)
        self.defaults.write_text("[lun]\ncache_mb=0\nmeta=/dev/b\n")
        bad = self.profile("a", "[lun]\ndata=/dev/a\nmeta=/dev/b\nmode=x\n")
        good = self.profile("b", "[lun]\ndata=/dev/a\nmeta=/dev/b\n")
        self.profile(".hidden", "x")
        (self.profiles / "notes.txt").write_text("x")
        done = self.expect(self.config("check"), DIFFERENT)
        self.assertEqual(done.out.splitlines(), [
            f"{self.defaults}:2: cache_mb=0 is not a number from 1 to 65536 (MiB)",
            f"{self.defaults}:3: meta is a matter of each pair; put it into profiles or config strings",
            f"{bad}:4: mode=x is unknown; it can be: journal, direct, bitmap, recovery",
            f"{good}: good"])
        facts = self.expect(self.config("check", "-j"), DIFFERENT).json
        self.assertFalse(facts["good"])
        self.assertEqual([item["kind"] for item in facts["checked"]],
                         ["defaults", "profile", "profile"])
        self.assertEqual([item["problems_total"] for item in facts["checked"]], [2, 1, 0])
        self.assertEqual(facts["checked"][1]["problems"][0]["errno"], "EINVAL")

    def test_nothing_is_said_of_files_that_were_not_seen(self) -> None:
        """A directory of profiles that cannot be read is not an empty one."""
        self.profiles.rmdir()
        self.profiles.write_text("x")
        done = self.expect_complaint(self.config("check"), REFUSED, "integrity.d cannot be read: Not a directory")
        self.assertEqual(done.out, "")
        self.assertEqual(list(self.expect(self.config("check", "-j"), REFUSED).json), ["error"])

    def test_a_long_string_is_measured_whole(self) -> None:
        """Not what fitted into somebody's buffer."""
        self.expect_complaint(self.config("show", f"/dev/{'x' * 5000};meta=/dev/b"), REFUSED,
                              f"has {len('integrity//dev/;meta=/dev/b') + 5000} bytes")

    def test_strings_and_files_are_told_apart(self) -> None:
        """What is checked is what was meant."""
        path = self.profile("a", "[lun]\ndata=/dev/a\n")
        kinds = [item["kind"] for item in self.config(
            "check", "-j", "/dev/a;meta=/dev/b", "integrity//dev/a;meta=/dev/b", "profile=a",
            str(path), str(EXAMPLES / "integrity.conf")).json["checked"]]
        self.assertEqual(kinds, ["config_string"] * 3 + ["profile", "defaults"])
        done = self.expect(self.config("check", "profile=a", str(self.dir / "none.conf")), DIFFERENT)
        self.assertIn("the metadata device is missing", done.out)
        self.assertIn("none.conf: the file cannot be read: No such file", done.out)

    def test_show_tells_who_says_so(self) -> None:
        """Text and JSON tell the same."""
        self.defaults.write_text("[lun]\ncache_mb=64\ncommit_time=5\n")
        path = self.profile("a", "[lun]\ndata=/dev/a\nmeta=/dev/b\nhash=hmac-sha256\n"
                                 "integrity_key_file=/etc/k\ncommit_time=6\n")
        text = self.expect(self.config("show", "profile=a;mode=direct"), CLEAN).out
        lines = {line.split()[0]: line.split(None, 2)[1:] for line in text.splitlines()}
        self.assertEqual(lines["cache_mb"], ["64", f"{self.defaults}:2"])
        self.assertEqual(lines["commit_time"], ["6", f"{path}:6"])
        self.assertEqual(lines["integrity_key"], ["file:/etc/k", f"{path}:5"])
        self.assertEqual(lines["mode"], ["direct", "config string"])
        self.assertEqual(lines["queue_depth"], ["128", "built in"])
        facts = self.config("show", "--json", "integrity/profile=a;mode=direct").json
        self.assertEqual(facts["config_string"], "integrity/profile=a;mode=direct")
        self.assertEqual(facts["profile_file"], str(path))
        values = {value["key"]: value for value in facts["values"]}
        self.assertEqual(values["cache_mb"], {"key": "cache_mb", "value": 64, "from": "defaults",
                                              "file": str(self.defaults), "line": 2})
        self.assertIsNone(values["recalculate_rate"]["value"])
        for name, (value, _) in lines.items():
            self.assertEqual(str(values[name]["value"]), value)

    def test_show_refuses_what_the_handler_refuses(self) -> None:
        """One sentence, and an object that says so."""
        done = self.expect_complaint(self.config("show", "/dev/a;meta=/dev/a", "-j"), REFUSED,
                                     "they must be two devices")
        self.assertEqual(done.json["error"]["errno"], "EINVAL")
        self.expect_complaint(self.config("show"), USAGE, "takes one config string")
        self.expect_complaint(self.config("show", "a", "b"), USAGE, "takes one config string")
        self.expect_complaint(self.config("shew"), USAGE, "there is no 'config shew'")
        self.expect_complaint(self.config(), USAGE, "check, show and explain")

    def test_a_directory_that_cannot_be_read_is_told(self) -> None:
        """It is not taken for an empty one."""
        self.profiles.rmdir()
        self.profiles.write_text("")
        self.expect_complaint(self.config("check"), REFUSED, "cannot be read: Not a directory")


class Explain(CliTest):
    """Keys."""

    def test_one_and_all(self) -> None:
        """The list, one of it, and none."""
        listed = [line.split()[0] for line in run("config", "explain").out.splitlines()]
        self.assertEqual(listed, list(explained()))
        text = self.expect(run("config", "explain", "commit_time"), CLEAN).out
        for word in ("1 to 3600000 (ms)", "10000", "the defaults file, profiles, config strings"):
            self.assertIn(word, text)
        self.assertLessEqual(max(map(len, text.splitlines())), 82)
        self.expect_complaint(run("config", "explain", "comit_time"), USAGE,
                              "did you mean 'commit_time'?")
        self.expect_complaint(run("config", "explain", "x"), USAGE, "there is no key 'x'")
        self.expect_complaint(run("config", "explain", "a", "b"), USAGE, "takes one key")

    def test_manual_page_says_the_same(self) -> None:
        """Each key is there, with its default and where it may stand."""
        page = (SOURCE / "docs" / "tcmu-integrity.conf.5.scd").read_text().replace("\\_", "_")
        found = {}
        for names, places, text in re.findall(
                r"^(\*[a-z_]+\*(?:, \*[a-z_]+\*)*) \(([dps]+)\)\n((?:\t[^\n]*\n)+)", page, re.M):
            default = re.search(r"Default: (\w[^.,]*)", re.sub(r"\s+", " ", text))
            assert default, names
            for name in re.findall(r"[a-z_]+", names):
                found[name] = (places, default.group(1))
        letters = {"defaults": "d", "profile": "p", "config_string": "s"}
        wanted = {}
        for name, key in explained().items():
            default = "none" if key["default"] is None else str(key["default"])
            wanted[name] = ("".join(letters[place] for place in key["stands_in"]), default)
        wanted["sectors_per_bit"] = ("ps", "as the pair was formatted")
        self.assertEqual(found, wanted)


class Examples(CliTest):
    """What is installed as an example, and the manual page's."""

    def test_files_are_good(self) -> None:
        """All of them."""
        files = sorted(EXAMPLES.glob("*.conf"))
        self.assertGreaterEqual(len(files), 3)
        self.expect(run("config", "check", *files), CLEAN)

    def test_comments_hold_the_defaults(self) -> None:
        """The defaults file shows every key that it may hold, at its built-in value."""
        text = (EXAMPLES / "integrity.conf").read_text()
        shown = dict(re.findall(r"^#([a-z_]+)=(.*)$", text, re.M))
        for name, key in explained().items():
            if "defaults" in key["stands_in"]:
                self.assertIn(name, shown)
                if key["default"] is not None:
                    self.assertEqual(shown[name], str(key["default"]))

    def test_manual_page_examples_work(self) -> None:
        """Typed as they stand there, with a directory of ours for /etc."""
        page = (SOURCE / "docs" / "tcmu-integrity.conf.5.scd").read_text()
        section = page[page.index("\n# EXAMPLES\n"):page.index("\n# SEE ALSO\n")]
        commands = re.findall(r"^\$ (.*)$", section, re.M)
        self.assertGreaterEqual(len(commands), 5)
        script = "\n".join(commands).replace("/etc/tcmu", str(self.dir))
        script = script.replace("tcmu-integrity config", f'"$TI_CLI" config --defaults-file '
                                f'{self.dir}/integrity.conf --profile-dir {self.dir}/integrity.d')
        done = subprocess.run(["sh", "-e", "-c", script], capture_output=True, text=True,
                              check=False, env={**os.environ, "TI_CLI": CLI})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"cache_mb                64                        {self.dir}", done.stdout)
        self.assertIn("disk1.conf: good", done.stdout)


if __name__ == "__main__":
    unittest.main()
