# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""Rates, ratios of rates, and how they are printed.

Machines are noisy, and the noise of one second is not that of the next.  So what is compared was
measured in the same round, one right after the other; each round gives one ratio, and what counts
is the median of the ratios, shown with the quartiles.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Callable, Optional

Series = list[float]


@dataclass
class Rates:
    """Bytes per second, by cell and target, one number per round."""

    series: dict[str, dict[str, Series]] = field(default_factory=dict)

    def add(self, cell: str, target: str, bytes_moved: int, ms: int) -> None:
        rate = bytes_moved * 1000 / ms if ms > 0 else 0.0
        self.series.setdefault(cell, {}).setdefault(target, []).append(rate)

    def of(self, cell: str, target: str) -> Series:
        return self.series.get(cell, {}).get(target, [])

    def ratio(self, cell: str, target: str, base: str) -> Series:
        """One ratio per round; empty if one of the two was not measured."""
        return [a / b for a, b in zip(self.of(cell, target), self.of(cell, base)) if b > 0]


@dataclass
class Column:
    """One ratio that is looked at in every cell."""

    name: str
    title: str
    values: Callable[[Rates, str], Series]
    goal: Optional[float] = None  # the median is to be at least this
    goal_cells: Callable[[str], bool] = lambda cell: True

    def goal_of(self, cell: str) -> Optional[float]:
        return self.goal if self.goal is not None and self.goal_cells(cell) else None


def ratio_column(name: str, title: str, target: str, base: str, **goal: object) -> Column:
    return Column(name, title, lambda rates, cell: rates.ratio(cell, target, base), **goal)  # type: ignore[arg-type]


def quotient_column(name: str, title: str, top: tuple[str, str], bottom: tuple[str, str],
                    **goal: object) -> Column:
    """The ratio of two ratios, each taken within the round."""

    def values(rates: Rates, cell: str) -> Series:
        pairs = zip(rates.ratio(cell, *top), rates.ratio(cell, *bottom))
        return [a / b for a, b in pairs if b > 0]

    return Column(name, title, values, **goal)  # type: ignore[arg-type]


@dataclass
class Summary:
    median: float
    low: float  # quartiles
    high: float
    values: Series

    @staticmethod
    def of(values: Series) -> Optional["Summary"]:
        if not values:
            return None
        if len(values) < 3:
            return Summary(statistics.median(values), min(values), max(values), values)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return Summary(median, low, high, values)


CELL_TITLES = {
    "randwrite-1": "4k random write, depth 1",
    "randwrite-16": "4k random write, depth 16",
    "randread-1": "4k random read, depth 1",
    "randread-16": "4k random read, depth 16",
    "write-128k": "128k sequential write, depth 16",
    "read-128k": "128k sequential read, depth 16",
    "write-flush": "4k random write + flush, depth 1",
    "write-flush-8": "4k random write + flush, 8 writers",
}


def is_4k(cell: str) -> bool:
    return not cell.endswith("128k")


def reached(column: Column, cell: str, summary: Optional[Summary]) -> Optional[bool]:
    goal = column.goal_of(cell)
    return None if goal is None or summary is None else summary.median >= goal


def _ratio_text(column: Column, cell: str, summary: Optional[Summary]) -> str:
    if summary is None:
        return "-"
    mark = {None: " ", True: "+", False: "!"}[reached(column, cell, summary)]
    return f"{summary.median:.2f} {mark} ({summary.low:.2f} .. {summary.high:.2f})"


def _rate_text(cell: str, series: Series) -> str:
    if not series:
        return "-"
    median = statistics.median(series)
    return f"{median / 4096:.0f}/s" if is_4k(cell) else f"{median / 2**20:.0f} MiB/s"


def print_table(rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def print_ratios(rates: Rates, cells: list[str], columns: list[Column]) -> None:
    rows = [[""] + [column.title for column in columns]]
    for cell in cells:
        row = [CELL_TITLES[cell]]
        for column in columns:
            row.append(_ratio_text(column, cell, Summary.of(column.values(rates, cell))))
        rows.append(row)
    print_table(rows)


def print_rates(rates: Rates, cells: list[str], targets: list[str]) -> None:
    rows = [[""] + targets]
    for cell in cells:
        rows.append([CELL_TITLES[cell]] + [_rate_text(cell, rates.of(cell, t)) for t in targets])
    print_table(rows)


def as_json(rates: Rates, cells: list[str], columns: list[Column]) -> dict[str, object]:
    out: dict[str, object] = {}
    for cell in cells:
        ratios: dict[str, object] = {}
        for column in columns:
            summary = Summary.of(column.values(rates, cell))
            if summary is None:
                continue
            ratios[column.name] = {
                "median": summary.median, "quartile_low": summary.low,
                "quartile_high": summary.high, "min": min(summary.values),
                "max": max(summary.values), "rounds": summary.values,
                "goal": column.goal_of(cell), "reached": reached(column, cell, summary),
            }
        out[cell] = {"bytes_per_second": rates.series.get(cell, {}), "ratios": ratios}
    return out
