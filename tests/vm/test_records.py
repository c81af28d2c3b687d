"""A record answers a call if it stands by every rule, and else it is as good as absent."""

from dataclasses import replace

import pytest

from primitives.errors import InvalidInput
from primitives.hashes import keccak256, sha256
from primitives.ids import ModelId
from primitives.merkle import merkle_root
from tests.vm.world import (
    NEURON_MODEL,
    NEURON_SECRETS,
    NEURONS,
    ON_CHAIN_MODEL,
    World,
    ask,
    chain_spec,
    digit_output,
    origin_at,
)
from vm import _core, predeploys
from vm.genesis import GenesisNeuron
from vm.inference.wire import Request
from vm.records import ASK_WINDOW, RecordJudge, encode_record
from vm.registry import ANSWERERS, ListedNeurons, assigned_neurons
from vm.system import build_model_activity
from vm.types import Outcome

IMAGE = b"\7" + bytes(range(1, 16)) + bytes(range(16)) * 3
DIGIT = digit_output(IMAGE)[0]


@pytest.fixture
def asking():
    """A world with both models, a digit reader, and a few epochs behind it."""
    world = World()
    world.register(ON_CHAIN_MODEL, NEURON_MODEL)
    world.reader = world.deploy("DigitReader")
    for _ in range(ASK_WINDOW + 1):
        world.run(epochs=1)
    return world


def question(world: World, image=IMAGE, model=NEURON_MODEL, method="read", account=0, **how) -> bytes:
    """A signed DigitReader transaction."""
    return world.accounts[account].sign(world.reader, data=ask(model, image, method), **how)


def digits(world: World) -> list[int]:
    """What the reader has stored."""
    count = world.read(world.reader, "readingCount()", returns=["uint256"])
    reading = "(uint8,uint16,address,bytes32)"
    return [world.read(world.reader, "reading(uint256)", each, returns=[reading])[0] for each in range(count)]


def test_on_chain_models_need_no_record(asking):
    """Every node computes an on-chain answer; the contract stores it, the body has no record."""
    block = asking.run(question(asking, model=ON_CHAIN_MODEL))
    assert (digits(asking), block.data.records) == ([DIGIT], ())
    assert asking.models.ran == 1


def test_a_good_record_answers(asking):
    """With a record that stands the transaction is included, and the record is in the block."""
    record = asking.record(IMAGE)
    block = asking.run(question(asking), records=[record])
    assert digits(asking) == [DIGIT]
    assert block.data.records == (record,)
    assert asking.executor.chain.body(block.data.number).records == (record,)


def test_the_header_commits_to_the_records(asking):
    """Requests hash and records root are those of the used records, as any Merkle code computes them."""
    other = bytes(64)
    raws = question(asking), question(asking, other, account=1)
    block = asking.run(*raws, records=[asking.record(IMAGE), asking.record(other, tx_index=1)])
    encoded = [encode_record(record) for record in block.data.records]
    root = merkle_root(encoded)
    assert (len(encoded), block.sealed.records_root) == (2, root)
    assert block.header.requests_hash == sha256(sha256(b"\xba" + root))
    assert asking.run().header.requests_hash == sha256(b"")


def test_models_count_as_of_the_block_before(asking):
    """A model switched off answers UNKNOWN_MODEL from the next block on, and again when it is switched on."""
    statuses = []
    for active in (False, True, True):
        l1_hash = origin_at(asking.executor.head.origin.height + 1).hash
        change = build_model_activity(ON_CHAIN_MODEL.model_id, active=active, l1_hash=l1_hash, index=0)
        block = asking.run(
            question(asking, model=ON_CHAIN_MODEL, method="tryRead"), epochs=1, system=[change]
        )
        (log,) = block.sealed.receipts[2].logs
        refused = log.topics[0] == keccak256(b"DigitNotRead(address,bytes32,uint8)")
        statuses.append(int.from_bytes(log.data, "big") if refused else 0)
    assert statuses == [0, 4, 0]


def test_the_neuron_is_paid(asking):
    """The neuron that answered gets its share of the call's price, the protocol pool the rest."""
    record = asking.record(IMAGE)
    block = asking.run(question(asking), records=[record])
    view = asking.executor.view(block.data.number)
    earned, pooled = view.balance(record.neuron), view.balance(predeploys.PROTOCOL_POOL)
    assert earned > 0
    assert abs(earned * 30 - pooled * 70) <= 100
    assert block.sealed.receipts[0].infer_gas > 0


def test_without_a_record_the_transaction_waits_or_is_left_out(asking):
    """The sequencer parks it with its request, replay leaves it out; neither stops others."""
    executor, head = asking.executor, asking.executor.head
    raw = question(asking)
    other = asking.accounts[1].sign(b"\1" * 20)
    builder = executor.open(head.timestamp + 2, head.origin)
    parked, included = builder.add(executor.decode([raw, other]))
    assert (parked.kind, included) == ("parked", Outcome("included"))
    assert parked.request.request_hash == Request(NEURON_MODEL.model_id, IMAGE, b"", 21).hash
    assert (parked.request.model_id, parked.request.input) == (NEURON_MODEL.model_id, IMAGE)
    (answered,) = builder.add(executor.decode([raw]), [asking.record(IMAGE)])
    assert answered == Outcome("included")
    block = builder.seal()
    assert [record.tx_index for record in block.data.records] == [1]
    replayed = executor.execute(block.data)
    assert replayed.hash == block.hash
    left_out = executor.execute(replace(block.data, records=()))
    assert [outcome.code for outcome in left_out.outcomes] == ["", "infer.no_record"]


def test_a_block_that_left_out_stopped_transactions_is_made_again_without_them(asking):
    """What stopped transactions cost in replay is in no hash: the block's own data makes the same block."""
    alice, bob, carol = asking.accounts[:3]
    stopped = [question(asking, nonce=alice.nonce) for _ in range(3)]
    data = asking.data(
        *stopped,
        question(asking, bytes(64), account=1, nonce=bob.nonce),
        carol.sign(b"\1" * 20, nonce=carol.nonce),
        records=[asking.record(bytes(64), tx_index=3)],
    )
    executor = asking.executor
    block = executor.execute(data)
    assert [outcome.code for outcome in block.outcomes] == ["infer.no_record"] * 3 + ["", ""]
    again = executor.execute(block.data)
    assert (again.hash, again.data) == (block.hash, block.data)
    assert [outcome.kind for outcome in again.outcomes] == ["included", "included"]


def wrong_records(world: World):
    """Records that break one rule each."""
    height = world.executor.head.origin.height
    request = Request(NEURON_MODEL.model_id, IMAGE, b"", NEURON_MODEL.output_bytes)
    good = world.record(IMAGE)
    stranger = NEURON_SECRETS[4]
    other_model = replace(NEURON_MODEL, model_id=ModelId(b"\x09" * 32))
    return {
        "none": None,
        "stranger": world.record(IMAGE, secret=stranger),
        "not the signer": replace(good, neuron=next(each for each in NEURONS[:3] if each != good.neuron)),
        "other output": replace(good, output=digit_output(bytes(64))),
        "short output": world.record(IMAGE, signed=b"\7" * 20),
        "long output": world.record(IMAGE, signed=b"\7" * 22),
        "no output": world.record(IMAGE, signed=b""),
        "status BAD_INPUT": replace(good, status=1),
        "status UNAVAILABLE": replace(good, status=3, output=b""),
        "status 255": replace(good, status=255),
        "asked too early": world.record(IMAGE, ask_height=height - ASK_WINDOW - 1),
        "asked in the future": replace(good, ask_height=height + 1),
        "asked before the chain": replace(good, ask_height=3),
        "another model's signature": replace(
            world.record(IMAGE, model=other_model), request_hash=request.hash
        ),
        "another input": world.record(bytes(64)),
        "another transaction": replace(good, tx_index=1),
        "broken signature": replace(good, signature=good.signature[:-1] + b"\2"),
        "short signature": replace(good, signature=good.signature[:-1]),
        "high s": replace(good, signature=good.signature[:32] + b"\xff" * 32 + good.signature[64:]),
    }


def test_every_broken_rule_counts(asking):
    """A record that breaks any one rule is ignored: its transaction is left out, the next one is not."""
    for name, record in wrong_records(asking).items():
        records = [] if record is None else [record]
        data = asking.data(
            question(asking, nonce=1), asking.accounts[1].sign(b"\1" * 20, nonce=0), records=records
        )
        block = asking.executor.execute(data)
        assert [outcome.code for outcome in block.outcomes] == ["infer.no_record", ""], name
        assert block.data.records == (), name


def test_the_window_of_ask_heights(asking):
    """Ask heights from 6 below the block's origin up to it are fine."""
    height = asking.executor.head.origin.height
    for ask_height in (height - ASK_WINDOW, height):
        data = asking.data(question(asking, nonce=1), records=[asking.record(IMAGE, ask_height=ask_height)])
        assert asking.executor.execute(data).outcomes == (Outcome("included"),)


def test_the_origin_of_the_block_itself_may_be_asked(asking):
    """In the first block of an epoch its own origin is an ask height already."""
    height = asking.executor.head.origin.height + 1
    request = Request(NEURON_MODEL.model_id, IMAGE, b"", 21)
    assigned = assigned_neurons(NEURONS[:3], origin_at(height).hash, request.hash)
    record = asking.record(IMAGE, ask_height=height, secret=NEURON_SECRETS[NEURONS.index(assigned[0])])
    data = asking.data(question(asking, nonce=1), records=[record], epochs=1)
    assert asking.executor.execute(data).outcomes == (Outcome("included"),)


def test_of_several_records_a_good_one_counts(asking):
    """Wrong records beside a good one change nothing; only the one used is in the block."""
    good = asking.record(IMAGE)
    wrong = [
        record for record in wrong_records(asking).values() if record is not None and record.tx_index == 0
    ]
    block = asking.executor.execute(asking.data(question(asking, nonce=1), records=[*wrong, good, *wrong]))
    assert block.data.records == (good,)


def test_indexes_follow_the_transactions_that_are_included(asking):
    """Records keep to their transactions when others before them are left out."""
    alice, bob = asking.accounts[:2]
    other = bytes(64)
    data = asking.data(
        b"junk",
        alice.sign(b"\1" * 20, nonce=99),
        question(asking, nonce=1),
        bob.sign(b"\1" * 20, nonce=0),
        question(asking, other, account=2, nonce=0),
        records=[asking.record(other, tx_index=4), asking.record(IMAGE, tx_index=2)],
    )
    block = asking.executor.execute(data)
    assert [(record.tx_index, record.request_hash) for record in block.data.records] == [
        (0, Request(NEURON_MODEL.model_id, IMAGE, b"", 21).hash),
        (2, Request(NEURON_MODEL.model_id, other, b"", 21).hash),
    ]
    asking.executor.commit(block)
    assert digits(asking) == [DIGIT, 0]
    assert asking.executor.holds(block.data)
    in_call_order = replace(data, records=data.records[::-1])
    assert asking.executor.holds(in_call_order)
    assert not asking.executor.holds(replace(in_call_order, records=data.records[:1]))


def test_what_the_manifest_refuses_needs_no_record(asking):
    """A dark pixel is BAD_INPUT on both tiers, found by every node, without a record."""
    dark = b"\x11" * 64
    for model in (ON_CHAIN_MODEL, NEURON_MODEL):
        block = asking.run(
            question(asking, dark, model, "tryRead"), question(asking, dark, model, "read", account=1)
        )
        assert [outcome.kind for outcome in block.outcomes] == ["included", "included"]
        assert [receipt.status for receipt in block.sealed.receipts] == [1, 0]
        (log,) = block.sealed.receipts[0].logs
        assert (log.topics[2], int.from_bytes(log.data, "big")) == (model.model_id, 1)
        assert block.data.records == ()
    assert digits(asking) == []


@pytest.mark.parametrize(
    ("image", "model_id", "status"),
    [(bytes(63), NEURON_MODEL.model_id, 1), (IMAGE, b"\xaa" * 32, 4)],
)
def test_wrong_length_and_unknown_model(asking, image, model_id, status):
    """Statuses that facts alone decide, told to the contract."""
    model = replace(NEURON_MODEL, model_id=ModelId(model_id))
    block = asking.run(question(asking, image, model, "tryRead"))
    (log,) = block.sealed.receipts[0].logs
    assert int.from_bytes(log.data, "big") == status


def test_a_model_without_neurons_is_unavailable():
    """Where the state lists nobody for a model, the call answers UNAVAILABLE and nothing waits."""
    other = GenesisNeuron(NEURONS[0], NEURONS[0], (ModelId(b"\x09" * 32),))
    world = World(spec=chain_spec(neurons=(other,)))
    world.register(NEURON_MODEL)
    world.reader = world.deploy("DigitReader")
    block = world.run(question(world, method="tryRead"))
    (log,) = block.sealed.receipts[0].logs
    assert int.from_bytes(log.data, "big") == 3


def test_without_gas_for_it_no_model_is_asked(asking):
    """A call that cannot pay runs out of gas: included, failed, nobody asked."""
    block = asking.run(
        question(asking, gas=40_000), question(asking, model=ON_CHAIN_MODEL, account=1, gas=33_000)
    )
    assert [outcome.kind for outcome in block.outcomes] == ["included", "included"]
    assert [receipt.status for receipt in block.sealed.receipts] == [0, 0]
    assert asking.models.ran == 0


def test_calls_park_instead_of_waiting(asking):
    """eth_call of a neuron model tells that it would have to wait; of an on-chain model it answers."""
    view = asking.executor.view(asking.executor.head.number)
    message = _core.Message(to=asking.reader, input=ask(NEURON_MODEL, IMAGE, "peek"))
    assert asking.executor.simulator.call(view, message).kind == "parked"
    message = _core.Message(to=asking.reader, input=ask(ON_CHAIN_MODEL, IMAGE, "peek"))
    result = asking.executor.simulator.call(view, message)
    assert (result.kind, result.output[31]) == ("success", DIGIT)
    gas, _ = asking.executor.simulator.estimate_gas(view, message)
    assert gas > 21_000


def test_assignment_is_an_order_nobody_chooses():
    """The first few of the eligible, in an order that only beacon and request decide."""
    request, beacon = bytes(32), origin_at(100).hash
    chosen = assigned_neurons(NEURONS, beacon, request)
    assert len(chosen) == ANSWERERS
    assert assigned_neurons(NEURONS[::-1], beacon, request) == chosen
    orders = {assigned_neurons(NEURONS, origin_at(height).hash, request) for height in range(40)}
    assert len(orders) > 10


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": 1}, "record.status"),
        ({"ask_height": 99}, "record.ask_height"),
        ({"ask_height": 109}, "record.ask_height"),
        ({"output": b""}, "record.output_length"),
        ({"neuron": b"\1" * 20}, "record.not_assigned"),
        ({"output": bytes(21)}, "record.wrong_signer"),
        ({"signature": bytes(65)}, "signature.unrecoverable"),
    ],
)
def test_refusals_have_codes(world, change, code):
    """Each rule's refusal has its own stable code."""
    neurons = ListedNeurons([(NEURONS[0], ())])
    record = world.record(IMAGE, secret=NEURON_SECRETS[0])
    judge = RecordJudge(world.spec.identity, 106, lambda height: origin_at(height).hash, neurons)
    judge.require_valid(record, NEURON_MODEL)
    with pytest.raises(InvalidInput) as caught:
        judge.require_valid(replace(record, **change), NEURON_MODEL)
    assert caught.value.code == code
