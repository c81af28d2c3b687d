"""Bitcoin in a dictionary: an oracle for the machines, written without any of their code.

It reads transactions with python-bitcoinlib, keeps every block, and works out coins by walking the active
chain from its first block. Its mempool follows Core's rules as far as a sender can feel them: fees,
conflicts, replacement, clusters, eviction, loss. Scripts are not checked; other tests do that with the
kernel.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from bitcoin.core import CTransaction

from l1.ports import ChainPoint, SendOutcome, Verdict
from primitives.bitcoin.header import BlockHeader, parse_header
from primitives.errors import Rejected, Temporary
from primitives.hashes import sha256d
from primitives.ids import Hash32, L1Hash, OutPoint, Txid

REGTEST_BITS = 0x207FFFFF
BLOCK_SECONDS = 600
START_TIME = 1_700_000_000
SUBSIDY = 50 * 100_000_000
NOBODY = b"\x51"
COMMITMENT_MARK = bytes.fromhex("6a24aa21a9ed")


@dataclass(frozen=True)
class FakeBlock:
    """One block: its place, its bytes, and its transactions' bytes, coinbase first."""

    point: ChainPoint
    previous: L1Hash
    raw: bytes
    transactions: tuple[bytes, ...]


@dataclass
class Coins:
    """Unspent outputs as of one block: outpoint to (sats, script)."""

    unspent: dict[OutPoint, tuple[int, bytes]] = field(default_factory=dict)
    txids: set[Txid] = field(default_factory=set)


class FakeBitcoin:
    """A node as a sender sees it; implements the ports L1Source and L1Broadcaster."""

    def __init__(
        self, *, min_rate: int = 1_000, cluster_vbytes: int = 101_000, cluster_count: int = 64
    ) -> None:
        self.min_rate = min_rate
        self.cluster_vbytes = cluster_vbytes
        self.cluster_count = cluster_count
        self.estimate: int | None = None
        self.down = False
        self.packages = True
        self.mempool: dict[Txid, bytes] = {}
        self.accepted: list[Txid] = []
        self.blocks: dict[L1Hash, FakeBlock] = {}
        self._coins: dict[L1Hash, Coins] = {}
        self._salt = 0
        genesis = self._make_block(None, ())
        self.tip = genesis.point

    # ports

    async def best_tip(self) -> ChainPoint:
        """See L1Source."""
        self._require_up()
        return self.tip

    async def block_hash(self, height: int) -> L1Hash:
        """See L1Source."""
        self._require_up()
        chain = self.chain()
        if not 0 <= height < len(chain):
            raise Rejected("l1.unknown_height", "no block at this height", height=height)
        return chain[height].point.hash

    async def header(self, block_hash: L1Hash) -> BlockHeader:
        """See L1Source."""
        self._require_up()
        return parse_header(self._known(block_hash).raw[:80])

    async def raw_block(self, block_hash: L1Hash) -> bytes:
        """See L1Source."""
        self._require_up()
        return self._known(block_hash).raw

    async def send(self, raw: bytes) -> SendOutcome:
        """See L1Broadcaster."""
        self._require_up()
        outcome = self._judge(raw, self.min_rate)
        if outcome.verdict is Verdict.ACCEPTED:
            self._admit(raw)
        return outcome

    async def send_package(self, raws: Sequence[bytes]) -> SendOutcome:
        """See L1Broadcaster: a parent and a child whose fees are added up."""
        self._require_up()
        if not self.packages:
            return SendOutcome(Verdict.UNSUPPORTED, "submitpackage")
        before = dict(self.mempool)
        for raw in raws:
            outcome = self._judge(raw, 0)
            if outcome.verdict is Verdict.ACCEPTED:
                self._admit(raw)
            if not outcome.verdict.holds:
                self.mempool = before
                return outcome
        fee = sum(self.fee_of(raw) for raw in raws)
        if fee * 1_000 < self.min_rate * sum(vbytes_of(raw) for raw in raws):
            self.mempool = before
            return SendOutcome(Verdict.FEE_TOO_LOW, "package fee too low")
        return SendOutcome(Verdict.ACCEPTED)

    async def test_accept(self, raw: bytes) -> SendOutcome:
        """See L1Broadcaster."""
        self._require_up()
        return self._judge(raw, self.min_rate)

    async def in_mempool(self, txid: Txid) -> bool:
        """See L1Broadcaster."""
        self._require_up()
        return txid in self.mempool

    async def fee_rate(self, target_blocks: int) -> int | None:
        """See L1Broadcaster."""
        self._require_up()
        return self.estimate

    # the world's own doings

    def chain(self) -> list[FakeBlock]:
        """Return the active chain from its first block."""
        walked = [self.blocks[self.tip.hash]]
        while walked[-1].point.height:
            walked.append(self.blocks[walked[-1].previous])
        return walked[::-1]

    def coins(self) -> Coins:
        """Return the unspent outputs of the active chain."""
        chain = self.chain()
        start = next((i for i in range(len(chain) - 1, -1, -1) if chain[i].point.hash in self._coins), None)
        known = Coins() if start is None else self._coins[chain[start].point.hash]
        coins = Coins(dict(known.unspent), set(known.txids))
        for block in chain[0 if start is None else start + 1 :]:
            for raw in block.transactions:
                spend_and_create(coins, raw)
        self._coins[self.tip.hash] = Coins(dict(coins.unspent), set(coins.txids))
        return coins

    def mine(self, count: int = 1, *, pay_to: bytes = NOBODY, only: Iterable[Txid] | None = None) -> None:
        """Extend the chain; the first block takes what the mempool holds (or `only` these of it)."""
        for index in range(count):
            wanted = set(self.mempool if only is None else only) if index == 0 else set()
            chosen = self._in_order(wanted)
            block = self._make_block(self.tip, tuple(self.mempool[txid] for txid in chosen), pay_to)
            self.tip = block.point
            for txid in chosen:
                del self.mempool[txid]
            self._drop_conflicts()

    def mine_foreign(self, raw: bytes) -> None:
        """Mine one transaction that was never in the mempool."""
        self.tip = self._make_block(self.tip, (raw,)).point
        self._drop_conflicts()

    def fund(self, script: bytes, sats: int, count: int = 1) -> None:
        """Mine one block with a transaction from nowhere that pays a script."""
        outputs = b"".join(sats.to_bytes(8, "little") + bytes([len(script)]) + script for _ in range(count))
        self._salt += 1
        source = sha256d(b"faucet" + self._salt.to_bytes(4, "big"))
        raw = (
            bytes.fromhex("0200000001")
            + source
            + bytes(4)
            + b"\0"
            + b"\xff" * 4
            + bytes([count])
            + outputs
            + bytes(4)
        )
        self.tip = self._make_block(self.tip, (raw,)).point

    def rewind(self, depth: int, *, keep_transactions: bool = True) -> None:
        """Leave the newest blocks; what they held goes back to the mempool, or is forgotten."""
        for _ in range(depth):
            block = self.blocks[self.tip.hash]
            parent = self.blocks[block.previous]
            self.tip = parent.point
            if keep_transactions:
                returned = {Txid(txid_of(raw)): raw for raw in block.transactions[1:]}
                self.mempool = {**returned, **self.mempool}
        self._drop_conflicts()

    def reorg(self, depth: int, *, keep_transactions: bool = True, include: bool = True) -> None:
        """Replace the newest blocks by one more of others; `include` mines the mempool into the first."""
        self.rewind(depth, keep_transactions=keep_transactions)
        self.mine(depth + 1, only=None if include else ())

    def lose_mempool(self) -> None:
        """Forget every waiting transaction, as a killed node does."""
        self.mempool = {}

    def fee_of(self, raw: bytes) -> int:
        """Return the fee of a transaction whose inputs are coins or in the mempool."""
        transaction = decode(raw)
        known = self._spendable()
        total = sum(known[outpoint_of(entry)][0] for entry in transaction.vin)
        return total - sum(output.nValue for output in transaction.vout)

    # inside

    def _require_up(self) -> None:
        if self.down:
            raise Temporary("l1.unreachable", "the node is away")

    def _known(self, block_hash: L1Hash) -> FakeBlock:
        if block_hash not in self.blocks:
            raise Rejected("l1.unknown_block", "no such block")
        return self.blocks[block_hash]

    def _spendable(self) -> dict[OutPoint, tuple[int, bytes]]:
        known = dict(self.coins().unspent)
        for txid, raw in self.mempool.items():
            for vout, output in enumerate(decode(raw).vout):
                known[OutPoint(txid, vout)] = (output.nValue, bytes(output.scriptPubKey))
        return known

    def _judge(self, raw: bytes, min_rate: int) -> SendOutcome:
        transaction = decode(raw)
        txid = Txid(transaction.GetTxid())
        coins = self.coins()
        if txid in self.mempool:
            return SendOutcome(Verdict.KNOWN)
        if txid in coins.txids and any(outpoint.txid == txid for outpoint in coins.unspent):
            return SendOutcome(Verdict.IN_CHAIN)
        known = self._spendable()
        spent = [outpoint_of(entry) for entry in transaction.vin]
        if any(outpoint not in known for outpoint in spent):
            return SendOutcome(Verdict.MISSING_INPUTS, "bad-txns-inputs-missingorspent")
        fee = self.fee_of(raw)
        dust = any(output.nValue < 330 for output in transaction.vout)
        if fee < 0 or dust or weight_of(raw) > 400_000:
            return SendOutcome(Verdict.POLICY, "bad-txns-in-belowout, dust or tx-size")
        if fee * 1_000 < min_rate * vbytes_of(raw):
            return SendOutcome(Verdict.FEE_TOO_LOW, "min relay fee not met")
        replaced = self._descendants(
            other for other, entry in self.mempool.items() if set(inputs_of(entry)) & set(spent)
        )
        if replaced:
            old = sum(self.fee_of(self.mempool[other]) for other in replaced)
            if fee * 1_000 < old * 1_000 + 100 * vbytes_of(raw):
                return SendOutcome(Verdict.FEE_TOO_LOW, "insufficient fee")
        if not self._fits_cluster(txid, raw, replaced):
            return SendOutcome(Verdict.CLUSTER_FULL, "too-large-cluster")
        return SendOutcome(Verdict.ACCEPTED)

    def _admit(self, raw: bytes) -> None:
        spent = set(inputs_of(raw))
        gone = self._descendants(o for o, entry in self.mempool.items() if set(inputs_of(entry)) & spent)
        for txid in gone:
            del self.mempool[txid]
        self.mempool[Txid(txid_of(raw))] = raw
        self.accepted.append(Txid(txid_of(raw)))

    def _descendants(self, roots: Iterable[Txid]) -> set[Txid]:
        found = set(roots)
        for txid, raw in self.mempool.items():
            if any(outpoint.txid in found for outpoint in inputs_of(raw)):
                found.add(txid)
        return found

    def _fits_cluster(self, txid: Txid, raw: bytes, replaced: set[Txid]) -> bool:
        pool = {key: value for key, value in self.mempool.items() if key not in replaced} | {txid: raw}
        cluster, grew = {txid}, True
        while grew:
            grew = False
            for key, value in pool.items():
                parents = {outpoint.txid for outpoint in inputs_of(value)}
                children = any(key in {o.txid for o in inputs_of(pool[member])} for member in cluster)
                if key not in cluster and (parents & cluster or children):
                    cluster.add(key)
                    grew = True
        return (
            sum(vbytes_of(pool[key]) for key in cluster) <= self.cluster_vbytes
            and len(cluster) <= self.cluster_count
        )

    def _drop_conflicts(self) -> None:
        coins = self.coins()
        kept: dict[Txid, bytes] = {}
        for txid, raw in self.mempool.items():
            alive = all(outpoint in coins.unspent or outpoint.txid in kept for outpoint in inputs_of(raw))
            if alive and txid not in coins.txids:
                kept[txid] = raw
        self.mempool = kept

    def _in_order(self, wanted: set[Txid]) -> list[Txid]:
        """Return wanted transactions, parents first, those without their parents left out."""
        coins = self.coins()
        chosen: list[Txid] = []
        weight = 4_000
        for txid, raw in self.mempool.items():
            ready = all(o in coins.unspent or o.txid in chosen for o in inputs_of(raw))
            if txid in wanted and ready and weight + weight_of(raw) <= 4_000_000:
                chosen.append(txid)
                weight += weight_of(raw)
        return chosen

    def _make_block(
        self, parent: ChainPoint | None, transactions: tuple[bytes, ...], pay_to: bytes = NOBODY
    ) -> FakeBlock:
        height = parent.height + 1 if parent else 0
        previous = parent.hash if parent else L1Hash(bytes(32))
        self._salt += 1
        coinbase = make_coinbase(height, self._salt, transactions, pay_to)
        everything = (coinbase, *transactions)
        root = merkle_root([txid_of(raw) for raw in everything])
        time = START_TIME + BLOCK_SECONDS * height
        nonce = 0
        header = BlockHeader(0x20000000, previous, Hash32(root), time, REGTEST_BITS, nonce)
        while not header.meets_target:
            nonce += 1
            header = BlockHeader(0x20000000, previous, Hash32(root), time, REGTEST_BITS, nonce)
        raw = header.encode() + compact_size(len(everything)) + b"".join(everything)
        block = FakeBlock(ChainPoint(height, header.hash), previous, raw, everything)
        self.blocks[header.hash] = block
        return block


def make_coinbase(height: int, salt: int, transactions: Sequence[bytes], pay_to: bytes) -> bytes:
    """Return a coinbase with the witness commitment (BIP 141); `salt` tells the blocks of one height apart."""
    tag = height.to_bytes(4, "little") + salt.to_bytes(4, "little")
    witness_root = merkle_root([bytes(32), *(sha256d(raw) for raw in transactions)])
    note = COMMITMENT_MARK + sha256d(witness_root + bytes(32))
    outputs = SUBSIDY.to_bytes(8, "little") + bytes([len(pay_to)]) + pay_to
    outputs += bytes(8) + bytes([len(note)]) + note
    inputs = b"\x01" + bytes(32) + b"\xff" * 4 + bytes([len(tag)]) + tag + b"\xff" * 4
    return bytes.fromhex("020000000001") + inputs + b"\x02" + outputs + b"\x01\x20" + bytes(32) + bytes(4)


@lru_cache(maxsize=4_096)
def decode(raw: bytes) -> CTransaction:
    """Return python-bitcoinlib's view of a transaction."""
    return CTransaction.deserialize(raw)


def spend_and_create(coins: Coins, raw: bytes) -> None:
    """Apply one transaction to a set of coins."""
    transaction = decode(raw)
    txid = Txid(transaction.GetTxid())
    for entry in transaction.vin:
        coins.unspent.pop(outpoint_of(entry), None)
    for vout, output in enumerate(transaction.vout):
        coins.unspent[OutPoint(txid, vout)] = (output.nValue, bytes(output.scriptPubKey))
    coins.txids.add(txid)


def outpoint_of(entry: object) -> OutPoint:
    """Return python-bitcoinlib's prevout as ours."""
    return OutPoint(Txid(entry.prevout.hash), entry.prevout.n)


def inputs_of(raw: bytes) -> list[OutPoint]:
    """Return what a transaction spends."""
    return [outpoint_of(entry) for entry in decode(raw).vin]


def txid_of(raw: bytes) -> bytes:
    """Return a transaction's id, internal order."""
    return decode(raw).GetTxid()


def weight_of(raw: bytes) -> int:
    """Return a transaction's weight."""
    stripped = decode(raw)
    bare = CTransaction(stripped.vin, stripped.vout, stripped.nLockTime, stripped.nVersion)
    return 3 * len(bare.serialize()) + len(raw)


def vbytes_of(raw: bytes) -> int:
    """Return a transaction's virtual size."""
    return (weight_of(raw) + 3) // 4


def compact_size(count: int) -> bytes:
    """Return Bitcoin's variable-length integer, up to 16 bits."""
    return bytes([count]) if count < 0xFD else b"\xfd" + count.to_bytes(2, "little")


def merkle_root(hashes: list[bytes]) -> bytes:
    """Return the root over txids, an odd last one doubled."""
    while len(hashes) > 1:
        if len(hashes) % 2:
            hashes = [*hashes, hashes[-1]]
        hashes = [sha256d(hashes[i] + hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]
