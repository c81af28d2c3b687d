"""Drive the inscriber against the fake Bitcoin, the way a driver does, with a crash at any chosen line."""

import asyncio
from collections import Counter

from l1.fees import FeePolicy
from l1.inscriber import (
    Answered,
    BlockConnected,
    BlockDisconnected,
    Cancel,
    Enqueue,
    FeeEstimated,
    InscriberConfig,
    InscriberEvent,
    InscriberState,
    Looked,
    Restarted,
    RowChanged,
    Send,
    Ticked,
    Transition,
    step,
)
from l1.inscription_package import SigningKeys
from l1.journal import diff_state, load_state
from l1.keys import open_wallet_key
from l1.transitions import SendRules
from l1.wallet import Wallet
from primitives.bitcoin.envelope import EnvelopeKind, build_header, encode_leaf, scan_block
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.curve import xonly_public_key
from primitives.hashes import sha256
from tests.l1.fake_bitcoin import FakeBitcoin

SIGNER = b"\x07" * 32
KEYS = SigningKeys(open_wallet_key(b"\x05" * 32), SIGNER)
IDENTITY = sha256(b"test")
FINALITY = 6


class Crash(Exception):
    """The process died on this line."""


def make_leaf(payload: bytes, number: int, index: int = 0) -> bytes:
    """Return the leaf of one envelope."""
    header = build_header(
        SIGNER, EnvelopeKind.BATCH_FRAME, payload, identity=IDENTITY, number=number, index=index
    )
    return encode_leaf(EnvelopeCodec.IF520, xonly_public_key(SIGNER), header, payload)


def make_config(**changes: object) -> InscriberConfig:
    """Return a configuration with small windows."""
    settings = {
        "keys": KEYS,
        "rules": SendRules(finality_depth=FINALITY),
        "fees": FeePolicy(),
        "lane_sats": 50_000,
    }
    return InscriberConfig(**{**settings, **changes})


def inscribed(bitcoin: FakeBitcoin) -> Counter[tuple[int, int]]:
    """Return how often each (number, index) stands on the active chain."""
    found: Counter[tuple[int, int]] = Counter()
    for block in bitcoin.chain():
        for envelope in scan_block(block.raw, IDENTITY).envelopes:
            found[envelope.header.number, envelope.header.index] += 1
    return found


class Rig:
    """One wallet and its rows on one fake Bitcoin; `crash_at` counts persists and sends down to a Crash."""

    def __init__(self, bitcoin: FakeBitcoin, config: InscriberConfig | None = None) -> None:
        self.bitcoin = bitcoin
        self.config = config or make_config()
        self.disk: dict[bytes, bytes] = {}
        self.now_ms = 0
        self.crash_at: int | None = None
        self.lines = 0
        self.signals: list[object] = []
        self.state = InscriberState(Wallet(KEYS.wallet.script, bitcoin.chain()[0].point))
        self.stored: InscriberState | None = None
        self.persist()

    def restart(self) -> None:
        """Come back with what the disk holds."""
        state = load_state(self.disk, KEYS.wallet.script)
        assert state is not None
        self.state = self.stored = state
        self.apply(Restarted())

    def apply(self, event: InscriberEvent) -> Transition:
        """Step once; nothing is stored yet."""
        transition = step(self.config, self.state, event)
        self.state = transition.state
        self.signals.extend(transition.signals)
        return transition

    def persist(self) -> None:
        """Write what changed, atomically, with a chance to die before and after."""
        self.line()
        for key, value in diff_state(self.stored, self.state):
            if value is None:
                self.disk.pop(key, None)
            else:
                self.disk[key] = value
        self.stored = self.state
        self.line()

    def line(self) -> None:
        """Pass a place where the process may die."""
        self.lines += 1
        if self.crash_at is not None and self.lines >= self.crash_at:
            self.crash_at = None
            raise Crash

    def follow(self) -> None:
        """Bring the machine to the oracle's tip."""
        chain = self.bitcoin.chain()
        while (tip := self.state.wallet.tip) and (tip.height >= len(chain) or chain[tip.height].point != tip):
            self.apply(BlockDisconnected(tip))
        for block in chain[self.state.wallet.tip.height + 1 :]:
            self.apply(BlockConnected(block.point.height, block.raw))

    def run(self, passes: int = 6) -> None:
        """Collect, step, persist, dispatch, until nothing is left to do or the passes end."""
        for _ in range(passes):
            self.follow()
            self.apply(FeeEstimated(self.bitcoin.estimate))
            self.now_ms += 1_000
            duties = self.apply(Ticked(self.now_ms)).duties
            self.persist()
            for duty in duties:
                self.line()
                if isinstance(duty, Send):
                    sent = (
                        self.bitcoin.send(duty.raws[0])
                        if len(duty.raws) == 1
                        else self.bitcoin.send_package(duty.raws)
                    )
                    outcome = asyncio.run(sent)
                    self.line()
                    self.apply(Answered(duty.row_id, duty.txids, outcome, self.now_ms))
                else:
                    present = asyncio.run(self.bitcoin.in_mempool(duty.txid))
                    self.apply(Looked(duty.row_id, duty.txid, present))
            if not duties:
                break

    def enqueue(self, leaves: list[bytes], purpose: str = "batch", priority: int = 0) -> int:
        """Ask for an inscription, durably."""
        row_id = self.state.next_row_id
        self.apply(Enqueue(purpose, b"", tuple(leaves), priority))
        self.persist()
        return row_id

    def cancel(self, row_id: int) -> None:
        """Drop a queued row."""
        self.apply(Cancel(row_id, "no longer wanted"))

    def statuses(self, row_id: int) -> list[str]:
        """Return the statuses that a row went through, in order, each once in a row."""
        seen = [
            signal.row.status.name
            for signal in self.signals
            if isinstance(signal, RowChanged) and signal.row.row_id == row_id
        ]
        return [name for i, name in enumerate(seen) if i == 0 or name != seen[i - 1]]
