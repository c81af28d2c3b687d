"""One program, run alone: what geth's `evm run` is for."""

from dataclasses import dataclass

from bitai.evm.forks import Fork
from bitai.evm.refusals import Refusal
from bitai.evm.transactions import Fields
from bitai.evm.world import Account, Block, BlockFields, Trace, World
from vm import _core

SENDER = b"\x00" * 14 + b"sender"
RECEIVER = b"\x00" * 12 + b"receiver"
_RICH = 1 << 200


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program came to; `gas_used` is the whole transaction's."""

    success: bool
    output: bytes
    gas_used: int
    logs: list[_core.Log]
    state_root: bytes


def run_code(code: bytes, fields: Fields, fork: Fork, trace: Trace | None = None) -> Ran | Refusal:
    """Call a contract of this code once; `fields` hold input, gas and value."""
    world = World({SENDER: Account(balance=_RICH), RECEIVER: Account(nonce=1, code=code)})
    environment = BlockFields(number=1, timestamp=1, coinbase=bytes(20), gas_limit=(1 << 64) - 1)
    block = Block(world, fork, environment, chain_id=1, block_hash=lambda _: None)
    outcome = block.run(fields, SENDER, trace=trace)
    if isinstance(outcome, Refusal) or outcome.receipt is None:
        return outcome if isinstance(outcome, Refusal) else Refusal("evm.no_receipt", "nothing ran")
    root = block.seal().state_root
    status = bool(outcome.receipt.status)
    return Ran(status, outcome.output or b"", outcome.receipt.gas_used, outcome.receipt.logs, root)
