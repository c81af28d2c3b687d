"""The Ethereum specification and the doors on the same case, and what differs."""

import argparse
import io
import json
import logging
from functools import cache
from typing import Any

from ethereum_spec_tools.evm_tools import create_parser
from ethereum_spec_tools.evm_tools.t8n import T8N, ForkCache

from bitai.evm.forks import fork_named
from bitai.evm.t8n import Request, transition
from tests.vm.differential.cases import Case

logging.getLogger("T8N").disabled = True

_SAME = (
    "stateRoot",
    "gasUsed",
    "logsHash",
    "logsBloom",
    "withdrawalsRoot",
    "requestsHash",
    "currentExcessBlobGas",
)
# Only without a rejected transaction: the specification's tool counts those when it numbers the others.
_SAME_IF_ALL_INCLUDED = ("txRoot", "receiptsRoot")


# Receipts held the state after their transaction then, which the doors do not tell.
_STATE_IN_RECEIPTS = frozenset({"Frontier", "Homestead", "EIP150", "EIP158"})


@cache
def _options(fork: str) -> argparse.Namespace:
    inputs = [part for name in ("alloc", "env", "txs") for part in (f"--input.{name}", "stdin")]
    return create_parser().parse_args(["t8n", *inputs, "--state.fork", fork])


def by_specification(case: Case) -> dict[str, Any]:
    """Return the result of execution-specs' transition tool."""
    options = argparse.Namespace(**{**vars(_options(case.fork)), "state_test": case.state_test})
    content = json.dumps({"alloc": case.alloc, "env": case.env, "txs": case.txs()})
    tool = T8N(options, io.StringIO(), io.StringIO(content), ForkCache())
    if case.state_test:
        tool.run_state_test()
    else:
        tool.run_blockchain_test()
    return tool.result.to_json()


def by_doors(case: Case) -> dict[str, Any]:
    """Return the result of the node's own executor."""
    fork = fork_named(case.fork)
    assert fork is not None
    txs = case.txs()
    request = Request(alloc=case.alloc, env=case.env, txs=txs, fork=fork, state_test=case.state_test)
    return transition(request).result


def differences(case: Case) -> dict[str, Any]:
    """Return what differs: name to (specification, doors)."""
    theirs, ours = by_specification(case), by_doors(case)
    found: dict[str, Any] = {}

    def compare(name: str, one: object, other: object) -> None:
        if one != other:
            found[name] = (one, other)

    rejected = [sorted(entry["index"] for entry in result["rejected"]) for result in (theirs, ours)]
    compare("rejected", *rejected)
    compare("blockException", bool(theirs.get("blockException")), bool(ours.get("blockException")))
    if theirs.get("blockException"):
        return found  # no block: what was half done of it is compared with nothing
    names = _SAME + (() if any(rejected) or case.fork in _STATE_IN_RECEIPTS else _SAME_IF_ALL_INCLUDED)
    for name in names:
        if theirs.get(name) is not None:
            compare(name, theirs[name], ours.get(name))
    if case.fork not in _STATE_IN_RECEIPTS:
        both = [[_receipt(one) for one in result["receipts"]] for result in (theirs, ours)]
        compare("receipts", *both)
    return found


def _receipt(receipt: dict[str, Any]) -> tuple[Any, ...]:
    status = receipt["succeeded"] if "succeeded" in receipt else receipt.get("status") == "0x1"
    bloom = receipt.get("bloom") or receipt.get("logsBloom")
    logs = [(log["address"], tuple(log["topics"]), log["data"]) for log in receipt["logs"]]
    return receipt["transactionHash"], status, int(receipt["cumulativeGasUsed"], 16), bloom, logs
