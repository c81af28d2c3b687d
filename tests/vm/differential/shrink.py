"""Make a case that differs smaller while it still differs, and keep it."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

from tests.vm.differential.cases import SENDERS, Case

FOUND = Path(__file__).parent / "found"
"""Cases that once differed, each a test for ever."""
_MOST_TRIES = 400


def shrink(case: Case, differs: Callable[[Case], bool]) -> Case:
    """Return a smaller case that differs too; gives up after some hundred tries."""
    tries = 0
    shrunk = True
    while shrunk and tries < _MOST_TRIES:
        shrunk = False
        for smaller in _smaller(case):
            tries += 1
            if differs(smaller):
                case, shrunk = smaller, True
                break
    return case


def keep(seed: int, case: Case) -> Path:
    """Write a case down for `test_found`."""
    path = FOUND / f"{seed}.json"
    path.write_text(json.dumps(asdict(case), indent=1) + "\n")
    return path


def load(path: Path) -> Case:
    """Return a case that was kept."""
    return Case(**json.loads(path.read_text()))


def _smaller(case: Case) -> Iterator[Case]:
    for index in range(len(case.transactions)):
        if len(case.transactions) > 1:
            rest = case.transactions[:index] + case.transactions[index + 1 :]
            yield replace(case, transactions=rest)
    senders = {"0x" + sender.hex() for sender in SENDERS}
    for name in case.alloc:
        if name not in senders:
            yield replace(case, alloc={other: case.alloc[other] for other in case.alloc if other != name})
    for name, account in case.alloc.items():
        code = account["code"][2:]
        if account["storage"]:
            yield _with(case, name, storage={})
        if len(code) > 4 and len(code) != 46:  # a delegation stays whole
            half = len(code) // 4 * 2
            yield _with(case, name, code="0x" + code[:half])
            yield _with(case, name, code="0x" + code[half:])
            yield _with(case, name, code="0x" + code[:-2])
    if case.env["withdrawals"]:
        yield replace(case, env={**case.env, "withdrawals": []})


def _with(case: Case, name: str, **changes: object) -> Case:
    alloc = deepcopy(case.alloc)
    alloc[name].update(changes)
    return replace(case, alloc=alloc)
