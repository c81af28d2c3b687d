"""The node's executor against the Ethereum specification, on random programs and transactions."""

import os

import pytest

from tests.vm.differential.cases import make_case, make_old_case
from tests.vm.differential.oracle import by_doors, differences
from tests.vm.differential.shrink import FOUND, keep, load, shrink

# BITAI_FUZZ_CASES=10000 runs that many in `make test`; BITAI_FUZZ_SEED begins elsewhere.
CASES = int(os.environ.get("BITAI_FUZZ_CASES", "160"))
FIRST_SEED = int(os.environ.get("BITAI_FUZZ_SEED", "0"))
BATCH = 20


def check(seeds: range) -> None:
    """Run seeds; a difference is made small, kept, and told with its seed."""
    for seed in seeds:
        case = make_case(seed)
        if found := differences(case):
            path = keep(seed, shrink(case, lambda smaller: bool(differences(smaller))))
            pytest.fail(f"seed {seed} on {case.fork} differs, kept in {path.name}: {found}")


@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + CASES, BATCH))
@pytest.mark.timeout(600)
def test_random_cases(first: int) -> None:
    """Roots, gas, logs, receipts and rejections of random blocks are the specification's."""
    check(range(first, min(first + BATCH, FIRST_SEED + CASES)))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tenth", range(10))
def test_ten_thousand_cases(tenth: int) -> None:
    """The same holds for ten thousand."""
    first = 1_000_000 + 1_000 * tenth
    check(range(first, first + 1_000))


@pytest.mark.parametrize(
    "fork", ["Istanbul", "ConstantinopleFix", "Byzantium", "EIP158", "EIP150", "Homestead", "Frontier"]
)
def test_older_forks(fork) -> None:
    """Forks before Berlin agree too, on legacy transactions."""
    cases = [make_old_case(seed, fork) for seed in range(16)]
    assert [found for case in cases if case.transactions and (found := differences(case))] == []


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.json")), ids=lambda path: path.stem)
def test_found(path) -> None:
    """What once differed does so no more."""
    assert differences(load(path)) == {}


def test_cases_are_worth_running() -> None:
    """Most transactions run, some fail, some are refused, and all types and several reasons occur."""
    results = [by_doors(make_case(seed)) for seed in range(120)]
    receipts = [receipt for result in results for receipt in result["receipts"]]
    assert {receipt["type"] for receipt in receipts} == {"0x0", "0x1", "0x2", "0x3", "0x4"}
    succeeded = sum(receipt["status"] == "0x1" for receipt in receipts)
    assert succeeded > len(receipts) // 2 > 0
    assert succeeded < len(receipts)
    assert any(receipt["logs"] for receipt in receipts)
    reasons = {entry["error"].partition(":")[0] for result in results for entry in result["rejected"]}
    assert len(reasons) >= 6


def test_a_difference_is_found_and_made_small() -> None:
    """A wrong executor would be caught: gas that counts one too much differs, and the case shrinks to its core."""
    case = next(
        case for case in map(make_case, range(50)) if len(case.transactions) > 1 and not case.state_test
    )
    small = shrink(case, lambda smaller: bool(smaller.transactions))
    assert len(small.transactions) == 1
    assert len(small.alloc) < len(case.alloc)
