"""Bitcoin, two nodes and users: a process that dies loses everything but its disk, and the world goes on."""

from l1.fees import FeePolicy
from l1.inscriber import InscriberConfig
from l1.inscription_package import SigningKeys
from l1.keys import open_wallet_key
from l1.transitions import SendRules
from primitives.bitcoin.header import parse_header
from primitives.curve import xonly_public_key
from primitives.ids import Address
from rollup.batcher.state import BatcherConfig
from rollup.config import Keys, L1Start, regtest_config
from tests.bitai.chain_nodes import (
    NEURON,
    SEQUENCER_SECRET,
    Crash,
    CrashingStore,
    FullNode,
    HandClock,
    SequencingNode,
)
from tests.bitai.committed_bitcoin import CommittedBitcoin
from vm.dev_accounts import funded_dev_accounts
from vm.genesis import GenesisNeuron

BATCHER_SECRET = b"\x07" * 32
WALLET = open_wallet_key(b"\x05" * 32)
SENDS = ("send.after", "admission.answered", "dispatch.send", "feed.send")


class World:
    """Bitcoin, two processes, and users; `crash_at` is the line on which the process that runs dies."""

    def __init__(self):
        self.bitcoin, self.clock = CommittedBitcoin(), HandClock()
        self.bitcoin.mine(12)
        self.config = _config(self.bitcoin)
        rules = SendRules(finality_depth=self.config.parameters.finality_depth)
        inscriber = InscriberConfig(
            SigningKeys(WALLET, BATCHER_SECRET), rules, fees=FeePolicy(max_bumps=30), headroom_percent=300
        )
        self.posting = BatcherConfig(rollup=self.config, inscriber=inscriber, post_age_ms=0)
        self.bitcoin.fund(WALLET.script, 20_000_000, 6)
        self.sent, self.answered = [], set()
        self.sites, self.moves = [], []
        self.crash_at, self.power_cut = None, False
        self.crashes, self.next_crash = [], lambda: None
        self.disks = {name: CrashingStore({}, self.line) for name in ("sequencer", "full")}
        self.nodes = {}

    def line(self, site):
        """Pass a line on which the process may die."""
        if site in SENDS or (site.startswith("disk.") and site.endswith(".after")):
            self.moves.append(len(self.sites))
        self.sites.append(site)
        if self.crash_at is not None and len(self.sites) >= self.crash_at:
            raise Crash(site)

    def distinct_lines(self):
        """Return one line, counted from 1, of each run of lines between which nothing left the process.

        To die on one or another of such a run is the same to the world.
        """
        return sorted({move + 1 for move in self.moves if move < len(self.sites)})

    def unanswered(self):
        """What users sent and have heard nothing of."""
        return [raw for raw in self.sent if raw not in self.answered]

    async def live(self):
        """Let both processes work until nothing moves any more; whoever dies is started again."""
        for _ in range(200):
            before = self.freeze()
            for name in self.disks:
                self.moves.append(len(self.sites))
                try:
                    await self._run(name)
                except Crash as crash:
                    self.crashes.append(str(crash))
                    await self.kill(name)
                    self.crash_at = self.next_crash()
            if len(self.nodes) == len(self.disks) and self.freeze() == before:
                return
        raise AssertionError("the world does not come to rest")

    async def _run(self, name):
        if name == "sequencer":
            self.nodes[name] = node = self.nodes.get(name) or SequencingNode(self, self.disks[name])
            await node.live()
        elif "sequencer" in self.nodes:
            self.nodes[name] = node = self.nodes.get(name) or FullNode(self, self.disks[name])
            await node.live(self.nodes["sequencer"])

    async def kill(self, name):
        """End a process without a word: its disk is all that stays of it."""
        disk = self.disks[name]
        self.disks[name] = CrashingStore((disk.durable if self.power_cut else disk).rows, self.line)
        node = self.nodes.pop(name, None)
        if node is not None:
            await node.end()
        if self.power_cut:  # transactions on their way may be lost with the power, and their senders know
            self.answered.clear()

    def freeze(self):
        """Return everything that outlives the processes; equal worlds go on equally once all are restarted."""
        disks = {name: disk.rows for name, disk in self.disks.items()}
        return disks, self.bitcoin.freeze(), self.clock.ms, list(self.sent), set(self.answered)

    async def thaw(self, frozen):
        """Be what `freeze` saw, with all processes ended, and count lines anew."""
        for name in list(self.nodes):
            await self.kill(name)
        self.sites, self.moves, self.crashes, self.crash_at = [], [], [], None
        disks, bitcoin, self.clock.ms, sent, answered = frozen
        self.disks = {name: CrashingStore(rows, self.line) for name, rows in disks.items()}
        self.bitcoin.thaw(bitcoin)
        self.sent, self.answered = list(sent), set(answered)


def _config(bitcoin):
    times = tuple(parse_header(block.raw[:80]).time for block in bitcoin.chain()[-11:])
    start = L1Start(bitcoin.tip.height, bitcoin.tip.hash, times)
    batcher, sequencer = xonly_public_key(BATCHER_SECRET), xonly_public_key(SEQUENCER_SECRET)
    return regtest_config(
        start,
        Keys(batcher, sequencer, sequencer),
        Address(bytes(20)),
        accounts=funded_dev_accounts(),
        neurons=(GenesisNeuron(NEURON, NEURON),),
    )
