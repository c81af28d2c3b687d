"""Log filters: what matches, and that a bloom never hides a match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitai.rpc.framing import INVALID_PARAMS, RpcError
from bitai.rpc.log_query import parse_log_query
from vm._core import logs_bloom

ADDRESSES = st.sampled_from([bytes([n]) * 20 for n in range(4)])
TOPICS = st.sampled_from([bytes([n]) * 32 for n in range(4)])
LOGS = st.lists(st.tuples(ADDRESSES, st.lists(TOPICS, max_size=4)), max_size=5)


def hexed(value):
    """As JSON shows it."""
    return "0x" + value.hex()


@st.composite
def queries(draw):
    """A filter as clients write it."""
    query = {}
    addresses = draw(st.one_of(st.none(), ADDRESSES, st.lists(ADDRESSES, max_size=3)))
    if addresses is not None:
        query["address"] = (
            hexed(addresses) if isinstance(addresses, bytes) else [hexed(each) for each in addresses]
        )
    position = st.one_of(st.none(), TOPICS.map(hexed), st.lists(TOPICS.map(hexed), max_size=3))
    topics = draw(st.one_of(st.none(), st.lists(position, max_size=4)))
    if topics is not None:
        query["topics"] = topics
    return query


def plainly_wants(query, address, topics):
    """The rule of the specification, written without any cleverness."""
    wanted = query.get("address")
    if wanted not in (None, []) and hexed(address) not in ([wanted] if isinstance(wanted, str) else wanted):
        return False
    positions = query.get("topics") or []
    if len(positions) > len(topics):
        return False
    for position, topic in zip(positions, topics, strict=False):
        if position in (None, []):
            continue
        if hexed(topic) not in ([position] if isinstance(position, str) else position):
            return False
    return True


@given(queries(), LOGS)
def test_matches_are_those_of_the_specification(query, logs):
    """A log is wanted exactly when the plain rule wants it, and then its block's bloom lets it through."""
    parsed = parse_log_query(query)
    bloom = logs_bloom([(address, topics) for address, topics in logs])
    for address, topics in logs:
        wanted = parsed.wants(address, list(topics))
        assert wanted == plainly_wants(query, address, topics)
        if wanted:
            assert parsed.may_match(bloom)


def test_blooms_skip_blocks():
    """A block whose bloom lacks the address or topic is not read; an empty one never is."""
    query = parse_log_query(
        {"address": hexed(b"\1" * 20), "topics": [[hexed(b"\2" * 32), hexed(b"\3" * 32)]]}
    )
    assert query.may_match(logs_bloom([(b"\1" * 20, [b"\3" * 32])]))
    assert not query.may_match(logs_bloom([(b"\1" * 20, [b"\4" * 32])]))
    assert not query.may_match(logs_bloom([(b"\5" * 20, [b"\3" * 32])]))
    assert not parse_log_query({}).may_match(bytes(256))


def test_null_inside_alternatives_is_a_wildcard():
    """An alternative of null matches anything, as geth reads it."""
    query = parse_log_query({"topics": [[None, hexed(b"\1" * 32)]]})
    assert query.wants(b"\1" * 20, [b"\7" * 32])
    assert not query.wants(b"\1" * 20, [])


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {"address": "0x1"},
        {"address": [1]},
        {"address": [hexed(bytes(20))] * 1_001},
        {"topics": "0x"},
        {"topics": [None] * 5},
        {"topics": ["0x1"]},
        {"topics": [[hexed(bytes(32))] * 1_001]},
        {"fromBlock": "x"},
        {"fromBlock": "0x1", "blockHash": hexed(bytes(32))},
        {"toBlock": "latest", "blockHash": hexed(bytes(32))},
        {"blockHash": "0x1"},
    ],
)
def test_wrong_filters_are_refused(wrong):
    """Wrong forms, a range together with a hash, and filters without bound."""
    with pytest.raises(RpcError) as caught:
        parse_log_query(wrong)
    assert caught.value.code == INVALID_PARAMS


def test_weight_counts_what_is_compared():
    """A filter weighs as many values as it holds."""
    query = parse_log_query(
        {"address": [hexed(b"\1" * 20)], "topics": [None, [hexed(b"\1" * 32), hexed(b"\2" * 32)]]}
    )
    assert query.weight == 4
