"""Scan raw transactions and blocks without copying them: one pass finds the bounds, fields are cut on demand.

Strict like Bitcoin Core's deserialiser: compact sizes in shortest form, no superfluous witness, no unknown
flags, and nothing after the last byte. Claimed counts allocate nothing; a
walk that runs past the end stops there.
Codes: `bitcoin_tx.truncated`, `.trailing`, `.non_canonical_size`, `.no_inputs`, `.bad_flag`,
`.superfluous_witness`; `bitcoin_block.truncated`, `.trailing`, `.empty`, `.bad_coinbase`, `.merkle_root`,
`.witness_commitment`.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Final, NamedTuple

from primitives.bitcoin.header import HEADER_BYTES, BlockHeader, parse_header
from primitives.errors import InvalidInput
from primitives.hashes import BytesLike, sha256d
from primitives.ids import OutPoint, Txid, Wtxid
from primitives.merkle import bitcoin_merkle_root

_NULL_OUTPOINT: Final = bytes(32) + b"\xff\xff\xff\xff"
_OUTPOINT_BYTES: Final = 36
_FIXED_OUTPUT_BYTES: Final = 8
_WIDE_SIZES: Final = {0xFD: (3, 0xFD), 0xFE: (5, 0x1_0000), 0xFF: (9, 0x1_0000_0000)}
_TAIL_ITEMS: Final = 3
"""A leaf's spend is told by its script, its control block and perhaps an annex: the last three items."""
_WITNESS_COMMITMENT: Final = bytes.fromhex("6a24aa21a9ed")
"""OP_RETURN, a 36-byte push, and BIP 141's magic."""


class ParsedInput(NamedTuple):
    """One input; `script_sig` is a view into the block."""

    prevout: OutPoint
    script_sig: memoryview
    sequence: int


class ParsedOutput(NamedTuple):
    """One output; value in sats, `script` is a view into the block."""

    value: int
    script: memoryview


class _Bounds(NamedTuple):
    """Offsets of one transaction's parts; `body` is the input count's, an empty witness has `locktime`'s."""

    start: int
    body: int
    outputs: int
    witness: int
    locktime: int
    end: int


class ParsedTx:
    """A transaction inside a larger byte string, which it keeps alive; ids are hashed on demand."""

    def __init__(self, view: memoryview, bounds: _Bounds) -> None:
        self._view = view
        self._bounds = bounds

    @property
    def raw(self) -> memoryview:
        """Return the whole serialisation, witness included."""
        return self._view[self._bounds.start : self._bounds.end]

    @property
    def end(self) -> int:
        """Return the offset after the transaction."""
        return self._bounds.end

    @property
    def start(self) -> int:
        """Return the offset of the transaction's first byte."""
        return self._bounds.start

    @property
    def has_witness(self) -> bool:
        """Tell whether the serialisation carries a witness."""
        return self._bounds.witness != self._bounds.locktime

    @cached_property
    def version(self) -> int:
        """Return the signed version."""
        start = self._bounds.start
        return int.from_bytes(self._view[start : start + 4], "little", signed=True)

    @cached_property
    def locktime(self) -> int:
        """Return the lock time: a height below 500,000,000, Unix seconds from there on."""
        return int.from_bytes(self._view[self._bounds.locktime : self._bounds.end], "little")

    @cached_property
    def stripped(self) -> bytes:
        """Return the serialisation without witness, which the txid commits to."""
        bounds, view = self._bounds, self._view
        if not self.has_witness:
            return bytes(self.raw)
        parts = (
            view[bounds.start : bounds.start + 4],
            view[bounds.body : bounds.witness],
            view[bounds.locktime : bounds.end],
        )
        return b"".join(parts)

    @cached_property
    def txid(self) -> Txid:
        """Return the transaction id, internal order."""
        return Txid(sha256d(self.stripped if self.has_witness else self.raw))

    @cached_property
    def wtxid(self) -> Wtxid:
        """Return the id that commits to the witness too (BIP 141); blocks count a coinbase's as zeros."""
        return Wtxid(sha256d(self.raw))

    @property
    def weight(self) -> int:
        """Return the weight: three times the stripped size plus the whole size (BIP 141)."""
        bounds = self._bounds
        total = bounds.end - bounds.start
        witness = bounds.locktime - bounds.witness
        return 4 * total if witness == 0 else 4 * (total - witness - 2) + witness + 2

    @cached_property
    def is_coinbase(self) -> bool:
        """Tell whether the one input spends nothing."""
        body = self._bounds.body
        prevout = self._view[body + 1 : body + 1 + _OUTPOINT_BYTES]
        return self._view[body] == 1 and prevout == _NULL_OUTPOINT

    @cached_property
    def inputs(self) -> tuple[ParsedInput, ...]:
        """Return the inputs in order."""
        view = self._view
        count, position = _size(view, self._bounds.body)
        inputs = []
        for _ in range(count):
            txid = Txid(bytes(view[position : position + 32]))
            vout = int.from_bytes(view[position + 32 : position + 36], "little")
            length, position = _size(view, position + _OUTPOINT_BYTES)
            script_end = position + length
            sequence = int.from_bytes(view[script_end : script_end + 4], "little")
            inputs.append(ParsedInput(OutPoint(txid, vout), view[position:script_end], sequence))
            position = script_end + 4
        return tuple(inputs)

    @cached_property
    def outputs(self) -> tuple[ParsedOutput, ...]:
        """Return the outputs in order."""
        view = self._view
        count, position = _size(view, self._bounds.outputs)
        outputs = []
        for _ in range(count):
            value = int.from_bytes(view[position : position + 8], "little", signed=True)
            length, position = _size(view, position + _FIXED_OUTPUT_BYTES)
            outputs.append(ParsedOutput(value, view[position : position + length]))
            position += length
        return tuple(outputs)

    @cached_property
    def witnesses(self) -> tuple[tuple[memoryview, ...], ...]:
        """Return each input's witness stack, views into the block; empty stacks where there is no witness."""
        if not self.has_witness:
            return ((),) * len(self.inputs)
        position = self._bounds.witness
        stacks = []
        for _ in self.inputs:
            items, position = _stack(self._view, position)
            stacks.append(items)
        return tuple(stacks)

    def witness_tails(self) -> Iterator[tuple[memoryview, ...]]:
        """Yield the last three items of each input's witness stack, fewer where there are fewer.

        Consensus lets a stack hold as many items as a block has bytes (outputs of unknown witness versions
        accept any witness, and so does OP_SUCCESS), so scanning never lists them all.
        """
        view, position = self._view, self._bounds.witness
        count, _ = _size(view, self._bounds.body)
        for _ in range(count):
            items = 0
            if self.has_witness:
                items, position = _size(view, position)
            position = _skip_items(view, position, items - _TAIL_ITEMS)
            tail = []
            for _ in range(min(items, _TAIL_ITEMS)):
                length, position = _size(view, position)
                tail.append(view[position : position + length])
                position += length
            yield tuple(tail)


class ParsedBlock:
    """A block's header and transactions; the transactions are views into the raw block."""

    def __init__(self, raw: memoryview, header: BlockHeader, transactions: tuple[ParsedTx, ...]) -> None:
        self.raw = raw
        self.header = header
        self.transactions = transactions

    @property
    def weight(self) -> int:
        """Return the block's weight: header and count at four units a byte, then the transactions."""
        overhead = self.transactions[0].start
        return 4 * overhead + sum(transaction.weight for transaction in self.transactions)


def parse_transaction(data: BytesLike, offset: int = 0) -> tuple[ParsedTx, int]:
    """Return the transaction that begins at `offset`, and the offset after it; more bytes may follow."""
    view = memoryview(data)
    try:
        bounds = _find_bounds(view, offset)
    except IndexError as error:
        raise InvalidInput(
            "bitcoin_tx.truncated", "a transaction runs past the end", offset=offset
        ) from error
    if bounds.end > len(view):
        raise InvalidInput("bitcoin_tx.truncated", "a transaction runs past the end", offset=offset)
    return ParsedTx(view, bounds), bounds.end


def parse_whole_transaction(data: BytesLike) -> ParsedTx:
    """Return the one transaction that all of `data` encodes."""
    transaction, end = parse_transaction(data)
    if end != len(data):
        raise InvalidInput("bitcoin_tx.trailing", "bytes follow the transaction", left=len(data) - end)
    return transaction


def parse_block(data: BytesLike) -> ParsedBlock:
    """Return the block that all of `data` encodes; `check_commitments` ties it to its header."""
    view = memoryview(data)
    if len(view) <= HEADER_BYTES:
        raise InvalidInput("bitcoin_block.truncated", "a block is longer than its header", got=len(view))
    header = parse_header(view[:HEADER_BYTES])
    try:
        count, position = _size(view, HEADER_BYTES)
    except IndexError as error:
        raise InvalidInput("bitcoin_block.truncated", "the block ends in its transaction count") from error
    transactions = []
    for _ in range(count):
        transaction, position = parse_transaction(view, position)
        transactions.append(transaction)
    if position != len(view):
        raise InvalidInput(
            "bitcoin_block.trailing", "bytes follow the last transaction", left=len(view) - position
        )
    if not transactions:
        raise InvalidInput("bitcoin_block.empty", "a block has at least a coinbase")
    return ParsedBlock(view, header, tuple(transactions))


def check_commitments(block: ParsedBlock) -> None:
    """Require that the header commits to the transactions, and the coinbase to their witnesses (BIP 141).

    Our data lives in witnesses, so a block from a source that does not validate must pass this before it is
    read. The first transaction must be the only coinbase: otherwise inner nodes of the tree could pass for
    transactions of 64 bytes. Raises InvalidInput `bitcoin_block.bad_coinbase`, `bitcoin_block.merkle_root`,
    `bitcoin_block.witness_commitment`, `merkle.mutated`.
    """
    transactions = block.transactions
    if not transactions[0].is_coinbase or any(entry.is_coinbase for entry in transactions[1:]):
        raise InvalidInput("bitcoin_block.bad_coinbase", "exactly the first transaction is a coinbase")
    if bitcoin_merkle_root([entry.txid for entry in transactions]) != block.header.merkle_root:
        raise InvalidInput("bitcoin_block.merkle_root", "the header commits to other transactions")
    commitment = _witness_commitment(transactions[0])
    if commitment is None:
        if any(entry.has_witness for entry in transactions):
            raise InvalidInput(
                "bitcoin_block.witness_commitment", "there is a witness that nothing commits to"
            )
        return
    nonce = next(transactions[0].witness_tails())
    if len(nonce) != 1 or len(nonce[0]) != len(commitment):
        raise InvalidInput("bitcoin_block.witness_commitment", "the coinbase witness is not one 32-byte item")
    root = bitcoin_merkle_root([bytes(32), *(entry.wtxid for entry in transactions[1:])])
    if sha256d(root + nonce[0]) != commitment:
        raise InvalidInput("bitcoin_block.witness_commitment", "the coinbase commits to other witnesses")


def _witness_commitment(coinbase: ParsedTx) -> bytes | None:
    """Return the last output's commitment that matches the pattern, as BIP 141 says."""
    size = len(_WITNESS_COMMITMENT)
    for output in reversed(coinbase.outputs):
        if len(output.script) >= size + 32 and output.script[:size] == _WITNESS_COMMITMENT:
            return bytes(output.script[size : size + 32])
    return None


def _find_bounds(view: memoryview, start: int) -> _Bounds:
    """Walk one transaction; raises IndexError past the end, and the caller checks the last offset."""
    body = start + 4
    flagged = view[body] == 0
    if flagged:
        if view[body + 1] == 0:
            raise InvalidInput("bitcoin_tx.no_inputs", "a transaction has at least one input", offset=start)
        if view[body + 1] != 1:
            raise InvalidInput("bitcoin_tx.bad_flag", "an unknown serialisation flag", flag=view[body + 1])
        body += 2
    count, position = _size(view, body)
    if count == 0:
        raise InvalidInput("bitcoin_tx.no_inputs", "a transaction has at least one input", offset=start)
    inputs = count
    for _ in range(count):
        length, position = _size(view, position + _OUTPOINT_BYTES)
        position += length + 4
    outputs = position
    count, position = _size(view, position)
    for _ in range(count):
        length, position = _size(view, position + _FIXED_OUTPUT_BYTES)
        position += length
    witness = position
    if flagged:
        position = _skip_witness(view, position, inputs)
    return _Bounds(start, body, outputs, witness, position, position + 4)


def _skip_witness(view: memoryview, position: int, inputs: int) -> int:
    """Return the offset after the witness stacks; at least one must hold an item."""
    items = 0
    for _ in range(inputs):
        count, position = _size(view, position)
        items += count
        position = _skip_items(view, position, count)
    if items == 0:
        raise InvalidInput("bitcoin_tx.superfluous_witness", "a witness is announced, all stacks are empty")
    return position


def _skip_items(view: memoryview, position: int, count: int) -> int:
    """Return the offset after so many length-prefixed items; nearly all lengths are one byte."""
    for _ in range(count):
        length = view[position]
        if length >= 0xFD:
            length, position = _size(view, position)
            position += length
        else:
            position += 1 + length
    return position


def _stack(view: memoryview, position: int) -> tuple[tuple[memoryview, ...], int]:
    """Return one witness stack and the offset after it."""
    count, position = _size(view, position)
    items = []
    for _ in range(count):
        length, position = _size(view, position)
        items.append(view[position : position + length])
        position += length
    return tuple(items), position


def _size(view: memoryview, position: int) -> tuple[int, int]:
    """Return a compact size and the offset after it; raises IndexError past the end."""
    first = view[position]
    if first < 0xFD:
        return first, position + 1
    width, least = _WIDE_SIZES[first]
    end = position + width
    value = int.from_bytes(view[position + 1 : end], "little")
    if end > len(view):
        raise IndexError(end)
    if value < least:
        raise InvalidInput(
            "bitcoin_tx.non_canonical_size", "a size is not in its shortest form", offset=position
        )
    return value, end
