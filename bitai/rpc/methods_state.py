"""Methods that read accounts and storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import data, quantity
from bitai.rpc.framing import INVALID_PARAMS, LIMIT_EXCEEDED, RpcError
from bitai.rpc.limits import over
from bitai.rpc.params import PENDING, block_param, invalid, parse_address, parse_slot, require_count

if TYPE_CHECKING:
    from bitai.rpc.context import Context, Method, StateReader
    from primitives.ids import Address

MAX_VALUE_SLOTS: Final = 1_024
"""Slots of all accounts together that one `eth_getStorageValues` reads, as geth bounds it."""


class StateMethods:
    """The methods, over one context. "pending" is the head's state, and its transaction count that of the pool."""

    def __init__(self, context: Context) -> None:
        """Answer from this context."""
        self._context = context

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        off_loop = self._context.off_loop
        return {
            "eth_getBalance": off_loop(self.balance),
            "eth_getCode": off_loop(self.code),
            "eth_getStorageAt": off_loop(self.storage),
            "eth_getStorageValues": off_loop(self.storage_values),
            "eth_getTransactionCount": self.nonce,
            "eth_getProof": off_loop(self.proof),
        }

    def balance(self, params: list[Any]) -> str:
        """eth_getBalance(address, block), in wei."""
        require_count(params, 1, 2)
        return quantity(self._state(params, 1).balance(parse_address(params[0])))

    def code(self, params: list[Any]) -> str:
        """eth_getCode(address, block)."""
        require_count(params, 1, 2)
        return data(self._state(params, 1).code(parse_address(params[0])))

    def storage(self, params: list[Any]) -> str:
        """eth_getStorageAt(address, slot, block), always 32 bytes."""
        require_count(params, 2, 3)
        value = self._state(params, 2).storage(parse_address(params[0]), parse_slot(params[1]))
        return data(value.to_bytes(32, "big"))

    def storage_values(self, params: list[Any]) -> dict[str, list[str]]:
        """eth_getStorageValues({address: [slot, ...]}, block): the values, 32 bytes each, in the order asked."""
        require_count(params, 1, 2)
        wanted = _parse_slots_by_address(params[0])
        state = self._state(params, 1)
        return {
            data(address): [data(state.storage(address, slot).to_bytes(32, "big")) for slot in slots]
            for address, slots in wanted
        }

    async def nonce(self, params: list[Any]) -> str:
        """eth_getTransactionCount(address, block); "pending" counts what waits in the pool."""
        require_count(params, 1, 2)
        address, block = parse_address(params[0]), block_param(params, 1)
        nonce = await self._context.workers.run(self._nonce, params)
        if block == PENDING:
            nonce = self._context.sender.pending_nonce(address, nonce)
        return quantity(nonce)

    def _nonce(self, params: list[Any]) -> int:
        return self._state(params, 1).nonce(parse_address(params[0]))

    def _state(self, params: list[Any], place: int) -> StateReader:
        return self._context.states.state(self._context.require_number(block_param(params, place)))

    def proof(self, params: list[Any]) -> dict[str, Any]:
        """eth_getProof(address, slots, block)."""
        require_count(params, 2, 3)
        address = parse_address(params[0])
        most = self._context.limits.proof_slots
        if not isinstance(params[1], list):
            raise invalid("storage keys must be an array")
        if len(params[1]) > most:
            raise over(f"too many storage keys (max {most})", "proof_slots", "ask for fewer at once")
        slots = [parse_slot(each) for each in params[1]]
        proof = self._state(params, 2).proof(address, slots)
        return {
            "address": data(address),
            "accountProof": [data(node) for node in proof.account_proof],
            "balance": quantity(proof.balance),
            "codeHash": data(proof.code_hash),
            "nonce": quantity(proof.nonce),
            "storageHash": data(proof.storage_root),
            "storageProof": [
                {"key": asked, "value": quantity(each.value), "proof": [data(node) for node in each.proof]}
                for asked, each in zip(params[1], proof.storage_proofs, strict=True)
            ],
        }


def _parse_slots_by_address(value: Any) -> list[tuple[Address, list[bytes]]]:
    if not isinstance(value, dict):
        raise invalid("the first argument is an object of storage keys by address")
    if not value:
        raise RpcError(INVALID_PARAMS, "empty request")
    if not all(isinstance(slots, list) for slots in value.values()):
        raise invalid("storage keys must be arrays")
    if sum(map(len, value.values())) > MAX_VALUE_SLOTS or len(value) > MAX_VALUE_SLOTS:
        raise RpcError(LIMIT_EXCEEDED, f"too many slots (max {MAX_VALUE_SLOTS}); ask for fewer at once")
    return [
        (parse_address(address), [parse_slot(slot) for slot in slots]) for address, slots in value.items()
    ]
