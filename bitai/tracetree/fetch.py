"""Ask a running node for a transaction's call tree and the code of its contracts, and draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from bitai.tracetree.artifacts import load_artifacts
from bitai.tracetree.render import Names, addresses_of, draw, infer_report
from primitives.errors import Rejected, Temporary

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S: Final = 60.0
MAX_CODES: Final = 500
"""Contracts whose code is compared with the artifacts'."""


@dataclass(frozen=True, slots=True)
class Told:
    """A tree as lines and as the node gave it, the contracts' names, and the line about gas."""

    frame: dict[str, Any]
    contracts: dict[str, str]
    lines: list[str]
    report: str

    def to_object(self) -> dict[str, Any]:
        """Return it for --json."""
        return {"trace": self.frame, "contracts": self.contracts, "lines": self.lines, "gas": self.report}


def trace_transaction(url: str, transaction: str, folders: list[Path]) -> Told:
    """Return what a transaction did.

    Raises Rejected with the node's words, Temporary `node.unreachable`, ConfigError `trace.no_artifacts`.
    """
    artifacts = load_artifacts(folders)
    with httpx.Client(base_url=url, timeout=LIMIT_S) as client:
        options = {"tracer": "callTracer", "tracerConfig": {"withLog": True}}
        (frame,) = _ask(client, [("debug_traceTransaction", [transaction, options])])
        addresses = sorted(addresses_of(frame))[:MAX_CODES] if artifacts.codes else []
        codes = _ask(client, [("eth_getCode", [address, "latest"]) for address in addresses])
    named = {
        address: artifacts.name_of(bytes.fromhex(code[2:]))
        for address, code in zip(addresses, codes, strict=True)
    }
    contracts = {address: name for address, name in named.items() if name is not None}
    names = Names(artifacts, contracts)
    return Told(frame, contracts, draw(frame, names), infer_report(frame))


def _ask(client: httpx.Client, calls: list[tuple[str, list[Any]]]) -> list[Any]:
    """Make JSON-RPC calls in one request; return their results."""
    if not calls:
        return []
    body = [
        {"jsonrpc": "2.0", "id": place, "method": method, "params": params}
        for place, (method, params) in enumerate(calls)
    ]
    try:
        replies = client.post("/", json=body).json()
    except (httpx.HTTPError, ValueError) as error:
        raise Temporary(
            "node.unreachable", f"no answer from {client.base_url}: {error}", fix="bitai-node status"
        ) from error
    for reply in replies:
        if "error" in reply:
            raise Rejected("trace.refused", str(reply["error"]["message"]))
    return [reply["result"] for reply in replies]
