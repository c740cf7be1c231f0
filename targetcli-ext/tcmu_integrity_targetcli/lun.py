# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""An open LUN, as the handler shows it on the system bus (org.tcmu_integrity1)."""
import re
from typing import Any, Dict, List, Tuple

from gi.repository import Gio, GLib  # type: ignore[import]

NAME = "org.tcmu_integrity1"
INTERFACE = "org.tcmu_integrity1.Lun"
ROOT = "/org/tcmu_integrity1"
TIMEOUT_MS = 30000
NO_LIMIT_MS = 2 ** 31 - 1


class LunError(Exception):
    """Something is wrong; the text is a sentence for the user."""


def full_name(configfs_path: str) -> str:
    """user_N/NAME, from the backstore's directory in configfs: no two backstores have it."""
    return "/".join(configfs_path.rstrip("/").split("/")[-2:])


class Lun:
    """One LUN."""

    def __init__(self, name: str) -> None:
        """The full name."""
        self.full_name = name
        self.name = name.rpartition("/")[2]

    # pylint: disable-next=too-many-arguments
    def _send(self, path: str, interface: str, method: str, arguments: Any,
              timeout_ms: int = TIMEOUT_MS) -> Any:
        try:
            bus = Gio.bus_get_sync(Gio.BusType.SYSTEM, None)
            return bus.call_sync(NAME, path, interface, method, arguments, None,
                                 Gio.DBusCallFlags.NO_AUTO_START, timeout_ms, None)
        except GLib.Error as error:
            raise LunError(self._sentence(error)) from error

    def _find(self) -> Tuple[str, Dict[str, Any]]:
        """Its object's path, and its properties."""
        answer = self._send(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", None)
        for path, interfaces in answer.unpack()[0].items():
            facts: Dict[str, Any] = interfaces.get(INTERFACE, {})
            if facts.get("FullName") == self.full_name:
                return path, facts
        raise LunError(self._not_open())

    def _call(self, method: str, arguments: Any, timeout_ms: int = TIMEOUT_MS) -> None:
        self._send(self._find()[0], INTERFACE, method, arguments, timeout_ms)

    def _not_open(self) -> str:
        return (f"tcmu-runner has no open LUN {self.name}: its log, /var/log/tcmu-runner.log, says why "
                "it could not be opened")

    def _sentence(self, error: Any) -> str:
        remote = Gio.DBusError.get_remote_error(error) or ""
        if remote.endswith((".ServiceUnknown", ".NameHasNoOwner")):
            return ("tcmu-runner does not answer on the system bus as org.tcmu_integrity1: start it, "
                    "'systemctl start tcmu-runner', and look at 'tcmu-integrity doctor'")
        if remote.endswith((".UnknownObject", ".UnknownMethod")):
            return self._not_open()
        # GLib puts the error's name in front of the sentence.
        return f"{self.name}: " + re.sub(r"^GDBus\.Error:[\w.]+: ", "", str(error.message))

    def facts(self) -> Dict[str, Any]:
        """All properties by their names."""
        return self._find()[1]

    def scrub_start(self, rate: int, restart: bool) -> None:
        """In bytes per second, 0: no limit."""
        options = {"restart": GLib.Variant("b", restart)}
        if rate:
            options["rate"] = GLib.Variant("t", rate)
        self._call("ScrubStart", GLib.Variant("(a{sv})", (options,)))

    def scrub_set_rate(self, rate: int) -> None:
        """Of the one that runs; in bytes per second, 0: no limit."""
        self._call("ScrubSetRate", GLib.Variant("(t)", (rate,)))

    def scrub_stop(self) -> None:
        """It can be started again where it was."""
        self._call("ScrubStop", None)

    def recalculate(self, rate: int) -> None:
        """All tags anew; in bytes per second, 0: no limit. Until the pair says so, however long that takes."""
        options = {"rate": GLib.Variant("t", rate)} if rate else {}
        self._call("Recalculate", GLib.Variant("(a{sv})", (options,)), NO_LIMIT_MS)

    def flush(self) -> None:
        """Until everything is durable, however long that takes."""
        self._call("Flush", None, NO_LIMIT_MS)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _part(done: int, end: int) -> str:
    return f"{100 * done // end if end else 100}%"


def _latency(value: Tuple[int, int, int, Any]) -> str:
    count, total, longest = value[:3]
    if not count:
        return "none measured yet"
    return f"{count} measured, mean {total / count / 1e6:.2f} ms, longest {longest / 1e6:.2f} ms"


def _scrub(facts: Dict[str, Any]) -> str:
    text = str(facts["ScrubState"])
    if text == "never":
        return text
    text += f", {_part(facts['ScrubSector'], facts['ScrubEndSector'])}"
    if text.startswith("running"):
        text += f", {_mib(facts['ScrubRate'])}/s"
    text += f", {facts['ScrubBadSectors']} bad sectors"
    mended = facts.get("ScrubMendedSectors")  # a handler of before the package's upgrade has none
    if mended:
        text += f"; {mended} more have been mended since"
    return text


def summary(facts: Dict[str, Any]) -> str:
    """In a few words, and for the tree."""
    text = f"{facts['State']}, mode {facts['Mode']}, {facts['Mismatches']} mismatches"
    if facts["ScrubState"] == "running":
        text += f", scrub {_part(facts['ScrubSector'], facts['ScrubEndSector'])}"
    return text


def is_healthy(facts: Dict[str, Any]) -> bool:
    """Nothing has been found that somebody should look at."""
    return (facts["State"] != "failed" and not facts["Mismatches"] and not facts["ScrubBadSectors"]
            and not facts["IoErrorsData"] and not facts["IoErrorsMetadata"]
            and not facts["FlushFailedData"] and not facts["FlushFailedMetadata"])


def lines(facts: Dict[str, Any]) -> List[str]:
    """What an administrator wants to see."""
    rows = [
        ("state", f"{facts['State']}, mode {facts['Mode']}" + (", read-only" if facts["ReadOnly"] else "")),
        ("data device", facts["DataDevice"]),
        ("metadata device", facts["MetadataDevice"]),
        ("size", f"{_mib(facts['SizeBytes'])} of {_mib(facts['ProvidedBytes'])}, blocks of "
                 f"{facts['BlockSize']}"),
        ("tags", f"{facts['Hash']}, {facts['TagSize']} bytes"),
        ("mismatches", str(facts["Mismatches"])),
        ("I/O errors", f"{facts['IoErrorsData']} data, {facts['IoErrorsMetadata']} metadata"),
    ]
    for device in ("Data", "Metadata"):
        if facts[f"FlushFailed{device}"]:
            rows.append(("flush failed", f"{device.lower()} device: {facts[f'FlushFailed{device}']}"))
    if facts["Mode"] == "journal" and facts["JournalEntries"]:
        rows.append(("journal", f"{_part(facts['JournalUsedEntries'], facts['JournalEntries'])} of "
                                f"{facts['JournalEntries']} entries"))
    if facts["Mode"] == "bitmap" and facts["BitmapBits"]:
        rows.append(("bitmap", f"{facts['BitmapDirtyBits']} of {facts['BitmapBits']} regions dirty"))
    if facts["Recalculating"]:
        rows.append(("recalculation", _part(facts["RecalcSector"], facts["RecalcEndSector"])))
    rows.append(("scrub", _scrub(facts)))
    for first, sectors, kind in facts["ScrubBad"][:10]:
        rows.append(("", f"sectors {first} to {first + sectors - 1}: {kind}"))
    rows.append(("flushes", _latency(facts["FlushLatencyRound"])))
    return [f"{name:16} {value}".rstrip() for name, value in rows]
