"""Parameters: what clients really send is read, everything else is refused with INVALID_PARAMS and short words."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitai.rpc.framing import INVALID_PARAMS, RpcError
from bitai.rpc.params import (
    LATEST,
    BlockId,
    parse_address,
    parse_block_id,
    parse_bool,
    parse_call,
    parse_data,
    parse_hash,
    parse_quantity,
    parse_slot,
    require_count,
)

ADDRESS = "0x" + "ab" * 20
AUTHORIZATION = {
    "chainId": "0x1",
    "address": ADDRESS,
    "nonce": "0x2",
    "yParity": "0x1",
    "r": "0x3",
    "s": "0x4",
}
HASH = "0x" + "cd" * 32
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from([ADDRESS, HASH, "0x1", "latest"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["from", "to", "data", "gas", "value", "accessList", "blockHash", "blockNumber"]),
            inner,
        )
    ),
    max_leaves=10,
)


def refused(parse, *value):
    """Whether a parameter is refused, as it must be: by code and with bounded words."""
    with pytest.raises(RpcError) as caught:
        parse(*value)
    assert caught.value.code == INVALID_PARAMS
    assert len(caught.value.message) < 300
    return True


@pytest.mark.parametrize(
    ("text", "value"), [("0x0", 0), ("0x1f", 31), ("0xABc", 0xABC), ("0x" + "f" * 64, 2**256 - 1)]
)
def test_quantities(text, value):
    """Hex without leading zeros, either case, up to 256 bits."""
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0x",
        "0x00",
        "0x01",
        "1",
        "-0x1",
        "0x1g",
        "0X1",
        " 0x1",
        "0x1\n",
        5,
        None,
        True,
        [],
        {},
        "0x1" + "0" * 64,
    ],
)
def test_no_quantities(value):
    """Numbers without 0x, leading zeros, blanks, other types, 257 bits: refused."""
    assert refused(parse_quantity, value)


def test_quantities_of_fewer_bits():
    """A 64-bit quantity is refused at 65 bits."""
    assert parse_quantity("0x" + "f" * 16, bits=64) == 2**64 - 1
    assert refused(lambda: parse_quantity("0x1" + "0" * 16, bits=64))


@given(st.binary(max_size=100))
def test_data_round_trip(data):
    """Any bytes as hex are read back, in either case."""
    assert parse_data("0x" + data.hex()) == data
    assert parse_data("0x" + data.hex().upper()) == data


@pytest.mark.parametrize(
    "value", ["", "00", "0x0", "0xzz", "0x 00", "0x00 ", "0x\u0660\u0660", 1, None, b"0x00"]
)
def test_no_data(value):
    """Odd digits, blanks, other alphabets' digits and other types are refused."""
    assert refused(parse_data, value)


def test_fixed_sizes():
    """Addresses are 20 bytes and hashes 32, no more and no fewer."""
    assert parse_address(ADDRESS) == bytes.fromhex("ab" * 20)
    assert parse_hash(HASH) == bytes.fromhex("cd" * 32)
    assert refused(parse_address, HASH)
    assert refused(parse_hash, ADDRESS)


def test_slots():
    """Slots come as 32 bytes or as quantities, padded or not."""
    assert parse_slot("0x0") == bytes(32)
    assert parse_slot("0x" + "00" * 31 + "05") == parse_slot("0x5") == parse_slot("0x05")
    for wrong in ("0x", "5", "0x" + "0" * 65, 5, None):
        assert refused(parse_slot, wrong)


def test_blocks():
    """Tags, numbers, hashes and the object form name a block; null means latest."""
    assert parse_block_id(None) == LATEST
    for tag in ("latest", "pending", "safe", "finalized", "earliest"):
        assert parse_block_id(tag) == BlockId(tag=tag)
    assert parse_block_id("0x10") == BlockId(number=16)
    assert parse_block_id(HASH) == BlockId(hash=bytes.fromhex("cd" * 32))
    assert parse_block_id({"blockHash": HASH, "requireCanonical": True}) == BlockId(
        hash=bytes.fromhex("cd" * 32)
    )
    assert parse_block_id({"blockNumber": "0x10"}) == BlockId(number=16)
    assert parse_block_id({"blockNumber": "safe"}) == BlockId(tag="safe")


def test_no_blocks():
    """Decimal numbers, unknown tags, both or neither of the object's members, and nesting are refused."""
    nested = {"blockNumber": "0x1"}
    for _ in range(2_000):
        nested = {"blockNumber": nested}
    for wrong in (
        "16",
        16,
        "newest",
        "Latest",
        "0x",
        [],
        {},
        {"blockHash": HASH, "blockNumber": "0x1"},
        {"blockHash": HASH, "requireCanonical": "yes"},
        {"blockNumber": 1},
        nested,
    ):
        assert refused(parse_block_id, wrong)


def test_calls():
    """What viem, ethers and web3.py send for a call is read; null counts as absent."""
    call = parse_call(
        {
            "from": ADDRESS,
            "to": ADDRESS,
            "gas": "0x5208",
            "maxFeePerGas": "0x10",
            "maxPriorityFeePerGas": "0x1",
            "value": "0x0",
            "data": "0x1234",
            "nonce": "0x1",
            "type": "0x2",
            "chainId": "0x1",
            "accessList": [{"address": ADDRESS, "storageKeys": [HASH]}, {"address": ADDRESS}],
        }
    )
    assert (call.gas, call.gas_price, call.value, call.input) == (21_000, 16, 0, b"\x12\x34")
    assert call.access_list == (
        (bytes.fromhex("ab" * 20), (bytes.fromhex("cd" * 32),)),
        (bytes.fromhex("ab" * 20), ()),
    )
    empty = parse_call(
        {"from": None, "to": None, "gas": None, "value": None, "input": None, "gasPrice": None}
    )
    assert (empty.sender, empty.to, empty.gas, empty.input) == (bytes(20), None, None, b"")
    assert parse_call({"input": "0x01", "data": "0x01"}).input == b"\x01"


def test_authorizations_of_a_call():
    """The list of an EIP-7702 transaction is read as viem and ethers write it, r and s padded or not."""
    padded = AUTHORIZATION | {"r": "0x" + "00" * 31 + "03", "v": "0x1c"}
    for each in parse_call({"to": ADDRESS, "authorizationList": [AUTHORIZATION, padded]}).authorizations:
        assert (each.chain_id, each.address, each.nonce) == (1, bytes.fromhex("ab" * 20), 2)
        assert (each.y_parity, each.r, each.s) == (1, 3, 4)
    assert parse_call({"authorizationList": None}).authorizations == ()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "0x",
        {"authorizationList": {}},
        {"authorizationList": [1]},
        {"authorizationList": [{"chainId": "0x1", "address": ADDRESS, "nonce": "0x2"}]},
        {"to": ADDRESS, "authorizationList": [{}] * 1_001},
        {"authorizationList": [AUTHORIZATION]},
        {"to": ADDRESS, "chainId": 1},
        {"to": "0x1"},
        {"input": "0x01", "data": "0x02"},
        {"gasPrice": "0x1", "maxFeePerGas": "0x1"},
        {"gasPrice": "0x1", "maxPriorityFeePerGas": "0x1"},
        {"gasPrice": "0x1" + "0" * 32},
        {"gas": 21_000},
        {"gas": "0x1" + "0" * 16},
        {"accessList": {}},
        {"accessList": [1]},
        {"accessList": [{"storageKeys": []}]},
        {"accessList": [{"address": ADDRESS, "storageKeys": ["0x1"]}]},
        {"accessList": [{"address": ADDRESS, "storageKeys": "0x1"}]},
    ],
)
def test_no_calls(wrong):
    """Contradicting members and wrong forms are refused."""
    assert refused(parse_call, wrong)


def test_counts_and_booleans():
    """Too few, too many, and what only looks like a boolean."""
    require_count([1, 2], 1, 2)
    assert refused(require_count, [], 1, 2)
    assert refused(require_count, [1, 2, 3], 1, 2)
    assert parse_bool(True, "full") is True
    for wrong in (0, 1, "true", None):
        assert refused(parse_bool, wrong, "full")


@given(ANYTHING)
def test_parsers_are_total(value):
    """Any JSON is read or refused; nothing else is raised."""
    for parse in (parse_call, parse_block_id, parse_quantity, parse_data, parse_slot, parse_hash):
        with contextlib.suppress(RpcError):
            parse(value)
            continue
        assert refused(parse, value)
