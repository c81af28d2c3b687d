"""RLP agrees with Ethereum's vectors and has one encoding per value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives import rlp
from primitives.errors import InvalidInput

ITEMS = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=6), max_leaves=20)


def as_item(value):
    """Turn a vector's JSON value into bytes and lists."""
    if isinstance(value, list):
        return [as_item(element) for element in value]
    if isinstance(value, int):
        return rlp.encode_int(value)
    return rlp.encode_int(int(value[1:])) if value.startswith("#") else value.encode("latin-1")


def cases(folder, name):
    """Return a vector file's cases as (name, input, encoding)."""
    found = json.loads((folder / "ethereum" / "RLPTests" / name).read_text())
    return [(name, case["in"], bytes.fromhex(case["out"].removeprefix("0x"))) for name, case in found.items()]


def test_ethereum_vectors(shared_vectors):
    """Every published value encodes to the published bytes, and they decode to it."""
    found = cases(shared_vectors, "rlptest.json")
    assert len(found) >= 25
    for name, value, encoding in found:
        assert rlp.encode(as_item(value)) == encoding, name
        assert rlp.decode(encoding) == as_item(value), name


def test_ethereum_invalid_vectors(shared_vectors):
    """Every published malformed encoding is refused."""
    found = cases(shared_vectors, "invalidRLPTest.json")
    assert len(found) >= 25
    for name, _, encoding in found:
        with pytest.raises(InvalidInput, match=r"rlp\."):
            pytest.fail(f"{name} decoded to {rlp.decode(encoding)!r}")


@given(ITEMS)
def test_round_trip(item):
    """Decoding undoes encoding."""
    assert rlp.decode(rlp.encode(item)) == item


@given(st.binary(max_size=80))
def test_an_accepted_encoding_is_the_only_one(data):
    """Whatever decodes is what its value encodes to; whatever does not is refused in words."""
    code = None
    try:
        item = rlp.decode(data)
    except InvalidInput as error:
        code = error.code
    if code is None:
        assert rlp.encode(item) == data
    else:
        assert code.startswith("rlp.")


@given(ITEMS, st.data())
def test_a_cut_encoding_is_refused(item, data):
    """No proper prefix of an encoding is an encoding."""
    encoded = rlp.encode(item)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(InvalidInput):
        rlp.decode(encoded[:cut])


@given(st.integers(0, 2**300))
def test_integers_round_trip(number):
    """Integers are minimal big-endian strings; the width asked for is a bound."""
    encoded = rlp.encode_int(number)
    assert rlp.decode_int(encoded, max_bytes=38) == number
    if len(encoded) > 32:
        with pytest.raises(InvalidInput, match=r"rlp\.int_too_large"):
            rlp.decode_int(encoded)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: rlp.decode(b""), "rlp.empty"),
        (lambda: rlp.decode(b"\x80\x80"), "rlp.trailing"),
        (lambda: rlp.decode(b"\x81\x01"), "rlp.non_canonical"),
        (lambda: rlp.decode(b"\xb8\x01\x01"), "rlp.non_canonical"),
        (lambda: rlp.decode(b"\xbf" + b"\xff" * 8), "rlp.truncated"),
        (lambda: rlp.decode(b"\xc1" * 100), "rlp.truncated"),
        (lambda: rlp.decode(bytes(9), max_bytes=8), "rlp.too_large"),
        (lambda: rlp.decode_int([]), "rlp.bad_shape"),
        (lambda: rlp.decode_int(b"\0"), "rlp.non_canonical"),
        (lambda: rlp.decode_int(b"\0\1"), "rlp.non_canonical"),
        (lambda: rlp.encode_int(-1), "rlp.negative"),
        (lambda: rlp.decode_list(b"\xc0", 1), "rlp.bad_shape"),
        (lambda: rlp.decode_list(b"\x01", 1), "rlp.bad_shape"),
    ],
)
def test_codes(call, code):
    """Each kind of malformed input has its own code."""
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.code == code


def nested(depth):
    """Return the encoding of a list that holds a list that holds ..., `depth` deep."""
    item = b"\xc0"
    for _ in range(depth - 1):
        item = rlp.encode([]) if not item else rlp._prefix(len(item), 0xC0) + item
    return item


def test_depth_is_bounded():
    """Nesting stops well before Python's recursion limit."""
    assert rlp.decode(nested(rlp.MAX_DEPTH)) is not None
    with pytest.raises(InvalidInput, match=r"rlp\.too_deep"):
        rlp.decode(nested(rlp.MAX_DEPTH + 1))


def test_the_number_of_items_is_bounded():
    """A megabyte of empty lists would cost sixty in memory."""
    with pytest.raises(InvalidInput, match=r"rlp\.too_many_items"):
        rlp.decode(rlp._prefix(rlp.MAX_ITEMS, 0xC0) + b"\xc0" * rlp.MAX_ITEMS)
