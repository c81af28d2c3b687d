"""Bitcoin leaves up to seven blocks at any moment of a chain's life: the database then holds what a fresh one would."""

from collections import Counter
from functools import cache

import pytest

from bitai.chain import ChainDriver
from l1.ports import ChainPoint
from primitives.bitcoin.envelope import EnvelopeKind
from primitives.errors import ConfigError
from primitives.hashes import sha256d
from rollup.batch.channel import decode_frame, split_frames
from rollup.batch.codec import to_batch_block
from tests.bitai import raw_bitcoin
from tests.bitai.raw_bitcoin import START, RawBitcoin, channel
from tests.bitai.test_replay import ANNOUNCED, CONFIG, NEURON, NEURON_FULL, ON_CHAIN
from tests.vm.test_stored_models import SEVEN
from tests.vm.world import NEURON_SECRETS, Account, artifact, ask
from vm.dev_accounts import DEV_ACCOUNTS
from vm.executor import Executor
from vm.inference import engine
from vm.inference.artifact import parse_artifact
from vm.inference.wire import Request, sign_answer
from vm.store import MemoryStore
from vm.stored_models import StoredModels
from vm.types import InferenceRecord

DEPTHS = range(1, 8)
LENGTH = 28
"""L1 blocks of the story: long enough that the first records are final at its end."""
SILENCE = 8
"""L1 blocks more without batches: then the window is over, and every node makes blocks without them."""
STATE = (b"a", b"s", b"A", b"S")
"""Prefixes of accounts, slots and both tries."""
KEPT = (b"Dc", b"De", b"Do", b"Db", b"H", b"B", b"R", b"T", b"#", b"E")
"""Prefixes of what derivation and the chain keep for each block."""
CHUNK, FRAME = EnvelopeKind.ARTIFACT_CHUNK, EnvelopeKind.BATCH_FRAME
SEQUENCER = raw_bitcoin.ANYBODY


class Machine:
    """A chain driver over a database in memory."""

    def __init__(self, rows=(), *, secret=None):
        """Open a database that holds these rows."""
        self.store = MemoryStore(dict(rows))
        self.executor = Executor(
            CONFIG.chain_spec(), self.store, StoredModels(self.store), cache_bytes=1 << 20
        )
        self.driver = ChainDriver(CONFIG, self.store, self.executor, sequencer_secret=secret)

    def users(self):
        """Every user's transaction in the chain."""
        numbers = range(1, self.executor.head.number + 1)
        return [raw for number in numbers for raw in self.executor.chain.block_data(number).transactions]

    def statements(self):
        """Everything that it would sign, by parent and origin."""
        number, found = 1, {}
        while (block := self.driver.signed(number)) is not None:
            said = block.statement
            found[said.parent_hash, said.origin_hash] = said
            number = block.data.number + 1
        return found

    def rows(self, *prefixes):
        """The database's rows with one of these prefixes."""
        return {key: value for key, value in self.store.rows.items() if key.startswith(prefixes)}


class Sequencing(Machine):
    """A sequencing machine that makes blocks of what it is told, and inscribes them."""

    def __init__(self):
        """Stand at the genesis block, before an empty Bitcoin."""
        super().__init__(secret=SEQUENCER)
        self.bitcoin, self.posted, self.number, self.reveals = RawBitcoin(), 0, 0, []

    def mine(self, *reveals):
        """Add a Bitcoin block and work through it."""
        self.reveals.append(reveals)
        self.driver.connect(self.bitcoin.mine(*reveals, fees_sats=5_000))

    def make(self, *raws, records=()):
        """Make the next block."""
        proposal = self.driver.propose(self.executor.head.timestamp + 2)
        made, _ = self.driver.make(proposal, self.executor.decode(raws), records, keep_empty=True)
        return made.outcomes

    def post(self, size=10**6):
        """Return the reveals of a channel with every block that is not posted yet."""
        numbers = range(self.posted + 1, self.executor.head.number + 1)
        blocks = [(number, to_batch_block(self.executor.chain.block_data(number))) for number in numbers]
        self.posted, self.number = self.executor.head.number, self.number + 1
        return channel(blocks, self.number - 1, size, CONFIG)

    def answer(self, request):
        """The neuron's record for the first transaction of the next block."""
        output = engine.run(parse_artifact(NEURON_FULL), request.input, b"", request.max_output)[1]
        model = parse_artifact(NEURON_FULL).model_id
        signed = sign_answer(
            NEURON_SECRETS[0], CONFIG.identity, Request(model, request.input, b"", 21), (0, output)
        )
        height = self.executor.head.origin.height
        return InferenceRecord(0, signed.request_hash, 0, output, NEURON, signed.signature, height)


@cache
def story():
    """Return a machine at the end of a story, and its rows after each Bitcoin block.

    Models are inscribed and registered, a contract is deployed and asks both tiers, accounts send; a channel comes
    with every other Bitcoin block, whole or with its first frame late.
    """
    node = Sequencing()
    alice, bob = Account(DEV_ACCOUNTS[0].secret), Account(DEV_ACCOUNTS[1].secret)
    moments = []
    uploads = [
        reveal
        for sequence, data in enumerate((ON_CHAIN, ANNOUNCED))
        for reveal in raw_bitcoin.upload(data, sequence, identity=CONFIG.identity)
    ]
    late = []
    for height in range(START.height + 1, START.height + 1 + LENGTH):
        reveals, late = (late, []) if late else (uploads if height == START.height + 1 else [], [])
        if height % 4 == 0 and node.executor.head.number > node.posted:
            reveals = [*reveals, *node.post()]
        elif height % 4 == 2 and node.executor.head.number > node.posted:
            first, *others = node.post(size=150)
            reveals, late = [*reveals, *others], [first]
        node.mine(*reveals)
        advance(node, alice, bob, height - START.height)
        moments.append(dict(node.store.rows))
    return node, moments


def advance(node, alice, bob, turn):
    """Make a block or two after a Bitcoin block."""
    if turn == 3:
        node.make(alice.sign(data=bytes.fromhex(artifact("DigitReader")["bytecode"][2:]), gas=3_000_000))
        (receipt,) = node.executor.chain.receipts(node.executor.head.number)[-1:]
        node.reader = receipt.contract_address
    elif turn > 3 and turn % 3 == 0:
        model = type(
            "Model", (), {"model_id": parse_artifact(ON_CHAIN if turn % 2 else NEURON_FULL).model_id}
        )
        image = bytes([turn % 17]) + SEVEN[1:]
        question = alice.sign(node.reader, data=ask(model, image), gas=5_000_000)
        (outcome,) = node.make(question)
        if outcome.kind == "parked":
            (outcome,) = node.make(question, records=[node.answer(outcome.request)])
        assert outcome.kind == "included"
    node.make(*(bob.sign(bytes([turn]) * 20, value=n, gas=60_000) for n in range(turn % 4)))


def branch_off(node, fork, depth, kind):
    """Return another branch after a fork: its content comes all at once, a block later, or never."""
    branch = node.bitcoin.fork(fork, branch=1 + fork)
    lost = node.reveals[fork - START.height :][:depth]
    contents = {
        "at once": [[reveal for block in lost for reveal in block], *[()] * depth],
        "later": [[], *lost],
        "never": [()] * (depth + 1 + SILENCE),
    }[kind]
    for reveals in contents:
        branch.mine(*reveals, fees_sats=7_000)
    return branch


def test_a_sequencer_never_contradicts_itself():
    """What it signed before a reorg and what it signs after never stand at one place: it signs only what it made."""
    node, moments = story()
    derived = 0
    for tip in range(START.height + 7, node.bitcoin.height + 1):
        live = Machine(moments[tip - START.height - 1], secret=SEQUENCER)
        before = live.statements()
        reorganise(live, node.bitcoin.fork(tip, branch=0), branch_off(node, tip - 7, 7, "never"), tip - 7)
        live.driver.make(live.driver.propose(live.executor.head.timestamp + 2), [], [], keep_empty=True)
        after = live.statements()
        derived += live.executor.head.number - len(after)
        assert len(after) > 0
        for place in before.keys() & after.keys():
            assert not before[place].contradicts(after[place]), tip
    assert len(node.statements()) == node.executor.head.number
    assert derived > 0


@pytest.mark.parametrize("depth", [1, 3])
def test_a_sequencer_never_contradicts_itself_when_bitcoin_comes_back(depth):
    """Bitcoin goes back some blocks and comes forth again: the places are the same, the blocks made there are not."""
    node, moments = story()
    made = 0
    for tip in range(START.height + depth, node.bitcoin.height + 1):
        live = Machine(moments[tip - START.height - 1], secret=SEQUENCER)
        before, stood = live.statements(), live.executor.head.number
        branch = node.bitcoin.fork(tip, branch=0)
        reorganise(live, branch, branch, tip - depth)
        made += stood - live.executor.head.number
        while live.executor.head.number <= stood:
            proposal = live.driver.propose(live.executor.head.timestamp + 6)
            live.driver.make(proposal, [], [], keep_empty=True)
        after = live.statements()
        for place in before.keys() & after.keys():
            assert not before[place].contradicts(after[place]), tip
        assert live.executor.head.number in set(made_numbers(live)), "it signs what stands elsewhere"
    assert made > 0


def test_a_sequencer_that_lost_its_chain_signs_only_on_what_came_after():
    """It has forgotten what it signed: where it may have been before it makes blocks, but makes no statements."""
    node, moments = story()
    spoke = clashed = 0
    for tip in range(START.height + 1, node.bitcoin.height):
        before = Machine(moments[tip - START.height - 1], secret=SEQUENCER).statements()
        live = Machine(followed(tip), secret=SEQUENCER)
        if not live.driver.next_channel:
            continue
        for _ in range(3):
            make_empty(live)
        clashed += bool(before.keys() & places_of(live))
        live.driver.connect(node.bitcoin.fork(tip, branch=9).mine(fees_sats=7_000))
        live = Machine(live.store.rows, secret=SEQUENCER)
        while live.executor.head.origin.height <= tip:
            make_empty(live)
        after = live.statements()
        assert not before.keys() & after.keys(), tip
        assert live.executor.head.number in set(made_numbers(live)), "new Bitcoin blocks it signs on"
        spoke += len(after)
    assert spoke > 0
    assert clashed > 0, "it would have contradicted itself"


def make_empty(machine):
    """Make a block without users."""
    proposal = machine.driver.propose(machine.executor.head.timestamp + 6)
    machine.driver.make(proposal, [], [], keep_empty=True)


def places_of(machine):
    """Parent and origin of every block."""
    chain, numbers = machine.executor.chain, range(1, machine.executor.head.number + 1)
    return {(chain.facts(number - 1).hash, chain.facts(number).origin.hash) for number in numbers}


def made_numbers(machine):
    """The numbers of all blocks that a machine would sign."""
    number = 1
    while (block := machine.driver.signed(number)) is not None:
        yield block.data.number
        number = block.data.number + 1


@cache
def followed(upto):
    """Return the rows of a machine that knows nothing but Bitcoin up to a height."""
    if upto == START.height:
        return dict(Machine().store.rows)
    machine = Machine(followed(upto - 1))
    machine.driver.connect(story()[0].bitcoin.blocks[upto - START.height - 1])
    return dict(machine.store.rows)


def reorganise(machine, old, branch, fork):
    """Have a machine leave one branch for another; return the transactions that it gave back."""
    returned = []
    for block in reversed(old.blocks[fork - START.height :]):
        update = machine.driver.disconnect(ChainPoint(block.height, sha256d(block.header)))
        returned += update.returned
    for block in branch.blocks[fork - START.height :]:
        update = machine.driver.connect(block)
        returned += update.returned
    return returned


@pytest.mark.parametrize("kind", ["at once", "later", "never"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_database_after_a_reorg_holds_what_a_fresh_one_holds(depth, kind):
    """State, tries, blocks, epochs, outcomes and heads are equal row by row; no transaction is lost; finality stays."""
    node, moments = story()
    for tip in range(START.height + depth, node.bitcoin.height + 1):
        fork = tip - depth
        branch = branch_off(node, fork, depth, kind)
        live = Machine(moments[tip - START.height - 1], secret=SEQUENCER)
        before, finalized = live.users(), live.driver.finalized
        returned = reorganise(live, node.bitcoin.fork(tip, branch=0), branch, fork)
        fresh = Machine(followed(fork))
        for block in branch.blocks[fork - START.height :]:
            fresh.driver.connect(block)
        gone = Counter(before) - Counter(live.users())
        assert gone <= Counter(returned), tip
        assert max(Counter(live.users()).values(), default=1) == 1, tip
        assert live.driver.finalized >= max(finalized, fresh.driver.finalized), tip
        assert live.driver.safe == fresh.driver.safe, tip
        live.executor.rewind(live.driver.safe)
        assert live.rows(*STATE) == fresh.rows(*STATE), tip
        assert live.rows(*KEPT) == fresh.rows(*KEPT), tip
        assert live.driver._pipeline.snapshot() == fresh.driver._pipeline.snapshot(), tip


def test_the_story_is_worth_telling():
    """It has finality, questions to both tiers on Bitcoin, channels in pieces, and blocks that are not posted yet."""
    node, _ = story()
    chain = node.executor.chain
    assert 0 < node.driver.finalized < node.driver.safe < node.executor.head.number
    records = [record for n in range(1, node.driver.finalized + 1) for record in chain.block_data(n).records]
    assert records
    pending = [
        node.driver.rows.outcome(height)["pending"] for height in range(START.height + 1, node.bitcoin.height)
    ]
    assert any(pending)
    assert len(node.users()) > 30
    for number in range(1, node.executor.head.number + 1):
        assert {receipt.status for receipt in chain.receipts(number)} <= {1}


def test_a_reorg_below_finality_stops_the_node():
    """The finalized head never moves: the block that would take it away is kept, with everything as it is."""
    node, moments = story()
    live = Machine(moments[-1], secret=SEQUENCER)
    finalized = live.driver.finalized
    with pytest.raises(ConfigError, match=r"l1\.deep_reorg"):
        reorganise(live, node.bitcoin, RawBitcoin(), START.height)
    rows = dict(live.store.rows)
    assert live.driver.finalized == finalized <= live.driver.safe
    point = live.driver.cursor
    assert point.height < node.bitcoin.height - CONFIG.parameters.finality_depth
    with pytest.raises(ConfigError, match=r"l1\.deep_reorg"):
        live.driver.disconnect(point)
    assert live.store.rows == rows


def test_what_waits_for_others_is_stored_once():
    """Frames and chunks that wait stand in no snapshot but once beside all, and a restart or a rewind finds them."""
    node = Sequencing()
    big = [bytes([n]) * 30_000 for n in range(4)]
    payloads = split_frames(b"".join(big), 30_000)
    frames = [
        raw_bitcoin.reveal(each, CHUNK, 0, n, identity=CONFIG.identity) for n, each in enumerate(payloads)
    ]
    waiting = split_frames(bytes(range(256)) * 200, 20_000)[1:]
    batch = [
        raw_bitcoin.reveal(each, FRAME, n, 1, identity=CONFIG.identity) for n, each in enumerate(waiting)
    ]
    node.mine(frames[2], *batch, frames[0])
    first = node.driver._pipeline.snapshot()
    node.mine(frames[1])
    for _ in range(4):
        node.mine()
    kept = node.rows(b"Dp")
    assert sorted(kept.values()) == sorted([*big[:3], *(decode_frame(each).data for each in waiting)])
    assert sum(map(len, node.rows(b"Ds").values())) < len(big[0])
    again = Machine(node.store.rows)
    assert again.driver._pipeline.snapshot() == node.driver._pipeline.snapshot()
    for block in reversed(node.bitcoin.blocks[1:]):
        again.driver.disconnect(ChainPoint(block.height, sha256d(block.header)))
    assert again.driver._pipeline.snapshot() == first
