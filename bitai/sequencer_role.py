"""What a sequencing node adds: pool, neurons, blocks, and batches for Bitcoin."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from bitai.admission import Admission
from bitai.answer_check import AnswerCheck
from bitai.dev.answers import MockAnswers, Recorder, Signer, read_answers
from bitai.dev.world import DevParts, DevWorld
from bitai.dev_controls import RegtestControls
from bitai.dispatcher import Dispatcher
from bitai.inscriptions import InscriptionView
from bitai.neuron_server import NeuronServer
from bitai.node_keys import write_neuron_key
from bitai.node_serving import serve_app, serve_rpc, serve_web
from bitai.posting import ChainBlocks, StoredJournal
from bitai.supervisor import ChildSpec
from bitai.unsafe_feed import UnsafeServer
from bitai.version import VERSION
from l1.fees import FeePolicy
from l1.inscriber import InscriberConfig
from l1.inscription_package import SigningKeys
from l1.keys import open_wallet_key
from l1.transitions import SendRules
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.curve import address_of
from rollup.batcher.driver import Batcher, BatcherPorts, DriverConfig
from rollup.batcher.state import BatcherConfig
from rollup.sequencer.driver import Sequencer
from rollup.sequencer.pool import Pool
from vm.registry import ListedNeurons

if TYPE_CHECKING:
    from bitai.chain import ChainUpdate
    from bitai.config import NodeConfig
    from bitai.node_keys import NodeKeys
    from bitai.node_parts import Parts
    from bitai.status import DevControls
    from primitives.ids import Hash32

log = structlog.get_logger(__name__)

REGTEST_POST_AGE_MS: Final = 2_000
"""On regtest a batch is posted this soon after its first block: people wait for `safe`, bytes cost nothing."""
REGTEST_COMPRESSION: Final = 6
"""On regtest, where bytes cost nothing: half the work of the strongest level, for a fiftieth more of them."""
REGTEST_POLL_MS: Final = 250
SYNC_POLL_S: Final = 0.1
SHIPPED_MODELS: Final = ("digits-onchain.bitai", "digits-neuron.announcement.bitai")
"""Inscribed by every dev chain at its first start: the network itself, and the announcement of the neuron's."""


@dataclass(frozen=True, slots=True)
class SequencerRole:
    """The parts of a sequencing node, joined but not running."""

    parts: Parts
    pool: Pool
    admission: Admission
    dispatcher: Dispatcher
    neurons: NeuronServer
    sequencer: Sequencer
    batcher: Batcher
    feed: UnsafeServer
    answers: MockAnswers | None = None
    """What stands in for neurons, on a development node."""

    async def start(self, keys: NodeKeys) -> DevControls | None:
        """Run everything; return what a dev node's owner may do to its world."""
        parts, node, config = self.parts, self.parts.node, self.parts.node.config
        parts.chain.listen(self.on_change)
        self.admission.restore()
        if config.role == "dev":
            for name in SHIPPED_MODELS:  # asking again at each start changes nothing
                self.batcher.publish_artifact(shipped_model(name))
        port = await serve_app(parts, "neuron", self.neurons.application(), config.neuron_port)
        parts.stack.push_async_callback(self.neurons.close)
        node.spawn("admit", self.admission.run())
        node.spawn("dispatch", self.dispatcher.run())
        node.spawn("sequence", self._sequence())
        node.spawn("post batches", self.batcher.run(node.stopping))
        dev, world = None, None
        if config.role == "dev":
            submit = self.admission.submit
            dev = RegtestControls(parts.transport, parts.executor, self.pool, submit, rollup=parts.rollup)
            world = self._world(dev)
            if world is not None:
                dev.leave_scratch = world.reset
        await serve_rpc(parts, self.admission, feed=self.feed, dispatcher=self.dispatcher, world=world)
        await serve_web(parts, dev)
        if config.neuron and config.role == "dev" and config.replay_answers is None:
            await _start_neuron(parts, keys, port)
        return dev

    def _world(self, dev: DevControls) -> DevWorld | None:
        """Return what a development node's owner may do to its chain."""
        if self.answers is None:
            return None
        return DevWorld(
            DevParts(
                chain=self.parts.chain,
                sequencer=self.sequencer,
                pool=self.pool,
                admission=self.admission,
                store=self.parts.store,
                answers=self.answers,
                forget_answers=self.dispatcher.forget_answers,
                bitcoin=dev,
            )
        )

    async def on_change(self, update: ChainUpdate) -> None:
        """Keep pool, neurons and followers in step with the chain."""
        self.pool.included(update.included)
        if update.returned:
            self.admission.readmit(list(update.returned))
        if update.epoch is not None:
            self.dispatcher.origin_moved(update.epoch.height)
        self.sequencer.wake()
        await self.feed.announce()

    async def _sequence(self) -> None:
        """Make blocks once derivation has caught up: before, they would contradict what Bitcoin holds."""
        report = self.parts.node.report
        while report.follower is None or report.follower.tip is None or report.lag() > 0:  # noqa: ASYNC110 -- polled too
            await asyncio.sleep(SYNC_POLL_S)
        await self.sequencer.run()


def build_sequencer(parts: Parts, keys: NodeKeys) -> SequencerRole:
    """Join the parts of a sequencing node."""
    node, report, config = parts.node, parts.node.report, parts.node.config
    pool, waker = Pool(), _Waker()
    answers = _stand_in(config, keys, parts.rollup.identity) if config.role == "dev" else None
    recorder = None if config.record_answers is None else Recorder(config.record_answers.expanduser())
    if recorder is not None:
        parts.stack.callback(recorder.close)
    neurons = ListedNeurons([(each.address, each.models) for each in parts.rollup.genesis.neurons])
    dispatcher = Dispatcher(
        parts.executor,
        neurons,
        pool=pool,
        check=AnswerCheck(parts.rollup.identity, _model_files(config.files.root)),
        metrics=node.metrics,
        on_progress=waker.wake,
        source=answers,
        recorder=recorder,
    )
    server = NeuronServer(parts.rollup.identity, f"bitai-node/{VERSION}", dispatcher)
    dispatcher.attach(server)
    parts.stack.callback(dispatcher.close)
    block_time_s = parts.rollup.parameters.block_time_s
    sequencer = Sequencer(
        parts.chain, pool, dispatcher, mode=config.block_time_mode, block_time_s=block_time_s
    )
    waker.sequencer = sequencer
    batcher = _build_batcher(parts, keys)
    report.pool, report.neurons, report.dispatcher = pool, neurons, dispatcher
    report.neuron_server, report.inscriptions = server, InscriptionView(batcher)
    return SequencerRole(
        parts=parts,
        pool=pool,
        admission=Admission(parts.executor, parts.store, pool, on_admitted=waker.wake, metrics=node.metrics),
        dispatcher=dispatcher,
        neurons=server,
        sequencer=sequencer,
        batcher=batcher,
        feed=UnsafeServer(parts.chain.driver),
        answers=answers,
    )


def _stand_in(config: NodeConfig, keys: NodeKeys, identity: Hash32) -> MockAnswers:
    """Return what answers in the neuron's name: what is made up, and a recording if one is named."""
    path = config.replay_answers
    recorded = None if path is None else read_answers(path.expanduser())
    return MockAnswers(Signer(address_of(keys.neuron), keys.neuron, identity), recorded)


class _Waker:
    """Wakes a sequencer that is built after those who wake it."""

    sequencer: Sequencer | None = None

    def wake(self) -> None:
        if self.sequencer is not None:
            self.sequencer.wake()


def shipped_model(name: str) -> bytes:
    """Return a model file that the package ships."""
    return resources.files("vm.inference").joinpath("models", name).read_bytes()


def _model_files(root: Path) -> list[Path]:
    """List the model files whose answers this node can check: the shipped one, and the data folder's."""
    shipped = Path(str(resources.files("vm.inference").joinpath("models", "digits-neuron.bitai")))
    own = root / "models"
    return [shipped, *(sorted(own.glob("*.bitai")) if own.is_dir() else [])]


def fee_policy(config: NodeConfig) -> FeePolicy:
    """Return what inscriptions may pay by the settings; the rate without an estimate lies within them."""
    usual = FeePolicy()
    return replace(
        usual,
        floor=config.fee_floor,
        cap=config.fee_cap,
        fallback=min(max(usual.fallback, config.fee_floor), config.fee_cap),
        target_blocks=config.fee_target_blocks,
    )


def _build_batcher(parts: Parts, keys: NodeKeys) -> Batcher:
    blocks = ChainBlocks(parts.chain.driver, parts.thread)
    signing = SigningKeys(wallet=open_wallet_key(keys.funds), signer_secret=keys.batcher)
    rules = SendRules(finality_depth=parts.rollup.parameters.finality_depth)
    config = BatcherConfig(
        rollup=parts.rollup,
        inscriber=InscriberConfig(keys=signing, rules=rules, fees=fee_policy(parts.node.config)),
        codec=EnvelopeCodec[parts.node.config.batch_codec.upper()],
    )
    driver = DriverConfig()
    if parts.node.config.network == "regtest":
        config = replace(config, post_age_ms=REGTEST_POST_AGE_MS, compression_level=REGTEST_COMPRESSION)
        driver = DriverConfig(poll_ms=REGTEST_POLL_MS)
    ports = BatcherPorts(
        blocks=blocks,
        derivation=blocks,
        l1=parts.bitcoin,
        broadcaster=parts.bitcoin,
        journal=StoredJournal(parts.store),
        clock=parts.clock,
    )
    return Batcher(config, ports, parts.rollup.l1_start, driver=driver)


async def _start_neuron(parts: Parts, keys: NodeKeys, port: int) -> None:
    files = parts.node.config.files
    key_file = write_neuron_key(files, keys)
    argv = [sys.executable, "-m", "neuron", "--connect", f"ws://127.0.0.1:{port}"]
    argv += ["--key-file", str(key_file), "--datadir", str(files.neuron)]
    argv += ["--chain", parts.rollup.identity.hex()]
    if parts.node.config.json_logs:
        argv.append("--json-logs")
    await parts.node.supervisor.start(ChildSpec("neuron", tuple(argv)))
