"""Packages: signatures hold by the kernel's rules, every sat is accounted for, bumps stay in bounds."""

import pbk
import pbk.script
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l1.coin_choice import DUST_SATS, Coin
from l1.fees import FeePolicy, fee_of_weight
from l1.inscriber import InscriberConfig
from l1.inscription_package import (
    Attempt,
    PackagePlan,
    SigningKeys,
    build_package,
    bump_reveals,
    estimate_vbytes,
    leaf_of_reveal,
    require_standard_leaves,
    weigh_reveal,
)
from l1.keys import open_wallet_key
from l1.transitions import SendRules
from primitives.bitcoin.envelope import MAX_PAYLOAD_BYTES, EnvelopeKind, build_header, encode_leaf, parse_leaf
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.bitcoin.transaction import MAX_STANDARD_WEIGHT, TxOut, decode_transaction
from primitives.curve import xonly_public_key
from primitives.errors import InvalidInput, Rejected
from primitives.hashes import sha256
from primitives.ids import OutPoint, Txid

SIGNER = b"\x07" * 32
KEYS = SigningKeys(open_wallet_key(b"\x05" * 32), SIGNER)
IDENTITY = sha256(b"test")


def leaf(
    payload: bytes, *, number: int = 1, index: int = 0, codec: EnvelopeCodec = EnvelopeCodec.IF520
) -> bytes:
    """Return the leaf script of a batch frame."""
    header = build_header(
        SIGNER, EnvelopeKind.BATCH_FRAME, payload, identity=IDENTITY, number=number, index=index
    )
    return encode_leaf(codec, xonly_public_key(SIGNER), header, payload)


def coins(*values: int) -> list[Coin]:
    """Return confirmed coins of these values."""
    return [Coin(OutPoint(Txid(bytes([i + 1]) * 32), i), v, height=1) for i, v in enumerate(values)]


def kernel_accepts(raw: bytes, spent: list[TxOut]) -> bool:
    """Tell whether Bitcoin Core's script engine accepts every input."""
    transaction = pbk.Transaction(raw)
    outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(out.script), out.value) for out in spent]
    facts = pbk.script.PrecomputedTransactionData(transaction, outputs)
    flags = pbk.ScriptVerificationFlags.ALL
    return all(
        pbk.ScriptPubkey(out.script).verify(out.value, transaction, facts, index, flags)
        for index, out in enumerate(spent)
    )


def check_package(attempt: Attempt, funds: list[Coin], leaves: list[bytes]) -> None:
    """Check signatures, values, fees and sizes of a whole package, from its bytes alone."""
    known = {coin.outpoint: TxOut(coin.value_sats, KEYS.wallet.script) for coin in funds}
    commit = decode_transaction(attempt.commit.raw)
    spent = [known[entry.prevout] for entry in commit.inputs]
    assert kernel_accepts(commit.raw, spent)
    fee = sum(out.value for out in spent) - sum(out.value for out in commit.outputs)
    assert fee == attempt.commit.fee_sats >= fee_of_weight(commit.weight, attempt.rate)
    assert commit.weight == attempt.commit.weight
    for index, (reveal, script) in enumerate(zip(attempt.reveals, leaves, strict=True)):
        transaction = decode_transaction(reveal.raw)
        assert transaction.inputs[0].prevout == commit.outpoint(index)
        assert kernel_accepts(reveal.raw, [commit.outputs[index]])
        assert transaction.weight == reveal.weight == weigh_reveal(script) <= MAX_STANDARD_WEIGHT
        assert commit.outputs[index].value - transaction.outputs[0].value == reveal.fee_sats
        assert reveal.fee_sats >= fee_of_weight(transaction.weight, attempt.rate)
        assert transaction.outputs[0].script == KEYS.wallet.script
        assert transaction.outputs[0].value >= DUST_SATS
        assert leaf_of_reveal(reveal) == script


@settings(max_examples=25)
@given(
    st.lists(st.binary(min_size=0, max_size=900), min_size=1, max_size=5),
    st.integers(1_000, 30_000),
    st.sampled_from([EnvelopeCodec.IF520, EnvelopeCodec.DROP255]),
    st.integers(1, 4),
)
def test_packages_are_valid(payloads: list[bytes], rate: int, codec: EnvelopeCodec, lanes: int) -> None:
    """Any payloads, rate, codec and lanes give a package that the kernel accepts and whose fees are right."""
    leaves = [leaf(payload, index=index, codec=codec) for index, payload in enumerate(payloads)]
    funds = coins(300_000, 200_000, 5_000_000)
    plan = PackagePlan(rate, lanes=lanes, lane_sats=20_000)
    attempt = build_package(KEYS, leaves, funds, plan, height=9)
    check_package(attempt, funds, leaves)
    assert attempt == build_package(KEYS, leaves, funds, plan, height=9), "signing is deterministic"
    assert attempt.vbytes <= estimate_vbytes(leaves) + 60 * len(attempt.commit.inputs) + 43 * lanes
    change = [value for vout, value in attempt.commit.own_outputs if vout >= len(leaves)]
    assert len(change) == len(attempt.commit.own_outputs)
    assert len(change) <= lanes


def test_a_lane_pays_for_a_full_size_inscription() -> None:
    """The coins kept ready are worth a package of the greatest size, headroom included, at the fallback rate."""
    config = InscriberConfig(KEYS, SendRules(6))
    rate, percent = FeePolicy().fallback, config.headroom_percent
    script = leaf(bytes(MAX_PAYLOAD_BYTES), codec=EnvelopeCodec.DROP255)
    plan = PackagePlan(rate, headroom_percent=percent)
    attempt = build_package(KEYS, [script], coins(config.lane_sats), plan, height=1)
    raised = rate * (100 + percent) // 100
    bumped = bump_reveals(KEYS, attempt, raised, height=2, confirmed=frozenset())
    assert bumped is not None
    assert bumped.fee_sats * 1_000 >= raised * bumped.vbytes - 4_000


@given(st.lists(st.integers(1_000, 400_000), min_size=1, max_size=12), st.integers(1_000, 50_000), st.data())
def test_a_commit_pays_what_was_worked_out(values: list[int], rate: int, data: st.DataObject) -> None:
    """With lanes, floors for replacements and change given up, no sat goes astray: the fee is explained."""
    plan = PackagePlan(
        rate,
        lanes=data.draw(st.integers(1, 4)),
        lane_sats=data.draw(st.integers(0, 50_000)),
        least_fee_sats=data.draw(st.integers(0, 30_000)),
    )
    try:
        attempt = build_package(KEYS, [leaf(b"x" * 200)], coins(*values), plan, height=1)
    except Rejected as shortage:
        assert shortage.code == "wallet.insufficient_funds"  # noqa: PT017
        return
    assert attempt.commit.fee_sats >= plan.least_fee_sats


def test_largest_payload_is_standard_in_both_codecs() -> None:
    """A payload of the greatest allowed size fits one standard reveal, and one cluster with its commit."""
    for codec in (EnvelopeCodec.IF520, EnvelopeCodec.DROP255):
        script = leaf(bytes(MAX_PAYLOAD_BYTES), codec=codec)
        require_standard_leaves([script])
        attempt = build_package(KEYS, [script], coins(10_000_000), PackagePlan(2_000), height=1)
        check_package(attempt, coins(10_000_000), [script])
        assert attempt.vbytes <= 101_000


def test_payload_comes_back() -> None:
    """What a reveal shows parses to the envelope that was put in, signed by the signer."""
    attempt = build_package(KEYS, [leaf(b"hello", number=5)], coins(100_000), PackagePlan(1_000), height=1)
    found = parse_leaf(leaf_of_reveal(attempt.reveals[0]), IDENTITY)
    assert found is not None
    assert (found.payload, found.header.number) == (b"hello", 5)


def test_headroom_is_left_out_when_it_cannot_be_paid() -> None:
    """A wallet that can pay the fees but not the headroom still inscribes."""
    script = leaf(bytes(20_000))
    rich = build_package(KEYS, [script], coins(1_000_000), PackagePlan(5_000), height=1)
    poor = build_package(KEYS, [script], coins(rich.fee_sats + 2 * DUST_SATS), PackagePlan(5_000), height=1)
    assert poor.reveals[0].own_outputs == ((0, DUST_SATS),)
    with pytest.raises(Rejected, match=r"wallet\.insufficient_funds"):
        build_package(KEYS, [script], coins(rich.fee_sats - 1_000), PackagePlan(5_000), height=1)


def test_headroom_shrinks_before_it_is_left_out() -> None:
    """A wallet that cannot put all of the headroom aside puts a quarter aside."""
    script, plan = leaf(bytes(20_000)), PackagePlan(5_000, headroom_percent=400)
    whole = build_package(KEYS, [script], coins(1_000_000), plan, height=1)
    fee = whole.reveals[0].fee_sats
    part = build_package(KEYS, [script], coins(3 * whole.fee_sats), plan, height=1)
    assert whole.reveals[0].own_outputs[0][1] >= DUST_SATS + 4 * fee
    assert DUST_SATS + fee <= part.reveals[0].own_outputs[0][1] < DUST_SATS + 2 * fee


def test_change_is_split_into_lanes() -> None:
    """Change large enough becomes several coins of at least the lane size; small change stays whole."""
    plan = PackagePlan(1_000, lanes=4, lane_sats=100_000)
    many = build_package(KEYS, [leaf(b"x")], coins(1_000_000), plan, height=1)
    assert len(many.commit.own_outputs) == 4
    assert min(value for _, value in many.commit.own_outputs) >= 100_000
    one = build_package(KEYS, [leaf(b"x")], coins(150_000), plan, height=1)
    assert len(one.commit.own_outputs) == 1


def test_bumped_reveals_pay_more_and_exclude_the_old_ones() -> None:
    """A bump spends the same outputs at the new rate, carries the commit, and keeps confirmed reveals."""
    leaves = [leaf(b"a" * 400), leaf(b"b" * 400, index=1)]
    attempt = build_package(KEYS, leaves, coins(1_000_000), PackagePlan(2_000), height=1)
    bumped = bump_reveals(KEYS, attempt, 3_500, height=3, confirmed=frozenset())
    assert bumped is not None
    assert bumped.commit == attempt.commit
    assert [r.inputs for r in bumped.reveals] == [r.inputs for r in attempt.reveals]
    assert {r.txid for r in bumped.reveals}.isdisjoint({r.txid for r in attempt.reveals})
    paid = bumped.reveals[0].fee_sats + bumped.commit.fee_sats
    assert paid * 1_000 >= 3_500 * (bumped.reveals[0].vbytes + bumped.commit.vbytes) - 4_000
    half = bump_reveals(KEYS, attempt, 3_500, height=3, confirmed={attempt.reveals[0].txid})
    assert half is not None
    assert half.reveals[0] == attempt.reveals[0]
    for reveal in bumped.reveals:
        spent = decode_transaction(bumped.commit.raw).outputs[reveal.inputs[0].vout]
        assert kernel_accepts(reveal.raw, [spent])


def test_bump_stops_where_the_value_ends() -> None:
    """Without headroom no replacement is possible, and the answer is None, not a worse transaction."""
    attempt = build_package(
        KEYS, [leaf(b"a" * 400)], coins(1_000_000), PackagePlan(2_000, headroom_percent=0), height=1
    )
    assert bump_reveals(KEYS, attempt, 9_000, height=2, confirmed=frozenset()) is None


def test_leaves_that_no_node_relays_are_refused() -> None:
    """Nothing, too many, or too large is refused before anything is stored."""
    with pytest.raises(InvalidInput, match=r"inscription\.no_leaves"):
        require_standard_leaves([])
    with pytest.raises(InvalidInput, match=r"inscription\.too_many"):
        require_standard_leaves([b"x"] * 101)
    with pytest.raises(InvalidInput, match=r"inscription\.too_large"):
        require_standard_leaves([bytes(400_000)])
