# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""What the command line tool knows of a pair of devices, and its formatting."""
import json
import subprocess
from typing import Any, Mapping, NamedTuple, Sequence

TOOL = "tcmu-integrity"


class PairError(Exception):
    """Something is wrong; the text is a sentence for the user."""


class Pair(NamedTuple):
    """What a superblock says."""

    size: int
    block_size: int


def _told(done: "subprocess.CompletedProcess[str]") -> str:
    """The tool's sentence, without its name in front."""
    lines = [line for line in done.stderr.splitlines() if "warning:" not in line]
    return lines[-1].partition(": ")[2] if lines else f"{TOOL} ended with {done.returncode}"


def _facts(words: Sequence[str]) -> Mapping[str, Any]:
    try:
        done = subprocess.run([TOOL, *words, "--json"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise PairError(f"{TOOL} cannot be run: {error.strerror}; install the package "
                        "tcmu-integrity") from error
    try:
        facts: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise PairError(_told(done)) from error
    failed = facts.get("error")
    if failed and "superblock" not in facts:
        raise PairError(failed["message"])
    return facts


def configured(cfgstring: str) -> Mapping[str, Any]:
    """The values that count for a LUN with this config string, by key."""
    return {value["key"]: value["value"] for value in _facts(["config", "show", cfgstring])["values"]}


def look_at(meta: str, start: int) -> Pair:
    """The pair's superblock."""
    superblock = _facts(["dump", meta, "--start", str(start)])["superblock"]
    return Pair(superblock["provided_data_sectors"] * 512, superblock["sector_size"])


def make(values: Mapping[str, Any], block_size: str, agreed: bool) -> None:
    """Format the pair; the tool shows what it is about to overwrite, and asks.

    A key's place is the same for the tool as for the handler.
    """
    words = [TOOL, "format", values["meta"], "--data-device", values["data"]]
    for key, option in (("hash", "integrity"), ("start", "start"), ("tag_size", "tag-size"),
                        ("integrity_key", "integrity-key"),
                        ("integrity_key_size", "integrity-key-size"),
                        ("journal_integrity", "journal-integrity"),
                        ("journal_integrity_key", "journal-integrity-key"),
                        ("journal_integrity_key_size", "journal-integrity-key-size"),
                        ("journal_crypt", "journal-crypt"),
                        ("journal_crypt_key", "journal-crypt-key"),
                        ("journal_crypt_key_size", "journal-crypt-key-size")):
        if values.get(key):
            words += [f"--{option}", str(values[key])]
    if block_size:
        words += ["--sector-size", block_size]
    if agreed:
        words.append("--yes")
    # stdin is the user's: a question of the tool's is for him.  It has told what went wrong itself.
    try:
        status = subprocess.run(words, check=False).returncode
    except OSError as error:
        raise PairError(f"{TOOL} cannot be run: {error.strerror}") from error
    if status:
        raise PairError("the pair was not formatted, and no backstore was created")
