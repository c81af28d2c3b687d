"""Methods of our own: where the chain stands on Bitcoin, which models answer, what became of what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bitai.rpc.params import BlockId, parse_block_id, parse_hash, parse_quantity, require_count

if TYPE_CHECKING:
    from bitai.rpc.context import Context, Method


class BitaiMethods:
    """The methods, over one context."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {
            "bitai_status": self.status,
            "bitai_getL1Anchor": self.anchor,
            "bitai_getBatch": self.batch,
            "bitai_getInference": self.inference,
            "bitai_getModels": self.models,
            "bitai_getOutcomes": self.outcomes,
        }

    async def status(self, params: list[Any]) -> dict[str, Any]:
        """bitai_status: heads, Bitcoin's tip, batcher, neurons."""
        require_count(params, 0, 0)
        return self._context.facts.status()

    async def anchor(self, params: list[Any]) -> dict[str, Any] | None:
        """bitai_getL1Anchor(block or transaction hash): origin, and the Bitcoin block that made it safe."""
        require_count(params, 1, 1)
        number = self._number(params[0])
        return None if number is None else self._context.facts.anchor(number)

    async def batch(self, params: list[Any]) -> dict[str, Any] | None:
        """bitai_getBatch(block or transaction hash): the batch on Bitcoin that holds it; null until it is safe."""
        require_count(params, 1, 1)
        number = self._number(params[0])
        return None if number is None else self._context.bitcoin.batch(number)

    def _number(self, value: Any) -> int | None:
        block = parse_block_id(value)
        number = self._context.blocks.resolve(block)
        if number is None and block.hash is not None:
            place = self._context.blocks.place(block.hash)
            number = place.number if place else None
        return number

    async def inference(self, params: list[Any]) -> list[dict[str, Any]] | None:
        """bitai_getInference(transaction hash): the records of its neuron calls."""
        require_count(params, 1, 1)
        place = self._context.blocks.place(parse_hash(params[0], "transaction hash"))
        if place is None:
            return None
        return [
            record
            for record in self._context.facts.records(place.number)
            if record["transactionIndex"] == hex(place.index)
        ]

    async def models(self, params: list[Any]) -> list[dict[str, Any]]:
        """bitai_getModels: the registered models at the head."""
        require_count(params, 0, 0)
        self._context.require_number(BlockId(tag="latest"))
        return self._context.facts.models()

    async def outcomes(self, params: list[Any]) -> list[dict[str, Any]] | None:
        """bitai_getOutcomes(L1 height): what derivation accepted, dropped or voided there."""
        require_count(params, 1, 1)
        return self._context.facts.outcomes(parse_quantity(params[0], "L1 height", bits=64))
