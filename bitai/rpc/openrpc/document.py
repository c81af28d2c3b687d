"""The OpenRPC document of a node: the methods that it serves, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.openrpc import bitai, ethereum, traces
from bitai.rpc.openrpc.schemas import SCHEMAS
from bitai.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection

    from bitai.rpc.openrpc.method import MethodSpec

OPENRPC: Final = "1.3.2"
GROUPS: Final[dict[str, tuple[MethodSpec, ...]]] = {
    "identity": ethereum.IDENTITY,
    "fees": ethereum.FEES,
    "blocks": ethereum.BLOCKS,
    "transactions": ethereum.TRANSACTIONS,
    "state": ethereum.STATE,
    "calls": ethereum.CALLS,
    "sending and the pool": ethereum.SENDING,
    "logs and filters": ethereum.LOGS,
    "traces": traces.TRACES,
    "Otterscan": traces.OTTERSCAN,
    "WebSocket only": ethereum.SOCKET,
    "this chain's own": bitai.OWN,
}
"""Every method that a node may serve, in the order in which pages show them."""
SPECS: Final = {spec.name: spec for group in GROUPS.values() for spec in group}


def openrpc_document(served: Collection[str]) -> dict[str, Any]:
    """Return the document over these methods. Errors: `KeyError` for one that nobody has described."""
    known = [SPECS[name] for name in sorted(served)]
    return {
        "openrpc": OPENRPC,
        "info": {
            "title": "BitAI node",
            "version": VERSION,
            "description": "JSON-RPC 2.0 over HTTP POST and WebSocket at one port; see docs/json-rpc.md.",
        },
        "methods": [each.to_object() for each in known],
        "components": {"schemas": SCHEMAS},
    }
