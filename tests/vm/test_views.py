"""The state of an older block is what it was when it was the head, proofs included."""

from threading import Event, Thread

import pytest

from primitives import rlp
from primitives.errors import Rejected
from primitives.hashes import keccak256
from tests.vm.world import World, selector
from vm import _core, schema, views
from vm.dev_accounts import funded_dev_accounts
from vm.schema import BlockId
from vm.store import MemoryStore, WriteBatch

TARGET = b"\x77" * 20


def nibbles(data: bytes) -> list[int]:
    """Half-bytes of a key, high first."""
    return [half for byte in data for half in (byte >> 4, byte & 15)]


def follow(root: bytes, key: bytes, proof: list[bytes]) -> bytes | None:
    """Walk a Merkle-Patricia proof; the value at the key, or None where the proof shows absence."""
    path, expected = nibbles(keccak256(key)), root
    for index, encoded in enumerate(proof):
        node = rlp.decode(encoded)
        assert encoded == expected or keccak256(encoded) == expected, (
            f"node {index} is not the one pointed to"
        )
        while True:
            if len(node) == 17:
                if not path:
                    return node[16] or None
                child, path = node[path[0]], path[1:]
            else:
                prefix = nibbles(node[0])
                leaf, odd = prefix[0] & 2, prefix[0] & 1
                prefix = prefix[1 if odd else 2 :]
                if path[: len(prefix)] != prefix:
                    return None
                child, path = node[1], path[len(prefix) :]
                if leaf:
                    return child if not path else None
            if isinstance(child, list):  # a short node stands inside its parent
                node = child
                continue
            if child == b"":
                return None
            expected = child
            break
    return None


def finalize(world: World, number: int):
    """Note a block as finalized, as the driver does."""
    batch, block_hash = WriteBatch(), world.executor.chain.block_hash(number)
    batch.put(schema.META_FINALIZED, schema.encode_block_id(BlockId(number, block_hash)))
    world.store.write(batch, sync=True)


def facts_of(world: World, number: int, token: bytes):
    """What a view of a block says, proofs checked against its header."""
    view = world.executor.view(number)
    header = world.executor.chain.header(number)
    slot = keccak256(TARGET.rjust(32, b"\0") + (3).to_bytes(32, "big"))
    proof = view.proof(token, [bytes(31) + b"\2", slot, b"\5" * 32])
    leaf = follow(header.state_root, token, proof.account_proof)
    expected = [
        rlp.encode_int(proof.nonce),
        rlp.encode_int(proof.balance),
        proof.storage_root,
        proof.code_hash,
    ]
    if proof.code_hash == _core.EMPTY_CODE_HASH and proof.nonce == 0:
        assert leaf is None
    else:
        assert rlp.decode(leaf) == expected
    for entry in proof.storage_proofs:
        value = follow(proof.storage_root, entry.slot, entry.proof)
        assert (0 if value is None else int.from_bytes(rlp.decode(value), "big")) == entry.value
    call = _core.Message(to=token, input=selector("balanceOf(address)") + TARGET.rjust(32, b"\0"))
    called = world.executor.simulator.call(view, call)
    return (
        [view.balance(account.address) for account in world.accounts],
        [view.nonce(account.address) for account in world.accounts],
        view.balance(TARGET),
        view.code(token),
        [view.storage(token, bytes([index]).rjust(32, b"\0")) for index in range(4)],
        view.storage(token, slot),
        [(entry.slot, entry.value) for entry in proof.storage_proofs],
        (called.kind, called.output),
    )


@pytest.fixture
def grown():
    """A world with some blocks, its token, and what each block's state said while it was the head."""
    world = World()
    token = world.deploy("Token", "T", "T", 10**6)
    seen = {1: facts_of(world, 1, token)}
    for step in range(5):
        data = selector("transfer(address,uint256)") + TARGET.rjust(32, b"\0") + step.to_bytes(32, "big")
        world.run(world.alice.sign(TARGET, value=step), world.alice.sign(token, data=data), epochs=step % 2)
        seen[world.executor.head.number] = facts_of(world, world.executor.head.number, token)
    return world, token, seen


def test_older_states_are_what_they_were(grown):
    """Balances, nonces, code, storage, calls and proofs of every kept block are those seen at the time."""
    world, token, seen = grown
    for number in reversed(seen):
        assert facts_of(world, number, token) == seen[number]
    assert facts_of(world, 0, token)[3] == b""


def test_a_view_stays_with_its_block(grown):
    """A view opened at the head still answers for that block when the chain has moved on."""
    world, token, seen = grown
    number = world.executor.head.number
    view = world.executor.view(number)
    before = view.balance(TARGET)
    world.run(world.alice.sign(TARGET, value=1_000))
    assert view.balance(TARGET) == before
    assert world.executor.view(number + 1).balance(TARGET) == before + 1_000
    assert facts_of(world, number, token) == seen[number]


def test_a_view_of_a_block_that_left_the_chain_says_so(grown):
    """After a rewind, views of replaced blocks are refused, not answered by the new ones."""
    world, _, _ = grown
    number = world.executor.head.number
    view = world.executor.view(number)
    world.executor.rewind(number - 1)
    world.run(world.accounts[3].sign(TARGET, value=9))
    with pytest.raises(Rejected, match=r"state\.unknown_block"):
        view.balance(TARGET)


def test_pruned_and_unknown_states_are_refused(grown):
    """Below the kept window, and above the head, there is no state."""
    world, _, _ = grown
    finalize(world, 3)
    world.executor.prune_undo(4)
    assert world.executor.view(0).balance(TARGET) == 0, "history is kept, though nothing there can be undone"
    assert world.executor.history.raise_floor(9) == 3, "not above the finalized block"
    assert world.executor.view(3).balance(TARGET) == 1
    with pytest.raises(Rejected, match=r"state\.pruned: pruned history unavailable"):
        world.executor.view(2)
    with pytest.raises(Rejected, match=r"state\.unknown_block"):
        world.executor.view(99)


def test_snapshots_are_given_back():
    """No more snapshots stay open than states are pinned, and none once the executor has let go."""
    opened = []

    class Counting(MemoryStore):
        def snapshot(self):
            held = super().snapshot()
            opened.append(held)
            closing = held.close
            held.close = lambda: (opened.remove(held), closing())
            return held

    world = World(store=Counting())
    for _ in range(views.PINNED_STATES + 4):
        world.run()
    for number in range(views.PINNED_STATES + 3):
        world.executor.view(number).balance(TARGET)
    assert len(opened) == views.PINNED_STATES
    world.executor.close()
    assert opened == []


def test_readers_in_threads_never_see_two_blocks_at_once():
    """While blocks come and go, a view read in another thread answers for its own block or not at all."""
    world = World()
    total = sum(account.balance for account in funded_dev_accounts())
    done = Event()
    mistakes: list[object] = []

    def read():
        while not done.is_set():
            head = world.executor.head
            try:
                view = world.executor.view(head.number)
                root, proof = view.hash, view.proof(TARGET)
                sent = view.balance(TARGET)
            except Rejected:
                continue
            header = world.executor.chain.header(view.number)
            if header is None or header.hash != root:
                continue  # it left the chain meanwhile
            leaf = follow(header.state_root, TARGET, proof.account_proof)
            if proof.balance != sent or (leaf is None) != (sent == 0) or sent > total:
                mistakes.append((view.number, sent, proof.balance))

    threads = [Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for step in range(40):
        world.run(world.alice.sign(TARGET, value=1))
        if step % 5 == 4:
            world.executor.rewind(world.executor.head.number - 3)
            world.alice.nonce -= 3
    done.set()
    for thread in threads:
        thread.join()
    assert mistakes == []
    assert world.executor.view(world.executor.head.number).balance(TARGET) == 40 - 3 * 8


def test_a_reader_keeps_its_state_while_others_come_and_go():
    """A state that left the cache while somebody still reads it stays readable to them."""
    world, idle = World(), funded_dev_accounts()[-1]
    for _ in range(views.PINNED_STATES + 4):
        world.run(world.alice.sign(TARGET, value=1))

    def read(state: _core.State):
        for number in range(1, views.PINNED_STATES + 3):
            world.executor.view(number).balance(TARGET)
        return state.account(idle.address)

    account = world.executor.view(1).ask(read)
    assert account is not None
    assert account.balance == idle.balance
