"""The chain: block log, kernel and index kept in step, whatever line the process dies on.

Order of writing: log (synchronised), kernel (its own cache, volatile), index (one synchronous batch). Opening
goes the same way: new log records are read, the kernel is fed what it does not know, and the index is rolled
to the kernel's tip. The kernel cannot step back over a valid block, so `invalidateblock` builds a fresh
kernel state from the log without the ruled-out blocks. Each such command makes a new generation with a
directory of its own; a half-built one is simply behind, and is fed on at the next start.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from primitives.bitcoin.parser import ParsedBlock, parse_block
from primitives.errors import ConfigError, InvariantViolation, Rejected, Temporary
from primitives.ids import L1Hash, OutPoint, Txid
from regtest.block_log import FRAME_BYTES, BlockLog, RecordKind
from regtest.block_tree import BlockRow, BlockTree, with_verdict
from regtest.coins import Coin
from regtest.disk import require_room
from regtest.faults import FaultPoint, nothing
from regtest.index import Index, IndexBatch, TxPlace
from regtest.kernel import Kernel, KernelEvent, Processed
from regtest.limits import MAX_BLOCK_WEIGHT

LOG_FILE: Final = "blocks.log"
INDEX_DIRECTORY: Final = "index"
KERNEL_PREFIX: Final = "kernel-"
_LOG_END: Final = "log_end"
_GENERATION: Final = "generation"
_REPLAY_STEP: Final = 100
"""Blocks between two writes of the index while it is rebuilt: synchronising costs more than the block."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectedBlock:
    """A block that joined or left the active chain."""

    row: BlockRow
    block: ParsedBlock


@dataclass(frozen=True, slots=True)
class ChainUpdate:
    """How the active chain changed: blocks that left, tip first, then blocks that joined, lowest first."""

    disconnected: tuple[ConnectedBlock, ...] = ()
    connected: tuple[ConnectedBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submitted block.

    `reason` is empty for a block that is now on the active chain, `inconclusive` for a valid-looking block
    beside it, and otherwise Core's reject reason with details after a comma.
    """

    block_hash: L1Hash
    reason: str
    update: ChainUpdate = ChainUpdate()


@dataclass(frozen=True, slots=True)
class _Pending:
    """A record of the log that the index has not heard of; `block_hash` is what a command names."""

    kind: RecordKind
    offset: int
    length: int
    block_hash: L1Hash

    @property
    def start(self) -> int:
        """Return where the record begins, which is where the one before it ends."""
        return self.offset - FRAME_BYTES

    @property
    def end(self) -> int:
        """Return where the next record begins."""
        return self.offset + self.length


class Chain:
    """All blocks, the best chain through them, and its coins; one thread."""

    def __init__(self, directory: Path, fault: FaultPoint = nothing) -> None:
        """Open or create everything under a data directory, and repair what a crash left behind.

        Raises ConfigError `block_log.foreign`, `kernel.version`, `chain.disk_full`, `chain.clock_behind`;
        InvariantViolation `block_log.corrupt`.
        """
        self._directory = directory
        self._fault = fault
        self._tree = BlockTree()
        self._kernel: Kernel | None = None
        directory.mkdir(parents=True, exist_ok=True)
        try:
            require_room(directory)
        except Temporary as error:
            fix = "free some of it, or choose a --datadir on another disk"
            raise ConfigError("chain.disk_full", error.message, fix=fix) from error
        self._log = BlockLog(directory / LOG_FILE, fault)
        self._index = _open_index(directory / INDEX_DIRECTORY, fault)
        try:
            self._load()
        except InvariantViolation as error:
            # The index is a cache; the log knows better, and a fault of the log itself shows again.
            logger.warning("rebuilding the index from the block log: %s", error)
            self._close_kernel()
            self._index.close()
            shutil.rmtree(directory / INDEX_DIRECTORY)
            self._index = _open_index(directory / INDEX_DIRECTORY, fault)
            self._load()

    def close(self) -> None:
        """Flush the kernel and let go of all files."""
        self._close_kernel()
        self._index.close()
        self._log.close()

    @property
    def tree(self) -> BlockTree:
        """Return the tree of all blocks; for reading."""
        return self._tree

    @property
    def kernel(self) -> Kernel:
        """Return the engine, for script checks."""
        if self._kernel is None:
            raise InvariantViolation("chain.closed", "the kernel is not open")
        return self._kernel

    @property
    def size(self) -> int:
        """Return the bytes of the block log."""
        return self._log.end

    @property
    def excluded(self) -> frozenset[L1Hash]:
        """Return the blocks that `invalidateblock` rules out, descendants included."""
        return self._excluded

    def coin(self, outpoint: OutPoint) -> Coin | None:
        """Return a coin that is unspent at the tip."""
        return self._index.coin(outpoint)

    def coins(self) -> Iterator[tuple[OutPoint, Coin]]:
        """Yield every coin that is unspent at the tip."""
        return self._index.coins()

    def place(self, txid: Txid) -> TxPlace | None:
        """Return where a confirmed transaction is."""
        return self._index.place(txid)

    def raw_block(self, row: BlockRow) -> bytes:
        """Return a block's bytes from the log."""
        return self._log.read(row.offset, row.length)

    def raw_part(self, row: BlockRow, offset: int, length: int) -> bytes:
        """Return a piece of a block without reading the rest."""
        return self._log.read(row.offset + offset, length)

    def spent_coins(self, row: BlockRow) -> dict[OutPoint, Coin]:
        """Return what a block of the active chain spent from earlier blocks."""
        return self._index.spent_coins(row.hash)

    def number(self, name: str) -> int:
        """Return a number that the wallet keeps."""
        return self._index.number(name)

    def keep_number(self, name: str, value: int) -> None:
        """Keep a number for the wallet, on disk when this returns."""
        batch = self._index.batch()
        batch.put_number(name, value)
        batch.write()

    def submit(self, raw: bytes) -> Submitted:
        """Log a block, let the kernel judge it, and follow the kernel's tip.

        Raises InvalidInput `bitcoin_block.*`, `bitcoin_tx.*` for bytes that are no block, Temporary
        `disk.full`, `block_log.write_failed` when the disk is full. A block that breaks a rule is no error:
        the reason is in the answer.
        """
        block = parse_block(raw)
        refusal = self._refusal(block, len(raw))
        if refusal:
            return Submitted(block.header.hash, refusal)
        require_room(self._directory)
        return self._accept(block, self._log.append(RecordKind.BLOCK, raw))

    def invalidate(self, block_hash: L1Hash) -> ChainUpdate:
        """Rule out a block and all that stand on it, as `invalidateblock` does.

        Raises Rejected `chain.unknown_block` and `chain.genesis`, Temporary as `submit`.
        """
        row = self._tree.find(block_hash)
        if row is None:
            raise Rejected("chain.unknown_block", "Block not found")
        if row.height == 0:
            raise Rejected("chain.genesis", "the genesis block cannot be invalidated")
        if block_hash in self._excluded:
            return ChainUpdate()
        return self._command(RecordKind.INVALIDATE, block_hash)

    def reconsider(self, block_hash: L1Hash) -> ChainUpdate:
        """Let a block, its ancestors and its descendants count again, as `reconsiderblock` does.

        Raises Rejected `chain.unknown_block`, Temporary as `submit`.
        """
        if block_hash not in self._tree:
            raise Rejected("chain.unknown_block", "Block not found")
        if self._after(self._invalidated, RecordKind.RECONSIDER, block_hash) == self._invalidated:
            return ChainUpdate()
        return self._command(RecordKind.RECONSIDER, block_hash)

    def _refusal(self, block: ParsedBlock, length: int) -> str:
        """Return why a block need not even be logged, in Core's words, or nothing."""
        header = block.header
        known = self._tree.find(header.hash)
        if known is not None:
            bad = header.hash in self._excluded or known.failed
            return "duplicate-invalid" if bad else "duplicate"
        parent = self._tree.find(header.previous)
        if parent is None:
            return "prev-blk-not-found"
        if parent.hash in self._excluded:
            return "bad-prevblk"
        if not header.meets_target:
            return "high-hash, proof of work failed"
        if header.time <= self._tree.median_time(parent):
            return "time-too-old, block's timestamp is too early"
        if block.weight > MAX_BLOCK_WEIGHT or length > MAX_BLOCK_WEIGHT:
            return "bad-blk-length, size limits failed"
        return self.kernel.check_header(header.encode())

    def _accept(self, block: ParsedBlock, offset: int) -> Submitted:
        """Act on a logged block whose parent is known."""
        row = self._tree.child_row(block.header, offset, len(block.raw), len(block.transactions))
        batch = self._index.batch()
        processed = self._process(row, block, batch)
        update = self._follow(batch, offset + len(block.raw), block)
        return Submitted(row.hash, processed.reason or self._standing(row), update)

    def _standing(self, row: BlockRow) -> str:
        if self._tree.is_active(row):
            return ""
        return "duplicate-invalid" if self._tree.row(row.hash).failed else "inconclusive"

    def _process(self, row: BlockRow, block: ParsedBlock, batch: IndexBatch) -> Processed:
        """Hand a block to the kernel; keep its row unless the kernel would not store it."""
        self._fault("kernel.before_process")
        processed = self.kernel.process(block)
        self._fault("kernel.processed")
        if processed.stored:
            self._put(row, batch)
        for event in processed.events:
            self._apply_verdict(event, batch)
        return processed

    def _apply_verdict(self, event: KernelEvent, batch: IndexBatch) -> None:
        row = self._tree.find(event.block_hash)
        if row is not None and event.kind == "checked" and event.reason:
            self._put(with_verdict(row, failed=True), batch)

    def _put(self, row: BlockRow, batch: IndexBatch) -> None:
        self._tree.put(row)
        batch.put_row(row)

    def _follow(self, batch: IndexBatch, log_end: int, fresh: ParsedBlock | None = None) -> ChainUpdate:
        """Bring index and active chain to the kernel's tip, in one batch; `fresh` need not be read again."""
        tip, _height = self.kernel.tip()
        update = self._roll(batch, tip, fresh)
        batch.put_number(_LOG_END, log_end)
        batch.write()
        self._tree.activate(tip)
        return update

    def _roll(self, batch: IndexBatch, target: L1Hash, fresh: ParsedBlock | None) -> ChainUpdate:
        best = self._index.best
        if best is None:
            genesis = next(self._tree.rows())
            batch.connect(genesis, self._parsed(genesis, None))
            best = genesis.hash
        leave, enter = self._tree.switch(best, target)
        disconnected = tuple(ConnectedBlock(row, self._parsed(row, None)) for row in leave)
        for item in disconnected:
            batch.disconnect(item.row, item.block)
        connected = tuple(ConnectedBlock(row, self._parsed(row, fresh)) for row in enter)
        for item in connected:
            batch.connect(item.row, item.block)
            self._put(with_verdict(item.row, was_connected=True), batch)
        return ChainUpdate(disconnected, connected)

    def _parsed(self, row: BlockRow, fresh: ParsedBlock | None) -> ParsedBlock:
        if fresh is not None and fresh.header.hash == row.hash:
            return fresh
        return parse_block(self.raw_block(row))

    def _command(self, kind: RecordKind, block_hash: L1Hash) -> ChainUpdate:
        """Log an operator's command, then act on it."""
        require_room(self._directory)
        self._log.append(kind, block_hash)
        self._fault("generation.logged")
        return self._next_generation(kind, block_hash, self._log.end)

    def _next_generation(self, kind: RecordKind, block_hash: L1Hash, log_end: int) -> ChainUpdate:
        """Build a fresh kernel state by the new set of invalidated blocks."""
        after = self._after(self._invalidated, kind, block_hash)
        batch = self._index.batch()
        batch.put_invalidated(self._invalidated, after)
        batch.put_number(_GENERATION, self._generation + 1)
        self._close_kernel()
        self._set_invalidated(after, self._generation + 1)
        self._fault("generation.closed")
        self._open_kernel()
        self._fault("generation.opened")
        self._feed(batch, everything=True)
        self._fault("generation.fed")
        return self._follow(batch, log_end)

    def _after(
        self, invalidated: frozenset[L1Hash], kind: RecordKind, block_hash: L1Hash
    ) -> frozenset[L1Hash]:
        """Return the set of invalidated blocks after a command."""
        if kind is RecordKind.INVALIDATE:
            return invalidated | {block_hash}
        row = self._tree.row(block_hash)
        return frozenset(
            entry
            for entry in invalidated
            if not self._tree.is_ancestor(self._tree.row(entry), row)
            and not self._tree.is_ancestor(row, self._tree.row(entry))
        )

    def _set_invalidated(self, invalidated: frozenset[L1Hash], generation: int) -> None:
        self._invalidated = invalidated
        self._generation = generation
        self._excluded = self._tree.excluded(invalidated)

    def _load(self) -> None:
        """Bring memory, kernel and index to what the log says."""
        self._tree = BlockTree()
        for row in self._index.rows():
            self._tree.put(row)
        trusted = self._index.number(_LOG_END)
        if trusted > self._log.size:
            raise InvariantViolation(
                "index.ahead", "the index knows more than the block log", log_end=trusted
            )
        self._set_invalidated(self._index.invalidated(), self._index.number(_GENERATION))
        pending = list(self._pending(trusted))
        self._open_kernel()
        if not pending and len(self._tree) == 0:
            pending = [self._log_genesis()]
        if len(self._tree) == 0:
            self._plant(pending.pop(0))
        batch = self._index.batch()
        self._catch_up(batch)
        self._follow(batch, trusted)
        self._replay(pending)

    def _pending(self, trusted: int) -> Iterator[_Pending]:
        """Yield what the log holds beyond the index, without the blocks' bytes."""
        for record in self._log.recover(trusted):
            command = b"" if record.kind is RecordKind.BLOCK else record.payload
            yield _Pending(record.kind, record.offset, len(record.payload), L1Hash(command))

    def _log_genesis(self) -> _Pending:
        raw = self.kernel.genesis()
        return _Pending(RecordKind.BLOCK, self._log.append(RecordKind.BLOCK, raw), len(raw), L1Hash(b""))

    def _plant(self, record: _Pending) -> None:
        """Make the first record, the genesis block, the root of the tree."""
        header = parse_block(self._log.read(record.offset, record.length)).header
        root = BlockRow(header, 0, header.work, record.offset, record.length, 1, was_connected=True)
        self._tree.put(root)
        self._tree.activate(root.hash)
        batch = self._index.batch()
        batch.put_row(root)
        batch.write()

    def _replay(self, pending: list[_Pending]) -> None:
        """Act again on records that the index had not heard of, writing it once for many blocks."""
        batch = self._index.batch()
        waiting = 0
        for record in pending:
            if record.kind is RecordKind.BLOCK:
                self._replay_block(record, batch)
                waiting += 1
            if waiting == _REPLAY_STEP or (waiting and record.kind is not RecordKind.BLOCK):
                self._follow(batch, record.start)
                batch = self._index.batch()
                waiting = 0
            if record.kind is not RecordKind.BLOCK:
                self._next_generation(record.kind, record.block_hash, record.end)
        if self._index.number(_LOG_END) != self._log.end:
            self._follow(batch, self._log.end)

    def _replay_block(self, record: _Pending, batch: IndexBatch) -> None:
        """Act again on a logged block; one that was refused then is refused again."""
        block = parse_block(self._log.read(record.offset, record.length))
        header = block.header
        if header.hash not in self._tree and header.previous in self._tree:
            row = self._tree.child_row(header, record.offset, record.length, len(block.transactions))
            _require_not_in_future(self._process(row, block, batch))

    def _catch_up(self, batch: IndexBatch) -> None:
        """Feed the kernel what it forgot; as a last resort let it forget everything first."""
        self._feed(batch, everything=False)
        if self._is_behind():
            self._feed(batch, everything=True)
        if self._is_behind():
            self._close_kernel()
            shutil.rmtree(self._kernel_directory())
            self._open_kernel()
            self._feed(batch, everything=True)

    def _feed(self, batch: IndexBatch, *, everything: bool) -> None:
        """Give the kernel the blocks that count, in the order they first came."""
        for row in list(self._tree.rows()):
            if row.hash in self._excluded or not (everything or not self.kernel.knows(row.hash)):
                continue
            processed = self.kernel.process(self._parsed(row, None))
            _require_not_in_future(processed)
            for event in processed.events:
                self._apply_verdict(event, batch)

    def _is_behind(self) -> bool:
        """Tell whether the kernel's tip is unknown here, or has less work than a block that may count."""
        tip = self._tree.find(self.kernel.tip()[0])
        if tip is None or tip.hash in self._excluded:
            return True
        bad = self._excluded | self._tree.failed()
        return any(row.work > tip.work for row in self._tree.rows() if row.hash not in bad)

    def _kernel_directory(self) -> Path:
        return self._directory / f"{KERNEL_PREFIX}{self._generation}"

    def _open_kernel(self) -> None:
        """Open this generation's kernel state, a fresh one if it is unreadable; remove other generations'."""
        directory = self._kernel_directory()
        for other in self._directory.glob(f"{KERNEL_PREFIX}*"):
            if other != directory:
                shutil.rmtree(other)
        try:
            self._kernel = Kernel(directory)
        except InvariantViolation as error:
            logger.warning("rebuilding the kernel's state from the block log: %s", error)
            shutil.rmtree(directory)
            self._kernel = Kernel(directory)

    def _close_kernel(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None


def _require_not_in_future(processed: Processed) -> None:
    """Refuse to go on without a logged block that was not in the future when it was logged.

    Only a clock that went back explains it. The kernel would leave the block out, and the chain would end
    below what clients were told.
    """
    if processed.reason.startswith("time-too-new"):
        raise ConfigError(
            "chain.clock_behind",
            "the block log has a block more than two hours ahead of this machine's clock",
            fix="set the machine's clock right, then start again",
        )


def _open_index(directory: Path, fault: FaultPoint) -> Index:
    """Open the index; a damaged one is deleted, because the log can rebuild it."""
    try:
        return Index(directory, fault)
    except InvariantViolation as error:
        logger.warning("deleting a damaged index: %s", error)
        shutil.rmtree(directory)
        return Index(directory, fault)
