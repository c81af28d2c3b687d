"""Unwinding goes back to any block that may still move, and what Bitcoin holds comes again."""

import pytest

from bitai.chain import ChainDriver
from bitai.unwind import plan_unwind, unwind
from primitives.errors import Rejected
from tests.bitai.test_chain_reorg import CONFIG, KEPT, SEQUENCER, START, STATE, Machine, followed, story
from tests.vm.test_crash import Died, FailingStore
from vm.executor import Executor
from vm.stored_models import StoredModels


def at_the_end() -> Machine:
    """A sequencing machine after the story of the reorg tests."""
    return Machine(story()[1][-1], secret=SEQUENCER)


def catch_up(machine: Machine):
    """Work through the Bitcoin blocks above the cursor again."""
    for block in story()[0].bitcoin.blocks[machine.driver.cursor.height - START.height :]:
        machine.driver.connect(block)


def test_a_chain_goes_back_to_any_block_and_on_again():
    """From the finalized block up every number can be the head; then Bitcoin alone leads to what it leads others to."""
    node, _ = story()
    whole = at_the_end()
    head, safe, finalized = whole.executor.head.number, whole.driver.safe, whole.driver.finalized
    assert finalized < safe < head
    fresh = Machine(followed(node.bitcoin.height))
    for to_block in range(finalized, head + 1):
        machine = at_the_end()
        plan = unwind(machine.driver, to_block)
        assert machine.executor.head.number == to_block
        assert (plan.head, plan.to_block, plan.l1_to) == (head, to_block, machine.driver.cursor.height)
        assert machine.driver.safe <= to_block
        assert (plan.l1_to < plan.l1_from) == (to_block < safe)
        catch_up(machine)
        machine.executor.rewind(machine.driver.safe)
        assert machine.rows(*STATE) == fresh.rows(*STATE), to_block
        assert machine.rows(*KEPT) == fresh.rows(*KEPT), to_block


def test_nothing_final_and_nothing_unknown():
    """Below the finalized block and above the head an unwinding is refused, and changes nothing."""
    machine = at_the_end()
    rows = dict(machine.store.rows)
    with pytest.raises(Rejected, match=r"unwind\.finalized"):
        unwind(machine.driver, machine.driver.finalized - 1)
    with pytest.raises(Rejected, match=r"unwind\.unknown_block"):
        plan_unwind(machine.driver, machine.executor.head.number + 1)
    with pytest.raises(Rejected, match=r"chain\.below_safe"):
        machine.driver.take_back(machine.driver.safe - 1)
    assert machine.store.rows == rows


def test_transactions_wait_again():
    """What users sent in blocks that Bitcoin does not hold is in the sequencer's journal afterwards."""
    machine = at_the_end()
    finalized = machine.driver.finalized
    lost = [
        raw
        for number in range(finalized + 1, machine.executor.head.number + 1)
        for raw in machine.executor.chain.block_data(number).transactions
    ]
    assert plan_unwind(machine.driver, finalized).transactions >= len(lost) > 0
    unwind(machine.driver, finalized)
    assert set(lost) <= set(machine.rows(b"P").values())


@pytest.mark.parametrize("late", [False, True])
def test_to_die_at_any_write_and_unwind_again(late):
    """Killed at each write in turn, a second unwinding ends where one that lived does."""

    def opened(store):
        executor = Executor(CONFIG.chain_spec(), store, StoredModels(store), cache_bytes=1 << 20)
        return ChainDriver(CONFIG, store, executor, sequencer_secret=SEQUENCER)

    lived = FailingStore(at_the_end().store.rows)
    driver = opened(lived)
    target = driver.finalized
    unwind(driver, target)
    assert lived.writes > 2
    for fail_at in range(1, lived.writes + 1):
        store = FailingStore(at_the_end().store.rows)
        store.fail_at, store.late = fail_at, late
        with pytest.raises(Died):
            unwind(opened(store), target)
        again = opened(FailingStore(store.rows))
        unwind(again, target)
        assert again._store.rows == lived.rows
