"""What a sequencing node and a full node add to the parts that both have."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from bitai.admission import Admission
from bitai.answer_check import AnswerCheck
from bitai.dev_controls import RegtestControls
from bitai.dispatcher import Dispatcher
from bitai.inscriptions import InscriptionView
from bitai.neuron_server import NeuronServer
from bitai.node_keys import write_neuron_key
from bitai.node_serving import serve_rpc, serve_web
from bitai.posting import ChainBlocks, StoredJournal
from bitai.supervisor import ChildSpec
from bitai.unsafe_feed import SequencerClient, UnsafeFollower, UnsafeServer
from bitai.version import VERSION
from l1.inscriber import InscriberConfig
from l1.inscription_package import SigningKeys
from l1.keys import open_wallet_key
from l1.transitions import SendRules
from rollup.batcher.driver import Batcher, BatcherPorts, DriverConfig
from rollup.batcher.state import BatcherConfig
from rollup.sequencer.driver import Sequencer
from primitives.errors import InvalidInput, Rejected
from primitives.ids import Address, Hash32
from rollup.sequencer.pool import Pool
from vm.registry import ListedNeurons

if TYPE_CHECKING:
    from bitai.chain import ChainUpdate
    from bitai.node_keys import NodeKeys
    from bitai.node_parts import Parts
    from bitai.status import DevControls
    from vm._core import Transaction

log = structlog.get_logger(__name__)

REGTEST_POST_AGE_MS: Final = 2_000
"""On regtest a batch is posted this soon after its first block: people wait for `safe`, bytes cost nothing."""
REGTEST_POLL_MS: Final = 250
FORWARDED_KEPT: Final = 4_096
"""Forwarded transactions a full node remembers until it sees them in a block."""


async def start_sequencer(parts: Parts, keys: NodeKeys) -> DevControls | None:
    """Start admission, sequencer, neurons, batcher and the servers of a sequencing node."""
    from bitai.assembly import serve_app, shipped_model  # noqa: PLC0415 -- assembly starts roles, and they its servers

    node, report, config = parts.node, parts.node.report, parts.node.config
    pool = Pool()
    report.pool = pool
    wakers: list[Sequencer] = []

    def wake() -> None:
        for each in wakers:
            each.wake()

    admission = Admission(parts.executor, parts.store, pool, on_admitted=wake)
    neurons = ListedNeurons([(each.address, each.models) for each in parts.rollup.genesis.neurons])
    report.neurons = neurons
    check = AnswerCheck(parts.rollup.identity, _model_files(config.files.root))
    dispatcher = Dispatcher(
        parts.executor, neurons, pool=pool, check=check, metrics=node.metrics, on_progress=wake
    )
    server = NeuronServer(parts.rollup.identity, f"bitai-node/{VERSION}", dispatcher)
    dispatcher.attach(server)
    report.neuron_server, report.dispatcher = server, dispatcher
    sequencer = Sequencer(
        parts.chain,
        pool,
        dispatcher,
        mode=config.block_time_mode,
        block_time_s=parts.rollup.parameters.block_time_s,
    )
    wakers.append(sequencer)
    feed = UnsafeServer(parts.chain.driver)
    batcher = _batcher(parts, keys)
    report.inscriptions = InscriptionView(batcher)

    async def on_change(update: ChainUpdate) -> None:
        for number in update.added:
            data = parts.executor.chain.block_data(number)
            decoded = [] if data is None else parts.executor.decode(data.transactions)
            pool.remove([each.hash for each in decoded if not isinstance(each, tuple)])
        if update.returned:
            admission.readmit(list(update.returned))
        if update.epoch is not None:
            dispatcher.origin_moved(update.epoch.height)
        wake()
        await feed.announce()

    parts.chain.listen(on_change)
    admission.restore()
    await _publish_models(batcher, [shipped_model("digits-onchain.bitai"), shipped_model("digits-neuron.announcement.bitai")])
    neuron_port = await serve_app(parts, "neuron", server.application(), config.neuron_port)
    parts.stack.push_async_callback(server.close)
    node.spawn("admit", admission.run())
    node.spawn("dispatch", dispatcher.run())
    node.spawn("sequence", sequencer.run())
    node.spawn("post batches", batcher.run(node.stopping))
    dev = RegtestControls(parts.transport, parts.executor, pool, admission.submit) if config.role == "dev" else None
    await serve_rpc(parts, admission, feed=feed, dispatcher=dispatcher)
    await serve_web(parts, dev)
    if config.neuron and config.role == "dev":
        await _start_neuron(parts, keys, neuron_port)
    return dev


def _model_files(root: Path) -> list[Path]:
    """The model files whose answers this node can check: shipped ones, and those in the data folder."""
    from importlib import resources  # noqa: PLC0415 -- a path, once

    shipped = Path(str(resources.files("vm.inference").joinpath("models")))
    own = root / "models"
    files = [shipped / "digits-neuron.bitai"]
    return files + (sorted(own.glob("*.bitai")) if own.is_dir() else [])


def _batcher(parts: Parts, keys: NodeKeys) -> Batcher:
    blocks = ChainBlocks(parts.chain.driver, parts.thread)
    signing = SigningKeys(wallet=open_wallet_key(keys.funds), signer_secret=keys.batcher)
    rules = SendRules(finality_depth=parts.rollup.parameters.finality_depth)
    config = BatcherConfig(rollup=parts.rollup, inscriber=InscriberConfig(keys=signing, rules=rules))
    driver = DriverConfig()
    if parts.node.config.network == "regtest":
        config = replace(config, post_age_ms=REGTEST_POST_AGE_MS)
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


async def _publish_models(batcher: Batcher, artifacts: list[bytes]) -> None:
    """Have the shipped models inscribed; asking again at each start changes nothing."""
    for artifact in artifacts:
        batcher.publish_artifact(artifact)


async def _start_neuron(parts: Parts, keys: NodeKeys, port: int) -> None:
    files = parts.node.config.files
    key_file = write_neuron_key(files, keys)
    argv = [sys.executable, "-m", "neuron", "--connect", f"ws://127.0.0.1:{port}", "--key-file", str(key_file)]
    argv += ["--datadir", str(files.neuron), "--chain", parts.rollup.identity.hex()]
    if parts.node.config.json_logs:
        argv.append("--json-logs")
    await parts.node.supervisor.start(ChildSpec("neuron", tuple(argv)))


class ForwardingSender:
    """A full node's `Sender`: transactions go to the sequencer, and are shown while they are on their way."""

    def __init__(self, parts: Parts, client: SequencerClient | None) -> None:
        """Forward through `client`; without one this node takes no transactions."""
        self._executor = parts.executor
        self._client = client
        self._sent: dict[bytes, Transaction] = {}

    async def submit(self, raw: bytes) -> Hash32:
        """Check a transaction's form and forward it."""
        if self._client is None:
            raise Rejected("sequencer.none", "this node has no sequencer to send to", fix="run with --sequencer-url")
        (decoded,) = self._executor.decode([raw])
        if isinstance(decoded, tuple):
            raise InvalidInput(*decoded)
        transaction_hash = await self._client.submit(raw)
        if len(self._sent) >= FORWARDED_KEPT:
            self._sent.pop(next(iter(self._sent)))
        self._sent[transaction_hash] = decoded
        return transaction_hash

    def waiting(self, transaction_hash: Hash32) -> Transaction | None:
        """Return a transaction that was forwarded and is in no block yet."""
        return self._sent.get(transaction_hash)

    def pending_nonce(self, address: Address, state_nonce: int) -> int:
        """Return the nonce after the account's forwarded transactions."""
        nonces = {each.nonce for each in self._sent.values() if each.sender == address}
        while state_nonce in nonces:
            state_nonce += 1
        return state_nonce

    def counts(self) -> tuple[int, int]:
        """A full node keeps no pool of its own."""
        return 0, 0

    def settle(self, hashes: list[bytes]) -> None:
        """Forget transactions that are in a block."""
        for each in hashes:
            self._sent.pop(each, None)


async def start_full_node(parts: Parts) -> DevControls | None:
    """Follow the sequencer's feed if there is one, and serve reads."""
    node, config = parts.node, parts.node.config
    parts.node.report.neurons = ListedNeurons([(each.address, each.models) for each in parts.rollup.genesis.neurons])
    client = SequencerClient(config.sequencer_url) if config.sequencer_url else None
    sender = ForwardingSender(parts, client)

    async def on_change(update: ChainUpdate) -> None:
        for number in update.added:
            data = parts.executor.chain.block_data(number)
            decoded = [] if data is None else parts.executor.decode(data.transactions)
            sender.settle([each.hash for each in decoded if not isinstance(each, tuple)])

    parts.chain.listen(on_change)
    if config.sequencer_url:
        follower = UnsafeFollower(
            config.sequencer_url,
            parts.rollup.identity,
            parts.rollup.keys.sequencer,
            store=parts.store,
            next_number=lambda: parts.executor.head.number + 1,
            apply=parts.chain.apply_signed,
        )
        node.spawn("follow the sequencer", follower.run())
    await serve_rpc(parts, sender, feed=None, dispatcher=None)
    await serve_web(parts, None)
    return None
