"""Reader and writer mirror each other, and a reader trusts no length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput

VALUES = st.one_of(
    st.tuples(st.just("u8"), st.integers(0, 2**8 - 1)),
    st.tuples(st.just("u16"), st.integers(0, 2**16 - 1)),
    st.tuples(st.just("u32"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("u64"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("uvarint"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("byte_string"), st.binary(max_size=300)),
)


def code_of(call):
    """Return the code of the InvalidInput that a call raises."""
    with pytest.raises(InvalidInput) as caught:
        call()
    return caught.value.code


def write(values):
    """Return values written one after the other."""
    writer = Writer()
    for method, value in values:
        getattr(writer, method)(value)
    assert len(writer) == len(writer.finish())
    return writer.finish()


def read(data, values):
    """Return what is read back with the methods that wrote `values`."""
    reader = Reader(data)
    limits = {"byte_string": (300,)}
    found = [getattr(reader, method)(*limits.get(method, ())) for method, _ in values]
    reader.done()
    return found


@given(st.lists(VALUES, max_size=12))
def test_round_trip(values):
    """What was written is read back, to the last byte."""
    assert read(write(values), values) == [value for _, value in values]


@given(st.lists(VALUES, min_size=1, max_size=6), st.data())
def test_every_truncation_is_noticed(values, data):
    """Cut anywhere, the reader raises instead of making up bytes."""
    encoded = write(values)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    assert code_of(lambda: read(encoded[:cut], values)) == "codec.truncated"


@given(st.lists(VALUES, max_size=6), st.binary(min_size=1, max_size=3))
def test_trailing_bytes_are_noticed(values, extra):
    """Bytes after the last value are refused by `done`."""
    assert code_of(lambda: read(write(values) + extra, values)) == "codec.trailing"


@given(st.binary(max_size=12))
def test_a_uvarint_has_one_encoding(data):
    """Whatever bytes decode to a number are the bytes that the number encodes to."""
    reader = Reader(data)
    code = None
    try:
        value = reader.uvarint()
    except InvalidInput as error:
        code = error.code
    if code is None:
        assert write([("uvarint", value)]) == data[: reader.offset]
    else:
        assert code in {"codec.truncated", "codec.overflow", "codec.non_canonical"}
        assert reader.offset == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("", "codec.truncated"),
        ("80", "codec.truncated"),
        ("8000", "codec.non_canonical"),
        ("ff00", "codec.non_canonical"),
        ("ffffffffffffffffff02", "codec.overflow"),
        ("80808080808080808080", "codec.overflow"),
        ("ffffffffffffffffffff01", "codec.overflow"),
    ],
)
def test_malformed_uvarints(data, code):
    """Unfinished, longer than needed, above 64 bits: each has its code."""
    assert code_of(Reader(bytes.fromhex(data)).uvarint) == code


def test_the_largest_uvarint():
    """2^64 - 1 takes ten bytes and is allowed."""
    assert write([("uvarint", 2**64 - 1)]).hex() == "ffffffffffffffffff01"


def test_a_refused_byte_string_consumes_nothing():
    """After a refusal the cursor stands where it stood."""
    reader = Reader(b"\x05hello")
    assert code_of(lambda: reader.byte_string(4)) == "codec.too_long"
    assert reader.byte_string(5) == b"hello"
    assert code_of(lambda: Reader(write([("uvarint", 2**60)])).byte_string(2**61)) == "codec.truncated"
    assert code_of(lambda: Reader(b"abc").take(-1)) == "codec.truncated"


def test_views_share_memory_and_copies_do_not():
    """`view` is for passing over, `take` for keeping."""
    data = bytearray(b"abcdef")
    reader = Reader(data)
    view, copy = reader.view(3), reader.take(2)
    data[:] = b"xxxxxx"
    assert (bytes(view), copy, reader.remaining, reader.rest()) == (b"xxx", b"de", 1, b"x")


@pytest.mark.parametrize(
    ("method", "value"),
    [("u8", 256), ("u16", -1), ("u32", 2**32), ("u64", 2**64), ("uvarint", -1), ("uvarint", 2**64)],
)
def test_a_writer_refuses_what_does_not_fit(method, value):
    """A number is never cut to size."""
    assert code_of(lambda: getattr(Writer(), method)(value)) == "codec.out_of_range"
