# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""Help, manual page and completion tell the same; mistakes in the call are named."""
from __future__ import annotations

import re
import subprocess
import unittest
from pathlib import Path

from support import CLEAN, SOURCE, USAGE, CliTest, Words, run

VERBS = ["format", "dump", "check", "config", "status", "scrub", "recalculate", "flush", "metrics",
         "doctor", "version"]


def help_options(verb: str) -> dict[str, str]:
    """Long option to short one ("" if there is none), from --help."""
    found = re.findall(r"^  (?:-(\w),|   ) (--[a-z-]+)", run(verb, "--help").out, re.M)
    return {name: letter for letter, name in found}


def help_defaults(verb: str) -> dict[str, str]:
    """Long option to its default, from --help."""
    text = re.sub(r"\n {20,}", " ", run(verb, "--help").out)
    return dict(re.findall(r"^ +(?:-\w, )?(--[a-z-]+) .*\(default: ([^)]*)\)$", text, re.M))


def man_section(verb: str) -> str:
    """The manual page's section about a verb."""
    page = (SOURCE / "docs" / "tcmu-integrity.8.scd").read_text()
    match = re.search(rf"^# {verb.upper()}\n(.*?)(?=^# )", page, re.M | re.S)
    assert match, verb
    return match.group(1)


def man_options(verb: str) -> dict[str, str]:
    """Long option to short one, from the manual page's option lists."""
    found = re.findall(r"^(?:\*-(\w)\*, )?\*(--[a-z-]+)\*", man_section(verb), re.M)
    return {name: letter for letter, name in found}


def man_defaults(verb: str) -> dict[str, str]:
    """Long option to the sentence with its default."""
    out = {}
    for name, text in re.findall(r"^(?:\*-\w\*, )?\*(--[a-z-]+)\*[^\n]*\n((?:\t[^\n]*\n)+)",
                                 man_section(verb), re.M):
        match = re.search(r"(Default: .*|There is no default)", re.sub(r"\s+", " ", text))
        if match:
            out[name] = match.group(1)
    return out


def completed(line: str) -> list[str]:
    """What bash offers at the end of a line."""
    words = line.split(" ")
    script = f"""
        _init_completion() {{
            words=({' '.join(repr(word) for word in words)}); cword={len(words) - 1}
            cur={words[-1]!r}; prev={words[-2] if len(words) > 1 else ''!r}
        }}
        _filedir() {{ COMPREPLY=(FILES); }}
        . "$1"; _tcmu_integrity; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script, "bash",
                           str(SOURCE / "cli" / "completion" / "tcmu-integrity")],
                          capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return done.stdout.split()


class SameEverywhere(unittest.TestCase):
    """One list of options, three places."""

    def test_verbs(self) -> None:
        """The list of verbs."""
        listed = re.findall(r"^  ([a-z]+) ", run("--help").out, re.M)
        self.assertEqual(listed, VERBS)
        self.assertEqual(sorted(completed("tcmu-integrity ")),
                         sorted(VERBS + ["--help", "--version"]))
        page = (SOURCE / "docs" / "tcmu-integrity.8.scd").read_text()
        self.assertEqual(re.findall(r"^\*tcmu-integrity (\w+)\*", page, re.M), VERBS)

    def test_options(self) -> None:
        """Each verb's options, long and short."""
        for verb in VERBS:
            with self.subTest(verb=verb):
                options = help_options(verb)
                self.assertIn("--help", options)
                self.assertEqual(options, man_options(verb))
                self.assertEqual(set(options), set(completed(f"tcmu-integrity {verb} --")))

    def test_defaults(self) -> None:
        """Every option but --help has its default in the manual page, and it is help's."""
        for verb in VERBS:
            in_man = man_defaults(verb)
            for name in help_options(verb):
                if name != "--help":
                    self.assertIn(name, in_man, verb)
            for name, value in help_defaults(verb).items():
                with self.subTest(verb=verb, name=name):
                    for word in re.findall(r"[0-9a-zA-Z/]+", value):
                        self.assertIn(word, in_man[name])

    def test_help_is_narrow_and_short_options_are_few(self) -> None:
        """Only -h -v -q -y -j; no line over 100 columns."""
        for verb in VERBS:
            self.assertLessEqual(set(help_options(verb).values()), set("hvqyj") | {""})
            for line in run(verb, "--help").out.splitlines():
                self.assertLessEqual(len(line), 100, line)

    def test_names_on_dbus(self) -> None:
        """The manual page has those of the interface, and no others."""
        interface = (SOURCE / "handler" / "dbus" / "org.tcmu_integrity1.xml").read_text()
        section = man_section("d-bus")
        for name in re.findall(r'<(?:method|signal) name="(\w+)"', interface):
            self.assertRegex(section.split("```")[0], rf"\b{name}\b")
        self.assertEqual(sorted(section.split("```")[1].split()),
                         sorted(re.findall(r'<property name="(\w+)"', interface)))

    def test_page_renders(self) -> None:
        """scdoc takes the page."""
        with (SOURCE / "docs" / "tcmu-integrity.8.scd").open() as page:
            done = subprocess.run(["scdoc"], stdin=page, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(".SH EXIT STATUS", done.stdout)


class Completion(unittest.TestCase):
    """Values and operands."""

    def test_values(self) -> None:
        """Block sizes, digests, files, and nothing where only the user knows."""
        self.assertEqual(completed("tcmu-integrity format m --sector-size "),
                         ["512", "1024", "2048", "4096"])
        self.assertEqual(completed("tcmu-integrity check --integrity c"), ["crc32c", "crc32"])
        self.assertEqual(completed("tcmu-integrity check m --data-device "), ["FILES"])
        self.assertEqual(completed("tcmu-integrity dump "), ["FILES"])
        self.assertEqual(completed("tcmu-integrity doctor "), [])
        self.assertEqual(completed("tcmu-integrity format --tag-size "), [])
        self.assertEqual(completed("tcmu-integrity ch"), ["check"])
        self.assertEqual(completed("tcmu-integrity config "), ["check", "show", "explain"])
        self.assertEqual(completed("tcmu-integrity scrub "), ["start", "stop", "rate", "status"])
        self.assertEqual(completed("tcmu-integrity metrics --output "), ["FILES"])
        self.assertEqual(completed("tcmu-integrity config check "), ["FILES"])
        self.assertEqual(completed("tcmu-integrity config --profile-dir "), ["FILES"])


class Mistakes(CliTest):
    """Wrong words: status 2, one sentence, nothing on stdout."""

    def test_words(self) -> None:
        """Unknown verbs, unknown and incomplete options, wrong values."""
        pair = self.pair()
        before = pair.digest()
        form: list[str | Path] = ["format", pair.meta, "--data-device", pair.data, "--yes"]
        cases: list[tuple[Words, str]] = [
            ([], "a verb is missing"),
            (["formt"], "no verb 'formt'"),
            (["--frobnicate"], "no verb '--frobnicate'"),
            ([""], "no verb ''"),
            (["dump"], "META is missing"),
            (["dump", "a", "b"], "'b' is one operand too many"),
            (["doctor", "a"], "'a' is one operand too many"),
            (["format", pair.meta, "--yes"], "--data-device DATA is missing"),
            (["scrub"], "start, stop, rate or status"),
            (["scrub", "begin", "x"], "'begin' is not start, stop, rate or status"),
            (["scrub", "start"], "the name of the LUN is missing"),
            (["scrub", "stop", "x", "--restart"], "goes with start only"),
            (["scrub", "status", "x", "--rate", "1M"], "goes with start and rate only"),
            (["scrub", "stop", "x", "--wait"], "goes with start and status only"),
            (["scrub", "start", "x", "--rate", "100"], "from 65536 to 1099511627776, not 100"),
            (["scrub", "rate", "x", "--rate", "2T"], "from 65536 to 1099511627776, not 2T"),
            (["scrub", "start", "x", "--rate", "0"], "from 65536 to 1099511627776, not 0"),
            (["recalculate", "x", "--rate", "1MB"], "may end in K, M, G or T, not '1MB'"),
            (["flush"], "the name of the LUN is missing"),
            (["flush", "x", "y"], "one operand too many"),
            (["scrub", "start", "x", "y"], "one operand too many"),
            (["recalculate"], "the name of the LUN is missing"),
            (["recalculate", "x", "y"], "one operand too many"),
            (["status", "--watch", "--json"], "--watch is for people"),
            (["status", "--interval", "0"], "from 1 to 3600, not 0"),
            (["metrics", "--listen", "65536"], "from 1 to 65535"),
            (["metrics", "--listen", "1", "--output", "x"], "do not go together"),
            ([*form, "--frobnicate"], "no option --frobnicate"),
            ([*form, "--frobnicate=1"], "no option --frobnicate=1"),
            ([*form, "-x"], "no option -x"),
            ([*form, "--integrity"], "--integrity needs a value: --integrity NAME"),
            ([*form, "--force=yes"], "--force takes no value"),
            ([*form, "--b"], "--b could be any of several options"),
            ([*form, "--integrity", "md5"], "'md5' is not known here"),
            ([*form, "--integrity", ""], "empty value"),
            ([*form, "--sector-size", "768"], "512, 1024, 2048 or 4096, not 768"),
            ([*form, "--sector-size", "8192"], "from 512 to 4096, not 8192"),
            ([*form, "--sector-size", "4k"], "takes a number, not '4k'"),
            ([*form, "--tag-size", "0"], "from 1 to 255, not 0"),
            ([*form, "--tag-size", "256"], "from 1 to 255, not 256"),
            ([*form, "--tag-size", "-1"], "takes a number, not '-1'"),
            ([*form, "--tag-size", " 4"], "takes a number, not ' 4'"),
            ([*form, "--tag-size", "18446744073709551616"], "from 1 to 255"),
            ([*form, "--journal-size", "1KB"], "may end in K, M, G or T, not '1KB'"),
            ([*form, "--journal-size", "M"], "not 'M'"),
            ([*form, "--journal-size", "1Mx"], "not '1Mx'"),
            ([*form, "--journal-size", "16777216T"], "not 16777216T"),
            ([*form, "--journal-size", "0"], "from 512"),
            ([*form, "--start", "18014398509481984"], "not 18014398509481984"),
            ([*form, "--buffer-sectors", "0"], "from 1"),
            ([*form, "--bitmap-sectors-per-bit", "48"], "a power of two, not 48"),
            ([*form, "--keep-data", "--no-wipe"], "give one of them"),
            ([*form, "--keep-data", "--recalculate"], "give one of them"),
            ([*form, "--recalculate", "--no-wipe"], "give one of them"),
        ]
        for words, says in cases:
            with self.subTest(words=words[-2:]):
                done = self.expect_complaint(run(*words), USAGE, says)
                self.assertEqual(done.out, "")
                self.assertIn("--help", done.err)
        self.assertEqual(pair.digest(), before)

    def test_help(self) -> None:
        """--help and -h on every level, whatever else is wrong."""
        for words in (["--help"], ["-h"], ["help"]):
            self.assertIn("verbs:", self.expect(run(*words), CLEAN).out)
        for verb in VERBS:
            for word in ("--help", "-h"):
                self.assertIn(f"usage: tcmu-integrity {verb}",
                              self.expect(run(verb, word), CLEAN).out)
        self.assertIn("tag-size", self.expect(run("format", "a", "b", "c", "--help"), CLEAN).out)

    def test_version(self) -> None:
        """Three ways to the version."""
        version = self.expect(run("--version"), CLEAN).out
        self.assertRegex(version, r"^tcmu-integrity \d+\.\d+\.\d+, for tcmu-runner 1\.5\.\d+\n$")
        self.assertEqual(run("version").out, version)
        facts = run("version", "--json").json
        self.assertEqual(f"tcmu-integrity {facts['version']}, for tcmu-runner "
                         f"{facts['tcmu_runner']}\n", version)

    def test_options_after_a_double_dash_are_operands(self) -> None:
        """-- ends the options."""
        self.expect_complaint(run("dump", "--", "--start"), 3, "--start does not exist")


if __name__ == "__main__":
    unittest.main()
