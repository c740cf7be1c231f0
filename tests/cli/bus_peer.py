# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""What is at the other end of the bus, as handler/dbus/org.tcmu_integrity1.xml describes it.

bus_peer.py ADDRESS FILE has the name org.tcmu_integrity1 on that bus. FILE holds, as JSON, {object path: {property:
value}}, and is read whenever somebody asks; properties that it does not give are empty. Methods that were called go
to FILE.calls, a line each, and whoever asks for the LUNs leaves a line there, too. The handler itself is tried in the
lab; this one does at a given moment what the handler does seldom.
"""
from __future__ import annotations

import json
import os
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any, Dict

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

NAME = "org.tcmu_integrity1"
LUN = NAME + ".Lun"

EMPTY: Dict[str, Any] = {
    "s": dbus.String(""), "b": dbus.Boolean(False), "u": dbus.UInt32(0), "t": dbus.UInt64(0),
    "a(tts)": dbus.Array([], signature="(tts)"), "a{st}": dbus.Dictionary({}, signature="st"),
    "(ttta(tt))": dbus.Struct((0, 0, 0, dbus.Array([], signature="(tt)")), signature="ttta(tt)"),
}


def properties() -> Dict[str, str]:
    """Their types, from the description."""
    source = Path(os.environ["TI_SOURCE"]) / "handler" / "dbus" / f"{NAME}.xml"
    return {row.attrib["name"]: row.attrib["type"]
            for row in xml.etree.ElementTree.parse(source).iter("property")}


def typed(signature: str, value: Any) -> Any:
    """As the bus wants it."""
    if signature == "a{st}":
        return dbus.Dictionary({key: dbus.UInt64(one) for key, one in value.items()}, signature="st")
    if signature == "a(tts)":
        return dbus.Array([dbus.Struct(one, signature="tts") for one in value], signature="(tts)")
    return {"s": dbus.String, "b": dbus.Boolean, "u": dbus.UInt32, "t": dbus.UInt64}[signature](value)


class Peer:
    """The file, and the calls."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.types = properties()

    def luns(self) -> Any:
        """The answer to GetManagedObjects."""
        self.note("look")
        return {dbus.ObjectPath(path): {LUN: {
            name: typed(signature, values[name]) if name in values else EMPTY[signature]
            for name, signature in self.types.items()}} for path, values in self.read().items()}

    def read(self) -> Any:
        """What there is now."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    def note(self, line: str) -> None:
        """For the test to read."""
        with open(f"{self.path}.calls", "a", encoding="utf-8") as calls:
            print(line, file=calls)


class Manager(dbus.service.Object):  # type: ignore[misc]
    """/org/tcmu_integrity1"""

    def __init__(self, bus: Any, peer: Peer) -> None:
        super().__init__(bus, "/org/tcmu_integrity1")
        self.peer = peer

    @dbus.service.method("org.freedesktop.DBus.ObjectManager",  # type: ignore[misc]
                         out_signature="a{oa{sa{sv}}}")
    def GetManagedObjects(self) -> Any:  # pylint: disable=invalid-name
        """See the specification of D-Bus."""
        return self.peer.luns()


class Lun(dbus.service.Object):  # type: ignore[misc]
    """One object; what its methods do is the test's business."""

    def __init__(self, bus: Any, path: str, peer: Peer) -> None:
        super().__init__(bus, path)
        self.peer, self.path = peer, path

    def _note(self, method: str, options: Any = None) -> None:
        words = [f"{key}={int(value)}" for key, value in sorted((options or {}).items())]
        self.peer.note(" ".join([method, self.path.rpartition("/")[2], *words]))

    @dbus.service.method(LUN, in_signature="a{sv}")  # type: ignore[misc]
    def ScrubStart(self, options: Any) -> None:  # pylint: disable=invalid-name
        """Note it."""
        self._note("ScrubStart", options)

    @dbus.service.method(LUN, in_signature="a{sv}")  # type: ignore[misc]
    def Recalculate(self, options: Any) -> None:  # pylint: disable=invalid-name
        """Note it."""
        self._note("Recalculate", options)

    @dbus.service.method(LUN)  # type: ignore[misc]
    def ScrubStop(self) -> None:  # pylint: disable=invalid-name
        """Note it."""
        self._note("ScrubStop")

    @dbus.service.method(LUN, in_signature="t")  # type: ignore[misc]
    def ScrubSetRate(self, rate: Any) -> None:  # pylint: disable=invalid-name
        """Note it."""
        self._note("ScrubSetRate", {"rate": rate})

    @dbus.service.method(LUN)  # type: ignore[misc]
    def Flush(self) -> None:  # pylint: disable=invalid-name
        """Note it; it fails where one has failed."""
        self._note("Flush")
        if self.peer.read()[self.path].get("FlushFailedData"):
            raise dbus.DBusException("the flush failed", name=f"{NAME}.Error.FlushFailed")


def main() -> None:
    """See above."""
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    bus = dbus.bus.BusConnection(sys.argv[1])
    peer = Peer(sys.argv[2])
    objects = [Manager(bus, peer)]
    objects += [Lun(bus, path, peer) for path in peer.read()]
    bus.request_name(NAME)
    peer.note("there")
    GLib.MainLoop().run()
    del objects


main()
