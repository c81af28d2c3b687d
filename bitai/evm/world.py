"""A plain world: the node's state over rows in memory, and one block at a time on top of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import orjson

from bitai.evm.forks import GAS_PER_BLOB, Fork
from bitai.evm.refusals import Refusal, Refused
from bitai.evm.transactions import Fields
from bitai.evm.values import address, as_hex, blob, mapping, number, word
from primitives import rlp
from primitives.errors import InvalidInput
from primitives.hashes import keccak256
from vm import _core

BlockHash: TypeAlias = Callable[[int], bytes | None]
Trace: TypeAlias = Callable[[bytes], object]

_U64: Final = (1 << 64) - 1
_U256: Final = (1 << 256) - 1
_ZERO: Final = bytes(32)
_CACHE_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Account:
    """An account with all that belongs to it; slots with a value of zero are none."""

    nonce: int = 0
    balance: int = 0
    code: bytes = b""
    storage: Mapping[bytes, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the account as allocations write it, what is nothing left out."""
        shown: dict[str, Any] = {"balance": hex(self.balance)}
        if self.nonce:
            shown["nonce"] = hex(self.nonce)
        if self.code:
            shown["code"] = as_hex(self.code)
        if self.storage:
            shown["storage"] = {
                as_hex(slot): as_hex(value.to_bytes(32, "big"))
                for slot, value in sorted(self.storage.items())
            }
        return shown


Alloc: TypeAlias = "dict[bytes, Account]"


def alloc_of(content: object) -> Alloc:
    """Return the accounts of a JSON allocation (`pre`, `alloc`); raises InvalidInput `evm.*`."""
    accounts: Alloc = {}
    for name, value in mapping(content, "an allocation").items():
        parts = mapping(value, f"account {name}")
        slots = mapping(parts.get("storage") or {}, f"the storage of {name}")
        storage = {word(slot): int.from_bytes(word(held), "big") for slot, held in slots.items()}
        account = Account(
            number(parts.get("nonce", 0)),
            number(parts.get("balance", 0)),
            blob(parts.get("code", "")),
            storage,
        )
        if account.nonce > _U64 or account.balance > _U256:
            raise InvalidInput("evm.bad_number", "a nonce or a balance is too large", account=name)
        accounts[address(name)] = account
    return accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFields:
    """What a block's transactions see of it."""

    number: int
    timestamp: int
    coinbase: bytes
    gas_limit: int
    base_fee: int = 0
    difficulty: int = 0
    prev_randao: bytes = _ZERO
    excess_blob_gas: int = 0

    def to_core(self, fork: Fork) -> _core.BlockEnv:
        """Return the environment for the core; raises InvalidInput `evm.bad_number` for what it cannot hold."""
        price = fork.blobs.base_fee(self.excess_blob_gas) if fork.blobs else 1
        sizes = (self.number, self.timestamp, self.base_fee, self.excess_blob_gas)
        if max(sizes) > _U64 or self.difficulty > _U256:
            raise InvalidInput("evm.bad_number", "a number of the block's environment is too large")
        return _core.plain_block_env(
            number=self.number,
            timestamp=self.timestamp,
            coinbase=self.coinbase,
            gas_limit=min(self.gas_limit, _U64),
            base_fee=self.base_fee,
            difficulty=self.difficulty,
            prev_randao=self.prev_randao,
            excess_blob_gas=self.excess_blob_gas,
            blob_base_fee=price,
        )


class World:
    """The state after some block, in memory."""

    def __init__(self, alloc: Alloc) -> None:
        """Begin with an allocation; empty accounts are kept, as official tests have them."""
        entries = [
            (name, account.nonce, account.balance, account.code, account.storage)
            for name, account in alloc.items()
        ]
        first = _core.build_genesis(_GENESIS, entries, allow_empty=True)
        self._rows: dict[bytes, bytes] = {key: value for key, value in first.writes if value is not None}
        self.root = first.state_root
        self.state = _core.State(self._read, cache_bytes=_CACHE_BYTES)

    def alloc(self) -> Alloc:
        """Return every account."""
        storage: dict[bytes, dict[bytes, int]] = {}
        for key, value in self._rows.items():
            if key[:1] == b"s":
                storage.setdefault(key[1:21], {})[key[21:]] = int.from_bytes(value, "big")
        return {
            key[1:]: self._account(value, storage.get(key[1:], {}))
            for key, value in sorted(self._rows.items())
            if key[:1] == b"a"
        }

    def move(self, executor: _core.BlockExecutor, sealed: _core.SealedBlock) -> None:
        """Go on to a sealed block."""
        executor.commit(lambda: self._write(sealed))
        self.root = sealed.state_root
        if sealed.wiped:
            self.state.reset()  # it may have cached what was wiped

    def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._rows.get(key) for key in keys]

    def _write(self, sealed: _core.SealedBlock) -> None:
        for gone in sealed.wiped:
            prefixes = (b"s" + gone, b"S" + gone)
            for key in [key for key in self._rows if key.startswith(prefixes)]:
                del self._rows[key]
        for key, value in sealed.writes:
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value

    def _account(self, row: bytes, storage: Mapping[bytes, int]) -> Account:
        nonce, balance, _, code_hash = rlp.decode_list(row, 4)
        code = self._rows.get(b"c" + bytes(code_hash), b"")  # type: ignore[arg-type] # a string by its shape
        return Account(rlp.decode_int(nonce), rlp.decode_int(balance), code, storage)


class Block:
    """A block in the making under plain Ethereum's rules."""

    def __init__(
        self, world: World, fork: Fork, fields: BlockFields, *, chain_id: int, block_hash: BlockHash
    ) -> None:
        """Open the block; nothing has run yet."""
        host = _core.Host(models=_no_model, infer=_no_answer, block_hash=block_hash)
        rules = _core.plain_rules(fork.core, chain_id, fork.max_blobs)
        self._world, self._fork, self._chain_id = world, fork, chain_id
        self.executor = _core.BlockExecutor(world.state, rules, fields.to_core(fork), host)
        self.blob_gas_used = 0
        self._receipts: list[_core.Receipt] = []

    def run(
        self, fields: Fields, sender: bytes, raw: bytes = b"", *, trace: Trace | None = None
    ) -> _core.Outcome | Refusal:
        """Run one transaction, or tell why it cannot be included; `trace` is handed the lines of its steps."""
        try:
            fields.require_possible()
        except Refused as refused:
            return refused.refusal
        blob_gas = len(fields.blob_hashes) * GAS_PER_BLOB
        if self._fork.blobs and self.blob_gas_used + blob_gas > self._fork.blobs.most * GAS_PER_BLOB:
            # A transaction alone that exceeds the block's limit exceeds its own too.
            return Refusal("tx.block_blob_gas", "the block has less blob gas left than the blobs need")
        if not fields.fees_fit:
            # The core sees 2**128 - 1 for more; nobody in a real state holds what makes the difference.
            account = self._world.state.account(sender)
            if account is None or account.balance < fields.highest_cost:
                return Refusal("tx.insufficient_funds", "the sender cannot pay the fees")
        transaction = fields.to_core(sender, raw)
        run_traced = self.executor.run_traced
        outcome = run_traced(transaction, trace) if trace else self.executor.run([transaction])[0]
        if outcome.kind != "included":
            return Refusal(str(outcome.code), str(outcome.message))
        self.blob_gas_used += blob_gas
        if outcome.receipt is not None:
            self._receipts.append(outcome.receipt)
        return outcome

    def logs(self) -> Iterator[_core.Log]:
        """Yield the logs of the block so far."""
        return _logs(self._receipts)

    def seal(self) -> _core.SealedBlock:
        """Finish the block."""
        return self.executor.seal()

    def commit(self, sealed: _core.SealedBlock) -> None:
        """Move the world to the sealed block."""
        self._world.move(self.executor, sealed)


def logs_hash(receipts: Sequence[_core.Receipt]) -> bytes:
    """Return Keccak-256 of the list of all logs, as tests compare it."""
    return keccak256(rlp.encode([[log.address, log.topics, log.data] for log in _logs(receipts)]))


def summary_line(outcome: _core.Outcome) -> bytes:
    """Return the line that ends the steps of a transaction (EIP-3155)."""
    receipt = outcome.receipt
    gas_used = 0 if receipt is None else receipt.gas_used
    summary = {"output": (outcome.output or b"").hex(), "gasUsed": hex(gas_used)}
    if receipt is not None and not receipt.status:
        summary["error"] = "the transaction failed"
    return orjson.dumps(summary) + b"\n"


def _logs(receipts: Sequence[_core.Receipt]) -> Iterator[_core.Log]:
    for receipt in receipts:
        yield from receipt.logs


def _no_model(_: bytes) -> None:
    """Know no model: plain Ethereum has none."""


def _no_answer(_model: bytes, _input: bytes, _params: bytes, _max_output: int) -> tuple[int, bytes]:
    raise AssertionError("plain Ethereum asks no model")


_GENESIS: Final = _core.BlockEnv(
    number=0,
    timestamp=0,
    coinbase=bytes(20),
    gas_limit=0,
    base_fee=0,
    prev_randao=_ZERO,
    parent_hash=_ZERO,
    origin_hash=_ZERO,
    extra_data=b"",
)
