"""Methods that sign for a development node's ten accounts, and send in the name of impersonated ones.

They are there only where `methods_dev` is: the keys are public knowledge, and worth nothing anywhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from bitai.dev.signing import dev_addresses, holds_key, name_sender, sign_as, sign_message, sign_typed
from bitai.dev.typed_data import hash_typed_data
from bitai.dev.world import MAX_MINED
from bitai.rpc.encode import data, quantity
from bitai.rpc.framing import INVALID_PARAMS, RpcError
from bitai.rpc.params import (
    invalid,
    parse_address,
    parse_data,
    parse_draft,
    parse_hash,
    parse_quantity,
    require_count,
)
from primitives.errors import BitaiError, Rejected
from primitives.ids import ModelId
from vm.inference.wire import MAX_INPUT_BYTES, MAX_OUTPUT_BYTES, Status

if TYPE_CHECKING:
    from bitai.dev.world import DevWorld
    from bitai.rpc.context import Context, Method
    from bitai.rpc.methods_fill import FillMethods
    from bitai.rpc.params import CallObject
    from bitai.rpc.pending_feed import PendingFeed
    from primitives.ids import Address

MAX_MESSAGE_BYTES: Final = 1 << 20
MAX_L1_BLOCKS: Final = 1_000
MAX_L1_DEPTH: Final = 100


class AccountMethods:
    """The methods, over one context that has a development world."""

    def __init__(self, context: Context, world: DevWorld, fill: FillMethods, pending: PendingFeed) -> None:
        """Complete transactions by `fill`, and tell `pending` of them."""
        self._context = context
        self._world = world
        self._fill = fill
        self._pending = pending

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {
            "eth_accounts": self.accounts,
            "eth_sendTransaction": self.send,
            "eth_signTransaction": self.sign_transaction,
            "eth_sign": self.sign,
            "personal_sign": self.personal_sign,
            "eth_signTypedData_v4": self.sign_typed,
            "anvil_reorg": self.reorg,
            "bitai_mineL1": self.mine_l1,
            "bitai_reorgL1": self.reorg_l1,
            "bitai_faucetBtc": self.faucet_btc,
            "bitai_setFinality": self.set_finality,
            "bitai_mockInference": self.mock_inference,
        }

    # -- transactions ------------------------------------------------------------------------------

    async def accounts(self, params: list[Any]) -> list[str]:
        """eth_accounts: the ten."""
        require_count(params, 0, 0)
        return [data(each) for each in dev_addresses()]

    async def send(self, params: list[Any]) -> str:
        """eth_sendTransaction(transaction): from one of the ten, or in an impersonated account's name."""
        require_count(params, 1, 1)
        raw = await self._raw(params[0])
        (outcome,) = await self._context.sender.submit_many([raw])
        if isinstance(outcome, BitaiError):
            raise outcome
        self._pending.note(outcome, raw)
        return data(outcome)

    async def sign_transaction(self, params: list[Any]) -> str:
        """eth_signTransaction(transaction): the raw bytes, from one of the ten."""
        require_count(params, 1, 1)
        draft = self._draft(params[0])
        _require_key(draft.sender)
        return data(sign_as(draft.sender, await self._fill.complete(draft)))

    def _draft(self, value: Any) -> CallObject:
        draft = parse_draft(value)
        if draft.chain_id not in (None, self._context.facts.chain_id):
            raise invalid("chainId is another chain's")
        return draft

    async def _raw(self, value: Any) -> bytes:
        draft = self._draft(value)
        if self._world.impersonates(draft.sender):
            return name_sender(draft.sender, await self._fill.complete(draft))
        _require_key(draft.sender)
        return sign_as(draft.sender, await self._fill.complete(draft))

    async def reorg(self, params: list[Any]) -> None:
        """anvil_reorg(depth, [[transaction, place of its block], ...]): as many blocks in place of the last ones."""
        require_count(params, 1, 2)
        options = params[0] if isinstance(params[0], dict) else {"depth": params[0]}
        pairs = (params[1] if len(params) > 1 else options.get("tx_block_pairs")) or []
        depth = options.get("depth")
        if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= MAX_MINED:
            raise invalid(f"depth must be a whole number from 1 to {MAX_MINED}")
        blocks: list[list[bytes]] = [[] for _ in range(depth)]
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2 or pair[1] not in range(depth):
                raise invalid("a transaction of the new blocks comes with the place of its block")
            raw = parse_data(pair[0]) if isinstance(pair[0], str) else await self._raw(pair[0])
            blocks[pair[1]].append(raw)
        await self._world.reorg(depth, blocks)

    # -- messages ----------------------------------------------------------------------------------

    async def sign(self, params: list[Any]) -> str:
        """eth_sign(address, message): with the prefix of EIP-191."""
        require_count(params, 2, 2)
        return self._sign(params[0], params[1])

    async def personal_sign(self, params: list[Any]) -> str:
        """Sign a message with the prefix of EIP-191; the account comes second (personal_sign)."""
        require_count(params, 2, 3)
        return self._sign(params[1], params[0])

    def _sign(self, account: Any, message: Any) -> str:
        address = parse_address(account)
        _require_key(address)
        return data(sign_message(address, parse_data(message, "message")))

    async def sign_typed(self, params: list[Any]) -> str:
        """eth_signTypedData_v4(address, data): EIP-712, as an object or as its JSON."""
        require_count(params, 2, 2)
        address, typed = parse_address(params[0]), params[1]
        _require_key(address)
        if isinstance(typed, str):
            try:
                typed = orjson.loads(typed)
            except orjson.JSONDecodeError:
                raise invalid("typed data is no JSON") from None
        if not isinstance(typed, dict):
            raise invalid("typed data is an object with types, domain, primaryType and message")
        domain, message = await self._context.workers.run(hash_typed_data, typed)
        return data(sign_typed(address, domain, message))

    # -- Bitcoin and models ------------------------------------------------------------------------

    async def mine_l1(self, params: list[Any]) -> list[str]:
        """bitai_mineL1(count): Bitcoin blocks; returns their hashes."""
        require_count(params, 0, 1)
        return list(await self._world.bitcoin.mine(_count(params, MAX_L1_BLOCKS)))

    async def reorg_l1(self, params: list[Any]) -> dict[str, Any]:
        """bitai_reorgL1(depth): replaces the last Bitcoin blocks by one more."""
        require_count(params, 1, 1)
        done = await self._world.bitcoin.reorg(_count(params, MAX_L1_DEPTH))
        return {"depth": done.depth, "oldTip": done.old_tip, "newTip": done.new_tip}

    async def faucet_btc(self, params: list[Any]) -> dict[str, Any]:
        """bitai_faucetBtc(address, sats): coins on Bitcoin (bcrt1...) or here (0x...)."""
        require_count(params, 1, 2)
        if not isinstance(params[0], str):
            raise invalid("address must be a Bitcoin address or 0x and 40 digits")
        sats = parse_quantity(params[1], "sats", bits=63) if len(params) > 1 else 100_000_000
        if not 0 < sats <= 100 * 100_000_000:
            raise invalid("sats must be from 1 to 100 BTC's")
        paid = await self._world.bitcoin.faucet(params[0], sats)
        return {"layer": paid.layer, "transaction": paid.transaction, "sats": quantity(paid.amount_sats)}

    async def set_finality(self, params: list[Any]) -> None:
        """bitai_setFinality: refused, for how deep is final is a rule of the chain; mine Bitcoin blocks instead."""
        require_count(params, 0, 1)
        raise Rejected(
            "dev.finality_is_a_rule",
            "how deep a block is final is part of the chain's identity; bitai_mineL1 makes blocks final",
        )

    async def mock_inference(self, params: list[Any]) -> None:
        """bitai_mockInference(model, input or null, output, status): what a neuron model answers from now on.

        With null every input that has no answer of its own gets this one. Begins a scratch.
        """
        require_count(params, 3, 4)
        model = ModelId(parse_hash(params[0], "model"))
        asked = None if params[1] is None else parse_data(params[1], "input")
        output = parse_data(params[2], "output")
        if len(asked or b"") > MAX_INPUT_BYTES or len(output) > MAX_OUTPUT_BYTES:
            raise invalid("a question or answer has at most 1 MiB")
        status = parse_quantity(params[3], "status", bits=8) if len(params) > 3 else 0
        if status != Status.OK:
            raise invalid("a neuron's answer has status 0: what is not in order every node finds by itself")
        await self._world.mock(model, asked, output)


def _require_key(address: Address) -> None:
    if not holds_key(address):
        raise RpcError(
            INVALID_PARAMS, f"No Signer available: unknown account {data(address)}", {"code": "dev.no_key"}
        )


def _count(params: list[Any], most: int) -> int:
    value = params[0] if params else 1
    count = parse_quantity(value, "count", bits=32) if isinstance(value, str) else value
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= most:
        raise invalid(f"count must be a whole number from 1 to {most}")
    return count
