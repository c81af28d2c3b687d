"""A channel that has become void is dropped if nobody else can have it, and kept to the end if somebody may."""

import pytest

from l1.inscription import Row, RowStatus
from l1.ports import SendOutcome
from primitives.errors import Temporary
from tests.rollup.batcher.test_batcher import check_done
from tests.rollup.batcher.world import SCRIPT, World

DEAR = 1_000_000
"""Sats per kvB that a node wants: more than the batcher ever pays."""


def one_row(world: World) -> Row:
    """Return the only row."""
    (row,) = world.batcher.state.inscriber.rows.values()
    return row


async def pass_window(world: World) -> None:
    """Let Bitcoin go on until what is signed now is void."""
    for _ in range(world.config.parameters.seq_window + 2):
        world.bitcoin.mine(only=())
        await world.run()


async def finish(world: World) -> None:
    """Let the sequencer come back near the tip, and everything become final."""
    world.sequencer.make(16)
    await world.settle()
    check_done(world)


async def test_a_signed_row_that_was_always_refused_is_dropped() -> None:
    """Its coins pay for the next one, which has its number; nothing void is on Bitcoin and nothing was spent on it."""
    world = World(coins=1, post_bytes=1)
    world.bitcoin.min_rate = DEAR
    world.sequencer.make(3)
    await world.run()
    assert one_row(world).status is RowStatus.SIGNED
    await pass_window(world)
    assert world.batcher.state.inscriber.rows == {}
    assert [record.status for record in world.batcher.report().history] == ["expired"]
    assert world.batcher.report().spent_sats == 0
    world.bitcoin.min_rate = 1_000
    await finish(world)
    assert "block.window" not in world.derivation.codes
    assert min(world.batches()) == 0, "the number of the dropped channel was used again"
    assert world.batcher.report().spent_sats == 20_000_000 - world.oracle_balance()


@pytest.mark.parametrize("sent", [True, False])
async def test_a_row_whose_send_was_not_answered_is_kept(sent: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 (pytest passes it by name)
    """Whether the node got it is not known, though it refuses it later: it is settled before its blocks go again."""
    world = World(coins=2, post_bytes=1)
    send = world.bitcoin.send

    async def break_off(raw: bytes) -> SendOutcome:
        if sent:
            await send(raw)
        raise Temporary("l1.unreachable", "the connection broke")

    monkeypatch.setattr(world.bitcoin, "send", break_off)
    world.sequencer.make(3)
    with pytest.raises(Temporary):
        await world.run()
    monkeypatch.undo()
    out = dict(world.bitcoin.mempool)
    assert len(out) == sent
    world.bitcoin.mempool.clear()
    world.bitcoin.min_rate = DEAR
    await pass_window(world)
    row = one_row(world)
    assert row.status is RowStatus.SIGNED
    assert not row.is_ours_alone
    for raw in out.values():
        world.bitcoin.mine_foreign(raw)  # another node had it
    world.bitcoin.min_rate = 1_000
    await finish(world)


async def test_a_row_from_before_a_restart_is_kept() -> None:
    """A process that died may have sent what it signed."""
    world = World(coins=2, post_bytes=1)
    world.bitcoin.min_rate = DEAR
    world.sequencer.make(3)
    await world.run()
    world.batcher = world.open()
    await pass_window(world)
    assert not one_row(world).is_ours_alone
    world.bitcoin.min_rate = 1_000
    world.bitcoin.fund(SCRIPT, 20_000_000, 2)
    await finish(world)
