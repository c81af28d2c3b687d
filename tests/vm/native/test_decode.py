"""Decoding: the published verdicts, every refusal, and round trips against other implementations."""

import json
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from primitives.hashes import keccak256
from primitives.rlp import encode
from tests.vm.native.lab import BASE_FEE, CHAIN_ID, GWEI, Key, as_rlp, decode, keys, slot
from vm import _core

FORKS = ["Osaka", "Prague", "Cancun", "Shanghai", "London"]
KEY = keys(1)[0]
TO = b"\x77" * 20


def refusal(raw: bytes, chain_id: int = CHAIN_ID) -> str:
    """Return the code with which `raw` is refused."""
    answer = _core.decode([raw], chain_id, 2**24)[0]
    assert isinstance(answer, tuple), answer
    return answer[0]


def published(folder: Path) -> list[tuple[str, bytes, dict[str, str]]]:
    """Return (name, raw, verdict) of every published case."""
    cases = []
    for file in sorted((folder / "ethereum/TransactionTests").glob("*/*.json")):
        for name, case in json.loads(file.read_text()).items():
            fork = next(fork for fork in FORKS if fork in case["result"])
            raw = bytes.fromhex(case["txbytes"].removeprefix("0x"))
            cases.append((f"{file.parent.name}/{name}", raw, case["result"][fork]))
    return cases


def test_published_transactions(shared_vectors: Path) -> None:
    """What Ethereum's vectors call valid decodes to the published hash and sender; the rest is refused.

    Two differences are ours: a legacy transaction without a chain (EIP-155) is always refused, and our forks are
    newer than some vectors, so floor gas (EIP-7623) may refuse more.
    """
    cases = published(shared_vectors)
    assert len(cases) > 150
    accepted = 0
    for name, raw, verdict in cases:
        answer = _core.decode([raw], 1)[0]
        if "exception" in verdict:
            assert isinstance(answer, tuple), name
        elif isinstance(answer, tuple):
            assert answer[0] in {"tx.unprotected", "tx.floor_gas", "tx.gas_cap", "tx.fee_overflow"}, (
                name,
                answer,
            )
        else:
            accepted += 1
            assert answer.hash.hex() == verdict["hash"].removeprefix("0x"), name
            assert answer.sender.hex() == verdict["sender"].removeprefix("0x"), name
    assert accepted >= 5


@pytest.mark.parametrize("kind", [0, 1, 2, 4])
def test_all_fields_of_each_type(kind: int) -> None:
    """Every getter shows what was signed, and intrinsic gas is the specification's sum."""
    signer = Key(b"\7" * 32)
    access = [(b"\xaa" * 20, [slot(1), slot(2)]), (b"\xbb" * 20, [])] if kind else []
    authorizations = [signer.authorize(b"\xcc" * 20, 9)] if kind == 4 else []
    raw = KEY.sign(
        TO, value=12_345, data=b"\0\1\2", gas=200_000, kind=kind, max_fee=5 * BASE_FEE, tip=GWEI, nonce=3,
        access=access, authorizations=authorizations,
    )  # fmt: skip
    tx = decode(raw)[0]
    assert (tx.raw, tx.hash, tx.sender) == (raw, keccak256(raw), KEY.address)
    assert (tx.type, tx.chain_id, tx.nonce, tx.to, tx.value) == (kind, CHAIN_ID, 3, TO, 12_345)
    assert (tx.input, tx.gas_limit) == (b"\0\1\2", 200_000)
    priced = kind < 2
    assert tx.gas_price == (5 * BASE_FEE if priced else None)
    assert tx.max_fee_per_gas == 5 * BASE_FEE
    assert tx.max_priority_fee_per_gas == (5 * BASE_FEE if priced else GWEI)
    assert tx.effective_gas_price(BASE_FEE) == (5 * BASE_FEE if priced else BASE_FEE + GWEI)
    assert tx.access_list == [(address, list(slots)) for address, slots in access]
    lists = 2 * 2_400 + 2 * 1_900 if kind else 0
    assert tx.intrinsic_gas == 21_000 + 4 + 2 * 16 + lists + 25_000 * len(authorizations)
    assert tx.floor_gas == 21_000 + 10 * (1 + 2 * 4)
    assert tx.v == (35 + 2 * CHAIN_ID + tx.y_parity if kind == 0 else tx.y_parity)
    assert len(tx.authorization_list) == len(authorizations)
    for entry in tx.authorization_list:
        assert (entry.authority, entry.address, entry.nonce) == (signer.address, b"\xcc" * 20, 9)
        assert (entry.chain_id, entry.y_parity in {0, 1}) == (CHAIN_ID, True)


def test_transactions_of_eth_account() -> None:
    """What a wallet library signs decodes to the sender and hash that it computed itself."""
    account = Account.from_key(b"\x11" * 32)
    common = {
        "chainId": CHAIN_ID,
        "nonce": 0,
        "to": "0x" + "77" * 20,
        "value": 1,
        "gas": 30_000,
        "data": "0x00ff",
    }
    fees = {"maxFeePerGas": 2 * BASE_FEE, "maxPriorityFeePerGas": GWEI}
    variants = [
        common | {"gasPrice": BASE_FEE},
        common | {"gasPrice": BASE_FEE, "type": 1, "accessList": []},
        common | fees | {"type": 2},
    ]
    for fields in variants:
        signed = account.sign_transaction(fields)
        tx = decode(bytes(signed.raw_transaction))[0]
        assert tx.hash == bytes(signed.hash)
        assert tx.sender.hex() == account.address[2:].lower()


def test_every_refusal() -> None:
    """Each code stands for the fault that it names."""
    good = KEY.sign(TO, nonce=0)
    blob = b"\x03" + good[1:]
    assert refusal(blob) == "tx.type_not_supported"
    assert refusal(b"\x7e" + good[1:]) == "tx.type_not_supported"
    assert refusal(b"\x05" + good[1:]) == "tx.type_not_supported"
    assert refusal(b"") == "tx.malformed"
    assert refusal(b"\x80") == "tx.malformed"
    assert refusal(good + b"\0") == "tx.malformed"
    assert refusal(good[:-1]) == "tx.malformed"
    assert refusal(good, 1) == "tx.wrong_chain"
    assert refusal(KEY.sign(TO, nonce=0, kind=0), 1) == "tx.wrong_chain"
    assert refusal(KEY.sign(TO, nonce=2**64 - 1)) == "tx.nonce_overflow"
    assert refusal(KEY.sign(TO, nonce=0, gas=20_999)) == "tx.intrinsic_gas"
    assert refusal(KEY.sign(TO, nonce=0, gas=41_000, data=b"\1" * 1_000)) == "tx.floor_gas"
    assert refusal(KEY.sign(TO, nonce=0, gas=2**24 + 1)) == "tx.gas_cap"
    assert refusal(KEY.sign(None, nonce=0, gas=2**24, data=bytes(49_153))) == "tx.init_code_size"
    assert refusal(KEY.sign(TO, nonce=0, max_fee=1, tip=2)) == "tx.priority_above_fee_cap"
    assert refusal(KEY.sign(TO, nonce=0, value=2**256 - 1)) == "tx.fee_overflow"
    assert refusal(KEY.sign(TO, nonce=0, max_fee=2**128)) == "tx.fee_overflow"
    assert refusal(KEY.sign(TO, nonce=0, kind=4)) == "tx.authorization_list"
    creating = KEY.sign(None, nonce=0, kind=4, authorizations=[KEY.authorize(TO, 0)])
    assert refusal(creating) == "tx.authorization_list"


def test_legacy_without_chain_is_refused() -> None:
    """A transaction of no chain could be taken from another one and repeated here."""
    fields: list[object] = [0, BASE_FEE, 21_000, TO, 1, b""]
    odd, r, s = KEY.signature(keccak256(encode(as_rlp(fields))))
    assert refusal(encode(as_rlp([*fields, 27 + odd, r, s]))) == "tx.unprotected"
    assert refusal(encode(as_rlp([*fields, 34, r, s]))) == "tx.bad_signature"


def test_signatures_of_no_one() -> None:
    """Zero, overlarge and high-s signatures are refused; high s would let anyone change a transaction's hash."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    fields: list[object] = [CHAIN_ID, 0, GWEI, BASE_FEE, 21_000, TO, 0, b"", []]
    odd, r, s = KEY.signature(keccak256(b"\x02" + encode(as_rlp(fields))))

    def with_signature(*signature: int) -> bytes:
        return b"\x02" + encode(as_rlp([*fields, *signature]))

    assert decode(with_signature(odd, r, s))[0].sender == KEY.address
    assert refusal(with_signature(1 - odd, r, order - s)) == "tx.bad_signature"
    assert refusal(with_signature(odd, 0, s)) == "tx.bad_signature"
    assert refusal(with_signature(odd, r, 0)) == "tx.bad_signature"
    assert refusal(with_signature(odd, order, s)) == "tx.bad_signature"
    assert refusal(with_signature(2, r, s)) == "tx.malformed"


def test_an_authorization_of_no_one_is_kept() -> None:
    """A bad authorization does not spoil its transaction; it only does nothing."""
    bad = KEY.authorize(TO, 1)
    bad[4] = 0
    tx = decode(KEY.sign(TO, nonce=0, kind=4, authorizations=[bad]))[0]
    assert [entry.authority for entry in tx.authorization_list] == [None]


@given(st.binary(max_size=300))
def test_garbage_never_raises(raw: bytes) -> None:
    """Whatever arrives, the answer is a transaction or a refusal with a code."""
    for candidate in (raw, b"\x02" + raw, b"\x04" + raw, b"\xf8" + raw):
        answer = _core.decode([candidate], CHAIN_ID)[0]
        assert isinstance(answer, tuple)
        assert answer[0].startswith("tx.")


@given(st.integers(0, 400), st.integers(0, 255), st.sampled_from([0, 1, 2, 4]))
def test_a_changed_byte_is_refused_or_another_transaction(at: int, value: int, kind: int) -> None:
    """No two encodings have one hash, and no changed byte keeps the sender and the hash."""
    authorizations = [KEY.authorize(TO, 1)] if kind == 4 else []
    raw = bytearray(KEY.sign(TO, nonce=5, kind=kind, data=b"data", authorizations=authorizations))
    original = bytes(raw)
    raw[at % len(raw)] = value
    answer = _core.decode([bytes(raw)], CHAIN_ID)[0]
    if isinstance(answer, _core.Transaction) and bytes(raw) != original:
        assert answer.hash == keccak256(bytes(raw)) != keccak256(original)


def test_many_keep_their_order() -> None:
    """Decoding runs in parallel; answers stand where their transactions stood."""
    raws = [KEY.sign(TO, nonce=nonce) if nonce % 3 else b"\xc0" for nonce in range(300)]
    for nonce, answer in enumerate(_core.decode(raws, CHAIN_ID)):
        if nonce % 3:
            assert isinstance(answer, _core.Transaction)
            assert answer.nonce == nonce
        else:
            assert answer == ("tx.malformed", "not canonical RLP of a transaction")


def test_equality_is_that_of_the_hash() -> None:
    """Transactions can be keys of a dict."""
    raw = KEY.sign(TO, nonce=1)
    first, again, other = (decode(item)[0] for item in (raw, raw, KEY.sign(TO, nonce=2)))
    assert first == again
    assert {first: 1}[again] == 1
    assert first != other
    assert first != "something else"


def test_system_transactions_round_trip() -> None:
    """A system transaction is 0x7e and the RLP list that its page names; nothing else decodes."""
    fields = {"source_hash": b"\1" * 32, "sender": b"\2" * 20, "gas_limit": 70_000, "mint": 2**80, "value": 3}
    for to in (TO, None):
        tx = _core.SystemTransaction(**fields, to=to, input=b"in")  # type: ignore[arg-type]
        expected = [b"\1" * 32, b"\2" * 20, to or b"", 2**80, 3, 70_000, 0, b"in"]
        assert tx.raw == b"\x7e" + encode(as_rlp(expected))
        assert tx.hash == keccak256(tx.raw)
        again = _core.SystemTransaction.decode(tx.raw)
        assert (again.raw, again.to, again.mint, again.value, again.gas_limit, again.input) == (
            tx.raw, to, 2**80, 3, 70_000, b"in",
        )  # fmt: skip
        unmetered = b"\x7e" + encode(as_rlp([*expected[:6], 1, b"in"]))
        for bad in (tx.raw + b"\0", tx.raw[:-1], tx.raw[1:], unmetered, b""):
            with pytest.raises(_core.CoreError) as error:
                _core.SystemTransaction.decode(bad)
            assert error.value.code == "tx.malformed"
