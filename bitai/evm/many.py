"""Many test files: folders walked, two cores used, rows in the order of the files."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from bitai.evm import statetest
from bitai.evm.statetest import Choice, Row
from bitai.evm.world import Trace
from primitives.errors import InvalidInput

Runner: TypeAlias = Callable[[Path, Choice], Iterator[Row]]
"""What runs one file: a function of a module, so that other processes find it."""

_FILES_FOR_A_POOL: Final = 24
"""Below this, starting processes costs more than it saves."""
_MOST_PROCESSES: Final = 8


@dataclass(frozen=True, slots=True)
class Done:
    """One file, run; `fault` tells why it holds no tests."""

    path: Path
    rows: tuple[Row, ...] = ()
    fault: InvalidInput | None = None


def files_in(places: Sequence[Path]) -> list[Path]:
    """Return the files named and the .json files under the folders named, hidden folders left out."""
    found: list[Path] = []
    for place in places:
        if not place.is_dir():
            found.append(place)
            continue
        for folder, inner, names in os.walk(place):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            found += [Path(folder, name) for name in sorted(names) if name.endswith(".json")]
    return found


def run_files(runner: Runner, files: Sequence[Path], choice: Choice) -> Iterator[Done]:
    """Run many files, each done in the order given."""
    run = partial(_run_one, runner, choice)
    processes = min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))
    if len(files) < _FILES_FOR_A_POOL or processes < 2:
        yield from map(run, files)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run, files, chunksize=4)


def run_traced(files: Sequence[Path], choice: Choice, trace: Trace) -> Iterator[Done]:
    """Run state tests one by one; `trace` is handed their steps, outputs and state roots."""
    yield from map(partial(_run_one, partial(statetest.run_file, trace=trace), choice), files)


def _run_one(runner: Runner, choice: Choice, path: Path) -> Done:
    """Run one file; a bad one is told, not raised."""
    try:
        return Done(path, tuple(runner(path, choice)))
    except InvalidInput as fault:
        return Done(path, fault=InvalidInput(fault.code, fault.message, **fault.details))
