"""Making blocks: outcomes, headers, receipts, records, sealing, committing, undoing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.hashes import keccak256, sha256
from primitives.merkle import merkle_root
from primitives.rlp import decode as decode_rlp
from primitives.rlp import encode
from tests.vm.native import assembly as a
from tests.vm.native.lab import (
    BASE_FEE,
    COINBASE,
    ETHER,
    FEE_VAULT,
    GWEI,
    Key,
    Lab,
    as_rlp,
    decode,
    keys,
    slot,
)
from vm import _core

TO = b"\x77" * 20
CONTRACT = b"\xc7" * 20


@pytest.fixture
def senders() -> list[Key]:
    """Two senders with fresh nonces."""
    return keys(2)


@pytest.fixture
def lab(senders: list[Key]) -> Lab:
    """A chain on which both are rich."""
    counter = a.code(a.PUSH0, a.SLOAD, a.push(1), a.ADD, a.PUSH0, a.SSTORE)
    return Lab({CONTRACT: (1, 0, counter, {})}, rich=senders)


def test_outcomes_of_transactions_that_their_turn_refuses(lab: Lab, senders: list[Key]) -> None:
    """Each refusal has its code and leaves no trace: the block is that of the others alone."""
    good, poor = senders[0], Key(b"\x55" * 32)
    refused = {
        good.sign(TO, nonce=1): "tx.nonce_too_high",
        good.sign(TO, nonce=0, max_fee=BASE_FEE - 1, tip=0): "tx.fee_cap_below_base_fee",
        good.sign(TO, nonce=0, kind=0, max_fee=BASE_FEE - 1): "tx.fee_cap_below_base_fee",
        good.sign(TO, nonce=0, value=10_000 * ETHER): "tx.insufficient_funds",
        poor.sign(TO, nonce=0): "tx.insufficient_funds",
        good.sign(TO, nonce=0, gas=10_000_001): "tx.block_gas",
    }
    executor = lab.open(gas_limit=10_000_000)
    outcomes = executor.run(decode(*refused))
    assert [outcome.code for outcome in outcomes] == list(refused.values())
    assert all(outcome.kind == "skipped" and outcome.message for outcome in outcomes)
    assert all(outcome.receipt is outcome.request is outcome.index is None for outcome in outcomes)
    with_refused = executor.seal()
    assert with_refused.hash == lab.open(gas_limit=10_000_000).seal().hash
    executor.abandon()
    lab.block(good.sign(TO))
    assert lab.block(good.sign(TO, nonce=0))[0].code == "tx.nonce_too_low"


def test_a_sender_with_code_is_refused(lab: Lab) -> None:
    """EIP-3607, save for delegated accounts (EIP-7702), which stay senders."""
    key = Key(b"\x66" * 32)
    world = Lab({key.address: (0, ETHER, b"\0", {})})
    assert world.block(key.sign(TO))[0].code == "tx.sender_is_contract"
    key.nonce = 0
    world = Lab({key.address: (0, ETHER, b"\xef\1\0" + TO, {})})
    assert world.block(key.sign(b"\x78" * 20))[0].kind == "included"


def test_the_block_fills_up(lab: Lab, senders: list[Key]) -> None:
    """Declared gas must fit what is left; what a transaction did not use is free again."""
    executor = lab.open(gas_limit=100_000)
    raws = [senders[0].sign(TO, gas=50_000) for _ in range(4)]
    outcomes = executor.run(decode(*raws))
    assert [outcome.code for outcome in outcomes] == [None, None, None, "tx.block_gas"]
    assert executor.gas_left == 100_000 - 3 * 21_000
    assert executor.transaction_count == 3


def test_fees_go_to_vault_and_coinbase(lab: Lab, senders: list[Key]) -> None:
    """The base fee is not burnt: supply stays."""
    outcome = lab.block(senders[0].sign(TO, value=5, tip=GWEI))[0]
    assert outcome.receipt is not None
    assert outcome.receipt.effective_gas_price == BASE_FEE + GWEI
    assert lab.balance(FEE_VAULT) == 21_000 * BASE_FEE
    assert lab.balance(COINBASE) == 21_000 * GWEI
    assert lab.balance(senders[0].address) == 1_000 * ETHER - 5 - 21_000 * (BASE_FEE + GWEI)
    assert (lab.head.minted_wei, lab.head.destroyed_wei) == (0, 0)


def test_destroyed_coin_is_counted(lab: Lab, senders: list[Key]) -> None:
    """A contract that destroys itself into itself in its first transaction takes its coin out of the world."""
    lab.block(senders[0].sign(None, value=12_345, data=a.code(a.ADDRESS, a.SELFDESTRUCT)))
    assert lab.head.destroyed_wei == 12_345


def test_the_header_is_ethereums(lab: Lab, senders: list[Key]) -> None:
    """Twenty-one fields in Ethereum's order with this chain's meanings; the hash is that of their RLP."""
    raw = senders[0].sign(CONTRACT)
    env = lab.env()
    outcome = lab.block(raw)[0]
    header = lab.head.header
    assert outcome.receipt is not None
    expected = [
        env.parent_hash, keccak256(b"\xc0"), COINBASE, lab.state.root(), _core.ordered_root([raw]),
        _core.ordered_root([outcome.receipt.encode()]), outcome.receipt.logs_bloom, 0, 1, env.gas_limit,
        outcome.receipt.gas_used, env.timestamp, env.extra_data, env.prev_randao, bytes(8), BASE_FEE,
        _core.EMPTY_ROOT, 0, 0, env.origin_hash, sha256(b""),
    ]  # fmt: skip
    assert header.encode() == lab.head.header_rlp == encode(as_rlp(expected))
    assert header.hash == lab.head.hash == keccak256(lab.head.header_rlp)
    again = _core.Header.decode(lab.head.header_rlp)
    for name in dir(_core.Header):
        if not name.startswith("_") and name not in {"encode", "decode"}:
            assert getattr(again, name) == getattr(header, name), name


def test_headers_of_another_shape_are_refused(lab: Lab) -> None:
    """A header whose constant fields differ is not of this chain."""
    fields = decode_rlp(lab.head.header_rlp)
    assert isinstance(fields, list)
    wrong = [(1, bytes(32)), (7, b"\1"), (14, b"\1" * 8), (17, b"\1"), (18, b"\1"), (12, bytes(33))]
    for at, value in wrong:
        changed = [*fields[:at], value, *fields[at + 1 :]]
        with pytest.raises(_core.CoreError) as error:
            _core.Header.decode(encode(changed))
        assert error.value.code == "header.malformed"
    for rlp in (b"", lab.head.header_rlp + b"\0", lab.head.header_rlp[:-1], encode(fields[:-1])):
        with pytest.raises(_core.CoreError):
            _core.Header.decode(rlp)


def test_records_and_withdrawals_are_committed(lab: Lab) -> None:
    """Requests hash: one request of type 0xba that holds the records' root; none without records."""
    records = [b"first", b"second", b"third"]
    root = merkle_root(records)
    sealed = lab.open().seal(records, b"\x57" * 32)
    assert (sealed.records_root, sealed.header.withdrawals_root) == (root, b"\x57" * 32)
    assert sealed.header.requests_hash == sha256(sha256(b"\xba" + root)) == _core.requests_hash(root)
    empty = lab.open().seal()
    assert empty.records_root is None
    assert empty.header.requests_hash == sha256(b"") == _core.requests_hash(None)


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_the_records_root_is_the_trees(records: list[bytes]) -> None:
    """The core and primitives.merkle agree."""
    assert _core.records_root(records) == merkle_root(records)


def test_receipts_survive_storage(lab: Lab, senders: list[Key]) -> None:
    """What is stored reads back field by field, and re-encodes to the same consensus bytes."""
    noisy = a.code(a.store_bytes(b"data"), a.push(9), a.push(4), a.PUSH0, a.LOG1)
    executor = lab.open()
    executor.system(
        [_core.SystemTransaction(source_hash=bytes(32), sender=TO, to=CONTRACT, gas_limit=50_000)]
    )
    raws = [
        senders[0].sign(None, data=noisy + a.code(a.PUSH0, a.PUSH0, a.RETURN), kind=0),
        senders[0].sign(None, data=a.code(a.INVALID), kind=1),
        senders[0].sign(CONTRACT, kind=4, authorizations=[senders[1].authorize(CONTRACT, 0)]),
    ]
    executor.run(decode(*raws))
    sealed = lab.commit(executor)
    again = _core.decode_receipts(sealed.receipts_blob)
    names = [
        name for name in dir(_core.Receipt) if not name.startswith("_") and name not in {"encode", "logs"}
    ]
    assert len(again) == 4
    for stored, fresh in zip(again, sealed.receipts, strict=True):
        assert stored.encode() == fresh.encode()
        assert [getattr(stored, name) for name in names] == [getattr(fresh, name) for name in names]
        for left, right in zip(stored.logs, fresh.logs, strict=True):
            assert (left.address, left.topics, left.data) == (right.address, right.topics, right.data)
    log = again[1].logs[0]
    assert (log.topics, log.data) == ([slot(9)], b"data")
    assert again[1].contract_address == log.address
    assert _core.logs_bloom([(log.address, log.topics)]) == again[1].logs_bloom
    assert again[2].contract_address is None
    for bad in (
        b"",
        b"\3" + sealed.receipts_blob[1:],
        b"\1" + sealed.receipts_blob[1:],
        sealed.receipts_blob + b"\0",
        sealed.receipts_blob[:-1],
    ):
        with pytest.raises(_core.CoreError) as error:
            _core.decode_receipts(bad)
        assert error.value.code == "receipts.malformed"


def test_undo_leads_back_through_many_blocks(lab: Lab, senders: list[Key]) -> None:
    """Applied newest first, undo data restores every byte of the store, code included."""
    history = []
    for number in range(6):
        before = dict(lab.store)
        runtime = a.code(a.push(number), a.PUSH0, a.SSTORE)
        lab.block(senders[0].sign(None, data=a.deployer(runtime)), senders[1].sign(CONTRACT))
        history.append((lab.head, before))
    for sealed, before in reversed(history):
        writes = _core.decode_undo(sealed.undo)
        assert [key for key, _ in writes] == sorted({key for key, _ in sealed.writes})
        lab.state.reset(lambda writes=writes: lab.write(writes))  # type: ignore[misc]
        assert lab.store == before
    assert lab.state.root() == history[0][0].header.state_root or lab.state.root()
    assert lab.balance(TO) == 0


def test_equal_code_is_stored_once_and_undone_last(lab: Lab, senders: list[Key]) -> None:
    """The block that wrote code first deletes it; a later one that deploys the same must not."""
    runtime = a.code(a.STOP, a.STOP)
    key = b"c" + keccak256(runtime)
    lab.block(
        senders[0].sign(None, data=a.deployer(runtime)), senders[1].sign(None, data=a.deployer(runtime))
    )
    first = lab.head
    lab.block(senders[0].sign(None, data=a.deployer(runtime)))
    assert [write for write in first.writes if write[0] == key] == [(key, runtime)]
    assert key not in {write[0] for write in lab.head.writes}
    lab.write(_core.decode_undo(lab.head.undo))
    assert lab.store[key] == runtime
    lab.write(_core.decode_undo(first.undo))
    assert key not in lab.store


@given(st.binary(max_size=60))
def test_garbage_is_no_undo_data(blob: bytes) -> None:
    """Bytes that are not undo data are refused with a code, or decode to entries that explain each byte."""
    try:
        entries = _core.decode_undo(blob)
    except _core.CoreError as refused:
        code = refused.code
    else:
        code = "undo.malformed"
        assert len(blob) == 1 + sum(5 + len(key) + len(value or b"") for key, value in entries)
    assert code == "undo.malformed"


def test_writes_follow_the_schema(lab: Lab, senders: list[Key]) -> None:
    """Keys have the documented prefixes, are sorted, and an account is the RLP of its leaf."""
    lab.block(senders[0].sign(CONTRACT), senders[1].sign(None, data=a.deployer(b"\0\1")))
    names = [key for key, _ in lab.head.writes]
    assert names == sorted(set(names))
    assert {name[:1] for name in names} == {b"a", b"s", b"c", b"A", b"S"}
    account = lab.state.account(CONTRACT)
    assert account is not None
    expected = [account.nonce, account.balance, account.storage_root, account.code_hash]
    assert lab.store[b"a" + CONTRACT] == encode(as_rlp(expected))
    assert lab.store[b"s" + CONTRACT + slot(0)] == b"\1"
    assert keccak256(lab.store[b"A"]) == lab.state.root()
    assert keccak256(lab.store[b"S" + CONTRACT]) == account.storage_root


def test_genesis_refuses_what_would_not_be_a_state(lab: Lab) -> None:
    """Repeated or empty accounts, and values beyond their type."""
    good = (TO, 0, 1, b"", {})
    for accounts in ([good, good], [(TO, 0, 0, b"", {slot(1): 1})], [(TO, 0, 1, b"", {b"short": 1})]):
        with pytest.raises(ValueError, match=r"."):
            _core.build_genesis(lab.env(), accounts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="256 bits"):
        _core.build_genesis(lab.env(), [(TO, 0, 2**256, b"", {})])
    empty = _core.build_genesis(lab.env(), [])
    assert (empty.state_root, empty.writes) == (_core.EMPTY_ROOT, [])


def test_base_fee_follows_ethereums_formula() -> None:
    """The specification's examples, and the bounds that are ours."""
    from ethereum.forks.osaka.fork import calculate_base_fee_per_gas
    from ethereum_types.numeric import Uint

    limit = 30_000_000
    for fee in (7, 10**9, 10**12):
        for used in (0, 1, 14_999_999, 15_000_000, 15_000_001, 29_000_000, limit):
            theirs = calculate_base_fee_per_gas(Uint(limit), Uint(limit), Uint(used), Uint(fee))
            assert _core.next_base_fee(fee, used, limit) == int(theirs)
    assert _core.next_base_fee(10**9, 10 * limit, limit) == 10**9 * 9 // 8
    assert _core.next_base_fee(0, limit, limit) == 1
    with pytest.raises(ValueError, match="gas limit"):
        _core.next_base_fee(1, 0, 1)
