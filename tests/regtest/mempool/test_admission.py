"""The gate refuses with Core's words, in Core's order, and changes nothing when it refuses."""

import pytest

from primitives.bitcoin.script import OP_1
from primitives.bitcoin.taproot import UNSPENDABLE_KEY, TapLeaf, build_taproot
from primitives.bitcoin.transaction import SEQUENCE_FINAL, Transaction, TxIn, TxOut
from primitives.ids import OutPoint, Txid
from regtest.mempool.admission import Leniency
from regtest.policy.rejection import RejectKind, TransactionRejected
from tests.regtest.conftest import SEED_HEIGHT
from tests.regtest.mini_wallet import (
    OPEN_SCRIPT,
    OPEN_WITNESS,
    Note,
    commit_and_reveal,
    envelope_leaf,
    mature_notes,
    notes_of,
    parsed,
    reveal,
    spend,
)


def send(node, transaction):
    """Let a transaction wait, and return it."""
    node.submit_transaction(parsed(transaction), None)
    return transaction


def refusal(node, transaction, **leniency) -> TransactionRejected:
    """The rejection; the mempool is as it was."""
    before = [entry.txid for entry in node.pool]
    with pytest.raises(TransactionRejected) as caught:
        node.admission.examine(parsed(transaction), node.clock.now(), Leniency(**leniency))
    assert [entry.txid for entry in node.pool] == before
    return caught.value


@pytest.fixture
def notes(node):
    """Coins that may be spent."""
    return mature_notes(node)


def test_good_transaction_waits_and_is_mined(node, notes):
    """A plain payment waits with its fee, is mined once, and its outputs are coins."""
    transaction = send(node, spend(notes[0], fee=500))
    entry = node.pool.entry(transaction.txid)
    assert (entry.fee_sats, entry.vbytes, entry.height) == (500, transaction.vbytes, SEED_HEIGHT)
    node.mine(OPEN_SCRIPT)
    assert len(node.pool) == 0
    assert node.chain.coin(transaction.outpoint(0)).value_sats == notes[0].value - 500
    assert refusal(node, transaction).reason == "txn-already-known"


CASES = {
    "bad-txns-vout-empty": lambda n: Transaction((TxIn(n[0].outpoint, witness=OPEN_WITNESS),), ()),
    "bad-txns-inputs-duplicate": lambda n: spend([n[0], n[0]]),
    "bad-txns-inputs-missingorspent": lambda _: spend(Note(OutPoint(Txid(bytes([1]) * 32), 0), 5_000)),
    "bad-txns-in-belowout": lambda n: spend(n[0], fee=-1),
    "bad-txns-txouttotal-toolarge": lambda n: Transaction(
        (TxIn(n[0].outpoint),), (TxOut(21 * 10**14, OPEN_SCRIPT), TxOut(1, OPEN_SCRIPT))
    ),
    "bad-txns-prevout-null": lambda n: spend([n[0], Note(OutPoint(Txid(bytes(32)), 0xFFFFFFFF), 9)]),
    "coinbase": lambda _: spend(Note(OutPoint(Txid(bytes(32)), 0xFFFFFFFF), 9_000)),
    "version": lambda n: spend(n[0], version=4),
    "tx-size-small": lambda n: Transaction(
        (TxIn(n[0].outpoint, witness=OPEN_WITNESS),), (TxOut(0, b"\x6a"),)
    ),
    "scriptpubkey": lambda n: spend(n[0], extra=[TxOut(1_000, b"\x51")]),
    "dust": lambda n: spend(n[0], extra=[TxOut(329, OPEN_SCRIPT)] * 2),
    "min relay fee not met": lambda n: spend(n[0], fee=10),
    "non-final": lambda n: spend(n[0], locktime=SEED_HEIGHT + 1),
    "non-BIP68-final": lambda n: spend(n[0], sequence=SEED_HEIGHT + 1),
}


@pytest.mark.parametrize("reason", CASES)
def test_refusals(node, notes, reason):
    """Each broken rule has Core's reason."""
    assert refusal(node, CASES[reason](notes)).reason == reason


def test_details_say_the_numbers(node, notes):
    """Details follow the reason after a comma, as Core's messages do."""
    assert refusal(node, spend(notes[0], fee=10)).message == "min relay fee not met, 10 < 11"
    assert refusal(node, spend(notes[0], fee=-1)).message.startswith("bad-txns-in-belowout, value in (50.")


def test_relay_fee_line(node, notes):
    """0.1 sat/vB, rounded up, is enough; one sat less is not."""
    vbytes = spend(notes[0]).vbytes
    least = -(-vbytes // 10)
    assert refusal(node, spend(notes[0], fee=least - 1)).kind is RejectKind.FEE
    send(node, spend(notes[0], fee=least))


def test_kinds(node, notes):
    """Missing inputs and broken consensus are told apart from policy."""
    missing = refusal(node, spend(Note(OutPoint(Txid(bytes([1]) * 32), 0), 5_000)))
    assert missing.kind is RejectKind.MISSING_INPUTS
    assert refusal(node, spend(notes[0], fee=-1)).kind is RejectKind.CONSENSUS
    assert refusal(node, spend(notes[0], version=4)).kind is RejectKind.POLICY


def test_same_again(node, notes):
    """The same bytes, and the same transaction with another witness, are known already."""
    first = send(node, spend(notes[0]))
    assert refusal(node, first).reason == "txn-already-in-mempool"
    other = first.with_witness(0, (*OPEN_WITNESS[:1], b"\xc0" + OPEN_WITNESS[1][1:]))
    assert refusal(node, other).reason == "txn-same-nonwitness-data-in-mempool"


def test_coinbase_maturity(node):
    """A coinbase of height h enters the mempool when the next block is h + 100, not before."""
    height = node.tip.height
    outpoints = {coin.height: outpoint for outpoint, coin in node.chain.coins() if coin.script == OPEN_SCRIPT}
    last_mature = height + 1 - 100
    send(node, spend(Note(outpoints[last_mature], 50 * 10**8)))
    young = spend(Note(outpoints[last_mature + 1], 50 * 10**8))
    found = refusal(node, young)
    assert found.message == "bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 99"
    node.mine(OPEN_SCRIPT)
    send(node, young)
    node.mine(OPEN_SCRIPT)
    assert len(node.pool) == 0


def test_lock_times_and_the_kernel_agree(node, notes):
    """What the gate calls final at the boundary, the kernel mines; one more it refuses."""
    next_height = node.tip.height + 1
    mtp = node.chain.tree.median_time(node.tip)
    send(node, spend(notes[0], locktime=next_height - 1))
    send(node, spend(notes[1], locktime=mtp - 1))
    assert refusal(node, spend(notes[2], locktime=mtp)).reason == "non-final"
    age = next_height - node.chain.coin(notes[3].outpoint).height
    assert refusal(node, spend(notes[3], sequence=age + 1)).reason == "non-BIP68-final"
    send(node, spend(notes[3], sequence=age))
    send(node, spend(notes[5], sequence=SEQUENCE_FINAL, locktime=10**9 * 4))
    node.mine(OPEN_SCRIPT)
    assert len(node.pool) == 0


def test_moving_the_clock_opens_a_time_lock(node, notes):
    """Setting the clock forward and mining moves the median time past a lock."""
    later = node.clock.now() + 10 * 24 * 3600
    locked = spend(notes[0], locktime=later)
    assert refusal(node, locked).reason == "non-final"
    node.clock.set(later + 1)
    node.mine_many(6, OPEN_SCRIPT)
    send(node, locked)
    node.mine(OPEN_SCRIPT)
    assert len(node.pool) == 0


def test_bad_script_names_the_input(node, notes):
    """A spend that consensus refuses is refused with the input, both ids and the outpoint."""
    good = spend(notes[0])
    bad = good.with_witness(0, (b"\x00", OPEN_WITNESS[1]))
    found = refusal(node, bad)
    assert found.reason.startswith("mempool-script-verify-flag-failed (")
    assert f"input 0 of {bad.txid[::-1].hex()} (wtxid {bad.wtxid[::-1].hex()})" in found.detail
    annex = good.with_witness(0, (*OPEN_WITNESS, b"\x50"))
    assert refusal(node, annex).reason == "bad-witness-nonstandard"


def weight_exactly(commit, wanted):
    """A reveal of exactly the wanted weight."""
    payload = 396_000
    for _ in range(50):
        made = reveal(commit, payload)
        if made.weight == wanted:
            return made, payload
        payload += wanted - made.weight
    raise AssertionError("no payload gives this weight")


@pytest.mark.parametrize(("weight", "taken"), [(400_000, True), (400_001, False)])
def test_full_size_reveal(node, notes, weight, taken):
    """A reveal of 400,000 weight units is relayed and mined; one unit more is not."""
    draft, _ = commit_and_reveal(notes[0], 396_000, fee=50_000)
    _, payload = weight_exactly(draft, weight)
    commit, big = commit_and_reveal(notes[0], payload, fee=50_000)
    assert big.weight == weight
    assert payload > 395_000
    send(node, commit)
    if not taken:
        assert refusal(node, big).reason == "tx-size"
        return
    send(node, big)
    node.mine(OPEN_SCRIPT)
    assert len(node.pool) == 0


def test_two_big_reveals_do_not_fit_one_cluster(node, notes):
    """Two reveals of 395 kB from one commit exceed 101,000 vbytes; after a block the second is welcome."""
    payload = 395_000
    leaf = reveal_leaf(payload)
    funding = Transaction((TxIn(notes[0].outpoint, witness=OPEN_WITNESS),), (TxOut(10**8, leaf.script),) * 2)
    send(node, funding)
    witness = (leaf.leaves[0].script, leaf.control_block(0))
    first, second = (
        Transaction((TxIn(funding.outpoint(vout), witness=witness),), (TxOut(10**7, OPEN_SCRIPT),))
        for vout in range(2)
    )
    send(node, first)
    found = refusal(node, second)
    assert (found.reason, found.detail) == ("too-large-cluster", "")
    node.mine(OPEN_SCRIPT)
    send(node, second)


def reveal_leaf(payload):
    """A taproot output that commits to a payload."""
    return build_taproot(UNSPENDABLE_KEY, envelope_leaf(payload))


def test_cluster_of_sixty_four(node, notes):
    """A chain of 64 is taken, the 65th is not; merging two clusters counts both."""
    note = notes[0]
    for _ in range(64):
        note = notes_of(send(node, spend(note)))[0]
    assert refusal(node, spend(note)).reason == "too-large-cluster"
    assert refusal(node, spend([note, notes[1]])).reason == "too-large-cluster"
    send(node, spend(notes[1]))


def test_malleable_leaf_version_is_not_relayed(node, notes):
    """An output of an unknown leaf version can be made but not spent through the mempool."""
    output = build_taproot(UNSPENDABLE_KEY, TapLeaf(bytes([OP_1]), 0xC2))
    paid = Transaction((TxIn(notes[0].outpoint, witness=OPEN_WITNESS),), (TxOut(10**6, output.script),))
    send(node, paid)
    witness = (bytes([OP_1]), output.control_block(0))
    taken = Transaction((TxIn(paid.outpoint(0), witness=witness),), (TxOut(10**5, OPEN_SCRIPT),))
    assert "Taproot version reserved" in refusal(node, taken).reason
