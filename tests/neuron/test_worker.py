"""The worker against a node on a real socket: handshake, jobs, broken links, orderly leave."""

import asyncio
import contextlib
import threading

import pytest

from neuron.backoff import Backoff
from neuron.desk import Desk, ServedModel
from neuron.engine import ExactEngine
from neuron.session import Credentials
from neuron.worker import Connection, work
from primitives.curve import address_of
from primitives.errors import ConfigError
from tests.neuron.fake_node import FakeNode, job_for, signer_of
from tests.neuron.test_desk import Notes
from vm.inference.messages import Challenge, DeclineReason, Goodbye, Heartbeat, Job, Welcome
from vm.inference.wire import Request

SECRET = b"\7" * 32
NEURON = address_of(SECRET)


class Gate:
    """A model that waits until a test lets it pass, to see what happens meanwhile."""

    def __init__(self, model):
        self.model = model
        self.open = threading.Event()
        self.reached = threading.Event()

    def evaluate(self, inputs):
        self.reached.set()
        assert self.open.wait(20)
        return self.model.evaluate(inputs)


@contextlib.asynccontextmanager
async def running(node, digits, *, model=None, notes=None, capacity=8):
    """Run a worker against a node; yields the event that tells it to stop."""
    served = ServedModel(digits, model or ExactEngine().prepare(digits))
    desk = Desk(SECRET, {digits.model_id: served}, notes or Notes())
    credentials = Credentials(SECRET, "test/1", capacity)
    stopping = asyncio.Event()
    task = asyncio.create_task(
        work(Connection(node.url, credentials), desk, stopping, Backoff(first_s=0.02, cap_s=0.1))
    )
    try:
        yield stopping
    finally:
        stopping.set()
        async with asyncio.timeout(20):
            await task


@pytest.fixture
async def node():
    """A node on a free port."""
    fake = await FakeNode().start()
    yield fake
    await fake.stop()


async def test_answers_jobs(node, digits, images, expected):
    """Every job comes back answered with the node's own output, signed, by the key that said hello."""
    async with running(node, digits):
        await node.joined()
        assert node.hellos[0].models == (digits.model_id,)
        assert node.hellos[0].capacity == 8
        for start in range(0, 24, 8):
            await node.send(*(job_for(digits, image) for image in images[start : start + 8]))
            await node.until(lambda n, wanted=start + 8: len(n.answers) == wanted)
    outputs = {answer.answer.request_hash: answer.answer.output for answer in node.answers}
    assert outputs == {job_for(digits, image).request_hash: expected(image) for image in images[:24]}
    assert {signer_of(answer, digits) for answer in node.answers} == {NEURON}
    assert [goodbye.code for goodbye in node.goodbyes] == ["neuron.stopping"]


async def test_declines(node, digits, images):
    """Unknown models, forged hashes and a full queue are declined at once; the rest is answered."""
    gate = Gate(ExactEngine().prepare(digits))
    async with running(node, digits, model=gate, capacity=2):
        await node.joined()
        jobs = [job_for(digits, image) for image in images[:3]]
        foreign = Request(b"\2" * 32, b"", b"", 1)
        forged = Job(b"\1" * 32, jobs[0].request, 1)
        await node.send(forged, Job(foreign.hash, foreign, 1), *jobs, jobs[0])
        await node.until(lambda n: len(n.declines) == 3)
        gate.open.set()
        await node.until(lambda n: len(n.answers) == 2)
    reasons = {decline.request_hash: decline.reason for decline in node.declines}
    assert reasons == {
        forged.request_hash: DeclineReason.REQUEST_MISMATCH,
        foreign.hash: DeclineReason.UNKNOWN_MODEL,
        jobs[2].request_hash: DeclineReason.QUEUE_FULL,
    }


async def test_job_sent_twice_is_run_once(node, digits, images):
    """A job that is already held is not queued again, so one answer comes back."""
    gate = Gate(ExactEngine().prepare(digits))
    async with running(node, digits, model=gate):
        await node.joined()
        job = job_for(digits, images[0])
        await node.send(job, job, job, job_for(digits, images[1]))
        gate.open.set()
        await node.until(lambda n: len(n.answers) == 2)
    assert len({answer.answer.request_hash for answer in node.answers}) == 2


async def test_heartbeats(digits):
    """The neuron beats as often as the node asked, and tells how much it holds."""
    node = await FakeNode(heartbeat_ms=20).start()
    async with running(node, digits):
        await node.until(lambda n: len(n.heartbeats) >= 3)
    await node.stop()
    assert node.heartbeats[0] == Heartbeat(0, 0)


async def test_reconnects_after_a_cut(node, digits, images):
    """A connection cut without a word, in the middle of a job, is made again, and the job answered then."""
    gate, notes = Gate(ExactEngine().prepare(digits)), Notes()
    async with running(node, digits, model=gate, notes=notes):
        await node.joined()
        await node.send(job_for(digits, images[0]))
        await node.drop()
        await node.joined(2)
        gate.open.set()
        await node.send(job_for(digits, images[0]))
        await node.until(lambda n: len(n.answers) == 1)
    assert list(notes.kept.values()) == [node.answers[0].answer]


async def test_survives_a_node_restart(digits, images):
    """A node that dies and comes back on the same port finds its neuron again."""
    first = await FakeNode().start()
    async with running(first, digits):
        await first.joined()
        await first.stop()
        second = await FakeNode().start(first.port)
        await second.joined()
        await second.send(job_for(digits, images[0]))
        await second.until(lambda n: len(n.answers) == 1)
    await second.stop()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0\x63",
        b"\1\1",
        "text",
        Welcome(NEURON, 1),
        Goodbye("neuron.replaced", "another connection"),
        b"\0" * 2_000_000,
    ],
    ids=["empty", "kind", "version", "text", "wrong moment", "goodbye", "too long"],
)
async def test_garbage_ends_the_connection_not_the_worker(node, digits, said):
    """Whatever a node sends, the worker drops that connection and comes again."""
    async with running(node, digits):
        await node.joined()
        with contextlib.suppress(ConnectionError):
            await node.send(said)
        await node.joined(2)


@pytest.mark.parametrize(
    "said", [Challenge(b"\1" * 32, b"\2" * 32, "x"), Goodbye("neuron.unknown", "not staked")]
)
async def test_refused_handshake_is_tried_again(digits, said):
    """A node that will not have this neuron is asked again later."""
    node = await FakeNode(before_welcome=said).start()
    async with running(node, digits):
        await node.until(lambda n: len(n.hellos) >= 2)
    await node.stop()


async def test_node_that_misreads_the_key(digits):
    """A welcome to another account means that answers would be lost: the neuron does not stay."""
    node = await FakeNode(before_welcome=Welcome(b"\1" * 20, 1_000)).start()
    async with running(node, digits):
        await node.until(lambda n: len(n.hellos) >= 2)
    await node.stop()


async def test_other_chain_is_a_persons_matter(node):
    """A neuron told to sign for one chain only does not sign for another: it stops and says so."""
    desk = Desk(SECRET, {}, Notes())
    connection = Connection(node.url, Credentials(SECRET, "test/1", 1, b"\xdd" * 32))
    with pytest.raises(ConfigError) as caught:
        await asyncio.wait_for(work(connection, desk, asyncio.Event()), 20)
    assert caught.value.code == "session.other_chain"
    assert not node.hellos


async def test_stops_in_good_order(node, digits, images):
    """Told to stop while a job runs, it declines new jobs, answers the one it holds, and says goodbye."""
    gate = Gate(ExactEngine().prepare(digits))
    async with running(node, digits, model=gate) as stopping:
        await node.joined()
        await node.send(job_for(digits, images[0]))
        await asyncio.to_thread(gate.reached.wait, 20)
        stopping.set()
        await asyncio.sleep(0)
        await node.send(job_for(digits, images[1]))
        await node.until(lambda n: len(n.declines) == 1)
        gate.open.set()
        await node.until(lambda n: n.goodbyes)
    assert [answer.answer.request_hash for answer in node.answers] == [
        job_for(digits, images[0]).request_hash
    ]
    assert node.declines[0].reason is DeclineReason.SHUTTING_DOWN


async def test_stops_while_nobody_is_there(digits):
    """Told to stop between two attempts, it does not wait for the next one."""
    node = await FakeNode().start()
    await node.stop()
    async with running(node, digits) as stopping:
        stopping.set()


def test_backoff_doubles_up_to_its_cap():
    """Delays double up to a cap, spread over half their length, and start over after a success."""
    backoff = Backoff(first_s=1, cap_s=8)
    for ceiling in (1, 2, 4, 8, 8, 8):
        assert ceiling / 2 <= backoff.next_delay_s() <= ceiling
    backoff.reset()
    assert backoff.next_delay_s() <= 1
