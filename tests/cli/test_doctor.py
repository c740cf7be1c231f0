# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""doctor: it always finds the same things to look at.  That it is right about them, the lab shows."""
import unittest

from support import CLEAN, DIFFERENT, CliTest, run

SUBJECTS = [
    "root", "configfs", "target_core_mod", "target_core_user", "iscsi_target_mod", "tcm_loop",
    "configfs_mounted", "netlink_family", "settings_files", "targetcli", "reservations_directory",
    "tcmu_runner_version", "dbus", "tcmu_runner", "leftover_files", "handler", "io_uring", "locked_memory", "io_flusher",
    "io_flusher_threads", "locked_by_luns",
]
# Without the first of these the others cannot be seen.
CHAIN = ["dbus", "tcmu_runner", "handler"]
# Only where LUNs are served, or have been.
LUNS = ["leftover_files", "io_flusher_threads", "locked_by_luns"]


class Doctor(CliTest):
    """On whatever machine this is."""

    def test_json(self) -> None:
        """Every subject is there, with a state; what is missing has a command."""
        done = run("doctor", "--json")
        facts = done.json
        self.assertEqual(set(facts), {"ready", "missing", "notes", "findings"})
        states = {f["subject"]: f["state"] for f in facts["findings"]}
        seen = [s for s in SUBJECTS if s in states]
        self.assertEqual([f["subject"] for f in facts["findings"]], seen)
        for subject in set(SUBJECTS) - set(seen) - set(LUNS):
            self.assertIn(subject, CHAIN[1:])
            self.assertEqual(states[CHAIN[len(set(CHAIN) & set(seen)) - 1]], "missing")
        for finding in facts["findings"]:
            self.assertEqual(set(finding), {"subject", "state", "text", "mend"})
            self.assertIn(finding["state"], ("ok", "note", "missing"))
            if finding["state"] == "missing":
                self.assertTrue(finding["mend"], finding)
            if finding["state"] == "ok":
                self.assertIsNone(finding["mend"])
        missing = list(states.values()).count("missing")
        self.assertEqual(facts["missing"], missing)
        self.assertEqual(facts["notes"], list(states.values()).count("note"))
        self.assertEqual(facts["ready"], missing == 0)
        self.assertEqual(done.status, DIFFERENT if missing else CLEAN)

    def test_text(self) -> None:
        """The same findings for people."""
        facts = run("doctor", "--json").json
        done = run("doctor")
        for finding in facts["findings"]:
            mark = {"ok": "ok", "note": "note", "missing": "MISSING"}[finding["state"]]
            self.assertIn(f"{mark:<8} {finding['text']}\n", done.out)
            if finding["mend"]:
                self.assertIn(f"         mend it with: {finding['mend']}\n", done.out)
        self.assertEqual(done.err, "")

    def test_no_bus(self) -> None:
        """A system bus that is not there is said, and nothing is waited for."""
        done = run("doctor", "--json",
                   env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.dir}/none"})
        self.expect(done, DIFFERENT)
        found = {f["subject"]: f for f in done.json["findings"]}
        self.assertEqual(found["dbus"]["state"], "missing")
        self.assertNotIn("tcmu_runner", found)


if __name__ == "__main__":
    unittest.main()
