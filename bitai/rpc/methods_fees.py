"""Methods that tell what a transaction will have to pay per gas."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import quantity
from bitai.rpc.params import LATEST, invalid, parse_block_id, parse_quantity, require_count
from bitai.rpc.stored_blocks import read_block
from vm.types import SYSTEM_TRANSACTION_TYPE

if TYPE_CHECKING:
    from bitai.rpc.context import Context, Method
    from vm._core import Header

PRIORITY_FEE_WEI: Final = 1_000_000
"""Tip offered by default, 0.001 gwei: blocks are not full and order by arrival among equals."""
RISE_DIVISOR: Final = 8
"""A base fee rises by at most an eighth a block (EIP-1559)."""
MAX_REWARD_BLOCKS: Final = 128
"""With percentiles each block's receipts are read; fewer blocks than asked for is an answer that clients expect."""
MAX_PERCENTILES: Final = 100
MOST_PERCENT: Final = 100


class FeeMethods:
    """The methods, over one context."""

    def __init__(self, context: Context) -> None:
        """Answer from this context."""
        self._context = context

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        off_loop = self._context.off_loop
        return {
            "eth_gasPrice": off_loop(self.gas_price),
            "eth_baseFee": off_loop(self.base_fee),
            "eth_maxPriorityFeePerGas": self.priority_fee,
            "eth_blobBaseFee": self.blob_base_fee,
            "eth_feeHistory": off_loop(self.fee_history),
        }

    def gas_price(self, params: list[Any]) -> str:
        """eth_gasPrice: the next base fee with room for one rise, and the default tip."""
        require_count(params, 0, 0)
        base_fee = self._next_base_fee()
        return quantity(base_fee + base_fee // RISE_DIVISOR + PRIORITY_FEE_WEI)

    def base_fee(self, params: list[Any]) -> str:
        """eth_baseFee: of the next block."""
        require_count(params, 0, 0)
        return quantity(self._next_base_fee())

    def _next_base_fee(self) -> int:
        return self._context.states.next_base_fee(self._context.require_number(LATEST))

    async def priority_fee(self, params: list[Any]) -> str:
        """eth_maxPriorityFeePerGas."""
        require_count(params, 0, 0)
        return quantity(PRIORITY_FEE_WEI)

    async def blob_base_fee(self, params: list[Any]) -> str:
        """eth_blobBaseFee: blobs are refused; the least fee keeps clients that ask content."""
        require_count(params, 0, 0)
        return "0x1"

    def fee_history(self, params: list[Any]) -> dict[str, Any]:
        """eth_feeHistory(count, newest, percentiles): rewards are tips, weighed by gas; zero in empty blocks."""
        require_count(params, 2, 3)
        count = _parse_count(params[0])
        newest = self._context.require_number(parse_block_id(params[1]))
        percentiles = params[2] if len(params) > 2 else None
        _require_percentiles(percentiles)
        most = self._context.limits.fee_history_blocks
        count = min(count, min(MAX_REWARD_BLOCKS, most) if percentiles else most, newest + 1)
        headers = [self._context.blocks.header(number) for number in range(newest - count + 1, newest + 1)]
        known = [header for header in headers if header is not None]
        if not known:
            return {"oldestBlock": "0x0", "gasUsedRatio": [], "baseFeePerGas": []}
        after = self._context.states.next_base_fee(known[-1].number)
        shown: dict[str, Any] = {
            "oldestBlock": quantity(known[0].number),
            "baseFeePerGas": [*(quantity(header.base_fee) for header in known), quantity(after)],
            "gasUsedRatio": [min(1.0, header.gas_used / header.gas_limit) for header in known],
            "baseFeePerBlobGas": ["0x1"] * (len(known) + 1),
            "blobGasUsedRatio": [0] * len(known),
        }
        if percentiles:
            shown["reward"] = [self._rewards(header, percentiles) for header in known]
        return shown

    def _rewards(self, header: Header, percentiles: list[float]) -> list[str]:
        """Return the tips that these shares of a block's gas did not exceed; system transactions pay none."""
        block = read_block(self._context.blocks, header.number, receipts=True) if header.gas_used else None
        paid = sorted(
            (receipt.effective_gas_price - header.base_fee, receipt.gas_used)
            for receipt in (block.receipts if block is not None else ())
            if receipt.type != SYSTEM_TRANSACTION_TYPE
        )
        if not paid:
            return ["0x0"] * len(percentiles)
        reached = list(accumulate(gas for _, gas in paid))
        places = (bisect_left(reached, reached[-1] * each / MOST_PERCENT) for each in percentiles)
        return [quantity(paid[min(place, len(paid) - 1)][0]) for place in places]


def _parse_count(value: Any) -> int:
    """Return a block count; some clients send a JSON number."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise invalid("block count must not be negative")
        return value
    return parse_quantity(value, "block count", bits=64)


def _require_percentiles(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, list) or len(value) > MAX_PERCENTILES:
        raise invalid(f"reward percentiles must be an array of at most {MAX_PERCENTILES}")
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in value):
        raise invalid("reward percentiles must be numbers")
    if value != sorted(value) or any(not 0 <= each <= MOST_PERCENT for each in value):
        raise invalid("reward percentiles must rise and lie between 0 and 100")
