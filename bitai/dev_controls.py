"""What the owner of a regtest node may do to its world: pay from the faucet, mine, and reorganise Bitcoin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from bitai.l2_wallet import Unsigned, sign_transaction
from bitai.status import FaucetReceipt, ReorgReceipt
from primitives.errors import Rejected
from primitives.ids import ADDRESS_BYTES, Address, Hash32
from vm.dev_accounts import DEV_ACCOUNTS
from vm.types import SATS_TO_WEI

if TYPE_CHECKING:
    from bitai.adapters.bitcoin.transport import RpcTransport
    from rollup.config import RollupConfig
    from rollup.sequencer.pool import Pool
    from vm.executor import Executor

SATS_PER_BTC: Final = 100_000_000
TRANSFER_GAS: Final = 100_000
"""Enough for a plain transfer, and for a contract wallet's receive function."""
TIP_WEI: Final = 1_000_000


class RegtestControls:
    """Implements `DevControls` on a regtest Bitcoin and the node's own pool."""

    def __init__(
        self,
        transport: RpcTransport,
        executor: Executor,
        pool: Pool,
        submit: Callable[[bytes], Awaitable[Hash32]],
        *,
        rollup: RollupConfig,
    ) -> None:
        """Pay L1 coins from Bitcoin's faucet, L2 coins from the last of the public test accounts."""
        self._transport = transport
        self._executor = executor
        self._pool = pool
        self._submit = submit
        self._rollup = rollup
        self.leave_scratch: Callable[[], Awaitable[bool]] = _never_left
        """Set by who makes the world that a scratch belongs to."""

    async def faucet(self, address: str, amount_sats: int) -> FaucetReceipt:
        """See `DevControls.faucet`."""
        if address.startswith("0x"):
            return FaucetReceipt("L2", await self._pay_on_l2(address, amount_sats), amount_sats)
        amount = f"{amount_sats // SATS_PER_BTC}.{amount_sats % SATS_PER_BTC:08d}"
        txid = await self._transport.call("sendtoaddress", address, amount, idempotent=False)
        return FaucetReceipt("L1", str(txid), amount_sats)

    async def _pay_on_l2(self, text: str, amount_sats: int) -> str:
        try:
            to = Address(bytes.fromhex(text[2:]))
        except ValueError:
            to = Address(b"")
        if len(to) != ADDRESS_BYTES:
            raise Rejected("faucet.bad_address", "an L2 address is 0x and 40 hex digits")
        payer = DEV_ACCOUNTS[-1]
        head = self._executor.head
        state_nonce = self._executor.view(head.number).nonce(payer.address)
        unsigned = Unsigned(
            chain_id=self._executor.spec.chain_id,
            nonce=self._pool.pending_nonce(payer.address, state_nonce),
            max_fee_per_gas=4 * head.base_fee + TIP_WEI,
            max_priority_fee_per_gas=TIP_WEI,
            gas_limit=TRANSFER_GAS,
            to=to,
            value=amount_sats * SATS_TO_WEI,
        )
        return "0x" + (await self._submit(sign_transaction(unsigned, payer.secret))).hex()

    async def mine(self, blocks: int) -> tuple[str, ...]:
        """See `DevControls.mine`."""
        address = await self._transport.call("getnewaddress")
        hashes = await self._transport.call("generatetoaddress", blocks, address, idempotent=False)
        return tuple(str(each) for each in hashes)

    async def height(self) -> int:
        """See `DevControls.height`."""
        return int(await self._transport.call("getblockcount"))

    async def reset(self) -> bool:
        """See `DevControls.reset`."""
        return await self.leave_scratch()

    async def reorg(self, depth: int) -> ReorgReceipt:
        """See `DevControls.reorg`; the replaced blocks' transactions go back to the mempool."""
        height = int(await self._transport.call("getblockcount"))
        start, finality = self._rollup.l1_start.height, self._rollup.parameters.finality_depth
        deepest = min(finality - 1, height - start)
        if depth > deepest:
            why = f"Bitcoin blocks are final {finality} deep, and this chain starts at block {start}"
            fix = f"bitai-node dev reorg {max(1, deepest)}"
            raise Rejected(
                "reorg.too_deep", f"{depth} blocks are more than a node goes back", why=why, fix=fix
            )
        old_tip = str(await self._transport.call("getbestblockhash"))
        lowest = await self._transport.call("getblockhash", height - depth + 1)
        await self._transport.call("invalidateblock", lowest, idempotent=False)
        hashes = await self.mine(depth + 1)
        return ReorgReceipt(depth, old_tip, hashes[-1])


async def _never_left() -> bool:
    return False
