"""Methods for the owner of a development node, under the names that anvil's and Hardhat's users know.

They are there only in role dev, on regtest, on a loopback address: elsewhere they do not exist. What each returns is
what anvil returns. Numbers may come as JSON numbers or as quantities, as libraries send both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bitai.dev.dump import decode_dump, encode_dump
from bitai.dev.world import MAX_MINED, MAX_TIME_S
from bitai.rpc.encode import data, quantity
from bitai.rpc.framing import INVALID_PARAMS, RpcError
from bitai.rpc.params import (
    invalid,
    parse_address,
    parse_bool,
    parse_data,
    parse_hash,
    parse_quantity,
    parse_slot,
    require_count,
)
from primitives.ids import HASH_BYTES, Hash32
from vm._core import AccountOverride

if TYPE_CHECKING:
    from bitai.dev.world import DevWorld
    from bitai.rpc.context import Context, Method
    from primitives.ids import Address

BALANCE_BITS: Final = 255
MAX_INTERVAL_S: Final = 86_400
_GAS_LIMITS: Final = (21_000, 1 << 40)


class DevMethods:
    """The methods, over one context that has a development world."""

    def __init__(self, context: Context, world: DevWorld) -> None:
        """Change `world` as its owner says."""
        self._context = context
        self._world = world

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        shared: dict[str, Method] = {
            "mine": self.mine,
            "setBalance": self.set_balance,
            "setCode": self.set_code,
            "setNonce": self.set_nonce,
            "setStorageAt": self.set_storage_at,
            "setCoinbase": self.set_coinbase,
            "setPrevRandao": self.set_prev_randao,
            "setNextBlockBaseFeePerGas": self.set_next_base_fee,
            "setMinGasPrice": self.set_min_gas_price,
            "impersonateAccount": self.impersonate,
            "stopImpersonatingAccount": self.stop_impersonating,
            "dropTransaction": self.drop_transaction,
            "reset": self.reset,
            "getAutomine": self.get_automine,
            "metadata": self.metadata,
            "setLoggingEnabled": self.set_logging,
        }
        anvil: dict[str, Method] = {
            "anvil_addBalance": self.add_balance,
            "anvil_autoImpersonateAccount": self.impersonate_all,
            "anvil_dropAllTransactions": self.drop_all,
            "anvil_dumpState": self.dump_state,
            "anvil_loadState": self.load_state,
            "anvil_getIntervalMining": self.get_interval,
            "anvil_nodeInfo": self.node_info,
            "anvil_rollback": self.rollback,
            "anvil_setBlockTimestampInterval": self.set_step,
            "anvil_removeBlockTimestampInterval": self.remove_step,
        }
        evm: dict[str, Method] = {
            "snapshot": self.snapshot,
            "revert": self.revert,
            "mine": self.mine_at,
            "increaseTime": self.increase_time,
            "setTime": self.set_time,
            "setNextBlockTimestamp": self.set_next_time,
            "setAutomine": self.set_automine,
            "setIntervalMining": self.set_interval,
            "setBlockGasLimit": self.set_gas_limit,
        }
        return {
            **{f"{prefix}_{name}": each for name, each in shared.items() for prefix in ("anvil", "hardhat")},
            **anvil,
            **{f"{prefix}_{name}": each for name, each in evm.items() for prefix in ("evm", "anvil")},
            "anvil_mine": self.mine,
            "evm_setAccountNonce": self.set_nonce,
        }

    # -- blocks ----------------------------------------------------------------------------------

    async def mine(self, params: list[Any]) -> None:
        """anvil_mine(count, seconds between): blocks now."""
        require_count(params, 0, 2)
        count = _optional(params, 0, "block count", 1)
        interval = _optional(params, 1, "interval", None)
        await self._world.mine(_bounded(count, MAX_MINED, "block count"), interval_s=_time(interval))

    async def mine_at(self, params: list[Any]) -> str:
        """evm_mine(timestamp, or {timestamp, blocks})."""
        require_count(params, 0, 1)
        wanted = params[0] if params else None
        count, timestamp = 1, wanted
        if isinstance(wanted, dict):
            count, timestamp = _number(wanted.get("blocks") or 1, "blocks"), wanted.get("timestamp")
        at = None if timestamp is None else _number(timestamp, "timestamp")
        await self._world.mine(_bounded(count, MAX_MINED, "blocks"), timestamp=_time(at))
        return "0x0"

    async def set_automine(self, params: list[Any]) -> None:
        """evm_setAutomine(on): a block for each transaction at once; off and without interval, none unasked."""
        require_count(params, 1, 1)
        on = parse_bool(params[0], "automine")
        await (self._world.set_mining(automine=True) if on else self._world.set_mining(automine=False))

    async def set_interval(self, params: list[Any]) -> None:
        """evm_setIntervalMining(seconds): 0 ends it."""
        require_count(params, 1, 1)
        seconds = _bounded(_number(params[0], "interval"), MAX_INTERVAL_S, "interval", least=0)
        await self._world.set_mining(interval_s=seconds)

    async def get_automine(self, params: list[Any]) -> bool:
        """anvil_getAutomine."""
        require_count(params, 0, 0)
        return self._world.automine

    async def get_interval(self, params: list[Any]) -> int | None:
        """anvil_getIntervalMining: seconds, null without."""
        require_count(params, 0, 0)
        return int(self._world.interval_s) or None

    async def rollback(self, params: list[Any]) -> None:
        """anvil_rollback(depth): takes blocks back, transactions and all."""
        require_count(params, 0, 1)
        depth = _optional(params, 0, "depth", None)
        await self._world.rollback(_bounded(1 if depth is None else depth, MAX_MINED, "depth"))

    # -- time ------------------------------------------------------------------------------------

    async def increase_time(self, params: list[Any]) -> int:
        """evm_increaseTime(seconds): returns how far ahead of this machine's the clock now is."""
        require_count(params, 1, 1)
        seconds = _bounded(_number(params[0], "seconds"), MAX_TIME_S, "seconds", least=0)
        return await self._world.increase_time(seconds)

    async def set_time(self, params: list[Any]) -> int:
        """evm_setTime(timestamp): returns by how much that set the clock ahead."""
        require_count(params, 1, 1)
        return await self._world.set_time(
            _bounded(_number(params[0], "timestamp"), MAX_TIME_S, "timestamp", least=0)
        )

    async def set_next_time(self, params: list[Any]) -> None:
        """evm_setNextBlockTimestamp(timestamp)."""
        require_count(params, 1, 1)
        timestamp = _bounded(_number(params[0], "timestamp"), MAX_TIME_S, "timestamp", least=0)
        await self._world.set_next_time(timestamp)

    async def set_step(self, params: list[Any]) -> None:
        """anvil_setBlockTimestampInterval(seconds): time from block to block, whatever the clock says."""
        require_count(params, 1, 1)
        step = _bounded(_number(params[0], "seconds"), MAX_INTERVAL_S, "seconds")
        await self._world.settle(lambda scratch: replace(scratch, step_s=step))

    async def remove_step(self, params: list[Any]) -> bool:
        """anvil_removeBlockTimestampInterval: whether there was one."""
        require_count(params, 0, 0)
        scratch = self._world.scratch
        if scratch is None or scratch.step_s is None:
            return False
        await self._world.settle(lambda held: replace(held, step_s=None))
        return True

    # -- what blocks hold --------------------------------------------------------------------------

    async def set_gas_limit(self, params: list[Any]) -> bool:
        """evm_setBlockGasLimit(gas)."""
        require_count(params, 1, 1)
        least, most = _GAS_LIMITS
        gas = _bounded(_number(params[0], "gas limit"), most, "gas limit", least=least)
        await self._world.settle(lambda scratch: replace(scratch, gas_limit=gas))
        return True

    async def set_coinbase(self, params: list[Any]) -> None:
        """anvil_setCoinbase(address): what COINBASE shows and who gets the tips."""
        require_count(params, 1, 1)
        coinbase = parse_address(params[0])
        await self._world.settle(lambda scratch: replace(scratch, coinbase=coinbase))

    async def set_prev_randao(self, params: list[Any]) -> None:
        """hardhat_setPrevRandao(32 bytes): of the next block."""
        require_count(params, 1, 1)
        await self._world.want(prev_randao=Hash32(parse_slot(params[0])))

    async def set_next_base_fee(self, params: list[Any]) -> None:
        """anvil_setNextBlockBaseFeePerGas(wei)."""
        require_count(params, 1, 1)
        await self._world.want(
            base_fee=_bounded(_number(params[0], "base fee"), (1 << 64) - 1, "base fee", least=0)
        )

    async def set_min_gas_price(self, params: list[Any]) -> None:
        """anvil_setMinGasPrice: refused, for the base fee is the least price."""
        require_count(params, 1, 1)
        raise RpcError(INVALID_PARAMS, "a minimum gas price is not supported when EIP-1559 is active")

    # -- state -----------------------------------------------------------------------------------

    async def set_balance(self, params: list[Any]) -> None:
        """anvil_setBalance(address, wei)."""
        require_count(params, 2, 2)
        balance = _balance(params[1])
        await self._world.edit([AccountOverride(parse_address(params[0]), balance=balance)])

    async def add_balance(self, params: list[Any]) -> None:
        """anvil_addBalance(address, wei)."""
        require_count(params, 2, 2)
        address, more = parse_address(params[0]), _balance(params[1])
        held = await self._context.workers.run(self._balance, address)
        await self._world.edit([AccountOverride(address, balance=_balance(held + more))])

    def _balance(self, address: Address) -> int:
        return self._context.states.state(self._world.executor.head.number).balance(address)

    async def set_code(self, params: list[Any]) -> None:
        """anvil_setCode(address, code)."""
        require_count(params, 2, 2)
        code = parse_data(params[1], "code")
        try:
            override = AccountOverride(parse_address(params[0]), code=code)
        except ValueError as error:
            raise invalid(f"code: {error}") from None
        await self._world.edit([override])

    async def set_nonce(self, params: list[Any]) -> None:
        """anvil_setNonce(address, nonce)."""
        require_count(params, 2, 2)
        nonce = _bounded(_number(params[1], "nonce"), (1 << 64) - 2, "nonce", least=0)
        await self._world.edit([AccountOverride(parse_address(params[0]), nonce=nonce)])

    async def set_storage_at(self, params: list[Any]) -> bool:
        """anvil_setStorageAt(address, slot, 32 bytes)."""
        require_count(params, 3, 3)
        value = int.from_bytes(parse_slot(params[2]), "big")
        slots = {_slot(params[1]): value}
        await self._world.edit([AccountOverride(parse_address(params[0]), storage_diff=slots)])
        return True

    async def dump_state(self, params: list[Any]) -> str:
        """anvil_dumpState: all accounts, as gzipped JSON."""
        require_count(params, 0, 1)
        accounts = await self._world.dump()
        return data(await self._context.workers.run(encode_dump, accounts))

    async def load_state(self, params: list[Any]) -> bool:
        """anvil_loadState(dump): accounts that it names become as it says; others stay."""
        require_count(params, 1, 1)
        packed = parse_data(params[0], "state")
        await self._world.edit(await self._context.workers.run(decode_dump, packed))
        return True

    # -- snapshots -------------------------------------------------------------------------------

    async def snapshot(self, params: list[Any]) -> str:
        """evm_snapshot: a number to come back by."""
        require_count(params, 0, 0)
        return quantity(await self._world.snapshot())

    async def revert(self, params: list[Any]) -> bool:
        """evm_revert(number): false if there is no such snapshot any more."""
        require_count(params, 1, 1)
        return await self._world.revert(_number(params[0], "snapshot"))

    async def reset(self, params: list[Any]) -> None:
        """anvil_reset: back to the chain that others share; forking is not supported."""
        require_count(params, 0, 1)
        wanted = params[0].get("forking") if params and isinstance(params[0], dict) else None
        if isinstance(wanted, dict) and any(value is not None for value in wanted.values()):
            raise RpcError(
                INVALID_PARAMS, "forking another chain is not supported", {"code": "dev.no_forking"}
            )
        await self._world.reset()

    # -- names and waiting transactions ------------------------------------------------------------

    async def impersonate(self, params: list[Any]) -> None:
        """anvil_impersonateAccount(address): eth_sendTransaction takes it as sender."""
        require_count(params, 1, 1)
        address = parse_address(params[0])
        await self._world.impersonate(address)

    async def stop_impersonating(self, params: list[Any]) -> None:
        """anvil_stopImpersonatingAccount(address)."""
        require_count(params, 1, 1)
        address = parse_address(params[0])
        if self._world.scratch is not None:
            await self._world.settle(
                lambda scratch: replace(scratch, impersonated=scratch.impersonated - {address})
            )

    async def impersonate_all(self, params: list[Any]) -> None:
        """anvil_autoImpersonateAccount(on): every account is a sender."""
        require_count(params, 1, 1)
        on = parse_bool(params[0], "auto impersonation")
        await self._world.settle(lambda scratch: replace(scratch, impersonates_all=on))

    async def drop_transaction(self, params: list[Any]) -> str | None:
        """anvil_dropTransaction(hash): the hash, or null if it did not wait."""
        require_count(params, 1, 1)
        transaction_hash = parse_hash(params[0])
        return data(transaction_hash) if self._world.drop(transaction_hash) else None

    async def drop_all(self, params: list[Any]) -> None:
        """anvil_dropAllTransactions."""
        require_count(params, 0, 0)
        self._world.drop_all()

    # -- about the node ----------------------------------------------------------------------------

    async def set_logging(self, params: list[Any]) -> None:
        """anvil_setLoggingEnabled(on): whether the log names the transactions of each block."""
        require_count(params, 1, 1)
        self._world.tell_blocks(wanted=parse_bool(params[0], "logging"))

    async def node_info(self, params: list[Any]) -> dict[str, Any]:
        """anvil_nodeInfo."""
        require_count(params, 0, 0)
        head = self._world.executor.head
        fee = self._context.states.next_base_fee(head.number)
        return {
            "currentBlockNumber": quantity(head.number),
            "currentBlockTimestamp": head.timestamp,
            "currentBlockHash": data(head.hash),
            "hardFork": "Osaka",
            "transactionOrder": "fees",
            "environment": {
                "baseFee": quantity(head.base_fee),
                "chainId": self._context.facts.chain_id,
                "gasLimit": quantity(head.gas_limit),
                "gasPrice": quantity(fee),
            },
            "forkConfig": {"forkUrl": None, "forkBlockNumber": None, "forkRetryBackoff": None},
        }

    async def metadata(self, params: list[Any]) -> dict[str, Any]:
        """anvil_metadata."""
        require_count(params, 0, 0)
        head = self._world.executor.head
        marks = self._world.snapshots()
        return {
            "clientVersion": self._context.facts.version,
            "clientSemver": self._context.facts.version.rpartition("v")[2],
            "chainId": self._context.facts.chain_id,
            "instanceId": data(self._world.executor.spec.identity),
            "latestBlockNumber": head.number,
            "latestBlockHash": data(head.hash),
            "forkedNetwork": None,
            "snapshots": {
                quantity(number): [mark.block.number, data(mark.block.hash)] for number, mark in marks.items()
            },
        }


def _number(value: Any, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:
        return int(value)
    if isinstance(value, str) and value.startswith("0x0") and len(value) > 3:
        return int.from_bytes(parse_slot(value), "big")
    return parse_quantity(value, name)


def _optional(params: list[Any], place: int, name: str, default: int | None) -> int | None:
    value = params[place] if len(params) > place else None
    return default if value is None else _number(value, name)


def _bounded(value: int | None, most: int, name: str, *, least: int = 1) -> int:
    if value is None or not least <= value <= most:
        raise invalid(f"{name} must be a whole number from {least} to {most}")
    return value


def _time(value: int | None) -> int | None:
    return None if value is None else _bounded(value, MAX_TIME_S, "time", least=0)


def _balance(value: Any) -> int:
    balance = _number(value, "balance")
    if balance >> BALANCE_BITS:
        raise invalid("a balance is below 2**255 wei")
    return balance


def _slot(value: Any) -> bytes:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value.to_bytes(HASH_BYTES, "big")
    return parse_slot(value)
