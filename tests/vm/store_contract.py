"""What every `KeyValueStore` must do; each implementation's tests inherit this."""

from vm.store import KeyValueStore, WriteBatch


def batch(*writes):
    """A batch of (key, value or None) pairs."""
    made = WriteBatch()
    made.extend(list(writes))
    return made


class StoreContract:
    """Inherit and define the fixture `store`."""

    def test_reads_what_was_written(self, store: KeyValueStore):
        """A written value is there, an unwritten one is None, and many are read in the order asked."""
        store.write(batch((b"a", b"1"), (b"b", b"")), sync=True)
        assert store.get(b"a") == b"1"
        assert store.get(b"b") == b""
        assert store.get_many([b"c", b"b", b"a"]) == [None, b"", b"1"]

    def test_later_write_of_a_batch_wins(self, store: KeyValueStore):
        """Of several writes to one key in a batch the last counts, deletions included."""
        store.write(batch((b"a", b"1"), (b"a", None), (b"b", None), (b"b", b"2")), sync=False)
        assert store.get_many([b"a", b"b"]) == [None, b"2"]

    def test_scan_is_ordered_and_bounded(self, store: KeyValueStore):
        """A scan yields exactly the keys with the prefix, in byte order, from the start asked for."""
        keys = [b"p\x00", b"p", b"p\xff\xff", b"q", b"o\xff", b"p\x01a"]
        store.write(batch(*[(key, key) for key in keys]), sync=False)
        assert [key for key, _ in store.scan(b"p")] == [b"p", b"p\x00", b"p\x01a", b"p\xff\xff"]
        assert [key for key, _ in store.scan(b"p", b"\x01")] == [b"p\x01a", b"p\xff\xff"]
        assert list(store.scan(b"r")) == []

    def test_snapshot_holds_still(self, store: KeyValueStore):
        """A snapshot shows the store as it was, through any later writes, for every way of reading."""
        store.write(batch((b"a", b"1"), (b"b", b"2")), sync=False)
        held = store.snapshot()
        store.write(batch((b"a", b"9"), (b"b", None), (b"c", b"3")), sync=False)
        assert held.get(b"a") == b"1"
        assert held.get_many([b"b", b"c"]) == [b"2", None]
        assert list(held.scan(b"")) == [(b"a", b"1"), (b"b", b"2")]
        held.close()
        assert store.get(b"a") == b"9"

    def test_a_seek_finds_the_first_pair_from_a_place_on(self, store: KeyValueStore):
        """For each prefix and start: the first key from there on, if it has the prefix, as of the snapshot."""
        store.write(batch((b"pa", b"1"), (b"pc", b"2"), (b"q", b"3")), sync=False)
        held = store.snapshot()
        store.write(batch((b"pb", b"9"), (b"pc", None)), sync=False)
        places = [(b"p", b""), (b"p", b"a\0"), (b"p", b"c\0"), (b"q", b""), (b"r", b""), (b"p", b"b")]
        assert held.first_at(places) == [
            (b"pa", b"1"),
            (b"pc", b"2"),
            None,
            (b"q", b"3"),
            None,
            (b"pc", b"2"),
        ]
        assert held.first_at([]) == []
        held.close()
