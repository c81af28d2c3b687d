"""libbitcoinkernel behind a narrow door: it takes blocks, tells its tip, and checks scripts.

The engine is Bitcoin Core's own. It answers an assertion failure with abort(), so everything handed to it is
parsed and range-checked here first, and it lives in this process and no other. One thread uses it. Its
callbacks only append to a list, which is read after the call that caused them has returned. Its block-tree
entries dangle once it is closed, so hashes and heights are copied out at once. Fast construction goes round
the package's public constructors (they unpack a block byte by byte, 200 times slower) and therefore checks
the exact version first.
"""

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pbk
import pbk.capi.bindings as capi
from pbk.log import LoggingOptions, logging_set_options
from pbk.notifications import NotificationInterfaceCallbacks
from pbk.script import PrecomputedTransactionData

from primitives.bitcoin.header import HEADER_BYTES, parse_header
from primitives.bitcoin.parser import ParsedBlock, parse_whole_transaction
from primitives.errors import ConfigError, InvalidInput, InvariantViolation
from primitives.hashes import BytesLike
from primitives.ids import L1Hash, display_hash
from regtest.limits import MAX_MONEY_SATS

TESTED_VERSION: Final = "0.1.0a5"
_VALIDATION_PREFIX: Final = "Block validation error: "
_REFUSED_MARK: Final = "AcceptBlock FAILED ("

EventKind = Literal["connected", "disconnected", "checked"]


class SpentOutput(NamedTuple):
    """What an input spends: value in sats and the locking script."""

    value_sats: int
    script: bytes


@dataclass(frozen=True, slots=True)
class KernelEvent:
    """One callback of the engine; `reason` is Core's word for a block that was checked and found invalid."""

    kind: EventKind
    block_hash: L1Hash
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of a block: `reason` is empty, or Core's reject reason with its details after a comma.

    `stored`: the kernel keeps the block, valid or not, and knows it from now on.
    """

    stored: bool
    reason: str
    events: tuple[KernelEvent, ...]


class _Journal:
    """Collect callbacks and log lines in the order they come; the engine has one log per process."""

    def __init__(self) -> None:
        self.entries: list[KernelEvent | str] = []
        logging_set_options(LoggingOptions(log_timestamps=False))
        self._connection = pbk.LoggingConnection(self._log)
        self.callbacks = pbk.ValidationInterfaceCallbacks(
            block_checked=self._checked,
            block_connected=self._connected,
            block_disconnected=self._disconnected,
        )
        self.failure = ""
        """What the engine could not do with its files, since the last call."""
        self.notifications = NotificationInterfaceCallbacks(
            fatal_error=self._failed, flush_error=self._failed
        )

    def take(self) -> list[KernelEvent | str]:
        taken, self.entries = self.entries, []
        self.failure = ""
        return taken

    def _failed(self, _user: object, message: Any, length: int) -> None:
        self.failure = ctypes.string_at(message, length).decode("utf-8", "replace")

    def _log(self, message: str) -> None:
        if message.startswith(_VALIDATION_PREFIX) or _REFUSED_MARK in message:
            self.entries.append(message.strip())

    def _checked(self, _user: object, block: Any, state: Any) -> None:
        reason = "" if state.validation_mode == pbk.ValidationMode.VALID else "block-validation-failed"
        self.entries.append(KernelEvent("checked", _hash_of(block), reason))

    def _connected(self, _user: object, block: Any, _entry: object) -> None:
        self.entries.append(KernelEvent("connected", _hash_of(block)))

    def _disconnected(self, _user: object, block: Any, _entry: object) -> None:
        self.entries.append(KernelEvent("disconnected", _hash_of(block)))


_JOURNAL_LOCK: Final = threading.Lock()
_journals: list[_Journal] = []


class Kernel:
    """One regtest chain state in one directory, which is a cache: the block log can rebuild it."""

    def __init__(self, directory: Path) -> None:
        """Open or create the state.

        Raises ConfigError `kernel.version` for another version of the package, InvariantViolation
        `kernel.unreadable` for a directory that the engine cannot open.
        """
        require_tested_version()
        directory.mkdir(parents=True, exist_ok=True)
        self._journal = _the_journal()
        options = pbk.ContextOptions()
        options.set_chainparams(pbk.ChainParameters(pbk.ChainType.REGTEST))
        options.set_validation_interface(self._journal.callbacks)
        options.set_notifications(self._journal.notifications)
        self._context = pbk.Context(options)
        manager_options = pbk.ChainstateManagerOptions(
            self._context, str(directory), str(directory / "blocks")
        )
        manager_options.set_worker_threads_num(0)
        try:
            self._manager = pbk.ChainstateManager(manager_options)
        except RuntimeError as error:
            raise InvariantViolation(
                "kernel.unreadable", "the kernel cannot open its state", directory=str(directory)
            ) from error

    def close(self) -> None:
        """Write the state to disk and let go of the directory; the object is of no use afterwards."""
        self._manager.__exit__(None, None, None)
        self._context.__exit__(None, None, None)

    def tip(self) -> tuple[L1Hash, int]:
        """Return hash and height of the best valid block."""
        chain = self._manager.get_active_chain()
        height = chain.height
        return L1Hash(bytes(chain.block_tree_entries[height].block_hash)), height

    def genesis(self) -> bytes:
        """Return the raw first block."""
        entry = self._manager.get_active_chain().block_tree_entries[0]
        return bytes(self._manager.blocks[entry])

    def knows(self, block_hash: L1Hash) -> bool:
        """Tell whether the header of this block is in the tree; its body may have been lost or refused."""
        try:
            self._manager.block_tree_entries[pbk.BlockHash(block_hash)]
        except KeyError:
            return False
        return True

    def check_header(self, header: bytes) -> str:
        """Take a header into the tree; return Core's word for what is wrong, or nothing.

        Asked before a block is logged: a time too far ahead is refused today and fine tomorrow, so such a
        block must not come to be replayed. Raises InvalidInput `header.bad_length`.
        """
        parse_header(header)
        state = pbk.BlockValidationState()
        buffer = (ctypes.c_ubyte * HEADER_BYTES).from_buffer_copy(header)
        handle = pbk.BlockHeader._from_handle(capi.btck_block_header_create(buffer, HEADER_BYTES))  # noqa: SLF001
        if capi.btck_chainstate_manager_process_block_header(self._manager, handle, state) == 0:
            return ""
        return _HEADER_WORDS.get(state.block_validation_result, "invalid-header")

    def process(self, block: ParsedBlock) -> Processed:
        """Validate a block and make it the tip if it has the most work.

        Raises InvariantViolation `kernel.failed` when the engine cannot write or read its files, which says
        nothing about the block.
        """
        handle = _create(pbk.Block, capi.btck_block_create, block.raw)
        self._journal.take()
        refused = False
        try:
            self._manager.process_block(handle)
        except pbk.ProcessBlockException:
            refused = True
        if self._journal.failure:
            raise InvariantViolation("kernel.failed", self._journal.failure)
        return _settle(self._journal.take(), block.header.hash, refused=refused)

    def first_bad_input(self, raw_transaction: bytes, spent: Sequence[SpentOutput]) -> int | None:
        """Return the index of the first input whose script fails under consensus rules, or None.

        Raises InvalidInput `tx.*` for malformed bytes, `kernel.bad_spent_outputs` unless there is one spent
        output with a possible amount for each input.
        """
        count = len(parse_whole_transaction(raw_transaction).inputs)
        if count != len(spent) or any(not 0 <= output.value_sats <= MAX_MONEY_SATS for output in spent):
            raise InvalidInput(
                "kernel.bad_spent_outputs", "spent outputs do not fit the inputs", inputs=count
            )
        transaction = _create(pbk.Transaction, capi.btck_transaction_create, raw_transaction)
        scripts = [
            _create(pbk.ScriptPubkey, capi.btck_script_pubkey_create, output.script) for output in spent
        ]
        outputs = [
            pbk.TransactionOutput(script, output.value_sats)
            for script, output in zip(scripts, spent, strict=True)
        ]
        precomputed = PrecomputedTransactionData(transaction, outputs)
        flags = pbk.ScriptVerificationFlags.ALL
        for index, (script, output) in enumerate(zip(scripts, spent, strict=True)):
            if not script.verify(output.value_sats, transaction, precomputed, index, flags):
                return index
        return None


def require_tested_version() -> None:
    """Refuse a package whose private interface nobody has tried."""
    installed = version("py-bitcoinkernel")
    if installed != TESTED_VERSION:
        raise ConfigError(
            "kernel.version",
            f"py-bitcoinkernel {installed} is installed; only {TESTED_VERSION} was tried",
            fix=f"pip install py-bitcoinkernel=={TESTED_VERSION}",
        )


_HEADER_WORDS: Final = {
    pbk.BlockValidationResult.INVALID_HEADER: "invalid-header",
    pbk.BlockValidationResult.MISSING_PREV: "prev-blk-not-found",
    pbk.BlockValidationResult.INVALID_PREV: "bad-prevblk",
    pbk.BlockValidationResult.TIME_FUTURE: "time-too-new",
    pbk.BlockValidationResult.CACHED_INVALID: "duplicate-invalid",
}


def _the_journal() -> _Journal:
    with _JOURNAL_LOCK:
        if not _journals:
            _journals.append(_Journal())
        return _journals[0]


def _hash_of(block: Any) -> L1Hash:
    return L1Hash(bytes(block.block_hash))


def _create(kind: Any, constructor: Any, raw: BytesLike) -> Any:
    """Wrap the C constructor directly; an empty array is not accepted by ctypes, hence the one spare byte."""
    buffer = (ctypes.c_ubyte * max(len(raw), 1)).from_buffer_copy(raw or b"\0")
    handle = constructor(buffer, len(raw))
    if not handle:
        raise InvalidInput("kernel.undecodable", "the kernel cannot decode this", kind=kind.__name__)
    return kind._from_handle(handle)  # noqa: SLF001


def _settle(entries: list[KernelEvent | str], block_hash: L1Hash, *, refused: bool) -> Processed:
    """Give each failed check the reason logged just before it, and the call the reason for this block."""
    events: list[KernelEvent] = []
    said = ""
    verdict = ""
    for entry in entries:
        if isinstance(entry, str):
            said = _reason_in(entry)
        elif entry.reason:
            events.append(KernelEvent(entry.kind, entry.block_hash, said or entry.reason))
            verdict = events[-1].reason if entry.block_hash == block_hash else verdict
        else:
            events.append(entry)
    if refused:
        # A refusal is logged after the callback, with the reason in brackets at the end of the line.
        verdict = said or verdict or f"rejected ({display_hash(block_hash)})"
    return Processed(stored=not refused, reason=verdict, events=tuple(events))


def _reason_in(line: str) -> str:
    if line.startswith(_VALIDATION_PREFIX):
        return line.removeprefix(_VALIDATION_PREFIX)
    return line[line.index(_REFUSED_MARK) + len(_REFUSED_MARK) :].removesuffix(")")
