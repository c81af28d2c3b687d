"""Official blockchain tests since Paris: blocks upon a genesis, some of which must be refused."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bitai.evm.blocks import BlockInput, BlockOutput, Chain, Signed, Withdrawal, process, requests_hash
from bitai.evm.forks import Fork, fork_named
from bitai.evm.headers import BadBlock, Header, check_header, read_header
from bitai.evm.refusals import Refused
from bitai.evm.statetest import Choice, Row, read_tests
from bitai.evm.transactions import decode, sender_of
from bitai.evm.values import as_hex, blob, field, mapping, number, sequence, word
from bitai.evm.world import BlockFields, World, alloc_of
from primitives import rlp
from primitives.errors import InvalidInput
from vm import _core

_TRANSITION: Final = re.compile(r"(\w+)To(\w+)AtTime(\d+)k")
_MAX_BLOCK_BYTES: Final = 8 << 20
"""Since Osaka (EIP-7934): 10 MiB less what consensus needs."""


def run_file(path: Path, choice: Choice) -> Iterator[Row]:
    """Run every chosen test of a file; raises InvalidInput `evm.*` for a file that holds no blockchain tests."""
    for name, test in read_tests(path).items():
        if name.startswith("_"):
            continue
        content = mapping(test, f"test {name}")
        network = str(field(content, "network", f"test {name}"))
        if choice.takes(name, network):
            yield _run_test(name, network, content)


class Schedule:
    """Which fork holds at which time; one `...AtTime15k` network changes it once."""

    def __init__(self, network: str, config: Mapping[str, Any]) -> None:
        """Read a network's name; raises InvalidInput `evm.unknown_fork`."""
        match = _TRANSITION.fullmatch(network)
        names = (match[1], match[2]) if match else (network, network)
        self._at = int(match[3]) * 1_000 if match else 0
        found = [fork_named(name) for name in names]
        schedules = config.get("blobSchedule")
        self.forks = [fork.with_schedule(schedules) for fork in found if fork is not None]

    @property
    def is_known(self) -> bool:
        """Tell whether blocks of every fork here can be run."""
        return len(self.forks) == 2 and all(fork.since("Paris") for fork in self.forks)

    def at(self, timestamp: int) -> Fork:
        """Return the fork of a block."""
        return self.forks[1] if timestamp >= self._at else self.forks[0]


class CheckedChain:
    """A chain of blocks from a genesis on, each checked before it is taken."""

    def __init__(self, schedule: Schedule, genesis: Header, world: World, chain_id: int) -> None:
        """Begin with the genesis block."""
        self._schedule, self._world, self._chain_id = schedule, world, chain_id
        self.head = genesis
        self._hashes = {genesis.number: genesis.hash}

    def add(self, raw: bytes) -> None:
        """Take a block, or raise `BadBlock` and stay as before."""
        header, body = _read_block(raw)
        fork = self._schedule.at(header.timestamp)
        if fork.since("Osaka") and len(raw) > _MAX_BLOCK_BYTES:
            raise BadBlock("block.rlp_block_limit_exceeded", "the block has too many bytes")
        check_header(header, self.head, fork)
        content = _block_input(header, body, fork)
        chain = Chain(fork=fork, chain_id=self._chain_id, block_hash=self._hash)
        output = process(self._world, chain, _block_fields(header), content)
        if output.rejected:
            raise BadBlock("block.invalid_transaction", str(output.rejected[0][1]))
        if output.exception:
            raise BadBlock("block.invalid_requests", output.exception)
        _check_output(header, output, content)
        output.block.commit(output.sealed)
        self.head = header
        self._hashes[header.number] = header.hash

    def _hash(self, height: int) -> bytes | None:
        return self._hashes.get(height)


def _run_test(name: str, network: str, test: Mapping[str, Any]) -> Row:
    config = mapping(test.get("config") or {}, "config")
    if "engineNewPayloads" in test or "blocks" not in test:
        raise InvalidInput("evm.not_a_block_test", f"test {name} has no blocks", fix="use blockchain_tests")
    schedule = Schedule(network, config)
    if not schedule.is_known:
        return Row(name, passed=False, fork=network, skipped="blocks are run since Paris, and of final forks")
    world = World(alloc_of(field(test, "pre", f"test {name}")))
    genesis = read_header(_list(rlp.decode(blob(field(test, "genesisRLP", f"test {name}"))))[0])
    if genesis.state_root != world.root:
        return Row(name, passed=False, fork=network, error="the genesis state has another root")
    chain = CheckedChain(schedule, genesis, world, number(config.get("chainid", 1)))
    error = ""
    for block in sequence(test["blocks"], "blocks"):
        error = error or _judge(chain, mapping(block, "a block"))
    error = error or _final(chain, world, test)
    return Row(name, not error, network, as_hex(world.root), error)


def _judge(chain: CheckedChain, block: Mapping[str, Any]) -> str:
    """Offer a block to the chain; return what is wrong with what became of it."""
    expected = next((str(block[key]) for key in block if key.startswith("expectException")), "")
    try:
        chain.add(blob(field(block, "rlp", "a block")))
    except BadBlock as error:
        return "" if expected else f"unexpected error: {error.code}: {error.message}"
    return f"expected error {expected}, got no error" if expected else ""


def _final(chain: CheckedChain, world: World, test: Mapping[str, Any]) -> str:
    wanted = word(field(test, "lastblockhash", "a test"))
    if chain.head.hash != wanted:
        return f"last block hash mismatch: got {chain.head.hash.hex()}, want {wanted.hex()}"
    if test.get("postState") is not None and world.alloc() != _without_zeros(test["postState"]):
        return "post state mismatch"
    if test.get("postStateHash") is not None and world.root != word(test["postStateHash"]):
        return f"post state root mismatch: got {world.root.hex()}, want {word(test['postStateHash']).hex()}"
    return ""


def _without_zeros(content: object) -> dict[bytes, Any]:
    return World(alloc_of(content)).alloc()


def _read_block(raw: bytes) -> tuple[Header, list[rlp.Item]]:
    try:
        items = _list(rlp.decode(raw))
    except InvalidInput as error:
        raise BadBlock("block.rlp_structures_encoding", error.message) from error
    if len(items) not in {3, 4}:
        raise BadBlock("block.rlp_structures_encoding", "a block has three or four parts")
    return read_header(items[0]), items[1:]


def _list(item: rlp.Item) -> list[rlp.Item]:
    if not isinstance(item, list):
        raise BadBlock("block.rlp_structures_encoding", "a list is missing")
    return item


def _block_input(header: Header, body: list[rlp.Item], fork: Fork) -> BlockInput:
    if (len(body) == 3) != fork.since("Shanghai"):
        raise BadBlock("block.rlp_structures_encoding", "withdrawals came with Shanghai")
    if _list(body[1]):
        raise BadBlock("block.import_impossible_uncles_over_paris", "ommers ended with Paris")
    try:
        withdrawals = [_withdrawal(item) for item in _list(body[2])] if len(body) == 3 else []
        signed = [_signed(item) for item in _list(body[0])]
    except BadBlock:
        raise
    except InvalidInput as error:
        code = "block.invalid_transaction" if isinstance(error, Refused) else "block.rlp_structures_encoding"
        raise BadBlock(code, error.message) from error
    return BlockInput(
        transactions=signed,
        withdrawals=withdrawals,
        parent_hash=header.parent_hash,
        beacon_root=header.beacon_root,
    )


def _signed(item: rlp.Item) -> Signed:
    raw = item if isinstance(item, bytes) else rlp.encode(item)
    fields = decode(raw)
    return Signed(fields, sender_of(fields), raw)


def _withdrawal(item: rlp.Item) -> Withdrawal:
    parts = _list(item)
    if len(parts) != 4 or not isinstance(parts[2], bytes) or len(parts[2]) != 20:
        raise BadBlock("block.rlp_structures_encoding", "a withdrawal has four parts")
    index, validator, amount = (rlp.decode_int(parts[at], 8) for at in (0, 1, 3))
    return Withdrawal(index, validator, parts[2], amount)


def _block_fields(header: Header) -> BlockFields:
    return BlockFields(
        number=header.number,
        timestamp=header.timestamp,
        coinbase=header.coinbase,
        gas_limit=header.gas_limit,
        base_fee=header.base_fee,
        prev_randao=header.prev_randao,
        excess_blob_gas=header.excess_blob_gas or 0,
    )


def _check_output(header: Header, output: BlockOutput, content: BlockInput) -> None:
    """Compare what the header says with what came out; raises `BadBlock`."""
    sealed, made = output.sealed, output.sealed.header
    withdrawals_root = _core.ordered_root([one.encoded() for one in content.withdrawals])
    results: list[tuple[str, object, object]] = [
        ("block.invalid_gas_used", header.gas_used, sealed.gas_used),
        ("block.invalid_transactions_root", header.transactions_root, made.transactions_root),
        ("block.invalid_receipts_root", header.receipts_root, made.receipts_root),
        ("block.invalid_log_bloom", header.logs_bloom, made.logs_bloom),
        ("block.invalid_state_root", header.state_root, sealed.state_root),
        ("block.invalid_withdrawals_root", header.withdrawals_root or withdrawals_root, withdrawals_root),
    ]
    if header.blob_gas_used is not None:
        results.append(("block.incorrect_blob_gas_used", header.blob_gas_used, output.blob_gas_used))
    if header.requests_hash is not None:
        results.append(("block.invalid_requests", header.requests_hash, requests_hash(output.requests)))
    for code, said, came in results:
        if said != came:
            raise BadBlock(code, "the header says otherwise")
