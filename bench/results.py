"""Write bench/RESULTS.md: what was measured in tables, and reading.md with the figures filled in."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.measuring import Figure, load_average

HERE: Final = Path(__file__).resolve().parent
GROWTH: Final = HERE / "growth.json"
TITLES: Final = {
    "core": "Execution alone (core)",
    "full": "Whole blocks (full)",
    "replay": "From Bitcoin data",
    "e2e": "Through the front door",
    "payload": "Bytes of Bitcoin payload",
    "infer": "Model calls",
}
ORDER: Final = ("core", "full", "replay", "e2e", "payload", "infer")


@dataclass
class Results:
    """One run's figures by part, and what they were measured on."""

    hardware: str
    versions: str
    busy_before: str
    seconds: float = 0.0
    parts: dict[str, list[Figure]] = field(default_factory=dict)

    def add(self, part: str, figure: Figure) -> None:
        """Keep a figure."""
        self.parts.setdefault("replay" if figure.key == "sync" else part, []).append(figure)

    def values(self) -> dict[str, list[float]]:
        """Return every value by the figure's key."""
        return {figure.key: list(figure.values) for part in self.parts.values() for figure in part}


def number(value: float) -> str:
    """Show three digits or so, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def verdict(figure: Figure) -> str:
    """Say how the best value stands to its aim."""
    if figure.aim is None:
        return ""
    met = figure.judged <= figure.aim if figure.low_is_good else figure.judged >= figure.aim
    ratio = figure.judged / figure.aim
    sign = "<=" if figure.low_is_good else ">="
    which = "by the median, " if figure.by_median else ""
    return f"{sign} {number(figure.aim)}: {which}{'met' if met else 'missed'} ({ratio:.2f} x)"


def as_line(figure: Figure) -> str:
    """Return a line for the terminal."""
    spread = "" if len(figure.values) == 1 else f"median {number(figure.median)} of {len(figure.values)}"
    return (
        f"{figure.name:72} {number(figure.best):>9} {figure.unit:10} {spread:24} {verdict(figure)}".rstrip()
    )


def write_results(results: Results) -> Path:
    """Write the page; return its path."""
    lines = [
        "# Figures",
        "",
        "Written by `make bench`; do not edit. What the figures mean and what bounds them is said below the tables.",
        "",
        f"- Machine: {results.hardware}",
        f"- Software: {results.versions}",
        f"- When: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, in {results.seconds:.0f} s",
        f"- Load average before and after: {results.busy_before}; {load_average()}",
        "",
        "Best and median are of the runs in the last column. On a machine that does nothing else they lie close",
        "together; where they do not, other work was on it, and the best is the figure.",
    ]
    for part in ORDER:
        lines += _table(part, results.parts.get(part, []))
    lines += _growth()
    found = {figure.key: number(figure.judged) for part in results.parts.values() for figure in part}
    reading = re.sub(
        r"\{(\w+)\}",
        lambda match: found.get(match[1], "(not measured)"),
        (HERE / "reading.md").read_text().strip(),
    )
    path = HERE / "RESULTS.md"
    path.write_text("\n".join([*lines, "", reading, ""]))
    return path


def _table(part: str, figures: list[Figure]) -> list[str]:
    if not figures:
        return []
    lines = ["", f"## {TITLES[part]}", ""]
    lines += ["| what | best | median | unit | aim | runs |", "|---|---:|---:|---|---|---:|"]
    for figure in figures:
        cells = [
            figure.name,
            number(figure.best),
            number(figure.median),
            figure.unit,
            verdict(figure),
            str(len(figure.values)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _growth() -> list[str]:
    """Tell what bench/growth.py measured last, on the machine that it names."""
    if not GROWTH.exists():
        return []
    known = json.loads(GROWTH.read_text())
    lines = [
        "",
        "## As state and history grow",
        "",
        f"By `python -m bench.growth`, on {known['machine']}.",
        "",
    ]
    lines += [
        "| accounts and balances | a transfer, best block | median block | execute | seal | commit | disk | load |",
        "|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in known["sizes"]:
        costs = (row[name] for name in ("best", "median", "execute", "seal", "commit"))
        cells = [f"{row['accounts']:,}", *(f"{number(cost)} us" for cost in costs)]
        lines.append("| " + " | ".join([*cells, f"{row['disk'] / 2**20:,.0f} MiB", row["load"]]) + " |")
    lines += [
        "",
        "| blocks below the head | open the state | balance | call | proof |",
        "|---:|---:|---:|---:|---:|",
    ]
    for row in known["ages"]:
        costs = (row[name] for name in ("open", "balance", "call", "proof"))
        lines.append(
            "| " + " | ".join([f"{row['depth']:,}", *(f"{number(cost)} ms" for cost in costs)]) + " |"
        )
    return lines
