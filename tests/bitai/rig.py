"""A sequencing node in memory: real executor, pool, admission, sequencer and dispatcher; no Bitcoin, no disk."""

import asyncio
import io
import json
from contextlib import AsyncExitStack
from importlib.resources import files

from aiohttp import ClientSession

from bitai.admission import Admission
from bitai.answer_check import AnswerCheck
from bitai.dispatcher import Dispatcher
from bitai.metrics import Metrics
from bitai.neuron_server import NeuronServer
from bitai.rpc.backend import ChainBackend
from bitai.rpc.context import Context
from bitai.rpc.filter_rows import FilterRows
from bitai.rpc.limits import RpcLimits
from bitai.rpc.service import build_rpc
from bitai.rpc.site import RpcSite
from rollup.sequencer.driver import MadeBlock, Proposal, Sequencer
from rollup.sequencer.pool import Pool
from tests.bitai.neuron_peer import listening
from tests.vm.world import NEURON_MODEL, NEURONS, ON_CHAIN_MODEL, World
from vm._core import next_base_fee
from vm.inference.artifact import parse_artifact
from vm.registry import ListedNeurons, ModelFacts

MODELS = files("vm.inference.models")
DIGITS = parse_artifact(MODELS.joinpath("digits-neuron.bitai").read_bytes())
DIGIT_IMAGES = [
    record[:64]
    for record in (
        MODELS.joinpath("digits-heldout.bin").read_bytes()[start : start + 65] for start in range(0, 650, 65)
    )
]


def digit_facts():
    """What the chain knows of the digits model on the neuron tier."""
    manifest = DIGITS.manifest
    return ModelFacts(
        model_id=DIGITS.model_id,
        active=True,
        tier=manifest.tier,
        profile=manifest.profile,
        input_bytes=manifest.input_bytes,
        output_bytes=manifest.output_bytes,
        macs=manifest.macs,
        l1_height=101,
    )


class ExecutorPort:
    """The sequencer's `ChainPort` straight on an executor."""

    def __init__(self, world, pool):
        self.world = world
        self.pool = pool
        self.listeners = []

    async def propose(self):
        """Two seconds after the head, on its origin."""
        head = self.world.executor.head
        return Proposal(
            timestamp=head.timestamp + 2,
            origin=head.origin,
            system_transactions=(),
            new_epoch=False,
            empty_only=False,
            base_fee_wei=next_base_fee(head.base_fee, head.ordinary_gas_used, head.gas_limit),
            gas_limit=head.gas_limit,
            parent=head.hash,
            behind=0,
        )

    def nonces(self):
        """The head's."""
        executor = self.world.executor
        view = executor.view(executor.head.number)
        return type("Nonces", (), {"next_nonce": staticmethod(view.nonce)})

    async def make(self, proposal, transactions, records, *, keep_empty):
        """Build, commit, tell."""
        executor = self.world.executor
        if proposal.parent != executor.head.hash:
            return None
        builder = executor.open(proposal.timestamp, proposal.origin, proposal.system_transactions)
        outcomes = tuple(builder.add(transactions, records, missing="park"))
        if not builder.transaction_count and not keep_empty:
            builder.abandon()
            return MadeBlock(None, outcomes)
        block = builder.seal()
        executor.commit(block)
        self.pool.included(
            [
                each.hash
                for each, outcome in zip(transactions, outcomes, strict=True)
                if outcome.kind == "included"
            ]
        )
        await self.tell()
        return MadeBlock(block.data.number, outcomes)

    async def rehearse(self, proposal, transactions, records):
        """Build and drop."""
        executor = self.world.executor
        if proposal.parent != executor.head.hash:
            return None
        builder = executor.open(proposal.timestamp, proposal.origin, proposal.system_transactions)
        outcomes = tuple(builder.add(transactions, records, missing="park"))
        builder.abandon()
        return outcomes

    async def tell(self):
        """Call who listens."""
        for listener in self.listeners:
            await listener()


class RigFacts:
    """The RPC's `Facts` of a rig."""

    version = "bitai-node/vtest"

    def __init__(self, world):
        self.world = world
        self.chain_id = world.spec.chain_id
        self.synced = (110, 110)

    def status(self):
        return {"lag": 0}

    def anchor(self, number):
        return {"number": hex(number)}

    def records(self, number):
        return [
            {"transactionIndex": hex(each.tx_index), "requestHash": "0x" + each.request_hash.hex()}
            for each in self.world.executor.chain.body(number).records
        ]

    def models(self):
        return []

    def outcomes(self, l1_height):
        return None

    def progress(self):
        return self.synced

    def batch(self, number):
        return {"channel": "0x0", "firstBlock": hex(number)}


class RpcRefusal(Exception):
    """An error object, as a client sees it."""

    def __init__(self, error):
        super().__init__(error)
        self.code, self.message, self.data = error["code"], error["message"], error.get("data")


class Rig:
    """One node; use as an async context manager.

    `now`: the clock of filters in seconds.
    `neurons=False`: calls may not ask neurons. `weights`: the model files whose answers it can check.
    """

    def __init__(self, world=None, *, neurons=True, weights=("digits-neuron.bitai",), limits=None):
        self.world = world or World()
        self.executor = self.world.executor
        self.metrics = Metrics()
        self.pool = Pool()
        self.chain = ExecutorPort(self.world, self.pool)
        self.dispatcher = Dispatcher(
            self.executor,
            ListedNeurons([(each, ()) for each in NEURONS[:3]]),
            pool=self.pool,
            check=AnswerCheck(self.world.spec.identity, [MODELS.joinpath(each) for each in weights]),
            metrics=self.metrics,
            on_progress=self._wake,
        )
        self.neurons = NeuronServer(self.world.spec.identity, "rig", self.dispatcher)
        self.dispatcher.attach(self.neurons)
        self.sequencer = Sequencer(self.chain, self.pool, self.dispatcher, mode="on-demand", block_time_s=2)
        self.admission = Admission(
            self.executor, self.world.store, self.pool, on_admitted=self._wake, metrics=self.metrics
        )
        self.backend = ChainBackend(self.executor)
        self.facts = RigFacts(self.world)
        self.context = Context(
            blocks=self.backend,
            states=self.backend,
            simulator=self.backend,
            sender=self.admission,
            facts=self.facts,
            bitcoin=self.facts,
            neurons=self.dispatcher if neurons else None,
            limits=limits or RpcLimits(),
            traces=self.backend,
        )
        self.now = 0.0
        rows = FilterRows(self.world.store)
        self.rpc = build_rpc(self.context, metrics=self.metrics, filter_rows=rows, clock=lambda: self.now)
        self.chain.listeners.append(self._announce)
        self.neuron_url = self.rpc_url = ""
        self.session = None
        self._stack = AsyncExitStack()
        self._tasks = []

    def _wake(self):
        self.sequencer.wake()

    def _site(self, runner, host, port):
        """The node's own: the door in front of the application."""
        self.site = RpcSite(runner, self.rpc.server, host, port)
        return self.site

    async def _announce(self):
        self.rpc.feed.announce()

    async def __aenter__(self):
        """Start what runs."""
        for work in (self.admission.run(), self.sequencer.run(), self.dispatcher.run()):
            self._tasks.append(asyncio.create_task(work))
        self.neuron_url = await self._stack.enter_async_context(listening(self.neurons.application()))
        self._stack.push_async_callback(self.neurons.close)
        self._stack.callback(self.dispatcher.close)
        await self.rpc.filters.open()
        self._stack.push_async_callback(self.rpc.filters.close)
        application = self.rpc.server.application()
        url = await self._stack.enter_async_context(listening(application, self._site))
        self.rpc_url = url.replace("ws://", "http://")
        self.session = await self._stack.enter_async_context(ClientSession())
        return self

    async def post(self, body, **how):
        """POST a body as it is; return status and what came back, parsed."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.rpc_url, data=io.BytesIO(raw), **how) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def call(self, method, *params):
        """One JSON-RPC call; raises `RpcRefusal`."""
        status, reply = await self.post({"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)})
        assert (status, reply["id"], reply["jsonrpc"]) == (200, 7, "2.0")
        if "error" in reply:
            raise RpcRefusal(reply["error"])
        return reply["result"]

    async def __aexit__(self, *failure):
        """Stop it."""
        for task in self._tasks:
            task.cancel()
        done = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()
        for each in done:
            if not isinstance(each, asyncio.CancelledError):
                raise each

    async def until(self, condition, limit_s=20):
        """Wait for something that a block changes; fails naming what became of the tasks."""
        async with asyncio.timeout(limit_s):
            while not condition():
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.005)

    def receipt(self, transaction_hash):
        """A transaction's receipt, or None."""
        place = self.executor.chain.place(transaction_hash)
        return None if place is None else self.executor.chain.receipts(place.number)[place.index]


def asking_world(*models):
    """A world with models registered and a digit reader deployed as `world.reader`."""
    world = World()
    world.register(*(models or (ON_CHAIN_MODEL, NEURON_MODEL, digit_facts())))
    world.reader = world.deploy("DigitReader")
    return world
