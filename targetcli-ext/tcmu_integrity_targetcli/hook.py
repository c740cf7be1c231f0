# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""The way into targetcli, which has no plug-ins.

targetcli makes a UIUserBackedBackstore for each handler of tcmu-runner. When its module has been imported, that
class gets a __new__ that makes one of ours where the handler is integrity. Everything else is subclassing.
This file is imported in every Python process where the .pth file is installed, so it imports next to nothing.
Whatever fails here leaves targetcli as it is, and one line on stderr.
"""
import sys
from typing import Any, Optional, Sequence

MODULE = "targetcli.ui_backstore"


def install(module: Any) -> None:
    """Let the module's class make ours for the handler integrity."""
    # pylint: disable=import-outside-toplevel
    from . import backstore
    stock = module.UIUserBackedBackstore
    ours = backstore.integrity_backstore(module)

    def new(cls: type, *arguments: object) -> object:
        name = arguments[1] if len(arguments) > 1 else None
        return object.__new__(ours if cls is stock and name == "integrity" else cls)

    stock.__new__ = new


class _Loader:
    """The module's own loader, and then us."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def exec_module(self, module: Any) -> None:
        """Import it, then change it."""
        self.loader.exec_module(module)
        writes = sys.dont_write_bytecode
        sys.dont_write_bytecode = True
        try:
            install(module)
        except Exception as error:  # pylint: disable=broad-exception-caught
            print(f"tcmu-integrity: targetcli goes on without the commands of user:integrity: {error}",
                  file=sys.stderr)
        finally:
            sys.dont_write_bytecode = writes


class _Finder:  # pylint: disable=too-few-public-methods
    """Waits for the one module."""

    def find_spec(self, name: str, _path: Optional[Sequence[str]] = None, _target: Any = None) -> Any:
        """See importlib.abc.MetaPathFinder."""
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec  # pylint: disable=import-outside-toplevel
        spec = find_spec(name)
        if spec and spec.loader:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


def arm() -> None:
    """From now on, targetcli's module is changed when it is imported. Once is enough."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path) and MODULE not in sys.modules:
        sys.meta_path.insert(0, _Finder())
