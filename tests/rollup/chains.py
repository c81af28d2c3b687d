"""A Bitcoin of facts and an honest sequencer with its batcher: what derivation is tested against.

Nothing is signed or parsed here: envelopes are made as if a scan had found them valid.
"""

from dataclasses import dataclass, field, replace

from primitives.bitcoin.envelope import Envelope, EnvelopeHeader, EnvelopeKind
from primitives.hashes import sha256
from primitives.ids import Txid
from rollup.batch.channel import PLAIN, compress_batch, split_frames
from rollup.batch.codec import Batch, BatchBlock, BatchFormat, encode_batch
from rollup.config import Keys, L1Start, regtest_config
from rollup.derivation import machine
from rollup.derivation.events import L1Block, L1BlockFacts
from rollup.derivation.judge import DerivedHead
from rollup.derivation.state import begin_derivation
from rollup.limits import Limits
from rollup.parameters import REGTEST
from rollup.sequencer.rules import next_slot
from vm.system import L1Info, build_l1_info_transaction
from vm.types import L1Origin

BATCHER = sha256(b"batcher")
START_TIME = 1_700_000_000
START = L1Start(100, sha256(b"start"), (START_TIME,) * 11)


def make_config(limits=None, **parameters):
    """A regtest chain without accounts, some of its numbers changed."""
    keys = Keys(BATCHER, sha256(b"sequencer"), sha256(b"governance"))
    config = regtest_config(START, keys, bytes(20), parameters=replace(REGTEST, **parameters))
    return replace(config, limits=limits or Limits())


CONFIG = make_config()
GENESIS = DerivedHead(0, START.origin.mtp, START.origin)


def make_envelope(payload, *, kind=EnvelopeKind.BATCH_FRAME, number=0, index=0, signer=BATCHER, place=0):
    """An envelope as a scan yields it."""
    header = EnvelopeHeader(b"tagg", kind, number, index, len(payload), sha256(payload), bytes(64))
    return Envelope(header, signer, payload, Txid(sha256(payload)), place, 0)


def make_frames(content, number, size=10**6):
    """The envelopes of a channel's frames, by index."""
    payloads = split_frames(content, size)
    return [make_envelope(payload, number=number, index=index) for index, payload in enumerate(payloads)]


def make_channel(blocks, number, size=10**6, first_number=None):
    """The envelopes of a channel with these blocks: (number, BatchBlock) each."""
    batch = Batch(blocks[0][0] if first_number is None else first_number, tuple(block for _, block in blocks))
    form = BatchFormat(CONFIG.chain_id, CONFIG.parameters.block_time_s)
    return make_frames(compress_batch(encode_batch(form, batch), PLAIN), number, size)


@dataclass
class FakeBitcoin:
    """Blocks of facts, one after the other; a branch makes other hashes at equal heights."""

    branch: bytes = b""
    blocks: list = field(default_factory=list)
    tip: L1Origin = START.origin

    def mine(self, *envelopes, after_s=600):
        """Add a block with these envelopes, in order; its median time past follows the last by `after_s`."""
        height = self.tip.height + 1
        placed = tuple(replace(envelope, tx_index=place) for place, envelope in enumerate(envelopes, 1))
        facts = L1BlockFacts(
            height=height,
            hash=sha256(self.tip.hash + self.branch),
            prev_hash=self.tip.hash,
            time=self.tip.mtp + after_s,
            mtp=self.tip.mtp + after_s,
            fee_rate=25,
            envelopes=placed,
        )
        self.blocks.append(facts)
        self.tip = facts.origin
        return facts

    def origin(self, height):
        """The block at a height, None above the tip."""
        if height == START.height:
            return START.origin
        place = height - START.height - 1
        return self.blocks[place].origin if 0 <= place < len(self.blocks) else None

    def fork(self, to_height, branch):
        """Another Bitcoin that shares the blocks up to a height."""
        kept = self.blocks[: to_height - START.height]
        return FakeBitcoin(branch, list(kept), kept[-1].origin if kept else START.origin)


@dataclass
class HonestSequencer:
    """Makes blocks by the sequencer's rules, each with one transaction unless it has to be empty."""

    bitcoin: FakeBitcoin
    head: DerivedHead = GENESIS
    parameters: object = REGTEST
    made: list = field(default_factory=list)

    def make(self, *, now_s=None, advance=True, transactions=None):
        """Make the next block; without `advance` it looks back to the same origin as the last."""
        upcoming = self.bitcoin.origin(self.head.origin.height + 1) if advance else None
        now = self.head.timestamp + 2 if now_s is None else now_s
        slot = next_slot(self.parameters, self.head, upcoming, now)
        number = self.head.number + 1
        chosen = (b"transaction %d" % number,) if transactions is None else transactions
        block = BatchBlock(
            slot.timestamp, slot.origin.height, slot.origin.hash[:4], () if slot.empty_only else chosen, ()
        )
        self.head = DerivedHead(number, slot.timestamp, slot.origin)
        self.made.append((number, block))
        return number, block


def epoch_transactions(facts):
    """What leads an epoch, as far as derivation knows."""
    return (build_l1_info_transaction(L1Info(facts.origin, facts.fee_rate, 0)),)


def derive(config, blocks, state=None):
    """Feed facts; return the last state, the blocks derived, and the outcome of each height."""
    state = state or begin_derivation(config)
    derived, outcomes = [], []
    for facts in blocks:
        transition = machine.step(config, state, L1Block(facts, epoch_transactions(facts)))
        state = transition.state
        (signal,) = transition.signals
        derived += signal.blocks
        outcomes.append(signal.outcome)
    return state, derived, outcomes
