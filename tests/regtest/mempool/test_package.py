"""Packages let a child pay for its parents, and change nothing when they fail."""

import pytest

from regtest.mempool.package import PackageRejected, is_child_with_parents, require_package
from tests.regtest.mempool.test_admission import send
from tests.regtest.mini_wallet import OPEN_SCRIPT, mature_notes, notes_of, parsed, spend


@pytest.fixture
def notes(node):
    """Coins that may be spent."""
    return mature_notes(node)


def words(outcome):
    """The rejection reasons in order, empty where a transaction is in."""
    return [item.rejection.reason if item.rejection else "" for item in outcome.judged]


def submit(node, *transactions, max_feerate=None):
    """Send a package."""
    return node.submit_package([parsed(each) for each in transactions], max_feerate)


def test_child_pays_for_a_free_parent(node, notes):
    """A parent without fee enters with a child that pays for both; the fee rate counts them together."""
    parent = spend(notes[0], fee=0)
    child = spend(notes_of(parent)[0], fee=1_000)
    outcome = submit(node, parent, child)
    assert (outcome.message, words(outcome)) == ("success", ["", ""])
    groups = [[entry.txid for entry in item.group] for item in outcome.judged]
    assert groups == [[parent.txid, child.txid]] * 2
    node.mine(OPEN_SCRIPT)
    assert len(node.pool) == 0


def test_two_parents(node, notes):
    """Several poor parents are paid for by one child."""
    parents = [spend(note, fee=1) for note in notes[:2]]
    child = spend([notes_of(parent)[0] for parent in parents], fee=2_000)
    assert submit(node, *parents, child).message == "success"
    assert len(node.pool) == 3


def test_rich_parent_is_judged_alone(node, notes):
    """A parent that pays enough enters by itself, even when the child fails."""
    parent = spend(notes[0])
    child = spend(notes_of(parent)[0], fee=-5)
    outcome = submit(node, parent, child)
    assert words(outcome) == ["", "bad-txns-in-belowout"]
    assert [entry.txid for entry in node.pool] == [parent.txid]


def test_too_little_together(node, notes):
    """When both together pay too little, neither enters."""
    parent = spend(notes[0], fee=0)
    child = spend(notes_of(parent)[0], fee=15)
    outcome = submit(node, parent, child)
    assert words(outcome) == ["min relay fee not met"] * 2
    assert len(node.pool) == 0


def test_known_members(node, notes):
    """Members that wait already count as success; another witness of a known one is named."""
    parent = send(node, spend(notes[0]))
    child = spend(notes_of(parent)[0])
    outcome = submit(node, parent, child)
    assert outcome.message == "success"
    assert outcome.judged[0].group == ()
    twin = parent.with_witness(0, (*parent.inputs[0].witness[:1], b"\xc0" + bytes(32)))
    assert submit(node, twin, child).judged[0].other_wtxid == parent.wtxid


def test_max_feerate(node, notes):
    """A fee rate beyond the caller's limit is refused."""
    outcome = submit(node, spend(notes[0], fee=10**6), max_feerate=1_000)
    assert words(outcome) == ["max feerate exceeded"]


def test_replacement_is_reported(node, notes):
    """What a member replaced by its own fee is listed."""
    first = send(node, spend(notes[0]))
    outcome = submit(node, spend(notes[0], fee=9_000))
    assert outcome.replaced == (first.txid,)


def test_trial_leaves_no_trace(node, notes):
    """A dry run of a chain says yes to each and changes nothing."""
    parent = spend(notes[0])
    child = spend(notes_of(parent)[0])
    judged = node.packages.try_all([parsed(parent), parsed(child)], node.clock.now())
    assert [item.rejection for item in judged] == [None, None]
    assert len(node.pool) == 0
    assert send(node, parent)
    rival = parsed(spend(notes[0], fee=9_000))
    judged = node.packages.try_all([rival, parsed(spend(notes[1]))], node.clock.now())
    assert judged[0].rejection.reason == "bip125-replacement-disallowed"
    assert node.packages.try_all([rival], node.clock.now())[0].rejection is None
    assert [entry.txid for entry in node.pool] == [parent.txid]


def test_shape_of_a_package(node, notes):
    """Count, weight, order, duplicates and conflicts are checked before anything else."""
    first, second = spend(notes[0]), spend(notes[1])
    child = spend(notes_of(first)[0])
    bad = {
        "package-contains-duplicates": [first, first],
        "package-not-sorted": [child, first],
        "conflict-in-package": [first, spend(notes[0], fee=9_000)],
        "package-too-many-transactions": [spend(notes[0], fee=fee) for fee in range(1_000, 1_026)],
        "package-too-large": [spend(note, padding=51_000) for note in notes[:2]],
    }
    for reason, members in bad.items():
        with pytest.raises(PackageRejected) as caught:
            require_package([parsed(each) for each in members])
        assert caught.value.reason == reason
    require_package([parsed(each) for each in (first, second, child)])
    assert is_child_with_parents([parsed(first), parsed(child)])
    assert not is_child_with_parents([parsed(second), parsed(child)])
