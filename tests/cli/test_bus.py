# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""status, scrub and recalculate, when tcmu-runner or the bus does at a given moment what it does seldom.

At the other end of a bus of our own is bus_peer.py. With the handler itself all of this is tried in the lab.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any, Callable, List

import jsonschema

from support import (CLEAN, CLI, DIFFERENT, IO_ERROR, REFUSED, SOURCE, STOPPED, USAGE, CliTest, Outcome,
                     open_terminal, run)

LUN0 = "/org/tcmu_integrity1/lun/lun0"
READY = {"Name": "lun0", "State": "ready", "Mode": "journal", "DataDevice": "/dev/data",
         "MetadataDevice": "/dev/meta", "ScrubState": "finished", "SizeBytes": 1 << 20, "BlockSize": 512,
         "ScrubSector": 2048, "ScrubEndSector": 2048, "RecalcEndSector": 2048}


class Bus(CliTest):
    """A bus of our own, with one LUN on it."""

    def setUp(self) -> None:
        super().setUp()
        self.address = f"unix:path={self.dir}/bus"
        self.env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address}
        self.state = self.dir / "state"
        self.calls = self.dir / "state.calls"
        self.begun: List["subprocess.Popen[Any]"] = []
        self.addCleanup(self.end_all)
        self.has(**READY)
        self.daemon = self.start_bus()
        self.peer = self.start_peer()

    def begin(self, *words: str, **more: Any) -> "subprocess.Popen[Any]":
        """A process that the test ends."""
        # pylint: disable-next=consider-using-with
        self.begun.append(subprocess.Popen([str(word) for word in words], env=self.env, **more))
        return self.begun[-1]

    def end(self, process: "subprocess.Popen[Any]") -> None:
        """Kill it."""
        process.kill()
        process.communicate()

    def end_all(self) -> None:
        """Whatever happened."""
        for process in self.begun:
            if process.poll() is None:
                process.kill()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe and not pipe.closed:
                    pipe.close()
            process.wait()

    def start_bus(self) -> "subprocess.Popen[Any]":
        """It is there when it returns."""
        (self.dir / "bus").unlink(missing_ok=True)
        daemon = self.begin("dbus-daemon", "--session", f"--address={self.address}", "--nofork",
                            "--nopidfile", "--print-address", stdout=subprocess.PIPE)
        assert daemon.stdout
        self.assertTrue(daemon.stdout.readline())
        return daemon

    def start_peer(self) -> "subprocess.Popen[Any]":
        """Likewise."""
        self.calls.write_text("")
        peer = self.begin(sys.executable, "-B", str(Path(__file__).with_name("bus_peer.py")), self.address,
                          str(self.state))
        self.until(lambda: "there" in self.called())
        return peer

    def has(self, **values: Any) -> None:
        """From now on the LUN is like that."""
        self.have({LUN0: values})

    def have(self, luns: Any) -> None:
        """From now on these are the LUNs."""
        new = self.state.with_suffix(".new")
        new.write_text(json.dumps(luns))
        new.rename(self.state)

    def called(self) -> List[str]:
        """What came over the bus so far."""
        return self.calls.read_text().splitlines()

    def looks(self) -> int:
        """How often the LUNs were asked for."""
        return self.called().count("look")

    def until(self, what: Callable[[], Any], seconds: float = 20) -> None:
        """Wait for it."""
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def ask(self, *words: str, status: int = CLEAN) -> Outcome:
        """Run the program to its end."""
        return self.expect(run(*words, env=self.env), status)

    def fits(self, verb: str, text: str) -> Any:
        """One object, by the schema."""
        schema = json.loads((SOURCE / "docs" / "schema" / f"{verb}.json").read_text())
        value = json.loads(text)
        jsonschema.Draft202012Validator(schema).validate(value)
        return value


class Waiting(Bus):
    """--wait outlives what the work outlives."""

    def wait_for(self, *words: str) -> "Waiter":
        """Begin to."""
        return Waiter(self, [*words, "--wait", "--json", "--batch-mode"])

    def test_a_start_is_no_end(self) -> None:
        """Neither of a recalculation nor of a scrub."""
        for words in (["recalculate", "lun0"], ["scrub", "start", "lun0"]):
            with self.subTest(words=words):
                self.has(**{**READY, "Recalculating": True, "ScrubState": "running"})
                waiter = self.wait_for(*words)
                waiter.looks(3)
                self.has(**{**READY, "State": "starting", "ScrubState": "never", "RecalcEndSector": 0})
                waiter.says("waiting for the start of the LUN, 600 s at most")
                waiter.looks(3)
                self.has(**{**READY, "Recalculating": True, "ScrubState": "running"})
                waiter.looks(3)
                self.has(**READY)
                self.assertIsNone(waiter.ends(CLEAN)["error"])
                # Once, not at every look.
                self.assertEqual(waiter.told().count("waiting for"), 1, waiter.told())

    def test_tcmu_runner_is_started_anew(self) -> None:
        """And has to read first where the scrub was."""
        self.has(**{**READY, "ScrubState": "running"})
        waiter = self.wait_for("scrub", "start", "lun0")
        waiter.looks(2)
        self.end(self.peer)
        waiter.says("waiting for tcmu-runner, 120 s at most: tcmu-runner does not run")
        self.has(**{**READY, "ScrubState": "never"})
        self.start_peer()
        waiter.says("waiting for tcmu-runner to go on with it")
        waiter.looks(2)
        self.has(**{**READY, "ScrubState": "running"})
        waiter.looks(2)
        self.has(**READY)
        self.assertEqual(waiter.ends(CLEAN)["scrub"]["state"], "finished")

    def test_the_bus_is_started_anew(self) -> None:
        """With a new tcmu-runner, or the same."""
        self.has(**READY, Recalculating=True)
        waiter = self.wait_for("recalculate", "lun0")
        waiter.looks(2)
        self.end(self.daemon)
        waiter.says("waiting for tcmu-runner, 120 s at most: ")
        time.sleep(1)
        self.assertIsNone(waiter.process.poll())
        self.end(self.peer)
        self.start_bus()
        self.start_peer()
        waiter.looks(2)
        self.has(**READY)
        self.assertFalse(waiter.ends(CLEAN)["recalculation"]["active"])

    def test_it_is_not_waited_for_ever(self) -> None:
        """A LUN that is deleted comes back soon or not."""
        self.has(**READY, Recalculating=True)
        waiter = self.wait_for("recalculate", "lun0")
        waiter.looks(2)
        self.have({})
        waiter.says("waiting for the LUN, 5 s at most: tcmu-runner serves no LUN 'lun0'")
        self.assertEqual(waiter.ends(REFUSED)["error"]["errno"], "ENOENT")

    def test_a_start_that_fails_ends_it(self) -> None:
        """Nobody will go on with it."""
        self.has(**READY, Recalculating=True)
        waiter = self.wait_for("recalculate", "lun0")
        waiter.looks(2)
        self.has(**{**READY, "State": "failed"})
        self.assertIn("could not be started", waiter.ends(REFUSED)["error"]["message"])

    def test_the_wait_can_be_stopped(self) -> None:
        """While it runs, and while it cannot be seen."""
        self.has(**READY, Recalculating=True)
        waiter = self.wait_for("recalculate", "lun0")
        waiter.looks(3)  # before the method, after it, and while it waits
        waiter.process.send_signal(signal.SIGINT)
        self.assertTrue(waiter.ends(STOPPED)["recalculation"]["active"])
        waiter = self.wait_for("recalculate", "lun0")
        waiter.looks(2)
        self.end(self.peer)
        waiter.says("waiting for tcmu-runner")
        waiter.process.send_signal(signal.SIGTERM)
        self.assertEqual(waiter.ends(STOPPED)["error"]["errno"], "ECANCELED")


class Waiter:
    """A command that waits."""

    def __init__(self, test: Bus, words: List[str]) -> None:
        self.test, self.verb = test, words[0]
        self.log = test.dir / "stderr"
        with self.log.open("w") as stderr:
            self.process = test.begin(CLI, *words, stdout=subprocess.PIPE, stderr=stderr, text=True)

    def looks(self, times: int) -> None:
        """It has asked that often from now on."""
        wanted = self.test.looks() + times
        self.test.until(lambda: self.test.looks() >= wanted)
        self.test.assertIsNone(self.process.poll())

    def told(self) -> str:
        """On stderr."""
        return self.log.read_text()

    def says(self, text: str) -> None:
        """Soon, and goes on."""
        self.test.until(lambda: text in self.told())

    def ends(self, status: int) -> Any:
        """So, with an object that fits."""
        out, _ = self.process.communicate(timeout=30)
        self.test.assertEqual(self.process.returncode, status, self.told())
        return self.test.fits(self.verb, out)


class Question(Bus):
    """Nothing is recalculated without a yes."""

    def at_terminal(self, answer: str, *words: str) -> Outcome:
        """Type an answer."""
        parent, child = open_terminal()
        with os.fdopen(parent, "wb", buffering=0) as terminal, os.fdopen(child, "rb", buffering=0) as stdin:
            with subprocess.Popen([CLI, "recalculate", "lun0", *words], stdin=stdin, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, env=self.env) as process:
                terminal.write(answer.encode())
                out, err = process.communicate(timeout=30)
        return Outcome(subprocess.CompletedProcess([], process.returncode, out, err))

    def asked(self) -> bool:
        """Was the method called?"""
        return any(line.startswith("Recalculate") for line in self.called())

    def test_yes_and_no(self) -> None:
        """Only YES is one; either way there is one object."""
        for answer in ("no\n", "yes\n", "\n", "\x04"):
            done = self.expect(self.at_terminal(answer, "--json"), REFUSED, "Type YES", "nothing was changed")
            self.assertEqual(self.fits("recalculate", done.out)["error"]["errno"], "ECANCELED")
        self.assertFalse(self.asked())
        done = self.expect(self.at_terminal("YES\n", "--json"), CLEAN, "/dev/data now counts as good")
        self.fits("recalculate", done.out)
        self.assertTrue(self.asked())

    def test_nobody_to_ask(self) -> None:
        """Whatever stdin says."""
        done = self.expect(run("recalculate", "lun0", "--json", stdin="YES\n", env=self.env), USAGE,
                           "nobody can be asked, stdin is no terminal: nothing was changed; give --yes")
        self.assertEqual(self.fits("recalculate", done.out)["error"]["errno"], "ENOTTY")
        self.assertFalse(self.asked())

    def test_what_is_known_to_be_bad_is_said(self) -> None:
        """And how well it is known."""
        for state, bad, says in (
                ("never", 0, "No scrub has looked for bad blocks yet"),
                ("running", 7, "scrub that runs has found, so far, 7 bad sectors, which nobody will find"),
                ("stopped", 0, "last scrub, which did not come to the end, found 0 bad sectors."),
                ("finished", 2, "last scrub found 2 bad sectors, which nobody will find"),
                ("finished", 0, "last scrub found 0 bad sectors.\n")):
            with self.subTest(state=state, bad=bad):
                self.has(**{**READY, "ScrubState": state, "ScrubBadSectors": bad})
                self.expect(self.at_terminal("no\n"), REFUSED, says)


class Names(Bus):
    """A LUN has two names, and a twin takes one of them away from both."""

    def test_full_names(self) -> None:
        """Always, and the short one while it is somebody's."""
        self.has(**READY, FullName="user_3/lun0")
        for name in ("lun0", "user_3/lun0"):
            done = self.ask("status", name, "--json")
            lun = self.fits("status", done.out)["luns"][0]
            self.assertEqual((lun["name"], lun["full_name"]), ("lun0", "user_3/lun0"))
        self.expect_complaint(run("status", "user_4/lun0", env=self.env), REFUSED, "it serves lun0")
        self.have({f"{LUN0}_{hba}": {**READY, "Name": f"user_{hba}/lun0", "FullName": f"user_{hba}/lun0"}
                   for hba in (3, 4)})
        done = self.expect_complaint(run("status", "lun0", env=self.env), REFUSED,
                                     "more than one LUN is called 'lun0': say user_3/lun0 or user_4/lun0")
        for hba in (3, 4):
            self.assertIn(f"user_{hba}/lun0:", self.ask("status", f"user_{hba}/lun0").out)
        self.assertEqual(self.fits("status", run("status", "lun0", "--json", env=self.env).out)["error"]["errno"],
                         "ENOTUNIQ")


class Methods(Bus):
    """What is asked for is what was typed."""

    def test_rates(self) -> None:
        """With units, or none; of a scrub that starts or runs, and of a recalculation."""
        self.ask("scrub", "start", "lun0", "--rate", "2M", "--restart")
        self.ask("scrub", "start", "lun0")
        done = self.ask("scrub", "rate", "lun0", "--rate", "1GiB", "--json")
        self.fits("scrub", done.out)
        self.ask("scrub", "rate", "lun0")
        self.ask("recalculate", "lun0", "--rate", "65536", "--yes")
        self.assertEqual([line for line in self.called() if " " in line],
                         ["ScrubStart lun0 rate=2097152 restart=1", "ScrubStart lun0",
                          f"ScrubSetRate lun0 rate={1 << 30}", "ScrubSetRate lun0 rate=0",
                          "Recalculate lun0 rate=65536"])

    def test_flush(self) -> None:
        """And how it fails."""
        self.assertEqual(self.ask("flush", "lun0").out, "lun0: all that was acknowledged is durable\n")
        self.assertEqual(self.fits("flush", self.ask("flush", "lun0", "--json").out)["name"], "lun0")
        self.assertEqual(self.called().count("Flush lun0"), 2)
        self.has(**READY, FlushFailedData="Input/output error")
        done = self.expect_complaint(run("flush", "lun0", "--json", env=self.env), IO_ERROR,
                                     "lun0: the flush failed")
        self.assertEqual(self.fits("flush", done.out)["error"]["errno"], "EIO")


class Counts(Bus):
    """What could not be read is counted for people and for programs."""

    def test_of_a_recalculation(self) -> None:
        """In status and recalculate, and by the exit status."""
        self.has(**READY, Counters={"recalc_unreadable_sectors": 8, "recalc_mismatches": 3})
        done = self.ask("recalculate", "lun0", "--yes", "--json", status=IO_ERROR)
        wanted = {"active": False, "sector": 0, "end_sector": 2048, "mismatches": 3, "unreadable_sectors": 8}
        self.assertEqual(self.fits("recalculate", done.out)["recalculation"], wanted)
        done = self.ask("status", "lun0", "--json")
        self.assertEqual(self.fits("status", done.out)["luns"][0]["recalculation"], wanted)
        for words in (["status", "lun0"], ["recalculate", "lun0", "--yes"]):
            self.assertIn("8 sectors could not be read and keep their old tags",
                          run(*words, env=self.env).out)

    def test_of_a_scrub(self) -> None:
        """In status and scrub."""
        self.has(**READY, ScrubBadSectors=10, ScrubMendedSectors=3, ScrubUnreadableSectors=8, ScrubBadRanges=1,
                 ScrubBad=[(100, 8, "data_unreadable")])
        done = self.ask("scrub", "status", "lun0", "--json", status=DIFFERENT)
        scrub = self.fits("scrub", done.out)["scrub"]
        self.assertEqual((scrub["unreadable_sectors"], scrub["mended_sectors"]), (8, 3))
        done = self.ask("status", "--json", status=DIFFERENT)
        self.assertEqual(self.fits("status", done.out)["luns"][0]["scrub"]["unreadable_sectors"], 8)
        self.assertIn("10 bad sectors in 1 places, 8 of them unreadable; 3 more have been mended since",
                      self.ask("scrub", "status", "lun0", status=DIFFERENT).out)


if __name__ == "__main__":
    unittest.main()
