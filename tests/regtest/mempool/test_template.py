"""Every template is a valid block: what the mempool offers, the kernel takes."""

import logging
import random
import shutil
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primitives.bitcoin.parser import parse_block
from regtest.chain import LOG_FILE
from regtest.clock import OffsetClock
from regtest.limits import MAX_BLOCK_WEIGHT
from regtest.mempool.template import build_template
from regtest.node import Node
from regtest.options import NodeOptions
from regtest.policy.rejection import TransactionRejected
from tests.regtest.conftest import MONTH_SECONDS, close
from tests.regtest.mempool.test_admission import send
from tests.regtest.mini_wallet import (
    OPEN_SCRIPT,
    Note,
    commit_and_reveal,
    mature_notes,
    notes_of,
    parsed,
    spend,
)
from tests.regtest.test_chain import ancestor, block_on


def test_best_paying_first(node):
    """The order is by fee rate, each child after its parent, a rich child bringing its poor parent."""
    notes = mature_notes(node)
    cheap = send(node, spend(notes[0], fee=200))
    poor = send(node, spend(notes[1], fee=100))
    rich = send(node, spend(notes_of(poor)[0], fee=50_000))
    medium = send(node, spend(notes[2], fee=5_000))
    order = [entry.txid for entry in build_template(node.pool).entries]
    assert order == [poor.txid, rich.txid, medium.txid, cheap.txid]


def test_full_block(node):
    """What does not fit waits; the block's weight stays below the limit and the rest is mined next."""
    fan = send(node, spend(mature_notes(node)[0], outputs=12, fee=20_000))
    node.mine(OPEN_SCRIPT)
    for note in notes_of(fan):
        commit, big = commit_and_reveal(note, 390_000, fee=60_000)
        send(node, commit)
        send(node, big)
    template = build_template(node.pool)
    assert template.is_full
    assert node.feerate() > 500
    node.mine(OPEN_SCRIPT)
    raw_weight = sum(entry.weight for entry in template.entries)
    assert MAX_BLOCK_WEIGHT - 500_000 < raw_weight < MAX_BLOCK_WEIGHT
    assert len(node.pool) > 0
    node.mine(OPEN_SCRIPT)
    assert len(node.pool) == 0


def test_offender_is_dropped_loudly(node, caplog):
    """Should the kernel refuse a template, mining reports a bug, drops the transaction and goes on."""
    notes = mature_notes(node)
    good = send(node, spend(notes[0]))
    bad = parsed(spend(notes[1]).with_witness(0, (b"\x00", spend(notes[1]).inputs[0].witness[1])))
    node.admission._check_scripts = lambda *_: None
    node.submit_transaction(bad, None)
    with caplog.at_level(logging.ERROR):
        node.mine(OPEN_SCRIPT)
    assert "BUG: the kernel refused a block template" in caplog.text
    assert bad.txid not in node.pool
    mined = [transaction.txid for transaction in parse_block(node.chain.raw_block(node.tip)).transactions]
    assert (node.tip.height, mined[1:], len(node.pool)) == (121, [good.txid], 0)


def test_no_block_now_is_no_refusal(open_node, caplog):
    """With a block wanted for every transaction, one that cannot be mined yet is accepted all the same."""
    node = open_node(options=NodeOptions(mine_on_transaction=True))
    notes = mature_notes(node)
    node.clock.set(node.clock.latest_block_time() - 1)
    node.clock.latest_block_time = lambda: 0
    waiting = send(node, spend(notes[0]))
    assert waiting.txid in node.pool
    assert "no block for this transaction yet" in caplog.text


class Trader:
    """Somebody who spends, chains, replaces and reorganises at random, from one seed."""

    def __init__(self, node, seed):
        self.node = node
        self.random = random.Random(seed)
        self.notes = mature_notes(node)[:20]
        self.sent = []

    def act(self):
        """Do one thing; refusals are part of the game."""
        kinds = (
            [self.pay] * 5
            + [self.chain] * 3
            + [self.replace, self.merge, self.mine, self.fork, self.rule_out]
        )
        try:
            self.random.choice(kinds)()
        except TransactionRejected:
            return

    def take(self):
        return self.notes.pop(self.random.randrange(len(self.notes))) if self.notes else None

    def send(self, transaction):
        self.sent.append(send(self.node, transaction))
        self.notes += notes_of(transaction)

    def pay(self):
        note = self.take()
        if note:
            sequence = self.random.choice([0xFFFFFFFD, 0xFFFFFFFF, 0, 1, 5])
            locktime = self.random.choice([0, self.node.tip.height, self.node.tip.height + 1])
            self.send(self.spend(note, sequence=sequence, locktime=locktime))

    def spend(self, notes, **choices):
        outputs = self.random.choice([1, 1, 2, 5])
        fee = self.random.choice([0, 50, 300, 1_000, 20_000])
        version = self.random.choice([1, 2, 2, 3])
        return spend(notes, outputs=outputs, fee=fee, version=version, **choices)

    def chain(self):
        note = self.take()
        for _ in range(self.random.randrange(1, 20) if note else 0):
            self.send(spend(note, fee=self.random.choice([20, 200, 2_000])))
            note = self.notes.pop()

    def merge(self):
        notes = [note for note in (self.take() for _ in range(4)) if note]
        if notes:
            self.send(self.spend(notes))

    def replace(self):
        if self.sent:
            victim = self.random.choice(self.sent)
            entry = victim.inputs[0]
            coin = self.node.chain.coin(entry.prevout)
            if coin:
                note = Note(entry.prevout, coin.value_sats)
                self.send(spend(note, fee=self.random.choice([3_000, 90_000])))

    def mine(self):
        self.node.mine(OPEN_SCRIPT)

    def fork(self):
        depth = self.random.randrange(1, 5)
        parent = ancestor(self.node.chain, depth)
        for _ in range(depth + 1):
            answer = self.node.submit_block(block_on(self.node.chain, parent))
            parent = self.node.chain.tree.row(answer.block_hash)

    def rule_out(self):
        block_hash = ancestor(self.node.chain, self.random.randrange(3)).hash
        self.node.invalidate(block_hash)
        if self.random.random() < 0.5:
            self.node.reconsider(block_hash)


@pytest.mark.timeout(300)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32))
def test_every_template_is_accepted(seed, tmp_path_factory, seed_log):
    """Whatever was sent, replaced, reorganised and ruled out, the next block is valid."""
    directory = tmp_path_factory.mktemp("trader")
    shutil.copy(seed_log, directory / LOG_FILE)
    node = Node(directory, OffsetClock(time.time, -MONTH_SECONDS))
    node._drop_offender = lambda _template, reason: pytest.fail(f"the kernel refused a template: {reason}")
    try:
        trader = Trader(node, seed)
        for _ in range(30):
            trader.act()
            template = build_template(node.pool)
            positions = {entry.txid: number for number, entry in enumerate(template.entries)}
            for number, entry in enumerate(template.entries):
                assert all(positions.get(spent.txid, -1) < number for spent in entry.spends)
        node.mine(OPEN_SCRIPT)
    finally:
        close(node)
        shutil.rmtree(directory)
