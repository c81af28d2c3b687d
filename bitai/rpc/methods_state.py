"""Methods that read state, run calls, price gas, and take transactions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import data, quantity
from bitai.rpc.framing import EXECUTION_REVERTED, INVALID_PARAMS, SERVER_ERROR, UNAVAILABLE, RpcError
from bitai.rpc.params import (
    LATEST,
    BlockId,
    parse_address,
    parse_block_id,
    parse_call,
    parse_data,
    parse_quantity,
    parse_slot,
    require_count,
)

if TYPE_CHECKING:
    from bitai.rpc.context import Context
    from bitai.rpc.server import Method
    from vm._core import CallResult

PRIORITY_FEE_WEI: Final = 1_000_000
"""Tip offered by default, 0.001 gwei: blocks are not full and order by arrival among equals."""
MAX_FEE_HISTORY_BLOCKS: Final = 1_024
MAX_PROOF_SLOTS: Final = 1_024
MAX_REWARD_PERCENTILES: Final = 100
_ERROR_SELECTOR: Final = bytes.fromhex("08c379a0")
"""Selector of Solidity's Error(string)."""


class StateMethods:
    """The methods, over one context."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {
            "eth_chainId": self.chain_id,
            "net_version": self.net_version,
            "net_listening": self.listening,
            "net_peerCount": self.peer_count,
            "web3_clientVersion": self.client_version,
            "web3_sha3": self.sha3,
            "eth_syncing": self.syncing,
            "eth_accounts": self.accounts,
            "eth_gasPrice": self.gas_price,
            "eth_maxPriorityFeePerGas": self.priority_fee,
            "eth_blobBaseFee": self.blob_base_fee,
            "eth_feeHistory": self.fee_history,
            "eth_getBalance": self.balance,
            "eth_getCode": self.code,
            "eth_getStorageAt": self.storage,
            "eth_getTransactionCount": self.nonce,
            "eth_getProof": self.proof,
            "eth_call": self.call,
            "eth_estimateGas": self.estimate,
            "eth_sendRawTransaction": self.send,
            "txpool_status": self.pool_status,
        }

    async def chain_id(self, params: list[Any]) -> str:
        """eth_chainId."""
        require_count(params, 0, 0)
        return quantity(self._context.facts.chain_id)

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
        from primitives.hashes import keccak256  # noqa: PLC0415 -- used by this one method

        require_count(params, 1, 1)
        return data(keccak256(parse_data(params[0])))

    async def syncing(self, params: list[Any]) -> Any:
        """eth_syncing: false, or how far derivation is behind Bitcoin."""
        require_count(params, 0, 0)
        return self._context.facts.status().get("syncing", False)

    async def accounts(self, params: list[Any]) -> list[str]:
        """eth_accounts: the node holds no keys for its users."""
        require_count(params, 0, 0)
        return []

    async def gas_price(self, params: list[Any]) -> str:
        """eth_gasPrice: the next base fee with room for one rise, and the default tip."""
        require_count(params, 0, 0)
        return quantity(self._base_fee() + PRIORITY_FEE_WEI)

    def _base_fee(self) -> int:
        number = self._context.require_number(LATEST)
        header = self._context.blocks.header(number)
        if header is None:
            raise RpcError(SERVER_ERROR, "header not found")
        return header.base_fee

    async def priority_fee(self, params: list[Any]) -> str:
        """eth_maxPriorityFeePerGas."""
        require_count(params, 0, 0)
        return quantity(PRIORITY_FEE_WEI)

    async def blob_base_fee(self, params: list[Any]) -> str:
        """eth_blobBaseFee: blobs are refused; the least fee keeps clients that ask content."""
        require_count(params, 0, 0)
        return "0x1"

    async def fee_history(self, params: list[Any]) -> dict[str, Any]:
        """eth_feeHistory(count, newest, percentiles)."""
        require_count(params, 2, 3)
        count = int(params[0]) if isinstance(params[0], int) else parse_quantity(params[0], "block count", bits=64)
        newest = self._context.require_number(parse_block_id(params[1]))
        percentiles = params[2] if len(params) > 2 else None  # noqa: PLR2004 -- the third parameter
        _require_percentiles(percentiles)
        count = max(0, min(count, MAX_FEE_HISTORY_BLOCKS, newest + 1))
        headers = [self._context.blocks.header(number) for number in range(newest - count + 1, newest + 1)]
        known = [header for header in headers if header is not None]
        if not known:
            return {"oldestBlock": "0x0", "gasUsedRatio": [], "baseFeePerGas": []}
        shown: dict[str, Any] = {
            "oldestBlock": quantity(known[0].number),
            "baseFeePerGas": [quantity(header.base_fee) for header in known] + [quantity(known[-1].base_fee)],
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in known],
            "baseFeePerBlobGas": ["0x1"] * (len(known) + 1),
            "blobGasUsedRatio": [0] * len(known),
        }
        if percentiles:
            shown["reward"] = [[quantity(PRIORITY_FEE_WEI)] * len(percentiles) for _ in known]
        return shown

    async def balance(self, params: list[Any]) -> str:
        """eth_getBalance(address, block), in wei."""
        require_count(params, 1, 2)
        return quantity(self._state(params, 1).balance(parse_address(params[0])))

    async def code(self, params: list[Any]) -> str:
        """eth_getCode(address, block)."""
        require_count(params, 1, 2)
        return data(self._state(params, 1).code(parse_address(params[0])))

    async def storage(self, params: list[Any]) -> str:
        """eth_getStorageAt(address, slot, block), always 32 bytes."""
        require_count(params, 2, 3)
        value = self._state(params, 2).storage(parse_address(params[0]), parse_slot(params[1]))
        return data(value.to_bytes(32, "big"))

    async def nonce(self, params: list[Any]) -> str:
        """eth_getTransactionCount(address, block); "pending" counts what waits in the pool."""
        require_count(params, 1, 2)
        address = parse_address(params[0])
        nonce = self._state(params, 1).nonce(address)
        if len(params) > 1 and params[1] == "pending":
            nonce = self._context.sender.pending_nonce(address, nonce)
        return quantity(nonce)

    def _state(self, params: list[Any], place: int) -> Any:
        block = parse_block_id(params[place]) if len(params) > place else LATEST
        return self._context.states.state(self._context.require_number(block))

    async def proof(self, params: list[Any]) -> dict[str, Any]:
        """eth_getProof(address, slots, block)."""
        require_count(params, 2, 3)
        address = parse_address(params[0])
        if not isinstance(params[1], list) or len(params[1]) > MAX_PROOF_SLOTS:
            raise RpcError(INVALID_PARAMS, f"storage keys must be an array of at most {MAX_PROOF_SLOTS}")
        slots = [parse_slot(each) for each in params[1]]
        proof = await asyncio.to_thread(self._state(params, 2).proof, address, slots)
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

    async def call(self, params: list[Any]) -> str:
        """eth_call(message, block)."""
        require_count(params, 1, 2)
        number = self._context.require_number(_call_block(params))
        result = await asyncio.to_thread(self._context.simulator.call, number, parse_call(params[0]))
        return data(_require_success(result))

    async def estimate(self, params: list[Any]) -> str:
        """eth_estimateGas(message, block): the least gas limit that works."""
        require_count(params, 1, 2)
        number = self._context.require_number(_call_block(params))
        gas, result = await asyncio.to_thread(self._context.simulator.estimate, number, parse_call(params[0]))
        if gas is None:
            _require_success(result)
            raise RpcError(SERVER_ERROR, "gas required exceeds allowance")
        return quantity(gas)

    async def send(self, params: list[Any]) -> str:
        """eth_sendRawTransaction(raw): answers once the transaction waits in the pool."""
        require_count(params, 1, 1)
        return data(await self._context.sender.submit(parse_data(params[0], "transaction")))

    async def pool_status(self, params: list[Any]) -> dict[str, str]:
        """txpool_status."""
        require_count(params, 0, 0)
        ready, waiting = self._context.sender.counts()
        return {"pending": quantity(ready), "queued": quantity(waiting)}


def _call_block(params: list[Any]) -> BlockId:
    return parse_block_id(params[1]) if len(params) > 1 else LATEST


def _require_percentiles(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, list) or len(value) > MAX_REWARD_PERCENTILES:
        raise RpcError(INVALID_PARAMS, f"reward percentiles must be an array of at most {MAX_REWARD_PERCENTILES}")
    if any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in value):
        raise RpcError(INVALID_PARAMS, "reward percentiles must be numbers")


def _require_success(result: CallResult) -> bytes:
    if result.kind == "success":
        return result.output
    if result.kind == "revert":
        reason = revert_reason(result.output)
        message = "execution reverted" + (f": {reason}" if reason else "")
        raise RpcError(EXECUTION_REVERTED, message, data(result.output))
    if result.kind == "parked":
        raise RpcError(
            UNAVAILABLE,
            "the call asks a neuron model, which is answered inside transactions only",
            {"code": result.code or "infer.parked"},
        )
    words = (result.code or "").removeprefix("halt.").replace("_", " ")
    raise RpcError(SERVER_ERROR, words or "execution failed", {"code": result.code})


def revert_reason(output: bytes) -> str:
    """Return the text of Solidity's Error(string) in revert data, or an empty string."""
    if not output.startswith(_ERROR_SELECTOR) or len(output) < 68:  # noqa: PLR2004 -- selector, offset, length
        return ""
    length = int.from_bytes(output[36:68], "big")
    if length > len(output) - 68:
        return ""
    return output[68 : 68 + length].decode("utf-8", "replace")
