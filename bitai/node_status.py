"""Tell what the node knows about itself, from memory and its own database only: for pages, commands and RPC."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from bitai.batch_facts import batch_of
from bitai.status import (
    BlockSummary,
    Head,
    InscriptionSummary,
    L1Status,
    ModelSummary,
    NeuronSummary,
    NodeStatus,
    Phase,
    PhaseReport,
    Readiness,
)
from bitai.version import VERSION
from primitives.errors import Rejected
from primitives.ids import display_hash
from vm import schema
from vm.inference.artifact import parse_announcement
from vm.inference.manifest import Tier
from vm.registry import read_models
from vm.system import read_l1_info

if TYPE_CHECKING:
    from bitai.chain import ChainDriver
    from bitai.config import NodeConfig
    from bitai.dispatcher import Dispatcher
    from bitai.inscriptions import InscriptionView
    from bitai.neuron_server import NeuronServer
    from bitai.supervisor import Supervisor
    from rollup.follower.l1_follower import L1Follower
    from rollup.sequencer.pool import Pool
    from vm.registry import ModelFacts, NeuronRegistry

SHOWN_BLOCKS: Final = 12
TIER_NAMES: Final = {Tier.ON_CHAIN: "on-chain", Tier.NEURON: "neuron"}
MAX_LAG_BLOCKS: Final = 2
"""Bitcoin blocks a node may be behind and still call itself ready."""
MAX_WAIT_MS: Final = 15_000
"""How long Bitcoin may keep the node waiting for a block: beyond it nobody knows how far behind the node is."""


class NodeReport:
    """Implements `StatusSource` for health and pages, and the RPC's `Facts`; parts are attached as they start."""

    def __init__(self, config: NodeConfig) -> None:
        """Begin with nothing started."""
        self._config = config
        self._started = time.monotonic()
        self._phase, self._detail = Phase.OPENING, "opening the data folder"
        self.urls: dict[str, str] = {}
        self.l1_url = config.l1_rpc or ""
        self.driver: ChainDriver | None = None
        self.follower: L1Follower | None = None
        self.pool: Pool | None = None
        self.dispatcher: Dispatcher | None = None
        self.neuron_server: NeuronServer | None = None
        self.neurons: NeuronRegistry | None = None
        self.inscriptions: InscriptionView | None = None
        self.supervisor: Supervisor | None = None
        self._names: dict[bytes, str] = {}

    # -- StatusSource ------------------------------------------------------------------------------

    def enter(self, phase: Phase, detail: str) -> None:
        """Move on to a phase of start-up."""
        self._phase, self._detail = phase, detail

    def phase(self) -> PhaseReport:
        """See `StatusSource.phase`."""
        return PhaseReport(self._phase, self._detail, round(time.monotonic() - self._started, 3))

    def readiness(self) -> Readiness:
        """See `StatusSource.readiness`."""
        reasons: list[str] = []
        if self._phase is not Phase.READY:
            reasons.append(f"{self._phase}: {self._detail}")
        elif self.follower is None or self.follower.tip is None:
            reasons.append("no answer from Bitcoin")
        elif self.follower.waiting_ms > MAX_WAIT_MS:
            reasons.append(f"Bitcoin has kept the node waiting for {self.follower.waiting_ms // 1_000} s")
        elif self.lag() > MAX_LAG_BLOCKS:
            reasons.append(f"{self.lag()} Bitcoin blocks behind")
        return Readiness(not reasons, tuple(reasons))

    def lag(self) -> int:
        """Return how many Bitcoin blocks are known but not yet worked through."""
        if self.follower is None or self.follower.tip is None or self.driver is None:
            return 0
        if self.driver.scratch.now is not None:  # held on purpose
            return 0
        return max(0, self.follower.tip.height - self.driver.cursor.height)

    def status(self) -> NodeStatus:
        """See `StatusSource.status`."""
        driver = self.driver
        identity = "" if driver is None else "0x" + driver.config.identity.hex()
        return NodeStatus(
            version=VERSION,
            network=self._config.network,
            role=self._config.role,
            chain_id=0 if driver is None else driver.config.chain_id,
            config_identity=identity,
            phase=self.phase(),
            readiness=self.readiness(),
            l1=self._l1(),
            heads=self._heads(),
            mempool=self._mempool(),
            blocks=self._blocks(),
            inscriptions=self._inscriptions(),
            models=tuple(self._models()),
            neurons=self._neurons(),
            urls=dict(self.urls),
            scratch=_scratch_of(driver),
        )

    def _l1(self) -> L1Status:
        tip = self.follower.tip if self.follower is not None else None
        cursor = self.driver.cursor if self.driver is not None else None
        return L1Status(
            url=self.l1_url,
            connected=tip is not None,
            height=None if tip is None else tip.height,
            hash=None if tip is None else display_hash(tip.hash),
            processed_height=None if cursor is None else cursor.height,
            processed_hash=None if cursor is None else display_hash(cursor.hash),
            embedded=self._config.embedded_bitcoin,
        )

    def _heads(self) -> dict[str, Head]:
        if self.driver is None:
            return {}
        chain, head = self.driver.executor.chain, self.driver.executor.head
        heads = {"unsafe": Head(head.number, "0x" + head.hash.hex())}
        for name, key in (("safe", schema.META_SAFE), ("finalized", schema.META_FINALIZED)):
            mark = chain.mark(key)  # number and hash in one read: a rewind moves both
            number, block_hash = (0, chain.block_hash(0)) if mark is None else mark
            heads[name] = Head(number, "0x" + (block_hash or bytes(32)).hex())
        return heads

    def _mempool(self) -> dict[str, int]:
        if self.pool is None:
            return {}
        waiting = len(self.pool.waiting())
        return {"pending": len(self.pool) - waiting, "parked": waiting}

    def _blocks(self) -> tuple[BlockSummary, ...]:
        if self.driver is None:
            return ()
        head = self.driver.executor.head.number
        return tuple(self._block(number) for number in range(head, max(-1, head - SHOWN_BLOCKS), -1))

    def _block(self, number: int) -> BlockSummary:
        driver = self.driver
        header = driver.executor.chain.header(number) if driver is not None else None
        extras = driver.executor.chain.extras(number) if driver is not None else None
        body = driver.executor.chain.body(number) if driver is not None else None
        if driver is None or header is None or extras is None:  # it left the chain this very moment
            return BlockSummary(number, "", 0, 0, 0, 0, "unsafe")
        state = "finalized" if number <= driver.finalized else "safe" if number <= driver.safe else "unsafe"
        return BlockSummary(
            number=number,
            hash="0x" + header.hash.hex(),
            timestamp=header.timestamp,
            transactions=0 if body is None else len(body.transactions),
            gas_used=header.gas_used,
            l1_origin_height=extras.origin.height,
            state=state,
        )

    def _inscriptions(self) -> tuple[InscriptionSummary, ...]:
        return () if self.inscriptions is None else self.inscriptions.latest()

    def _models(self) -> list[ModelSummary]:
        if self.driver is None:
            return []
        executor = self.driver.executor
        view = executor.view(executor.head.number)
        return [self._model(facts) for facts in read_models(view.storage)]

    def _model(self, facts: ModelFacts) -> ModelSummary:
        eligible = self.neurons.eligible(facts.model_id, 0) if self.neurons is not None else ()
        on_chain = facts.tier == Tier.ON_CHAIN
        rules = self.driver.executor.spec.rules() if self.driver is not None else None
        answerable = facts.active and (on_chain or bool(eligible))
        return ModelSummary(
            model_id="0x" + facts.model_id.hex(),
            name=self._model_name(facts),
            tier=TIER_NAMES[facts.tier],
            macs=facts.macs,
            input_bytes=facts.input_bytes,
            output_bytes_max=facts.output_bytes,
            callable=answerable,
            neurons=0 if on_chain else len(eligible),
            price_gas=(
                rules.infer_gas(int(facts.tier), facts.macs, facts.output_bytes, facts.input_bytes)
                if rules
                else None
            ),
            reason="" if answerable else "no eligible neuron",
        )

    def _model_name(self, facts: ModelFacts) -> str:
        """Return the name in a model's manifest, which every node stores."""
        if facts.model_id not in self._names and self.driver is not None:
            container = self.driver.container(facts.model_id)
            if container is not None:
                self._names[facts.model_id] = parse_announcement(container).manifest.name
        return self._names.get(facts.model_id, "")

    def _neurons(self) -> tuple[NeuronSummary, ...]:
        if self.neuron_server is None:
            return ()
        return tuple(
            NeuronSummary(
                "0x" + neuron.hex(), connected=True, models=tuple("0x" + each.hex() for each in models)
            )
            for neuron, models in self.neuron_server.connected.items()
        )

    # -- the RPC's facts ---------------------------------------------------------------------------

    def rpc_status(self) -> dict[str, Any]:
        """Return bitai_status: the same facts, and the node's child processes."""
        shown = asdict(self.status())
        shown["children"] = [
            {"name": child.name, "state": str(child.state), "pid": child.pid, "restarts": child.restarts}
            for child in (self.supervisor.reports() if self.supervisor is not None else ())
        ]
        lag = self.lag()
        shown["lag"] = lag
        shown["data_fee"] = self._data_fee()
        return shown

    def _data_fee(self) -> dict[str, int] | None:
        """Return what bytes on Bitcoin cost at the head: sats per 1,000 weight units, and the scalar in millionths."""
        if self.driver is None:
            return None
        executor = self.driver.executor
        try:
            info = read_l1_info(executor.view(executor.head.number).storage)
        except Rejected:  # the head left the chain this very moment
            return None
        return {"rate": info.fee_rate, "scalar": info.fee_scalar}

    def anchor(self, number: int) -> dict[str, Any] | None:
        """Return where a block stands on Bitcoin."""
        driver = self.driver
        extras = None if driver is None else driver.executor.chain.extras(number)
        if driver is None or extras is None:
            return None
        safe_at = driver.rows.safe_at(number) if number <= driver.safe else None
        rows = () if self.inscriptions is None else self.inscriptions.covering(number)
        return {
            "number": hex(number),
            "hash": "0x" + extras.hash.hex(),
            "originHeight": extras.origin.height,
            "originHash": display_hash(extras.origin.hash),
            "safeAtHeight": safe_at,
            "finalized": number <= driver.finalized,
            "inscriptions": [
                {
                    "commitTxid": row.commit_txid,
                    "revealTxid": row.reveal_txid,
                    "costSats": row.cost_sats,
                    "payloadBytes": row.payload_bytes,
                    "state": row.state,
                    "l1Height": row.l1_height,
                }
                for row in rows
            ],
        }

    def records(self, number: int) -> list[dict[str, Any]]:
        """Return a block's inference records; `transactionIndex` counts all of the block's transactions."""
        data = None if self.driver is None else self.driver.executor.chain.block_data(number)
        if data is None:
            return []
        offset = len(data.system_transactions)
        return [
            {
                "transactionIndex": hex(record.tx_index + offset),
                "requestHash": "0x" + record.request_hash.hex(),
                "status": record.status,
                "output": "0x" + record.output.hex(),
                "neuron": "0x" + record.neuron.hex(),
                "signature": "0x" + record.signature.hex(),
                "askHeight": record.ask_height,
            }
            for record in data.records
        ]

    def models(self) -> list[dict[str, Any]]:
        """Return the registered models."""
        return [
            {
                "modelId": model.model_id,
                "name": model.name,
                "tier": model.tier,
                "macs": model.macs,
                "inputBytes": model.input_bytes,
                "outputBytes": model.output_bytes_max,
                "priceGas": model.price_gas,
                "active": model.callable,
                "neurons": model.neurons,
            }
            for model in self._models()
        ]

    def progress(self) -> tuple[int, int]:
        """Return the heights of the last Bitcoin block worked through and of the newest one known."""
        reached = 0 if self.driver is None else self.driver.cursor.height
        return reached, reached + self.lag()

    def batch(self, number: int) -> dict[str, Any] | None:
        """Return the batch on Bitcoin that holds a block."""
        if self.driver is None or number > self.driver.safe:
            return None
        window = 2 * self.driver.config.parameters.channel_timeout  # a channel may wait for the one before it
        return batch_of(self.driver.rows, number, window=window, inscriptions=self.inscriptions)

    def outcomes(self, l1_height: int) -> list[dict[str, Any]] | None:
        """Return what a Bitcoin block did, in a list of one, or None for a block not worked through."""
        found = None if self.driver is None else self.driver.rows.outcome(l1_height)
        return None if found is None else [found]


class RpcFacts:
    """The RPC's `Facts` and `BitcoinFacts` over a report."""

    def __init__(self, report: NodeReport, chain_id: int) -> None:
        """Tell of one chain."""
        self._report = report
        self.chain_id = chain_id
        self.version = f"bitai-node/v{VERSION}"

    def status(self) -> dict[str, Any]:
        """See `NodeReport.rpc_status`."""
        return self._report.rpc_status()

    def anchor(self, number: int) -> dict[str, Any] | None:
        """See `NodeReport.anchor`."""
        return self._report.anchor(number)

    def records(self, number: int) -> list[dict[str, Any]]:
        """See `NodeReport.records`."""
        return self._report.records(number)

    def models(self) -> list[dict[str, Any]]:
        """See `NodeReport.models`."""
        return self._report.models()

    def outcomes(self, l1_height: int) -> list[dict[str, Any]] | None:
        """See `NodeReport.outcomes`."""
        return self._report.outcomes(l1_height)

    def progress(self) -> tuple[int, int]:
        """See `NodeReport.progress`."""
        return self._report.progress()

    def batch(self, number: int) -> dict[str, Any] | None:
        """See `NodeReport.batch`."""
        return self._report.batch(number)


def _scratch_of(driver: ChainDriver | None) -> int | None:
    """Return the last block that others share while a development node has one of its own above it."""
    scratch = None if driver is None else driver.scratch.now
    return None if scratch is None else scratch.base.number
