# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""targetcli's create knows every key of a config string, and its words. (The rest is tried in the lab.)"""
from __future__ import annotations

import inspect
import sys
import unittest
from types import SimpleNamespace
from typing import Any

from support import CLI, SOURCE, CliTest, run

sys.path.insert(0, str(SOURCE / "targetcli-ext"))

# pylint: disable=wrong-import-position
from tcmu_integrity_targetcli import backstore, hook, lun, pair  # noqa: E402


class Stock:
    """In the place of targetcli's classes."""

    def __init__(self, parent: Any, name: str) -> None:
        self.parent = parent
        self.name = name


def stock_module() -> Any:
    """Classes of its own for each test: they are changed."""
    return SimpleNamespace(UIUserBackedBackstore=type("UIUserBackedBackstore", (Stock,), {}),
                           UIUserBackedStorageObject=type("UIUserBackedStorageObject", (Stock,), {}))


class Keys(CliTest):
    """Against 'config explain'."""

    def test_every_key_of_a_string_is_a_parameter(self) -> None:
        """And no other is, but those of targetcli and our own."""
        create = backstore.integrity_backstore(stock_module()).ui_command_create
        names = inspect.getfullargspec(create).args[1:]
        # Stock's come first, in stock's order: they may be given without their names.
        stock = ["name", "size", "cfgstring", "wwn", "hw_max_sectors", "control"]
        self.assertEqual(names[:len(stock)], stock)
        keys = [key["key"] for key in run("config", "explain", "--json").json["keys"]
                if "config_string" in key["stands_in"]]
        self.assertEqual(sorted(names[len(stock):]),
                         sorted([*keys, "data", "profile", "block_size", "format", "yes"]))

    def test_words_are_those_of_the_keys(self) -> None:
        """What is completed is what is accepted."""
        for key in run("config", "explain", "--json").json["keys"]:
            if key["words"]:
                self.assertEqual(backstore.WORDS[key["key"]], key["words"])
            if key["key"] == "hash":
                self.assertEqual(", ".join(backstore.WORDS["hash"]), key["range"])

    def test_config_strings_are_put_together(self) -> None:
        """In the order in which they are read."""
        self.assertEqual(backstore.config_string("/a", "/b", None, {"mode": "direct", "hash": None}),
                         "/a;meta=/b;mode=direct")
        self.assertEqual(backstore.config_string(None, None, "db", {"cache_mb": "3"}),
                         "profile=db;cache_mb=3")
        for words in ((None, "/b", None), ("/a", None, None), ("/a", "/b", "p")):
            with self.assertRaises(backstore.ExecutionError):
                backstore.config_string(*words, {})
        self.assertEqual(backstore.with_block_size(None, 512), "hw_block_size=512")
        self.assertEqual(backstore.with_block_size("max_data_area_mb=8", 4096),
                         "max_data_area_mb=8,hw_block_size=4096")
        self.assertEqual(backstore.with_block_size("hw_block_size=4096", 512), "hw_block_size=4096")


class Make(CliTest):
    """A pair is formatted as the LUN is going to be opened."""

    def test_what_the_configuration_says_is_formatted(self) -> None:
        """Short keyed tags, which the handler opens only if it was told."""
        ours = self.pair()
        key = self.dir / "key"
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
        tool, pair.TOOL = pair.TOOL, CLI
        try:
            pair.make({"meta": str(ours.meta), "data": str(ours.data), "hash": "hmac(sha256)",
                       "tag_size": "16", "integrity_key": f"file:{key}"}, "4096", True)
        finally:
            pair.TOOL = tool
        self.assertEqual((ours.superblock().tag_size, ours.superblock().block_size), (16, 4096))


class Hook(unittest.TestCase):
    """Whose class is changed, and whose is not."""

    def test_only_our_handler_gets_our_class(self) -> None:
        """Others stay as they were."""
        module = stock_module()
        stock = module.UIUserBackedBackstore
        hook.install(module)
        self.assertIs(type(stock(None, "file")), stock)
        ours = stock(None, "integrity")
        self.assertIsNot(type(ours), stock)
        self.assertIsInstance(ours, stock)
        self.assertEqual((ours.parent, ours.name), (None, "integrity"))

    def test_full_names_are_the_handlers(self) -> None:
        """As in configfs."""
        self.assertEqual(lun.full_name("/sys/kernel/config/target/core/user_3/lun0"), "user_3/lun0")
        self.assertEqual(lun.Lun("user_3/lun0").name, "lun0")

    def test_rates_are_the_tools(self) -> None:
        """Its units, and its limits."""
        self.assertEqual([backstore.rate_of(text) for text in (None, "65536", "64k", "2M", "1GiB", "1T")],
                         [0, 65536, 65536, 2 << 20, 1 << 30, 1 << 40])
        for text in ("", "M", "many", "-1", "1.5M", "2MB", "1 M", "\u0661M"):
            with self.assertRaisesRegex(backstore.ExecutionError, "is no number of bytes per second"):
                backstore.rate_of(text)
        for text in ("0", "100", "63K", "2T", "99999999999999999999T"):
            with self.assertRaisesRegex(backstore.ExecutionError, "is not from 64K to 1T"):
                backstore.rate_of(text)

    def test_a_tool_that_is_not_there_is_told(self) -> None:
        """By what to install."""
        tool, pair.TOOL = pair.TOOL, "/no/such/tool"
        try:
            with self.assertRaisesRegex(pair.PairError, "install the package tcmu-integrity"):
                pair.look_at("/dev/x", 0)
        finally:
            pair.TOOL = tool


if __name__ == "__main__":
    unittest.main()
