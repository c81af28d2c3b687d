"""The method that says which methods there are (OpenRPC service discovery)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bitai.rpc.openrpc.document import openrpc_document
from bitai.rpc.params import require_count

if TYPE_CHECKING:
    from collections.abc import Collection

    from bitai.rpc.context import Method


class DiscoverMethods:
    """The method, over the names of all others."""

    def __init__(self, others: Collection[str]) -> None:
        """Describe these methods, and itself."""
        self._document = openrpc_document({*others, "rpc_discover"})

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {"rpc_discover": self.discover}

    async def discover(self, params: list[Any]) -> dict[str, Any]:
        """rpc_discover: the OpenRPC document."""
        require_count(params, 0, 0)
        return self._document
