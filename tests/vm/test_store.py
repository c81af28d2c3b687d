"""The store in memory keeps the contract of every store."""

import pytest

from tests.vm.store_contract import StoreContract, batch
from vm.store import MemoryStore


class TestMemoryStore(StoreContract):
    """The readable model."""

    @pytest.fixture
    def store(self):
        """An empty store."""
        with MemoryStore() as store:
            yield store

    def test_snapshot_of_a_snapshot_is_independent(self, store):
        """Writing to a snapshot, which only tests can do, leaves store and siblings alone."""
        store.write(batch((b"a", b"1")), sync=False)
        first, second = store.snapshot(), store.snapshot()
        first.write(batch((b"a", b"2")), sync=False)
        assert (store.get(b"a"), second.get(b"a")) == (b"1", b"1")
