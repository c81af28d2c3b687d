"""The state: reading, proving, moving, and what happens to those who read meanwhile."""

import threading
from collections.abc import Callable

import pytest

from primitives.hashes import keccak256
from primitives.rlp import decode as decode_rlp
from primitives.rlp import encode
from tests.vm.native import assembly as a
from tests.vm.native.lab import BASE_FEE, ETHER, Key, Lab, as_rlp, decode, keys, slot
from vm import _core

TO = b"\x77" * 20
CONTRACT = b"\xc7" * 20
WRITER = a.code(a.push(0), a.CALLDATALOAD, a.DUP1, a.SSTORE)


@pytest.fixture
def senders() -> list[Key]:
    """Two senders with fresh nonces."""
    return keys(2)


@pytest.fixture
def lab(senders: list[Key]) -> Lab:
    """A chain with a contract that stores its calldata under itself."""
    return Lab({CONTRACT: (1, 5, WRITER, {slot(7): 1, slot(9): 2**255})}, rich=senders)


def follow(root: bytes, key: bytes, proof: list[bytes]) -> bytes | None:
    """Return the value that a proof shows under keccak(key), None for absence; every node is checked by its hash."""
    path = keccak256(key).hex()
    expected: object = root
    nodes = iter(proof)
    while True:
        if isinstance(expected, bytes) and len(expected) == 32:
            raw = next(nodes)
            assert keccak256(raw) == expected
            node = decode_rlp(raw)
        else:
            node = expected
        if not node:
            return None
        assert isinstance(node, list)
        if len(node) == 17:
            expected, path = node[int(path[0], 16)], path[1:]
            continue
        digits = node[0].hex()
        part = digits[1:] if int(digits[0], 16) & 1 else digits[2:]
        if not path.startswith(part):
            return None
        path = path[len(part) :]
        if int(digits[0], 16) & 2:
            return node[1]
        expected = node[1]


def test_readers_show_the_head(lab: Lab, senders: list[Key]) -> None:
    """Accounts, slots and code are those of the last committed block."""
    account = lab.state.account(CONTRACT)
    assert account is not None
    assert (account.nonce, account.balance, account.code_hash) == (1, 5, keccak256(WRITER))
    assert lab.state.code(CONTRACT) == WRITER
    assert (lab.state.storage(CONTRACT, slot(9)), lab.state.storage(CONTRACT, slot(8))) == (2**255, 0)
    assert lab.state.account(TO) is None
    assert lab.state.code(TO) == b""
    executor = lab.open()
    executor.run(decode(senders[0].sign(CONTRACT, data=slot(8))))
    assert lab.state.storage(CONTRACT, slot(8)) == 0
    lab.commit(executor)
    assert lab.state.storage(CONTRACT, slot(8)) == 8


def test_an_empty_store_is_a_state() -> None:
    """Nothing is there, and the root says so."""
    state = _core.State(lambda wanted: [None] * len(wanted))
    assert state.root() == _core.EMPTY_ROOT == keccak256(b"\x80")
    proof = state.proof(TO, [slot(1)])
    assert (proof.account_proof, proof.balance, proof.storage_root) == ([], 0, _core.EMPTY_ROOT)
    assert (proof.storage_proofs[0].value, proof.storage_proofs[0].proof) == (0, [])


def test_proofs_of_what_is_and_of_what_is_not(lab: Lab, senders: list[Key]) -> None:
    """A proof leads from the state root to the account and from there to each slot, or shows their absence."""
    lab.block(*[senders[0].sign(CONTRACT, data=slot(number)) for number in range(20, 60)])
    for address in (CONTRACT, TO, senders[0].address, bytes(20)):
        proof = lab.state.proof(address, [slot(number) for number in (7, 8, 30, 59, 60)])
        leaf = follow(lab.state.root(), address, proof.account_proof)
        account = lab.state.account(address)
        assert (leaf is None) == (account is None)
        if account:
            assert decode_rlp(leaf or b"") == as_rlp(
                [proof.nonce, proof.balance, proof.storage_root, proof.code_hash]
            )
        for entry in proof.storage_proofs:
            value = lab.state.storage(address, entry.slot)
            assert entry.value == value
            shown = follow(proof.storage_root, entry.slot, entry.proof) if entry.proof else None
            assert shown == (encode(as_rlp(value)) if value else None)


def test_reads_are_batched_and_cached(lab: Lab, senders: list[Key]) -> None:
    """A block of many transfers asks Python a few times; the same again only for the slots of the opening calls."""
    raws = [senders[0].sign(keccak256(bytes([i]))[:20], value=1) for i in range(100)]
    fresh = _core.State(lab.read)
    lab.state = fresh
    lab.reads = 0
    lab.block(*raws)
    assert lab.reads < 15
    lab.reads = 0
    lab.block(*[senders[0].sign(keccak256(bytes([i]))[:20], value=1) for i in range(100)])
    assert lab.reads <= 4


def test_a_small_cache_changes_nothing(senders: list[Key]) -> None:
    """The same blocks with no room to remember anything."""
    roots = []
    for cache_bytes in (0, 1 << 26):
        for sender in senders:
            sender.nonce = 0
        lab = Lab({CONTRACT: (1, 5, WRITER, {})}, rich=senders, cache_bytes=cache_bytes)
        for start in range(0, 200, 50):
            lab.block(*[senders[0].sign(CONTRACT, data=slot(number)) for number in range(start, start + 50)])
        roots.append(lab.head.hash)
        if cache_bytes == 0:
            assert lab.state.cache_size() < 1 << 20
    assert roots[0] == roots[1]


def test_an_executor_of_the_past_is_stale(lab: Lab, senders: list[Key]) -> None:
    """When the state has moved, an older executor cannot read, seal or commit; a new one can."""
    old = lab.open()
    sealed_before = lab.open()
    sealed_before.run(decode(senders[0].sign(TO, value=1, nonce=0)))
    sealed_before.seal()
    lab.block(senders[0].sign(TO, value=2))
    for act in (lambda: old.run(decode(senders[1].sign(CONTRACT, nonce=0))), sealed_before.commit):
        with pytest.raises(_core.CoreError) as error:
            act()
        assert error.value.code == "core.stale"
    assert lab.block(senders[1].sign(TO))[0].kind == "included"


def test_the_order_of_calls_is_held(lab: Lab) -> None:
    """An executor is sealed once, committed once after that, and abandoned any time."""
    executor = lab.open()
    with pytest.raises(_core.CoreError) as error:
        executor.commit()
    assert error.value.code == "core.order"
    executor.seal()
    for act in (
        executor.seal,
        lambda: executor.run([]),
        lambda: executor.system([]),
        lambda: executor.gas_left,
    ):
        with pytest.raises(_core.CoreError):
            act()
    executor.commit()
    with pytest.raises(_core.CoreError):
        executor.commit()
    executor.abandon()
    executor.abandon()


def test_an_abandoned_block_leaves_nothing(lab: Lab, senders: list[Key]) -> None:
    """Also after sealing: the next block is as if it had never been."""
    expected = lab.open().seal().hash
    executor = lab.open()
    executor.run(decode(senders[0].sign(CONTRACT, data=slot(3), nonce=0)))
    executor.seal()
    executor.abandon()
    assert lab.state.storage(CONTRACT, slot(3)) == 0
    assert lab.open().seal().hash == expected


def test_a_failed_write_leaves_the_state_where_it_was(lab: Lab, senders: list[Key]) -> None:
    """The exception of `persist` arrives, nothing moved, and the same block can be committed again."""
    executor = lab.open()
    executor.run(decode(senders[0].sign(TO, value=9)))
    sealed = executor.seal()

    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        executor.commit(fail)
    assert lab.state.root() == lab.head.state_root
    assert lab.balance(TO) == 0
    executor.commit(lambda: lab.write(sealed.writes))
    assert (lab.state.root(), lab.balance(TO)) == (sealed.state_root, 9)


def test_reset_forgets_even_if_its_work_fails(lab: Lab) -> None:
    """The store may have changed before the failure, so the cache must not be trusted."""
    assert lab.balance(CONTRACT) == 5

    def half() -> None:
        account = lab.state  # reading here would wait for ever; changing the store is what reset is for
        assert account is lab.state
        lab.store[b"a" + CONTRACT] = encode(as_rlp([1, 6, _core.EMPTY_ROOT, keccak256(WRITER)]))
        raise OSError("half done")

    with pytest.raises(OSError, match="half done"):
        lab.state.reset(half)
    assert lab.balance(CONTRACT) == 6


def test_a_call_waits_out_a_commit(lab: Lab, senders: list[Key]) -> None:
    """A reader in another thread sees the state before or after a commit, never between."""
    executor = lab.open()
    executor.run(decode(senders[0].sign(TO, value=9)))
    sealed = executor.seal()
    started, seen = threading.Event(), []

    def read() -> None:
        started.set()
        seen.append((lab.state.root(), lab.balance(TO)))

    reader = threading.Thread(target=read)

    def persist() -> None:
        reader.start()
        assert started.wait(5)
        lab.write(sealed.writes)

    executor.commit(persist)
    reader.join(5)
    assert seen == [(sealed.state_root, 9)]


def test_readers_and_writers_in_threads(lab: Lab, senders: list[Key]) -> None:
    """Calls from other threads while blocks are committed answer from whole blocks, and never fail."""
    pair = a.code(
        a.push(1), a.SLOAD, a.push(2), a.SLOAD, a.SUB, a.PUSH0, a.MSTORE, a.push(32), a.PUSH0, a.RETURN
    )
    bump = b"".join(a.code(a.push(n), a.SLOAD, a.push(1), a.ADD, a.push(n), a.SSTORE) for n in (1, 2))
    address = b"\xc8" * 20
    # A message with calldata reads, a transaction without bumps both slots.
    code = a.code(a.CALLDATASIZE, a.push(len(bump) + 5), a.JUMPI, bump, a.STOP, a.JUMPDEST, pair)
    code = code[:1] + a.push(code.index(a.code(a.STOP, a.JUMPDEST)) + 1) + code[3:]
    lab = Lab({address: (1, 0, code, {})}, rich=senders, cache_bytes=0)
    stop, failures = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            result = lab.call(address, b"read")
            if (result.kind, result.output) != ("success", bytes(32)):
                failures.append(result)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        lab.block(senders[0].sign(address))
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not failures
    assert lab.state.storage(address, slot(2)) == 30


@pytest.mark.parametrize(
    "damage",
    [
        lambda lab: lab.store.update({b"a" + CONTRACT: b"\xc0"}),
        lambda lab: lab.store.update({b"s" + CONTRACT + slot(8): b"\0\1"}),
        lambda lab: lab.store.pop(b"c" + keccak256(WRITER)),
        lambda lab: lab.store.update({b"A": lab.store[b"A"][:-1] + b"\1"}),
        lambda lab: lab.store.pop(b"S" + CONTRACT),
    ],
)
def test_a_damaged_store_is_named(lab: Lab, senders: list[Key], damage: Callable[[Lab], object]) -> None:
    """What cannot be read stops the block with core.corrupt_state; it never becomes state."""
    damage(lab)
    lab.state = _core.State(lab.read)
    with pytest.raises(_core.CoreError) as error:
        lab.block(senders[0].sign(CONTRACT, data=slot(8)))
    assert error.value.code == "core.corrupt_state"


def test_a_read_that_raises_arrives_unchanged(lab: Lab, senders: list[Key]) -> None:
    """An exception in the read callback is the caller's own."""

    def fail(_: list[bytes]) -> list[bytes | None]:
        raise PermissionError("no")

    state = _core.State(fail)
    for act in (state.root, lambda: state.account(TO), lambda: state.proof(TO, [])):
        with pytest.raises(PermissionError):
            act()
    lab.state = state
    with pytest.raises(PermissionError):
        lab.block(senders[0].sign(TO))
    short = _core.State(lambda _: [])
    with pytest.raises(_core.CoreError):
        short.root()


def test_wrong_arguments_are_python_errors(lab: Lab) -> None:
    """Wrong lengths are ValueError, wrong types TypeError."""
    for act in (lambda: lab.state.account(b"short"), lambda: lab.state.storage(TO, b"short")):
        with pytest.raises(ValueError, match="bytes"):
            act()
    with pytest.raises(TypeError):
        lab.state.account("0x00")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="missing"):
        lab.open().run([], missing="maybe")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one entry"):
        lab.open().run([], [None])


def test_a_view_of_the_past_is_a_state_over_undo_data(lab: Lab, senders: list[Key]) -> None:
    """A second State whose reads go through undo data shows the older block, proofs included."""
    lab.block(senders[0].sign(CONTRACT, data=slot(3)))
    old_root, old_block = lab.state.root(), lab.head
    lab.block(senders[0].sign(CONTRACT, data=slot(4), value=2))
    overlay = dict(_core.decode_undo(lab.head.undo))
    past = _core.State(lambda wanted: [overlay.get(key, lab.store.get(key)) for key in wanted])
    assert past.root() == old_root == old_block.state_root
    assert (past.storage(CONTRACT, slot(3)), past.storage(CONTRACT, slot(4))) == (3, 0)
    proof = past.proof(CONTRACT, [slot(4)])
    assert follow(old_root, CONTRACT, proof.account_proof) is not None
    assert proof.balance == 5
    assert lab.balance(CONTRACT) == 7
    assert BASE_FEE < ETHER
