"""The chain as JSON-RPC reads it, at the instants between a block's write and its becoming the head."""

from bitai.rpc.backend import ChainBackend
from bitai.rpc.params import BlockId
from primitives.hashes import keccak256
from tests.vm.world import World
from vm.store import MemoryStore


class _PausedStore(MemoryStore):
    """Asks a question the moment a batch is visible, before its writer goes on."""

    question = None

    def write(self, batch, *, sync):
        """Write, then ask."""
        super().write(batch, sync=sync)
        if self.question is not None:
            self.question()


def test_a_receipt_is_found_only_with_its_state():
    """Who finds a transaction in a block finds the block's state under "latest": never the one before."""
    world = World(_PausedStore())
    backend = ChainBackend(world.executor)
    raw = world.alice.sign(b"\x01" * 20, value=1)
    transaction = keccak256(raw)
    executed = world.executor.execute(world.data(raw))
    seen = []

    def look():
        head = backend.resolve(BlockId(tag="latest"))
        place, by_hash = backend.place(transaction), backend.resolve(BlockId(hash=executed.hash))
        assert place is None or place.number <= head
        assert by_hash is None or by_hash <= head
        seen.append((head, place, by_hash))

    world.store.question = look
    world.executor.commit(executed)
    assert seen == [(0, None, None)]
    look()
    assert (seen[-1][0], seen[-1][1].number, seen[-1][2]) == (1, 1, 1)
