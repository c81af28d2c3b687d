"""From Bitcoin alone: what a sequencer executed ahead, a second machine rebuilds root by root."""

from importlib import resources

import pytest

from bitai.pipeline import Pipeline
from bitai.pipeline_events import Epoch, ModelStored
from bitai.replay import ExecutorRunner, replay_chain
from primitives.curve import address_of
from rollup.batch.codec import to_batch_block
from rollup.config import regtest_config
from rollup.derivation.judge import DerivedHead
from rollup.sequencer.rules import next_slot
from tests.bitai import raw_bitcoin
from tests.bitai.raw_bitcoin import START, RawBitcoin, channel
from tests.vm.test_stored_models import SEVEN
from tests.vm.world import NEURON_SECRETS, Account, artifact, ask
from vm.dev_accounts import DEV_ACCOUNTS, funded_dev_accounts
from vm.executor import Executor
from vm.genesis import GenesisNeuron
from vm.inference import engine
from vm.inference.artifact import parse_announcement, parse_artifact
from vm.inference.wire import Request, sign_answer
from vm.schema import artifact_key
from vm.store import MemoryStore, WriteBatch
from vm.stored_models import StoredModels
from vm.types import InferenceRecord

NEURON = address_of(NEURON_SECRETS[0])
CONFIG = regtest_config(
    START,
    raw_bitcoin.CONFIG.keys,
    bytes(20),
    accounts=funded_dev_accounts(),
    neurons=(GenesisNeuron(NEURON, NEURON),),
)
MODELS = resources.files("vm.inference.models")
ON_CHAIN = (MODELS / "digits-onchain.bitai").read_bytes()
NEURON_FULL = (MODELS / "digits-neuron.bitai").read_bytes()
ANNOUNCED = (MODELS / "digits-neuron.announcement.bitai").read_bytes()


class Machine:
    """An executor over a store in memory, with the models that were inscribed."""

    def __init__(self):
        """Begin at the genesis block."""
        self.store = MemoryStore()
        self.executor = Executor(CONFIG.chain_spec(), self.store, StoredModels(self.store))


class LiveNode(Machine):
    """A sequencer without a network: executes ahead, posts, follows Bitcoin."""

    def __init__(self):
        """Follow an empty Bitcoin."""
        super().__init__()
        self.bitcoin, self.pipeline, self.epochs, self.posted = RawBitcoin(), Pipeline(CONFIG), {}, 0

    def mine(self, *reveals):
        """Add a Bitcoin block, and work through it; every derived block must be the one executed ahead."""
        self.pipeline.feed(self.bitcoin.mine(*reveals, fees_sats=5_000))
        while (event := self.pipeline.next_event()) is not None:
            if isinstance(event, Epoch):
                self.epochs[event.height] = event
            if isinstance(event, ModelStored):
                batch = WriteBatch()
                batch.put(artifact_key(event.model_id), event.container)
                self.store.write(batch, sync=False)
            if hasattr(event, "timestamp"):
                assert self.executor.chain.block_data(event.number) == event
                self.pipeline.executed(event.number, self.executor.chain.block_hash(event.number))

    def make(self, *raws, records=()):
        """Make the next block by the sequencer's rules."""
        head = self.executor.head
        epoch = self.epochs.get(head.origin.height + 1)
        slot = next_slot(
            CONFIG.parameters,
            DerivedHead(head.number, head.timestamp, head.origin),
            epoch.origin if epoch else None,
            head.timestamp + 2,
        )
        builder = self.executor.open(
            slot.timestamp, slot.origin, epoch.system_transactions if slot.new_epoch else ()
        )
        outcomes = builder.add(self.executor.decode(raws), records)
        self.executor.commit(builder.seal())
        return outcomes

    def post(self, size=10**6):
        """Inscribe every block that is not inscribed yet, as one channel."""
        numbers = range(self.posted + 1, self.executor.head.number + 1)
        blocks = [(number, to_batch_block(self.executor.chain.block_data(number))) for number in numbers]
        self.posted = self.executor.head.number
        return channel(blocks, self.pipeline.next_channel, size, CONFIG)

    def record(self, request):
        """The neuron's answer to a request for the first transaction of a block."""
        output = engine.run(parse_artifact(NEURON_FULL), request.input, b"", request.max_output)[1]
        answer = sign_answer(NEURON_SECRETS[0], CONFIG.identity, request, (0, output))
        height = self.executor.head.origin.height
        return InferenceRecord(0, answer.request_hash, 0, output, NEURON, answer.signature, height)


@pytest.fixture(scope="module")
def live():
    """A chain with models of both tiers inscribed, a contract that asked each, transfers, final blocks."""
    node, alice = LiveNode(), Account(DEV_ACCOUNTS[0].secret)
    uploads = []
    for sequence, data in enumerate((ON_CHAIN, ANNOUNCED)):
        uploads += raw_bitcoin.upload(data, sequence, identity=CONFIG.identity)
    node.mine(*uploads)
    node.mine()
    deployment = alice.sign(data=bytes.fromhex(artifact("DigitReader")["bytecode"][2:]), gas=3_000_000)
    node.make(deployment)
    node.make()
    (receipt,) = node.executor.chain.receipts(1)[-1:]
    reader = receipt.contract_address
    announcement = parse_announcement(ANNOUNCED)
    facts = {"on_chain": parse_artifact(ON_CHAIN).model_id, "neuron": announcement.model_id}

    def question(model_id):
        model = type("Model", (), {"model_id": model_id})
        return alice.sign(reader, data=ask(model, SEVEN), gas=5_000_000)

    node.make(question(facts["on_chain"]))
    asked = question(facts["neuron"])
    (parked,) = node.make(asked)
    request = parked.request
    record = node.record(Request(facts["neuron"], SEVEN, b"", request.max_output))
    assert record.request_hash == request.request_hash
    (included,) = node.make(asked, records=[record])
    assert (parked.kind, included.kind) == ("parked", "included")
    node.make(*[alice.sign(bytes([n + 1]) * 20, value=n, gas=21_000) for n in range(30)])
    node.mine(*node.post(size=400))
    for _ in range(CONFIG.parameters.inference_window + 1):
        node.make()
        node.mine(*node.post())
    return node


def test_a_second_machine_rebuilds_the_chain(live):
    """It knows the configuration and the Bitcoin blocks: same hashes, state roots and receipts."""
    second = Machine()
    found = replay_chain(CONFIG, live.bitcoin.blocks, ExecutorRunner(second.executor, second.store))
    assert found.safe_number == second.executor.head.number == live.pipeline.safe_number > 6
    assert found.finalized_number == live.pipeline.finalized_number >= 6
    for number in range(1, found.safe_number + 1):
        ours, theirs = live.executor.chain.facts(number), second.executor.chain.facts(number)
        assert (ours.hash, ours.state_root) == (theirs.hash, theirs.state_root)
        assert found.hashes[number] == ours.hash
        for chain in (live.executor.chain, second.executor.chain):
            assert {receipt.status for receipt in chain.receipts(number)} <= {1}
    assert len(second.executor.chain.body(6).records) + len(second.executor.chain.body(5).records) == 1


def test_every_height_is_accounted_for_alike(live):
    """Outcomes and epochs are a function of Bitcoin alone, so two machines agree on each."""
    heights = []
    second, third = Machine(), Machine()
    one = replay_chain(CONFIG, live.bitcoin.blocks, ExecutorRunner(second.executor, second.store))
    two = replay_chain(
        CONFIG,
        live.bitcoin.blocks,
        ExecutorRunner(third.executor, third.store),
        on_height=lambda _, height: heights.append(height),
    )
    assert one == two
    assert heights == list(range(START.height + 1, live.bitcoin.height + 1))
    assert all(done.outcome.derived == 0 for done in one.outcomes.values())


def test_without_the_batches_the_chain_goes_on(live):
    """Bitcoin without our envelopes still gives a chain: an epoch an L1 block, once the window is over."""
    empty = RawBitcoin()
    for _ in range(CONFIG.parameters.seq_window + 5):
        empty.mine()
    second = Machine()
    found = replay_chain(CONFIG, empty.blocks, ExecutorRunner(second.executor, second.store))
    assert found.safe_number == second.executor.head.number == 5
    assert second.executor.head.origin.height == START.height + 5
    assert live.pipeline.safe_number > 0
