"""From a parked transaction over a real neuron back into a block, and what hostile neurons cannot do."""

import asyncio
import contextlib
import threading
from types import SimpleNamespace

import pytest

from bitai.answer_check import AnswerCheck, Finding
from neuron.backoff import Backoff
from neuron.desk import Desk, ServedModel
from neuron.engine import ExactEngine
from neuron.session import Credentials
from neuron.worker import Connection, work
from primitives.errors import Rejected
from primitives.hashes import sha256
from primitives.ids import Hash32
from rollup.dispatch.events import Declined
from rollup.dispatch.state import DispatchConfig
from tests.bitai.neuron_peer import connected
from tests.bitai.rig import DIGIT_IMAGES, DIGITS, MODELS, Rig, asking_world, digit_facts
from tests.vm.world import NEURON_MODEL, NEURON_SECRETS, NEURONS, ask, digit_output
from vm.inference.engine import run
from vm.inference.messages import Answer, Decline, DeclineReason, Goodbye
from vm.inference.wire import Request, SignedAnswer, Status, sign_answer

IMAGE = bytes(range(16)) * 4


class Notes:
    """A neuron's memory, in memory."""

    def __init__(self):
        self.signed = {}

    def recall(self, identity, request_hash):
        return self.signed.get(request_hash)

    def record(self, identity, answer):
        self.signed[answer.request_hash] = answer


@contextlib.asynccontextmanager
async def serving(rig, secret=NEURON_SECRETS[0]):
    """Run the neuron's own worker against the rig."""
    desk = Desk(secret, {DIGITS.model_id: ServedModel(DIGITS, ExactEngine().prepare(DIGITS))}, Notes())
    stopping = asyncio.Event()
    connection = Connection(rig.neuron_url + "/", Credentials(secret, "test/1", 8))
    task = asyncio.create_task(work(connection, desk, stopping, Backoff(first_s=0.02, cap_s=0.1)))
    try:
        yield
    finally:
        stopping.set()
        await task


def question(rig, image, *, account=0, model=None, method="read", **how):
    """A signed transaction that asks the reader."""
    data = ask(model or digit_facts(), image, method)
    return rig.world.accounts[account].sign(rig.world.reader, data=data, **how)


async def test_a_real_neuron_answers_a_contract():
    """Ten digits, asked by one account in turn: each receipt holds the reference's digit, paid to the neuron."""
    async with Rig(asking_world()) as rig, serving(rig):
        hashes = [await rig.admission.submit(question(rig, image)) for image in DIGIT_IMAGES]
        await rig.until(lambda: all(rig.receipt(each) for each in hashes))
        for transaction_hash, image in zip(hashes, DIGIT_IMAGES, strict=True):
            receipt = rig.receipt(transaction_hash)
            expected = run(DIGITS, image, b"", DIGITS.manifest.output_bytes)
            assert receipt.status == 1
            assert int.from_bytes(receipt.logs[0].data[:32], "big") == expected.output[0]
        place = rig.executor.chain.place(hashes[0])
        (record,) = rig.executor.chain.body(place.number).records
        assert record.neuron == NEURONS[0]
        assert rig.executor.view(rig.executor.head.number).balance(NEURONS[0]) > 0
        assert rig.dispatcher.counts() == {"neurons": 1, "questions": 0, "answers": 10}
        assert rig.metrics.read("records_signed_unverified_total") == 0
        assert rig.metrics.read("infer_requests_total", tier="neuron", status="OK") == 10


async def test_waiting_for_a_neuron_blocks_nobody_else():
    """Without a neuron the asking transaction waits, others run; when one comes the answer is in."""
    async with Rig(asking_world()) as rig:
        waiting = await rig.admission.submit(question(rig, IMAGE))
        behind = await rig.admission.submit(rig.world.alice.sign(b"\1" * 20))
        other = await rig.admission.submit(rig.world.accounts[1].sign(b"\1" * 20, value=1))
        await rig.until(lambda: rig.receipt(other))
        assert (rig.receipt(waiting), rig.receipt(behind)) == (None, None)
        assert rig.admission.counts() == (1, 1)
        async with serving(rig):
            await rig.until(lambda: rig.receipt(waiting) and rig.receipt(behind))


async def test_equal_questions_cost_one_run():
    """Three senders ask the same: one job, three records of one answer."""
    async with Rig(asking_world()) as rig:
        hashes = [await rig.admission.submit(question(rig, IMAGE, account=n)) for n in range(3)]
        await rig.until(lambda: rig.dispatcher.counts()["questions"] == 1 and rig.pool.parked == 3)
        async with serving(rig):
            await rig.until(lambda: all(rig.receipt(each) for each in hashes))
        assert rig.metrics.read("infer_requests_total", tier="neuron", status="OK") == 1


async def test_a_dropped_transaction_is_asked_for_no_more():
    """Replaced by its sender, a parked transaction frees its question."""
    async with Rig(asking_world()) as rig:
        alice = rig.world.alice
        nonce = alice.nonce
        await rig.admission.submit(question(rig, IMAGE))
        await rig.until(lambda: rig.dispatcher.counts()["questions"] == 1)
        replacement = alice.sign(b"\1" * 20, nonce=nonce, tip=2 * 10**9, cap=200 * 10**9)
        done = await rig.admission.submit(replacement)
        await rig.until(lambda: rig.receipt(done))
        assert rig.dispatcher.counts()["questions"] == 0


async def test_what_left_the_pool_meanwhile_is_not_parked():
    """A transaction that goes while its block is made takes no place in its sender's quota for ever."""
    async with Rig(asking_world()) as rig:
        alice = rig.world.alice.address
        for number in range(2 * DispatchConfig().parked_per_sender):
            rig.dispatcher.ask(Hash32(sha256(b"%d" % number)), alice, core_request(IMAGE))
        assert rig.dispatcher.counts()["questions"] == 0
        done = await rig.admission.submit(question(rig, IMAGE))
        async with serving(rig):
            await rig.until(lambda: rig.receipt(done))


async def test_a_liar_is_found_out_and_another_asked():
    """A wrong answer is not recorded: its neuron is barred from the question, and an honest one answers."""
    async with Rig(asking_world()) as rig:
        async with connected(rig.neuron_url) as liar:
            await liar.join(NEURON_SECRETS[1], [DIGITS.model_id])
            done = await rig.admission.submit(question(rig, IMAGE))
            job = await liar.receive()
            await liar.send(Answer(liar.answer(NEURON_SECRETS[1], job, b"\x63" * 21)))
            await rig.until(lambda: rig.metrics.read("infer_refused_total", code="wrong"))
            honest = run(DIGITS, IMAGE, b"", 21).output
            await liar.send(Answer(liar.answer(NEURON_SECRETS[1], job, honest)))
            await rig.until(lambda: rig.metrics.read("infer_refused_total", code="unasked"))
            assert rig.receipt(done) is None
            async with serving(rig):
                await rig.until(lambda: rig.receipt(done))
        place = rig.executor.chain.place(done)
        assert rig.executor.chain.body(place.number).records[0].neuron == NEURONS[0]


async def test_a_flood_of_answers_runs_no_models():
    """Answers to what was not asked of their sender are dropped unread; a repeated one is judged once."""
    async with Rig(asking_world()) as rig:
        judged = []
        original = rig.dispatcher._check.judge
        rig.dispatcher._check.judge = lambda *parts: judged.append(parts) or original(*parts)
        async with connected(rig.neuron_url) as flooder:
            await flooder.join(NEURON_SECRETS[2], [DIGITS.model_id])
            for number in range(200):
                request = Request(DIGITS.model_id, bytes([number % 16]) * 64, b"", 21)
                fake = SignedAnswer(request.hash, Status.OK, bytes(21), bytes(65))
                await flooder.send(Answer(fake))
            await rig.until(lambda: rig.metrics.read("infer_refused_total", code="unasked") == 200)
            assert judged == []
            await rig.admission.submit(question(rig, IMAGE))
            job = await flooder.receive()
            forged = SignedAnswer(job.request_hash, Status.OK, bytes(21), bytes(65))
            for _ in range(50):
                await flooder.send(Answer(forged))
            await rig.until(lambda: rig.metrics.read("infer_refused_total", code="forged"))
        assert len(judged) == 1


@pytest.mark.parametrize("length", [0, 20, 22, 1 << 20])
async def test_an_answer_of_another_length_is_not_checked(length):
    """What cannot be an answer by its length costs no hash, no place in the line and no run of the model."""
    async with Rig(asking_world()) as rig:
        judged = []
        original = rig.dispatcher._check.judge
        rig.dispatcher._check.judge = lambda *parts: judged.append(parts) or original(*parts)
        async with connected(rig.neuron_url) as liar:
            await liar.join(NEURON_SECRETS[1], [DIGITS.model_id])
            done = await rig.admission.submit(question(rig, IMAGE))
            job = await liar.receive()
            await liar.send(Answer(SignedAnswer(job.request_hash, Status.OK, bytes(length), bytes(65))))
            await rig.until(lambda: rig.metrics.read("infer_refused_total", code="wrong"))
            assert judged == []
            async with serving(rig):
                await rig.until(lambda: rig.receipt(done))


@contextlib.contextmanager
def held_checks(rig):
    """Checks that begin and do not go on before they are let; yields those begun, by their input, and the latch."""
    begun, latch = [], threading.Event()
    original = rig.dispatcher._check.judge

    def judge(request, answer, neuron):
        begun.append(request.input)
        latch.wait(10)
        return original(request, answer, neuron)

    rig.dispatcher._check.judge = judge
    try:
        yield begun, latch
    finally:
        latch.set()


async def test_transactions_are_checked_before_calls():
    """An answer that a transaction waits for stands before those that free calls wait for, however many."""
    async with Rig(asking_world()) as rig, connected(rig.neuron_url) as neuron:
        await neuron.join(NEURON_SECRETS[0], [DIGITS.model_id], capacity=8)
        images = [bytes([number]) * 64 for number in range(5)]
        with held_checks(rig) as (begun, latch):
            calls = [
                asyncio.create_task(rig.dispatcher.answer_once(core_request(image), limit_s=20))
                for image in images[:4]
            ]
            jobs = [await neuron.receive() for _ in calls]
            done = await rig.admission.submit(question(rig, images[4]))
            jobs.append(await neuron.receive())
            for job in jobs:
                output = run(DIGITS, job.request.input, b"", 21).output
                await neuron.send(Answer(neuron.answer(NEURON_SECRETS[0], job, output)))
                await rig.until(lambda: begun)
            await rig.until(lambda: len(rig.dispatcher._checking) == 5)
            latch.set()
            await rig.until(lambda: rig.receipt(done))
            await asyncio.gather(*calls)
        assert begun == [images[0], images[4], *images[1:4]]


async def test_closing_does_not_wait_for_a_check():
    """A node that stops while a large model runs goes on stopping: the event loop is not held up."""
    async with Rig(asking_world()) as rig, connected(rig.neuron_url) as neuron:
        await neuron.join(NEURON_SECRETS[0], [DIGITS.model_id])
        await rig.admission.submit(question(rig, IMAGE))
        job = await neuron.receive()
        with held_checks(rig) as (begun, latch):
            output = run(DIGITS, IMAGE, b"", 21).output
            await neuron.send(Answer(neuron.answer(NEURON_SECRETS[0], job, output)))
            await rig.until(lambda: begun)
            started = asyncio.get_running_loop().time()
            rig.dispatcher.close()
            assert asyncio.get_running_loop().time() - started < 5
            await rig.until(lambda: not rig.dispatcher._checking)
            assert not latch.is_set()


async def test_declining_and_leaving_pass_the_job_on():
    """A job given back, or held by a neuron that goes, reaches the next one."""
    async with Rig(asking_world()) as rig:
        async with connected(rig.neuron_url) as first:
            await first.join(NEURON_SECRETS[1], [DIGITS.model_id])
            done = await rig.admission.submit(question(rig, IMAGE))
            job = await first.receive()
            await first.send(Decline(job.request_hash, DeclineReason.QUEUE_FULL))
            assert await first.receive() == job
            await first.send(Goodbye("neuron.stopping", "bye"))
        async with serving(rig):
            await rig.until(lambda: rig.receipt(done))


async def test_declining_what_was_not_asked_costs_nothing():
    """A neuron that gives back jobs it does not hold is counted, and the books are not gone over for it."""
    async with Rig(asking_world()) as rig, connected(rig.neuron_url) as idler:
        await idler.join(NEURON_SECRETS[2], [DIGITS.model_id])
        stepped = []
        original = rig.dispatcher._apply
        rig.dispatcher._apply = lambda event: stepped.append(event) or original(event)
        for number in range(50):
            await idler.send(Decline(Hash32(sha256(b"%d" % number)), DeclineReason.QUEUE_FULL))
        await rig.until(lambda: rig.metrics.read("infer_refused_total", code="unasked") == 50)
        assert not any(isinstance(each, Declined) for each in stepped)


async def test_strangers_do_not_get_in():
    """A key that the chain would not ask is sent away."""
    async with Rig(asking_world()) as rig, connected(rig.neuron_url) as stranger:
        goodbye = await stranger.hello(sha256(b"stranger"), [DIGITS.model_id])
        assert goodbye.code == "neuron.not_eligible"


async def test_estimates_are_answered_outside_transactions():
    """A call's question is answered once for all who ask, and cached."""
    async with Rig(asking_world()) as rig, serving(rig):
        request = core_request(IMAGE)
        first, second = await asyncio.gather(
            *(rig.dispatcher.answer_once(request, limit_s=10) for _ in range(2))
        )
        assert first == second
        assert first.answer.output == run(DIGITS, IMAGE, b"", 21).output
        assert await rig.dispatcher.answer_once(request, limit_s=0) == first
        assert rig.dispatcher.counts()["questions"] == 0


async def test_estimates_time_out_and_are_bounded():
    """Without a neuron an estimate gives up and leaves no question; too many at once are refused."""
    async with Rig(asking_world()) as rig:
        with pytest.raises(TimeoutError):
            await rig.dispatcher.answer_once(core_request(IMAGE), limit_s=0.01)
        assert rig.dispatcher.counts()["questions"] == 0
        quota = DispatchConfig().parked_per_sender
        asking = [
            asyncio.create_task(rig.dispatcher.answer_once(core_request(bytes([n % 16]) * 64), limit_s=5))
            for n in range(quota)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Rejected) as caught:
            await rig.dispatcher.answer_once(core_request(IMAGE), limit_s=5)
        assert caught.value.code == "infer.parked_quota"
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert rig.dispatcher.counts()["questions"] == 0


def core_request(image):
    """A neuron-tier call as the core tells of it."""
    request = Request(DIGITS.model_id, image, b"", 21)
    return SimpleNamespace(
        model_id=request.model_id,
        input=request.input,
        params=request.params,
        max_output=request.max_output,
        seed=bytes(32),
        request_hash=request.hash,
        ordinal=0,
        gas=1,
    )


async def test_a_new_ask_height_keeps_transactions_alive():
    """When Bitcoin moves past the ask window, waiting questions are asked at a newer height and answered."""
    async with Rig(asking_world()) as rig:
        done = await rig.admission.submit(question(rig, IMAGE))
        await rig.until(lambda: rig.pool.parked == 1)
        for _ in range(8):
            rig.world.run(epochs=1)
            rig.dispatcher.origin_moved(rig.executor.head.origin.height)
        async with serving(rig):
            await rig.until(lambda: rig.receipt(done))
        place = rig.executor.chain.place(done)
        (record,) = rig.executor.chain.body(place.number).records
        assert rig.executor.head.origin.height - record.ask_height <= 6


class TestAnswerCheck:
    """What a check finds, with and without the weights."""

    identity = Hash32(sha256(b"chain"))
    request = Request(DIGITS.model_id, IMAGE, b"", 21)

    def find(self, files=("digits-neuron.bitai",), *, neuron=NEURONS[0], secret=NEURON_SECRETS[0], **answer):
        """Judge an answer that is right unless told otherwise."""
        check = AnswerCheck(self.identity, [MODELS.joinpath(each) for each in files])
        told = (answer.get("status", Status.OK), answer.get("output", run(DIGITS, IMAGE, b"", 21).output))
        signed = sign_answer(secret, answer.get("identity", self.identity), self.request, told)
        return check.judge(answer.get("request", self.request), signed, neuron)

    def test_right(self):
        """The reference's bytes under the right key are right."""
        assert self.find() is Finding.RIGHT

    def test_without_weights(self):
        """A model that is not at hand, or whose file is damaged, is not checked, and says so."""
        assert self.find(files=()) is Finding.UNCHECKED
        assert self.find(files=("digits-heldout.bin", "missing.bitai")) is Finding.UNCHECKED

    def test_wrong(self):
        """Another output, or a status that nodes find by themselves, is wrong."""
        assert self.find(output=digit_output(IMAGE)[:20] + b"\x09") is Finding.WRONG
        assert self.find(output=b"") is Finding.WRONG
        assert self.find(status=Status.BAD_INPUT, output=b"") is Finding.WRONG

    def test_forged(self):
        """Another's key, another chain, another request: the signature does not carry over."""
        assert self.find(neuron=NEURONS[1]) is Finding.FORGED
        assert self.find(identity=Hash32(sha256(b"other"))) is Finding.FORGED
        other = Request(NEURON_MODEL.model_id, IMAGE, b"", 21)
        assert self.find(request=other) is Finding.FORGED


async def test_nothing_unchecked_is_signed():
    """Without the model's weights the node asks nobody: the transaction leaves the pool with a code."""
    async with Rig(asking_world(), weights=()) as rig, serving(rig):
        transaction_hash = await rig.admission.submit(question(rig, IMAGE))
        await rig.until(lambda: rig.metrics.read("mempool_refused_total", code="infer.unchecked_model") == 1)
        assert transaction_hash not in rig.pool
        assert rig.receipt(transaction_hash) is None
        assert rig.dispatcher.counts()["questions"] == 0
