"""How the inscriber's state lies in a key-value store: a few keys, and only what changed is written.

Keys: `w` the wallet, `n` the next row id, `r`+id a row, `l`+id its leaves, `a`+id+version one signed version;
ids are 8 bytes, versions 2, big-endian. Leaves and signed versions are large and never change, so they are
written once. What is only believed of the mempool is not stored. A driver prefixes the keys and writes them
in one atomic batch. Reading refuses what does not parse (InvariantViolation `journal.corrupt`): it is our own
disk.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from l1.coin_choice import Coin
from l1.inscriber import InscriberState
from l1.inscription import RivalSpend, Row, RowStatus
from l1.inscription_package import Attempt
from l1.ports import ChainPoint
from l1.wallet import BlockUndo, SignedTransaction, Wallet, read_signed_transaction
from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput, InvariantViolation
from primitives.ids import L1Hash, OutPoint, Txid

Put: TypeAlias = tuple[bytes, bytes | None]
"""One key with its new value; None deletes the key."""

WALLET_KEY: Final = b"w"
COUNTER_KEY: Final = b"n"
ROW_PREFIX: Final = b"r"
LEAVES_PREFIX: Final = b"l"
ATTEMPT_PREFIX: Final = b"a"
_TEXT_LIMIT: Final = 65_536
_RAW_LIMIT: Final = 4_000_000
_HASH_BYTES: Final = 32


def diff_state(before: InscriberState | None, after: InscriberState) -> list[Put]:
    """Return the writes that turn the stored `before` (None: nothing stored) into `after`."""
    puts: list[Put] = []
    if before is None or before.wallet is not after.wallet:
        puts.append((WALLET_KEY, encode_wallet(after.wallet)))
    if before is None or before.next_row_id != after.next_row_id:
        puts.append((COUNTER_KEY, after.next_row_id.to_bytes(8, "big")))
    old_rows: Mapping[int, Row] = before.rows if before is not None else {}
    for row_id, row in after.rows.items():
        puts.extend(_diff_row(old_rows.get(row_id), row))
    for row_id in old_rows.keys() - after.rows.keys():
        puts.extend(_delete_row(old_rows[row_id]))
    return sorted(puts, key=lambda put: put[0])


def load_state(pairs: Mapping[bytes, bytes], script: bytes) -> InscriberState | None:
    """Return the stored state of a wallet's script, or None when nothing is stored.

    Raises InvariantViolation `journal.corrupt`.
    """
    if WALLET_KEY not in pairs:
        return None
    try:
        wallet = decode_wallet(pairs[WALLET_KEY], script)
        rows = {}
        for key in sorted(key for key in pairs if key[:1] == ROW_PREFIX):
            row = _load_row(pairs, key[1:], script)
            rows[row.row_id] = row
        next_row_id = int.from_bytes(pairs[COUNTER_KEY], "big")
    except (InvalidInput, KeyError, ValueError) as error:
        raise InvariantViolation("journal.corrupt", f"the stored rows do not parse: {error}") from error
    return InscriberState(wallet, rows, next_row_id)


def encode_wallet(wallet: Wallet) -> bytes:
    """Return the wallet's bytes; the script is known from the key."""
    writer = Writer()
    _write_point(writer, wallet.tip)
    writer.uvarint(wallet.journal_limit)
    writer.uvarint(len(wallet.coins))
    for outpoint in sorted(wallet.coins):
        _write_coin(writer, wallet.coins[outpoint])
    writer.uvarint(len(wallet.journal))
    for undo in wallet.journal:
        _write_point(writer, undo.point)
        _write_point(writer, undo.parent)
        writer.uvarint(len(undo.created))
        for outpoint in undo.created:
            _write_outpoint(writer, outpoint)
        writer.uvarint(len(undo.spent))
        for coin in undo.spent:
            _write_coin(writer, coin)
    return writer.finish()


def decode_wallet(data: bytes, script: bytes) -> Wallet:
    """Return the wallet that `encode_wallet` wrote."""
    reader = Reader(data)
    tip = _read_point(reader)
    limit = reader.uvarint()
    coins = [_read_coin(reader) for _ in range(reader.uvarint())]
    journal = []
    for _ in range(reader.uvarint()):
        point, parent = _read_point(reader), _read_point(reader)
        created = tuple(_read_outpoint(reader) for _ in range(reader.uvarint()))
        spent = tuple(_read_coin(reader) for _ in range(reader.uvarint()))
        journal.append(BlockUndo(point, parent, created, spent))
    reader.done()
    return Wallet(script, tip, {coin.outpoint: coin for coin in coins}, tuple(journal), limit)


def encode_row(row: Row) -> bytes:
    """Return what changes in a row: everything but leaves and signed versions."""
    writer = Writer()
    writer.byte_string(row.purpose.encode())
    writer.byte_string(row.reference)
    for number in (row.priority, row.status, row.current, row.progress_height, len(row.attempts)):
        writer.uvarint(number)
    writer.byte_string(row.reason.encode())
    writer.uvarint(len(row.heights))
    for txid in sorted(row.heights):
        writer.raw(txid)
        writer.uvarint(row.heights[txid])
    writer.uvarint(len(row.rivals))
    for outpoint in sorted(row.rivals):
        _write_outpoint(writer, outpoint)
        writer.raw(row.rivals[outpoint].spender)
        writer.uvarint(row.rivals[outpoint].height)
    writer.uvarint(0 if row.orphan_since is None else row.orphan_since + 1)
    writer.uvarint(len(row.accepted))
    for txid in sorted(row.accepted):
        writer.raw(txid)
    return writer.finish()


def encode_attempt(attempt: Attempt) -> bytes:
    """Return one signed version."""
    writer = Writer()
    for number in (attempt.rate, attempt.signed_height, attempt.given_up_sats, len(attempt.reveals)):
        writer.uvarint(number)
    for transaction in (attempt.commit, *attempt.reveals):
        writer.uvarint(transaction.fee_sats)
        writer.byte_string(transaction.raw)
    return writer.finish()


def decode_attempt(data: bytes, script: bytes) -> Attempt:
    """Return the version that `encode_attempt` wrote."""
    reader = Reader(data)
    rate, signed_height, given_up, reveals = (reader.uvarint() for _ in range(4))
    commit = _read_transaction(reader, script)
    revealed = tuple(_read_transaction(reader, script) for _ in range(reveals))
    reader.done()
    return Attempt(commit, revealed, rate, signed_height, given_up)


def _diff_row(old: Row | None, row: Row) -> list[Put]:
    if row is old:
        return []
    name = row.row_id.to_bytes(8, "big")
    puts: list[Put] = []
    if old is None or encode_row(old) != encode_row(row):
        puts.append((ROW_PREFIX + name, encode_row(row)))
    if old is None:
        puts.append((LEAVES_PREFIX + name, _encode_leaves(row.leaves)))
    stored = old.attempts if old is not None else ()
    for version, attempt in enumerate(row.attempts):
        if version >= len(stored) or stored[version] is not attempt:
            puts.append((_attempt_key(name, version), encode_attempt(attempt)))
    puts.extend((_attempt_key(name, version), None) for version in range(len(row.attempts), len(stored)))
    return puts


def _delete_row(row: Row) -> list[Put]:
    name = row.row_id.to_bytes(8, "big")
    keys = [ROW_PREFIX + name, LEAVES_PREFIX + name]
    keys += [_attempt_key(name, version) for version in range(len(row.attempts))]
    return [(key, None) for key in keys]


def _load_row(pairs: Mapping[bytes, bytes], name: bytes, script: bytes) -> Row:
    reader = Reader(pairs[ROW_PREFIX + name])
    purpose = reader.byte_string(_TEXT_LIMIT).decode()
    reference = reader.byte_string(_TEXT_LIMIT)
    priority, status, current, progress, versions = (reader.uvarint() for _ in range(5))
    reason = reader.byte_string(_TEXT_LIMIT).decode()
    heights = {_read_txid(reader): reader.uvarint() for _ in range(reader.uvarint())}
    rivals = {
        _read_outpoint(reader): RivalSpend(_read_txid(reader), reader.uvarint())
        for _ in range(reader.uvarint())
    }
    orphan = reader.uvarint()
    accepted = frozenset(_read_txid(reader) for _ in range(reader.uvarint()))
    reader.done()
    return Row(
        row_id=int.from_bytes(name, "big"),
        purpose=purpose,
        reference=reference,
        priority=priority,
        leaves=_decode_leaves(pairs[LEAVES_PREFIX + name]),
        status=RowStatus(status),
        reason=reason,
        attempts=tuple(decode_attempt(pairs[_attempt_key(name, v)], script) for v in range(versions)),
        current=current,
        heights=heights,
        rivals=rivals,
        accepted=accepted,
        progress_height=progress,
        orphan_since=orphan - 1 if orphan else None,
    )


def _attempt_key(name: bytes, version: int) -> bytes:
    return ATTEMPT_PREFIX + name + version.to_bytes(2, "big")


def _encode_leaves(leaves: tuple[bytes, ...]) -> bytes:
    writer = Writer()
    writer.uvarint(len(leaves))
    for leaf in leaves:
        writer.byte_string(leaf)
    return writer.finish()


def _decode_leaves(data: bytes) -> tuple[bytes, ...]:
    reader = Reader(data)
    leaves = tuple(reader.byte_string(_RAW_LIMIT) for _ in range(reader.uvarint()))
    reader.done()
    return leaves


def _read_transaction(reader: Reader, script: bytes) -> SignedTransaction:
    fee_sats = reader.uvarint()
    return read_signed_transaction(reader.byte_string(_RAW_LIMIT), fee_sats, script)


def _write_point(writer: Writer, point: ChainPoint) -> None:
    writer.uvarint(point.height)
    writer.raw(point.hash)


def _read_point(reader: Reader) -> ChainPoint:
    return ChainPoint(reader.uvarint(), L1Hash(reader.take(_HASH_BYTES)))


def _write_outpoint(writer: Writer, outpoint: OutPoint) -> None:
    writer.raw(outpoint.txid)
    writer.uvarint(outpoint.vout)


def _read_outpoint(reader: Reader) -> OutPoint:
    return OutPoint(_read_txid(reader), reader.uvarint())


def _read_txid(reader: Reader) -> Txid:
    return Txid(reader.take(_HASH_BYTES))


def _write_coin(writer: Writer, coin: Coin) -> None:
    """Write a confirmed coin; unconfirmed ones live in rows only."""
    _write_outpoint(writer, coin.outpoint)
    for number in (coin.value_sats, coin.height or 0, int(coin.coinbase)):
        writer.uvarint(number)


def _read_coin(reader: Reader) -> Coin:
    outpoint = _read_outpoint(reader)
    value, height, coinbase = (reader.uvarint() for _ in range(3))
    return Coin(outpoint, value, height, bool(coinbase))
