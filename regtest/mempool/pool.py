"""The graph of waiting transactions: who spends whom, what is connected with what."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from primitives.bitcoin.parser import ParsedTx
from primitives.errors import InvariantViolation
from primitives.ids import OutPoint, Txid, Wtxid
from regtest.coins import Coin
from regtest.mempool.entry import Entry
from regtest.mempool.linearize import Chunk, Node, linearize

Step: TypeAlias = Callable[[Entry], list[Entry]]


class Pool:
    """Entries in the order they came, which is an order where parents precede children."""

    def __init__(self) -> None:
        self._entries: dict[Txid, Entry] = {}
        self._by_wtxid: dict[Wtxid, Txid] = {}
        self._spenders: dict[OutPoint, Txid] = {}
        self._bytes = 0
        self._changes = 0

    def __contains__(self, txid: Txid) -> bool:
        return txid in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    @property
    def size(self) -> int:
        """Return the bytes of all transactions."""
        return self._bytes

    @property
    def sequence(self) -> int:
        """Return a number that grows with every arrival and departure."""
        return self._changes

    def find(self, txid: Txid) -> Entry | None:
        """Return an entry, None when it is not here."""
        return self._entries.get(txid)

    def entry(self, txid: Txid) -> Entry:
        """Return an entry that must be here; raises InvariantViolation `pool.unknown`."""
        entry = self._entries.get(txid)
        if entry is None:
            raise InvariantViolation("pool.unknown", "not in the mempool", txid=txid.hex())
        return entry

    def has_wtxid(self, wtxid: Wtxid) -> bool:
        """Tell whether exactly this transaction, witness included, is here."""
        return wtxid in self._by_wtxid

    def spender(self, outpoint: OutPoint) -> Txid | None:
        """Return which entry spends an output."""
        return self._spenders.get(outpoint)

    def output(self, outpoint: OutPoint, height: int) -> Coin | None:
        """Return an entry's output as a coin; an unconfirmed coin counts as made in the next block."""
        entry = self._entries.get(outpoint.txid)
        if entry is None or outpoint.vout >= len(entry.transaction.outputs):
            return None
        output = entry.transaction.outputs[outpoint.vout]
        return Coin(output.value, bytes(output.script), height, is_coinbase=False)

    def add(self, entry: Entry) -> None:
        """Let an entry in; raises InvariantViolation `pool.conflict` when something here spends the same."""
        for outpoint in entry.spends:
            if outpoint in self._spenders:
                raise InvariantViolation("pool.conflict", "an output is spent already", txid=entry.txid.hex())
        self._entries[entry.txid] = entry
        self._by_wtxid[entry.wtxid] = entry.txid
        for outpoint in entry.spends:
            self._spenders[outpoint] = entry.txid
        self._bytes += entry.size
        self._changes += 1

    def remove(self, txids: Iterable[Txid]) -> list[Entry]:
        """Take entries out, without those that depend on them; returns what was here."""
        removed = []
        for txid in txids:
            entry = self._entries.pop(txid, None)
            if entry is None:
                continue
            removed.append(entry)
            del self._by_wtxid[entry.wtxid]
            for outpoint in entry.spends:
                del self._spenders[outpoint]
            self._bytes -= entry.size
            self._changes += 1
        return removed

    def parents(self, transaction: ParsedTx) -> list[Entry]:
        """Return the entries that a transaction spends from, each once, in input order."""
        found: dict[Txid, Entry] = {}
        for entry in transaction.inputs:
            parent = self._entries.get(entry.prevout.txid)
            if parent is not None:
                found[parent.txid] = parent
        return list(found.values())

    def children(self, entry: Entry) -> list[Entry]:
        """Return the entries that spend from an entry, each once, in output order."""
        found: dict[Txid, Entry] = {}
        for vout in range(len(entry.transaction.outputs)):
            spender = self._spenders.get(OutPoint(entry.txid, vout))
            if spender is not None:
                found[spender] = self._entries[spender]
        return list(found.values())

    def ancestors(self, entry: Entry) -> list[Entry]:
        """Return an entry and everything it depends on, parents first."""
        return self._reach([entry], lambda each: self.parents(each.transaction))

    def descendants(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return entries and everything that depends on them, parents first."""
        return self._reach(entries, self.children)

    def cluster(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return all that is connected with the entries, parents first."""
        return self._reach(entries, lambda each: self.parents(each.transaction) + self.children(each))

    def clusters(self) -> list[list[Entry]]:
        """Return everything, divided into clusters, each parents first."""
        return split_clusters(list(self))

    def _reach(self, entries: Iterable[Entry], step: Step) -> list[Entry]:
        found: dict[Txid, Entry] = {}
        waiting = list(entries)
        while waiting:
            entry = waiting.pop()
            if entry.txid not in found:
                found[entry.txid] = entry
                waiting.extend(step(entry))
        return sort_by_dependency(list(found.values()))


def sort_by_dependency(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries so that parents precede children; otherwise the given order stays."""
    waiting = {entry.txid: entry for entry in entries}
    ordered: list[Entry] = []
    placed: set[Txid] = set()
    for root in entries:
        stack = [root]
        while stack:
            entry = stack[-1]
            missing = [
                waiting[outpoint.txid]
                for outpoint in entry.spends
                if outpoint.txid in waiting and outpoint.txid not in placed
            ]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            if entry.txid not in placed:
                placed.add(entry.txid)
                ordered.append(entry)
    return ordered


def split_clusters(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Divide entries, given parents first, into groups that share no edge, each parents first too."""
    group_of: dict[Txid, int] = {}
    groups: list[list[Entry]] = []
    for entry in entries:
        joined = sorted({group_of[spent.txid] for spent in entry.spends if spent.txid in group_of})
        if not joined:
            group_of[entry.txid] = len(groups)
            groups.append([entry])
            continue
        target = joined[0]
        for other in joined[1:]:
            for moved in groups[other]:
                group_of[moved.txid] = target
            groups[target].extend(groups[other])
            groups[other] = []
        group_of[entry.txid] = target
        groups[target].append(entry)
    return [group for group in groups if group]


def chunks_of(cluster: Sequence[Entry]) -> list[tuple[Chunk, list[Entry]]]:
    """Return a cluster's chunks with their entries, best first; the entries come parents first."""
    positions = {entry.txid: position for position, entry in enumerate(cluster)}
    nodes = [
        Node(
            entry.pays,
            tuple(positions[outpoint.txid] for outpoint in entry.spends if outpoint.txid in positions),
        )
        for entry in cluster
    ]
    return [(chunk, [cluster[position] for position in chunk.members]) for chunk in linearize(nodes)]
