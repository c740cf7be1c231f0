# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""The nodes /backstores/user:integrity and below it, over those of targetcli.

configshell makes a command's syntax, help and completion of its method: its name, its parameters, its text.
So parameters are called as an administrator is to type them, and texts are what help shows.
"""
# pylint: disable=redefined-builtin,too-many-arguments,too-many-locals
import re
import stat
from typing import Any, Dict, List, Mapping, Optional

from configshell_fb import ExecutionError  # type: ignore[import]

from . import lun, pair

# tcmu's own default, 128 blocks, is small for what the handler can do at once.  LIO's attribute, hw_max_sectors,
# counts the LUN's blocks.
LARGEST_TRANSFER = 1 << 20

MODES = ["journal", "direct", "bitmap", "recovery"]
BACKENDS = ["auto", "uring", "threads"]
HASHES = ["crc32c", "crc32", "xxhash64", "sha1", "sha256", "sha384", "sha512", "sha3-256", "sha3-512",
          "blake2b-256", "blake2b-512", "blake2s-256"]
WORDS = {
    "mode": MODES, "backend": BACKENDS, "hash": HASHES, "block_size": ["512", "1024", "2048", "4096"],
    "format": ["true", "false"], "yes": ["true", "false"], "recalculate": ["0", "1"],
    "legacy_recalculate": ["0", "1"], "allow_discards": ["0", "1"], "hash_helpers": ["auto", *map(str, range(9))],
    "action": ["start", "stop", "rate"], "restart": ["true", "false"],
}


def config_string(data: Optional[str], meta: Optional[str], profile: Optional[str],
                  rest: Mapping[str, Optional[str]]) -> str:
    """As the handler reads it, without its name in front."""
    if profile and data:
        raise ExecutionError("data and profile are both given; a profile names the data device itself")
    if not profile and not data:
        raise ExecutionError("the data device is missing: give data=PATH meta=PATH, or profile=NAME, or "
                             "cfgstring=STRING")
    if data and not meta:
        raise ExecutionError("the metadata device is missing: give meta=PATH")
    words = [f"profile={profile}" if profile else str(data)]
    if meta:
        words.append(f"meta={meta}")
    words += [f"{key}={value}" for key, value in rest.items() if value is not None]
    return ";".join(words)


def with_block_size(control: Optional[str], block_size: int) -> str:
    """The control string, which may say it already."""
    if control and "hw_block_size=" in control:
        return control
    return ",".join(([control] if control else []) + [f"hw_block_size={block_size}"])


def one_of(words: List[str], text: str) -> List[str]:
    """What configshell wants: with a blank if there is nothing more to come."""
    found = [word for word in words if word.startswith(text)]
    return [found[0] + " "] if len(found) == 1 else found


# As handler and command line tool have them.
RATE_MIN, RATE_MAX = 64 << 10, 1 << 40


def rate_of(text: Optional[str]) -> int:
    """Bytes per second; 0: no limit."""
    if text is None:
        return 0
    found = re.fullmatch(r"([0-9]+)(?:([KMGTkmgt])(?:iB)?)?", text)
    if not found:
        raise ExecutionError(f"rate={text} is no number of bytes per second; it may end in K, M, G or T, "
                             "as in rate=100M")
    number, unit = found.groups()
    rate = int(number) << (10 * (1 + "KMGT".index(unit.upper())) if unit else 0)
    if not RATE_MIN <= rate <= RATE_MAX:
        raise ExecutionError(f"rate={text} is not from 64K to 1T, in bytes per second; leave rate out for no limit")
    return rate


def integrity_lun(module: Any) -> Any:
    """The class of the nodes of single backstores."""

    class UIIntegrityStorageObject(module.UIUserBackedStorageObject):  # type: ignore[misc]
        """A backstore of user:integrity."""

        def _lun(self) -> lun.Lun:
            return lun.Lun(lun.full_name(self.rtsnode.path))

        def _facts(self) -> Dict[str, Any]:
            try:
                return self._lun().facts()
            except lun.LunError as error:
                raise ExecutionError(str(error)) from error

        def summary(self) -> Any:
            """What the tree shows: stock's text, and how the LUN is."""
            text, healthy = super().summary()
            try:
                facts = self._lun().facts()
            except lun.LunError:
                return text, healthy
            return f"{text}, {lun.summary(facts)}", healthy and lun.is_healthy(facts)

        def ui_command_status(self) -> None:
            """
            Shows how the LUN is: its devices, mismatches and errors since it was
            opened, how full the journal is, recalculation and scrub, and how long
            flushes take.

            SEE ALSO
            ========
            scrub recalculate
            """
            for line in lun.lines(self._facts()):
                self.shell.con.display(line)

        def ui_command_info(self) -> None:
            """
            Shows what targetcli knows of the backstore, and how the LUN is.
            """
            super().ui_command_info()
            try:
                facts = self._lun().facts()
            except lun.LunError as error:
                self.shell.log.warning(str(error))
                return
            for line in lun.lines(facts):
                self.shell.log.info(line)

        def ui_command_scrub(self, action: str, rate: Optional[str] = None,
                             restart: Optional[str] = None) -> None:
            """
            Verifies every tag on the devices, in the background; status shows how far
            that is and what was found.

            action is start, stop or rate. A scrub that was stopped goes on where it was,
            unless restart=true is given. rate limits it, in bytes per second; it may end
            in K, M, G or T (powers of 1024) and is from 64K to 1T. scrub rate lets the
            one that runs go on at another rate, without one: at none but others' I/O.

            EXAMPLE
            =======
            scrub start rate=100M
            ---------------------
            Starts a scrub that reads at most 100 MiB per second.

            scrub rate rate=1G
            ------------------
            Lets it go on at 1 GiB per second.
            """
            self.assert_root()
            if action not in WORDS["action"]:
                raise ExecutionError("a scrub can be started, stopped, or given another rate: scrub start, scrub stop, "
                                     f"scrub rate, not scrub {action}")
            limit = rate_of(rate)
            again = self.ui_eval_param(restart, "bool", False)
            if rate is not None and action == "stop":
                raise ExecutionError("rate goes with scrub start and scrub rate only")
            if restart is not None and action != "start":
                raise ExecutionError("restart goes with scrub start only")
            try:
                if action == "start":
                    self._lun().scrub_start(limit, again)
                    self.shell.log.info("The scrub runs; status shows how far it is.")
                elif action == "rate":
                    self._lun().scrub_set_rate(limit)
                    self.shell.log.info("The scrub goes on at another rate.")
                else:
                    self._lun().scrub_stop()
                    self.shell.log.info("The scrub was stopped.")
            except lun.LunError as error:
                raise ExecutionError(str(error)) from error

        def ui_complete_scrub(self, _parameters: Dict[str, str], text: str,
                              current_param: str) -> List[str]:
            """Completion."""
            return one_of(WORDS.get(current_param, []), text)

        def ui_command_recalculate(self, rate: Optional[str] = None) -> None:
            """
            Makes every tag anew from the blocks that are there, in the background.
            Whatever is bad becomes good by that: look at it first. rate limits it,
            in bytes per second; it may end in K, M, G or T (powers of 1024) and is from
            64K to 1T. Refused where a key could be got around by it.
            """
            self.assert_root()
            limit = rate_of(rate)
            try:
                self._lun().recalculate(limit)
            except lun.LunError as error:
                raise ExecutionError(str(error)) from error
            self.shell.log.info("Tags are being made anew; status shows how far that is.")

        def ui_command_flush(self) -> None:
            """
            Makes durable what the LUN has acknowledged: flushes both devices, as an
            initiator's SYNCHRONIZE CACHE does, and waits for that.
            """
            self.assert_root()
            try:
                self._lun().flush()
            except lun.LunError as error:
                raise ExecutionError(str(error)) from error
            self.shell.log.info("All that was acknowledged is durable.")

    return UIIntegrityStorageObject


def integrity_backstore(module: Any) -> Any:
    """The class of the node /backstores/user:integrity."""
    lun_class = integrity_lun(module)

    class UIIntegrityBackstore(module.UIUserBackedBackstore):  # type: ignore[misc]
        """Backstores of user:integrity."""

        def refresh(self) -> None:
            """Ours, instead of stock's."""
            self.so_cls = lun_class  # pylint: disable=attribute-defined-outside-init
            super().refresh()

        def ui_command_create(self, name: str, size: Optional[str] = None, cfgstring: Optional[str] = None,
                              wwn: Optional[str] = None, hw_max_sectors: Optional[str] = None,
                              control: Optional[str] = None, data: Optional[str] = None,
                              meta: Optional[str] = None, profile: Optional[str] = None,
                              mode: Optional[str] = None, hash: Optional[str] = None,
                              start: Optional[str] = None, cache_mb: Optional[str] = None,
                              queue_depth: Optional[str] = None, commit_time: Optional[str] = None,
                              journal_watermark: Optional[str] = None,
                              buffer_sectors: Optional[str] = None,
                              bitmap_flush_interval: Optional[str] = None,
                              sectors_per_bit: Optional[str] = None, recalculate: Optional[str] = None,
                              legacy_recalculate: Optional[str] = None,
                              recalculate_rate: Optional[str] = None, backend: Optional[str] = None,
                              tcmur_cmd_time_out: Optional[str] = None,
                              allow_discards: Optional[str] = None,
                              hash_helpers: Optional[str] = None,
                              block_size: Optional[str] = None, format: Optional[str] = None,
                              yes: Optional[str] = None) -> Any:
            """
            Creates a LUN over a data device and a metadata device.

            The pair is named by data= and meta=, or by a profile, profile=NAME, or by
            a whole config string, cfgstring=. The other parameters from mode= to
            hash_helpers= are the keys of a config string: what they mean, and
            what they are without being given, is said below, and by
            'tcmu-integrity config explain KEY'.

            size is all that the pair provides, and block_size the one it was formatted
            with, unless given. hw_max_sectors counts blocks, and makes 1 MiB
            unless given.

            format=true makes the pair first, and destroys what is on both devices:
            what was found there is shown and must be agreed to, by typing YES, or by
            yes=true. Devices that something was found on are refused; use
            'tcmu-integrity format --force' for those.

            EXAMPLE
            =======
            create lun0 data=/dev/sdb meta=/dev/nvme0n1p1 format=true
            ---------------------------------------------------------
            Formats the pair and makes a LUN of it, in mode journal.

            SIZE SYNTAX
            ===========
            - If size is an int, it represents a number of bytes.
            - If size is a string, its unit is k, M, G or T (powers of 1024).
            """
            self.assert_root()
            rest = {"mode": mode, "hash": hash, "start": start, "cache_mb": cache_mb,
                    "queue_depth": queue_depth, "commit_time": commit_time,
                    "journal_watermark": journal_watermark, "buffer_sectors": buffer_sectors,
                    "bitmap_flush_interval": bitmap_flush_interval, "sectors_per_bit": sectors_per_bit,
                    "recalculate": recalculate, "legacy_recalculate": legacy_recalculate,
                    "recalculate_rate": recalculate_rate, "backend": backend,
                    "tcmur_cmd_time_out": tcmur_cmd_time_out, "allow_discards": allow_discards,
                    "hash_helpers": hash_helpers}
            named = [key for key, value in {"data": data, "meta": meta, "profile": profile, **rest}.items()
                     if value is not None]
            if cfgstring and named:
                raise ExecutionError(f"cfgstring and {named[0]} are both given; leave one of them out")
            if not cfgstring:
                cfgstring = config_string(data, meta, profile, rest)
            agreed = self.ui_eval_param(yes, "bool", False)
            try:
                values = pair.configured(cfgstring)
                if self.ui_eval_param(format, "bool", False):
                    pair.make(values, block_size or "", agreed)
                there = pair.look_at(values["meta"], values["start"] or 0)
            except pair.PairError as error:
                raise ExecutionError(str(error)) from error
            bytes_wanted = module.human_to_bytes(size) if size else there.size
            blocks = int(self.ui_eval_param(block_size, "number", there.block_size))
            if bytes_wanted > there.size:
                raise ExecutionError(f"size={size} is more than the pair provides, {there.size} bytes")
            if blocks < there.block_size:
                raise ExecutionError(f"block_size={blocks} is less than the pair's blocks have, "
                                     f"{there.block_size} bytes")
            try:
                super().ui_command_create(name, str(bytes_wanted), cfgstring, wwn,
                                          hw_max_sectors or str(LARGEST_TRANSFER // blocks),
                                          with_block_size(control, blocks))
            except ExecutionError as error:
                if "creation failed" not in str(error):
                    raise
                raise ExecutionError(f"the LUN {name} could not be made; tcmu-runner's log, "
                                     "/var/log/tcmu-runner.log, says why") from error
            # What stock has made is a node of its own class.
            self.refresh()
            return self.new_node(self.get_child(name))

        def ui_complete_create(self, _parameters: Dict[str, str], text: str,
                               current_param: str) -> List[str]:
            """Completion."""
            if current_param in ("data", "meta"):
                found: List[str] = module.complete_path(
                    text or "/dev/", lambda mode: stat.S_ISREG(mode) or stat.S_ISBLK(mode))
                if len(found) == 1 and not found[0].endswith("/"):
                    return [found[0] + " "]
                return found
            return one_of(WORDS.get(current_param, []), text)

    return UIIntegrityBackstore
