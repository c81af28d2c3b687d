"""Methods that take transactions, and tell of those that wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import checksum_address, data, quantity, transaction_object
from bitai.rpc.framing import RpcError
from bitai.rpc.params import invalid, parse_address, parse_data, parse_quantity, require_count
from bitai.rpc.refusals import to_rpc_error
from primitives.errors import BitaiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.rpc.context import Context, Method, TogetherMethod
    from bitai.rpc.head_feed import HeadFeed
    from bitai.rpc.methods_blocks import BlockMethods
    from primitives.ids import Hash32
    from vm._core import Transaction

SYNC_LIMIT_MS: Final = 20_000
"""How long `eth_sendRawTransactionSync` may wait for a block, and does unless told less."""
NOT_YET: Final = 4
"""Error code of a transaction that waits in the pool when its sender's patience ends (EIP-7966)."""
MAX_CONTENT: Final = 1_000
"""Waiting transactions of each kind that one answer shows."""


class SendMethods:
    """The methods, over one context."""

    def __init__(self, context: Context, blocks: BlockMethods, feed: HeadFeed) -> None:
        """Answer from this context; `feed` tells when to look for a receipt, and is told what waits."""
        self._context = context
        self._blocks = blocks
        self._feed = feed

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {
            "eth_sendRawTransaction": self.send,
            "eth_sendRawTransactionSync": self.send_and_wait,
            "txpool_status": self.pool_status,
            "txpool_content": self.pool_content,
            "txpool_contentFrom": self.pool_content_from,
            "txpool_inspect": self.pool_inspect,
        }

    def together(self) -> dict[str, TogetherMethod]:
        """Return the methods that are quicker for many calls at once."""
        return {"eth_sendRawTransaction": self.send_together}

    async def send(self, params: list[Any]) -> str:
        """eth_sendRawTransaction(raw): answers once the transaction waits in the pool."""
        require_count(params, 1, 1)
        return data(await self._submit(params[0]))

    def send_together(self, calls: list[list[Any]]) -> asyncio.Future[list[Any]]:
        """Answer as many `eth_sendRawTransaction` at once, with nothing made for each alone."""
        outcomes: list[Any] = []
        raws: list[bytes] = []
        for params in calls:
            try:
                require_count(params, 1, 1)
                raws.append(parse_data(params[0], "transaction"))
                outcomes.append(None)
            except RpcError as error:
                outcomes.append(error)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        if not raws:
            answer.set_result(outcomes)
            return answer

        def answered(done: asyncio.Future[list[Hash32 | BitaiError]]) -> None:
            told = zip(raws, done.result(), strict=True)
            shown = [each if each is not None else self._tell(*next(told)) for each in outcomes]
            if not answer.done():
                answer.set_result(shown)

        self._context.sender.submit_many(raws).add_done_callback(answered)
        return answer

    def _tell(self, raw: bytes, outcome: Hash32 | BitaiError) -> str | RpcError:
        """Return what the sender of a transaction hears, and tell others that it waits."""
        if isinstance(outcome, BitaiError):
            return to_rpc_error(outcome)
        self._feed.pending.note(outcome, raw)
        return data(outcome)

    async def send_and_wait(self, params: list[Any]) -> dict[str, Any]:
        """eth_sendRawTransactionSync(raw, limit in ms): answers with the receipt (EIP-7966).

        Errors: NOT_YET, with the hash as data, when no block took it in time.
        """
        require_count(params, 1, 2)
        limit_ms = _parse_limit(params[1]) if len(params) > 1 else SYNC_LIMIT_MS
        transaction_hash = await self._submit(params[0])
        try:
            async with asyncio.timeout(limit_ms / 1000):
                return await self._receipt(transaction_hash)
        except TimeoutError:
            message = f"the transaction was added to the pool but no block took it within {limit_ms} ms"
            raise RpcError(NOT_YET, message, data(transaction_hash)) from None

    async def _submit(self, raw: Any) -> Hash32:
        transaction = parse_data(raw, "transaction")
        (outcome,) = await self._context.sender.submit_many([transaction])
        if isinstance(outcome, BitaiError):
            raise outcome
        self._feed.pending.note(outcome, transaction)
        return outcome

    async def _receipt(self, transaction_hash: Hash32) -> dict[str, Any]:
        await self._feed.start()
        while True:
            seen = self._feed.moves
            found = await self._context.workers.run(self._blocks.find_receipt, transaction_hash)
            if found is not None:
                return found
            await self._feed.until_moved(seen)

    async def pool_status(self, params: list[Any]) -> dict[str, str]:
        """txpool_status; "queued" counts those that wait for a model's answer."""
        require_count(params, 0, 0)
        ready, waiting = self._context.sender.counts()
        return {"pending": quantity(ready), "queued": quantity(waiting)}

    async def pool_content(self, params: list[Any]) -> dict[str, Any]:
        """txpool_content: by sender and nonce, a thousand of each kind at most."""
        require_count(params, 0, 0)
        runnable, gapped = self._context.sender.content(MAX_CONTENT)
        return await self._context.workers.run(
            lambda: {"pending": _by_sender(runnable, _shown), "queued": _by_sender(gapped, _shown)}
        )

    async def pool_content_from(self, params: list[Any]) -> dict[str, Any]:
        """txpool_contentFrom(address): by nonce."""
        require_count(params, 1, 1)
        runnable, gapped = self._context.sender.content(MAX_CONTENT, parse_address(params[0]))
        return await self._context.workers.run(
            lambda: {
                name: {str(each.nonce): _shown(each) for each in part}
                for name, part in (("pending", runnable), ("queued", gapped))
            }
        )

    async def pool_inspect(self, params: list[Any]) -> dict[str, Any]:
        """txpool_inspect: as txpool_content, each transaction in one line of text."""
        require_count(params, 0, 0)
        runnable, gapped = self._context.sender.content(MAX_CONTENT)
        parts = (("pending", runnable), ("queued", gapped))
        return {name: _by_sender(part, _in_words) for name, part in parts}


def _parse_limit(value: Any) -> int:
    """Return a time limit in milliseconds; clients send a number or a quantity."""
    if isinstance(value, int) and not isinstance(value, bool):
        limit_ms = value
    else:
        limit_ms = parse_quantity(value, "timeout", bits=64)
    if limit_ms <= 0:
        raise invalid("timeout must be a positive number of milliseconds")
    return min(limit_ms, SYNC_LIMIT_MS)


def _by_sender(
    transactions: list[Transaction], show: Callable[[Transaction], Any]
) -> dict[str, dict[str, Any]]:
    shown: dict[str, dict[str, Any]] = {}
    for each in transactions:
        shown.setdefault(data(each.sender), {})[str(each.nonce)] = show(each)
    return shown


def _in_words(transaction: Transaction) -> str:
    """Return a transaction in geth's words, which tools take apart; the receiver's address as checksummed text."""
    receiver = checksum_address(transaction.to) if transaction.to is not None else "contract creation"
    price = transaction.max_fee_per_gas
    return f"{receiver}: {transaction.value} wei + {transaction.gas_limit} gas × {price} wei"  # noqa: RUF001


def _shown(transaction: Transaction) -> dict[str, Any]:
    return transaction_object(transaction, None, None, None)
