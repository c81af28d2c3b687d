"""Time pieces of work, and say on which machine."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

SHOWN_PACKAGES: Final = ("aiohttp", "coincurve", "orjson", "plyvel", "uvloop", "zstandard")


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of some work: units done, seconds of the clock, seconds of this process's processors."""

    units: float
    wall_s: float
    cpu_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Units a second of the clock."""
        return self.units / self.wall_s

    @property
    def per_core_second(self) -> float:
        """Units a second of processor time, all threads together."""
        return self.units / self.cpu_s


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number: of several runs the best and the median, beside what was wanted.

    `key` names it in bench/reading.md and in JSON; `aim` has the figure's unit. `low_is_good` turns best into least.
    `by_median`: what the aim is held to is the median, as with ratios of two runs, whose best is luck.
    """

    key: str
    name: str
    unit: str
    values: tuple[float, ...]
    aim: float | None = None
    low_is_good: bool = False
    by_median: bool = False

    @property
    def judged(self) -> float:
        """The value that is held to the aim, and quoted."""
        return self.median if self.by_median else self.best

    @property
    def best(self) -> float:
        """What the machine can do when nothing else runs on it."""
        return min(self.values) if self.low_is_good else max(self.values)

    @property
    def median(self) -> float:
        """What it usually did."""
        return statistics.median(self.values)


def timed(work: Callable[[], float]) -> Sample:
    """Run work that returns how many units it did."""
    wall, cpu = time.perf_counter(), time.process_time()
    units = work()
    cpu = time.process_time() - cpu
    return Sample(units, time.perf_counter() - wall, cpu)


def rate(
    key: str, name: str, samples: Sequence[Sample], *, unit: str = "tx/s", aim: float | None = None
) -> Figure:
    """Return the figure of several runs, by the clock."""
    return Figure(key, name, unit, tuple(sample.per_second for sample in samples), aim)


def core_rate(
    key: str, name: str, samples: Sequence[Sample], *, unit: str = "tx/s", aim: float | None = None
) -> Figure:
    """Return the figure of several runs of one thread, by the time that it had a core."""
    return Figure(key, name, unit, tuple(sample.per_core_second for sample in samples), aim)


def hardware() -> str:
    """Name processor, cores, memory and kernel in one line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def load_average() -> str:
    """Say how busy the machine was with everything, this benchmark included."""
    return ", ".join(f"{each:.1f}" for each in os.getloadavg())


def versions(anvil: str) -> str:
    """Name what was measured."""
    from vm import _core

    shown = [f"Python {platform.python_version()}", f"core {_core.__version__} on revm {_core.REVM_VERSION}"]
    shown += [f"{name} {metadata.version(name)}" for name in SHOWN_PACKAGES]
    return ", ".join([*shown, anvil])
