"""A sequencing node and a full node that a test drives by hand: every persist and every send is a line to die on.

The real machine, pipeline, batcher, pool, admission and dispatcher; only clock, disk, sockets and Bitcoin are ours.
"""

import asyncio
from functools import cache
from importlib import resources
from pathlib import Path

from bitai.admission import Admission
from bitai.answer_check import AnswerCheck
from bitai.chain import ChainDriver
from bitai.chain_service import ChainService
from bitai.dispatcher import Dispatcher
from bitai.posting import ChainBlocks, StoredJournal
from bitai.sequencer_role import SHIPPED_MODELS, SequencerRole, shipped_model
from bitai.unsafe_feed import UnsafeServer
from primitives.curve import address_of
from primitives.errors import Rejected, Temporary
from rollup.batcher.driver import Batcher, BatcherPorts, DriverConfig
from rollup.follower.l1_follower import Connected, L1Follower
from rollup.follower.signed_block import decode_signed_block, encode_signed_block, require_signature
from rollup.sequencer.driver import Sequencer
from rollup.sequencer.pool import Pool
from vm.executor import Executor
from vm.inference import engine
from vm.inference.artifact import parse_artifact
from vm.inference.wire import sign_answer
from vm.registry import ListedNeurons
from vm.store import MemoryStore
from vm.stored_models import StoredModels

SEQUENCER_SECRET = b"\x08" * 32
NEURON_SECRET = b"\x09" * 32
NEURON = address_of(NEURON_SECRET)
NEURON_MODEL = parse_artifact(shipped_model("digits-neuron.bitai"))
START_MS = 1_700_020_000_000
KINDS = {b"Mhead": "block", b"Dc": "cursor", b"Q": "rows", b"P": "waiting", b"W": "model", b"V": "evidence"}


class Crash(Exception):
    """The process died on this line."""


class CrashingStore(MemoryStore):
    """A disk on which a process may die before and after each write; `durable` is what a power cut leaves."""

    def __init__(self, rows, line):
        super().__init__(rows)
        self.line = line
        self.durable = MemoryStore(rows)
        self._unsynced = []

    def write(self, batch, *, sync):
        """See `KeyValueStore.write`."""
        keys = [key for key, _ in batch.writes]
        kind = next((KINDS[mark] for mark in KINDS if any(key.startswith(mark) for key in keys)), "other")
        self.line(f"disk.{kind}.before")
        super().write(batch, sync=sync)
        self._unsynced.append(batch)
        if sync:
            for each in self._unsynced:
                self.durable.write(each, sync=True)
            self._unsynced.clear()
        self.line(f"disk.{kind}.after")


class InlineThread:
    """A chain thread without a thread."""

    async def run(self, function, *args, **kwargs):
        """See `ChainThread.run`."""
        return function(*args, **kwargs)


class NoMetrics:
    """Counts nothing."""

    def count(self, *_args, **_labels):
        """See `Metrics.count`."""

    set = observe = count


class HandClock:
    """Time moves when the world says so."""

    def __init__(self):
        self.ms = START_MS

    def now_ms(self):
        """See Clock."""
        return self.ms

    async def sleep_ms(self, duration_ms):
        """See Clock; nothing here may wait."""
        raise AssertionError(duration_ms)


class ClockedService(ChainService):
    """The chain with the world's clock."""

    def __init__(self, driver, clock):
        super().__init__(driver, InlineThread(), NoMetrics())
        self._clock = clock

    async def propose(self):
        """See `ChainService.propose`."""
        return self.driver.propose(self._clock.ms // 1_000)


class NeuronDoor:
    """One neuron, always there, which answers at once; each job that is sent is a line."""

    def __init__(self, dispatcher, line):
        self.dispatcher = dispatcher
        self.line = line

    def send(self, neuron, job):
        """See `NeuronServer.send`."""
        self.line("dispatch.send")
        found = _answer(job.request.model_id, job.request.input, job.request.params, job.request.max_output)
        self.dispatcher.answered(neuron, sign_answer(NEURON_SECRET, self.identity, job.request, found))
        return True

    identity = b""


@cache
def _answer(model_id, image, params, max_output):
    assert model_id == NEURON_MODEL.model_id
    return engine.run(NEURON_MODEL, image, params, max_output)


@cache
def _check(identity):
    return AnswerCheck(
        identity, [Path(str(resources.files("vm.inference") / "models" / "digits-neuron.bitai"))]
    )


class Node:
    """What both processes have: database, machine, derivation, a follower of Bitcoin."""

    def __init__(self, world, store, secret=None):
        self.world, self.store = world, store
        self.executor = Executor(world.config.chain_spec(), store, StoredModels(store), cache_bytes=16 << 20)
        self.driver = ChainDriver(
            world.config, store, self.executor, sequencer_secret=secret, fault=world.line
        )
        self.chain = ClockedService(self.driver, world.clock)
        self.follower = L1Follower(
            world.bitcoin, world.clock, self.driver.cursor, floor_height=world.config.l1_start.height
        )

    async def follow(self):
        """Work through everything that Bitcoin has."""
        while events := await self.follower.poll():
            for event in events:
                if isinstance(event, Connected):
                    await self.chain.connected(event)
                else:
                    await self.chain.disconnected(event, self.driver.cursor)

    async def end(self):
        """End what runs beside."""

    def hashes(self):
        """The hash of every block, by number."""
        return [self.executor.chain.block_hash(number) for number in range(self.executor.head.number + 1)]


class SequencingNode(Node):
    """The sequencer's process, with its batcher and its door for neurons."""

    def __init__(self, world, store):
        super().__init__(world, store, SEQUENCER_SECRET)
        config = world.config
        pool, neurons = Pool(), ListedNeurons([(NEURON, ())])
        dispatcher = Dispatcher(
            self.executor,
            neurons,
            pool=pool,
            check=_check(config.identity),
            metrics=NoMetrics(),
            on_progress=lambda: None,
        )
        door = NeuronDoor(dispatcher, world.line)
        door.identity = config.identity
        dispatcher.attach(door)
        self.role = SequencerRole(
            parts=None,
            pool=pool,
            admission=Admission(self.executor, store, pool, on_admitted=lambda: None),
            dispatcher=dispatcher,
            neurons=door,
            sequencer=Sequencer(self.chain, pool, dispatcher, mode="on-demand", block_time_s=2),
            batcher=self._open_batcher(world, store),
            feed=UnsafeServer(self.driver),
        )
        self.admitting = None
        self.chain.listen(self.role.on_change)
        self.role.admission.restore()
        for name in SHIPPED_MODELS:
            self.role.batcher.publish_artifact(shipped_model(name))
        dispatcher.joined(NEURON, (NEURON_MODEL.model_id,), 4)

    def _open_batcher(self, world, store):
        blocks = ChainBlocks(self.driver, InlineThread())
        ports = BatcherPorts(blocks, blocks, world.bitcoin, world.bitcoin, StoredJournal(store), world.clock)
        return Batcher(world.posting, ports, world.config.l1_start, driver=DriverConfig(), faults=world.line)

    async def live(self):
        """Do everything that there is to do."""
        await self.follow()
        await self.admit()
        await self.make()
        await self.post()

    async def admit(self):
        """Have the users send what they have no answer for; admission answers, or dies."""
        sends = {asyncio.create_task(self.role.admission.submit(raw)): raw for raw in self.world.unanswered()}
        self.admitting = self.admitting or asyncio.create_task(self.role.admission.run())
        waiting = set(sends)
        while waiting:
            done, waiting = await asyncio.wait(
                {self.admitting, *waiting}, return_when=asyncio.FIRST_COMPLETED
            )
            if self.admitting in done:
                await asyncio.gather(*sends, return_exceptions=True)
                self.admitting.result()
            waiting -= {self.admitting}
        refusals = {raw: send.exception() for send, raw in sends.items()}
        for raw, refused in refusals.items():
            assert refused is None or refused.code in ("pool.already_known", "pool.nonce_too_low"), refused
            self.world.answered.add(raw)
            self.world.line("admission.answered")

    async def end(self):
        """End what runs beside; nothing more of it reaches the disk."""
        beside = [*self.role.dispatcher._checking.values(), *([self.admitting] if self.admitting else [])]
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        self.role.dispatcher.close()

    async def make(self):
        """Make blocks while there is something for them, with whatever the neuron answers meanwhile."""
        for _ in range(100):
            busy = await self.role.sequencer._advance()
            while checks := self.role.dispatcher._checking:
                await asyncio.gather(*checks.values())
                busy = True
            if not busy:
                return
        raise AssertionError("the sequencer makes blocks for ever")

    async def post(self):
        """Let the batcher work until it has nothing to do."""
        for _ in range(40):
            if not await self.role.batcher.run_once():
                return
        raise AssertionError("the batcher works for ever")


class FullNode(Node):
    """A process that hears the sequencer's blocks and checks them by Bitcoin."""

    async def live(self, sequencer):
        """Do everything that there is to do."""
        await self.hear(sequencer)
        await self.follow()
        await self.hear(sequencer)

    async def hear(self, sequencer):
        """Take the sequencer's signed blocks from the first that differs."""
        number = min(self.executor.head.number, sequencer.executor.head.number)
        while self.executor.chain.block_hash(number) != sequencer.executor.chain.block_hash(number):
            number -= 1
        while (block := sequencer.driver.signed(number + 1)) is not None:
            self.world.line("feed.send")
            heard = decode_signed_block(encode_signed_block(block))
            require_signature(heard, self.world.config.identity, self.world.config.keys.sequencer)
            try:
                await self.chain.apply_signed(heard)
            except (
                Temporary,
                Rejected,
            ):  # its Bitcoin block has not come, or ours has left: first things first
                return
            number = heard.data.number
