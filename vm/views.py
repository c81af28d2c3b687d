"""The state after one block: the head's through the live cache, an older one's through history.

A view stays what it was opened for. While its block is the head it reads the live state; once the head has
moved it reads a snapshot of the store, each row as it was (vm/history.py). Views may be used from any thread.
"""

import weakref
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from primitives.errors import Rejected
from primitives.ids import Address, Hash32
from vm import _core
from vm.chain import Chain
from vm.core_errors import translated
from vm.history import PastRows, read_marks
from vm.store import KeyValueStore, Snapshot
from vm.types import HeadInfo

if TYPE_CHECKING:
    from vm._core import Account, AccountProof, State

T = TypeVar("T")

PINNED_STATES: Final = 8
"""Older states kept open; each holds a snapshot, which keeps overwritten rows on the disk."""
PINNED_CACHE_BYTES: Final = 8 << 20
PRUNED: Final = "pruned history unavailable: the state of this block is no longer kept"
"""The first three words are what Ethereum clients look for."""


class LiveState:
    """The head's state, and which block that is; `head` changes before readers of `state` see the new."""

    def __init__(self, state: "State", head: HeadInfo) -> None:
        """Hold the pair that a commit or a rewind moves together."""
        self.state = state
        self.head = head


class _PinnedState:
    """The state after a block below the head, as the store was when this was made."""

    def __init__(self, snapshot: Snapshot, number: int) -> None:
        chain = Chain(snapshot)
        head, block_hash = chain.head(), chain.block_hash(number)
        if head is None or block_hash is None or number > head.number:
            raise Rejected("state.unknown_block", "no such block", number=number)
        self.hash = block_hash
        if number < read_marks(snapshot).floor:
            raise Rejected("state.pruned", PRUNED, number=number)
        past = PastRows(snapshot, number, head.number)
        self.state = _core.State(past.read, cache_bytes=PINNED_CACHE_BYTES)
        # Whoever still reads keeps this alive, so the snapshot must outlive its place in the cache.
        weakref.finalize(self, snapshot.close).atexit = False


class StateView:
    """The state after one block."""

    def __init__(self, views: "StateViews", number: int, block_hash: Hash32) -> None:
        """Opened by `StateViews.open`."""
        self.number = number
        self.hash = block_hash
        self._views = views

    def account(self, address: Address) -> "Account | None":
        """Return an account, or None where there is none."""
        return self.ask(lambda state: state.account(address))

    def balance(self, address: Address) -> int:
        """Return a balance in wei."""
        account = self.account(address)
        return 0 if account is None else account.balance

    def nonce(self, address: Address) -> int:
        """Return the next nonce of an account."""
        account = self.account(address)
        return 0 if account is None else account.nonce

    def code(self, address: Address) -> bytes:
        """Return the code of an account; a delegated one shows its designator."""
        return self.ask(lambda state: state.code(address))

    def storage(self, address: bytes, slot: bytes) -> int:
        """Return the value of a 32-byte slot."""
        return self.ask(lambda state: state.storage(address, slot))

    def proof(self, address: Address, slots: Sequence[bytes] = ()) -> "AccountProof":
        """Return Merkle proofs of an account and some of its slots, against this block's state root."""
        return self.ask(lambda state: state.proof(address, slots))

    def ask(self, question: "Callable[[State], T]") -> T:
        """Put a question to the state of this block, wherever that now is.

        Raises Rejected `state.pruned` or `state.unknown_block` when the block has left the kept window or the
        chain.
        """
        live = self._views.live
        with translated():
            if live.head.hash == self.hash:
                answer = question(live.state)
                if (
                    live.head.hash == self.hash
                ):  # else the head moved meanwhile, and the answer may be the next block's
                    return answer
            pinned = self._views.pinned(self.number, self.hash)  # held until the answer is there
            return question(pinned.state)

    def hold(self, question: "Callable[[State], T]") -> T:
        """Put a long question to a state that stays where it is though the head moves: it never starts again.

        Raises as `ask` does.
        """
        with translated():
            pinned = self._views.pinned(self.number, self.hash)  # held until the answer is there
            return question(pinned.state)


class StateViews:
    """Opens views of the states that the store still holds."""

    def __init__(self, store: KeyValueStore, live: LiveState) -> None:
        """Read older states from the store and the head's from `live`."""
        self.live = live
        self._store = store
        self._pinned: tuple[_PinnedState, ...] = ()

    def open(self, number: int) -> StateView:
        """Return the view of a block's state; raises Rejected `state.pruned` or `state.unknown_block`."""
        head = self.live.head
        if number == head.number:
            return StateView(self, number, head.hash)
        block_hash = Chain(self._store).block_hash(number)
        if number > head.number or block_hash is None:
            raise Rejected("state.unknown_block", "no such block", number=number)
        self.pinned(number, block_hash)
        return StateView(self, number, block_hash)

    def pinned(self, number: int, block_hash: Hash32) -> _PinnedState:
        """Return the state of a block that is not the head, readable as long as the caller holds it.

        What is kept, newest use first, is one tuple that is only ever replaced: two threads at once may open
        one state twice, and lose no more than time.
        """
        kept = self._pinned
        found = next((pinned for pinned in kept if pinned.hash == block_hash), None)
        if found is None:
            found = self._pin(number)
            if found.hash != block_hash:
                raise Rejected("state.unknown_block", "the chain has left this block", number=number)
        others = (pinned for pinned in kept if pinned is not found)
        self._pinned = (found, *islice(others, PINNED_STATES - 1))
        return found

    def _pin(self, number: int) -> _PinnedState:
        snapshot = self._store.snapshot()
        try:
            return _PinnedState(snapshot, number)
        except BaseException:
            snapshot.close()
            raise

    def close(self) -> None:
        """Let go of every snapshot, as before closing the store."""
        self._pinned = ()
