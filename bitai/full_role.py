"""What a full node adds: the sequencer's feed if there is one, and a way to send transactions on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bitai.node_serving import serve_rpc, serve_web
from bitai.sequencer_client import SequencerClient
from bitai.unsafe_feed import UnsafeFollower
from primitives.errors import BitaiError, InvalidInput, Rejected
from vm.registry import ListedNeurons

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bitai.chain import ChainUpdate
    from bitai.node_parts import Parts
    from primitives.ids import Address, Hash32
    from vm._core import Transaction
    from vm.executor import Executor

FORWARDED_KEPT: Final = 4_096
"""Forwarded transactions a full node remembers until it sees them in a block."""


class ForwardingSender:
    """A full node's `Sender`: transactions go to the sequencer, and are shown while they are on their way."""

    def __init__(self, executor: Executor, client: SequencerClient | None) -> None:
        """Forward through `client`; without one this node takes no transactions."""
        self._executor = executor
        self._client = client
        self._sent: dict[bytes, Transaction] = {}

    def submit_many(self, raws: Sequence[bytes]) -> asyncio.Future[list[Hash32 | BitaiError]]:
        """Forward transactions at once; of each its hash or what `submit` raises."""
        return asyncio.gather(*map(self._outcome, raws))

    async def _outcome(self, raw: bytes) -> Hash32 | BitaiError:
        try:
            return await self.submit(raw)
        except BitaiError as error:
            return error

    async def submit(self, raw: bytes) -> Hash32:
        """Check a transaction's form and forward it.

        Errors: `Rejected` "sequencer.none" without a sequencer, `InvalidInput` "tx.*", and the client's.
        """
        if self._client is None:
            raise Rejected(
                "sequencer.none", "this node has no sequencer to send to: run it with --sequencer-url"
            )
        (decoded,) = self._executor.decode([raw])
        if isinstance(decoded, tuple):
            raise InvalidInput(*decoded)
        transaction_hash = await self._client.submit(raw)
        if len(self._sent) >= FORWARDED_KEPT:
            self._sent.pop(next(iter(self._sent)))
        self._sent[transaction_hash] = decoded
        return transaction_hash

    def waiting(self, transaction_hash: Hash32) -> Transaction | None:
        """Return a transaction that was forwarded and is in no block yet."""
        return self._sent.get(transaction_hash)

    def pending_nonce(self, address: Address, state_nonce: int) -> int:
        """Return the nonce after the account's forwarded transactions."""
        nonces = {each.nonce for each in self._sent.values() if each.sender == address}
        while state_nonce in nonces:
            state_nonce += 1
        return state_nonce

    def counts(self) -> tuple[int, int]:
        """Return nothing: a full node keeps no pool of its own."""
        return 0, 0

    def content(
        self, limit: int, sender: Address | None = None
    ) -> tuple[list[Transaction], list[Transaction]]:
        """Return nothing, as `counts`."""
        del limit, sender
        return [], []

    def settle(self, hashes: Iterable[bytes]) -> None:
        """Forget transactions that are in a block."""
        for each in hashes:
            self._sent.pop(each, None)


async def start_full_node(parts: Parts) -> None:
    """Follow the sequencer's feed if there is one, and serve reads."""
    node, config = parts.node, parts.node.config
    neurons = ListedNeurons([(each.address, each.models) for each in parts.rollup.genesis.neurons])
    node.report.neurons = neurons
    client = SequencerClient(config.sequencer_url) if config.sequencer_url else None
    if client is not None:
        parts.stack.push_async_callback(client.close)
    sender = ForwardingSender(parts.executor, client)

    async def on_change(update: ChainUpdate) -> None:
        sender.settle(update.included)

    parts.chain.listen(on_change)
    if config.sequencer_url:
        follower = UnsafeFollower(
            config.sequencer_url,
            parts.rollup.identity,
            parts.rollup.keys.sequencer,
            store=parts.store,
            next_number=lambda: parts.executor.head.number + 1,
            apply=parts.chain.apply_signed,
            on_evidence=lambda kept: node.metrics.set("sequencer_contradictions", kept),
        )
        node.spawn("follow the sequencer", follower.run())
    await serve_rpc(parts, sender, feed=None, dispatcher=None)
    await serve_web(parts, None)
