"""Methods that say what this node is: chain, version, who is connected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.chain_rules import capabilities, chain_config
from bitai.rpc.encode import data, quantity
from bitai.rpc.params import parse_data, require_count
from bitai.rpc.sync_feed import sync_state
from primitives.hashes import keccak256

if TYPE_CHECKING:
    from bitai.rpc.context import Context, Method

PROTOCOL_VERSION: Final = "0x44"
"""eth/68, what clients of this age expect; there is no such network here."""
MODULES: Final = {"bitai": "1.0", "eth": "1.0", "net": "1.0", "txpool": "1.0", "web3": "1.0"}


class IdentityMethods:
    """The methods, over one context."""

    def __init__(self, context: Context) -> None:
        """Answer from this context."""
        self._context = context

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        off_loop = self._context.off_loop
        return {
            "eth_chainId": self.chain_id,
            "eth_protocolVersion": self.protocol_version,
            "eth_syncing": self.syncing,
            "eth_config": off_loop(self.config),
            "eth_capabilities": off_loop(self.capabilities),
            "eth_accounts": self.accounts,
            "net_version": self.net_version,
            "net_listening": self.listening,
            "net_peerCount": self.peer_count,
            "web3_clientVersion": self.client_version,
            "web3_sha3": self.sha3,
            "rpc_modules": self.modules,
        }

    async def chain_id(self, params: list[Any]) -> str:
        """eth_chainId."""
        require_count(params, 0, 0)
        return quantity(self._context.facts.chain_id)

    async def protocol_version(self, params: list[Any]) -> str:
        """eth_protocolVersion."""
        require_count(params, 0, 0)
        return PROTOCOL_VERSION

    async def syncing(self, params: list[Any]) -> Any:
        """eth_syncing: false, or how far derivation is behind Bitcoin, in Bitcoin's blocks."""
        require_count(params, 0, 0)
        return sync_state(self._context.bitcoin) or False

    def config(self, params: list[Any]) -> dict[str, Any]:
        """eth_config: the rules in force (EIP-7910)."""
        require_count(params, 0, 0)
        return chain_config(self._context)

    def capabilities(self, params: list[Any]) -> dict[str, Any]:
        """eth_capabilities: from which block on each kind of data is there."""
        require_count(params, 0, 0)
        return capabilities(self._context)

    async def accounts(self, params: list[Any]) -> list[str]:
        """eth_accounts: the node holds no keys for its users."""
        require_count(params, 0, 0)
        return []

    async def net_version(self, params: list[Any]) -> str:
        """net_version: the chain id as a decimal string."""
        require_count(params, 0, 0)
        return str(self._context.facts.chain_id)

    async def listening(self, params: list[Any]) -> bool:
        """net_listening."""
        require_count(params, 0, 0)
        return True

    async def peer_count(self, params: list[Any]) -> str:
        """net_peerCount: nodes meet on Bitcoin, not on a network of their own."""
        require_count(params, 0, 0)
        return "0x0"

    async def client_version(self, params: list[Any]) -> str:
        """web3_clientVersion."""
        require_count(params, 0, 0)
        return self._context.facts.version

    async def sha3(self, params: list[Any]) -> str:
        """web3_sha3: keccak-256 of the data."""
        require_count(params, 1, 1)
        return data(keccak256(parse_data(params[0])))

    async def modules(self, params: list[Any]) -> dict[str, str]:
        """rpc_modules."""
        require_count(params, 0, 0)
        return dict(MODULES)
