"""Pushes have one minimal form, and output scripts are recognised by their bytes."""

import pytest
from bitcoin.core.script import CScript
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin import script
from primitives.bitcoin.script import encode_compact_size, parse_script, push, push_number
from primitives.errors import InvalidInput

DATA = st.binary(max_size=80) | st.integers(250, 260).map(bytes) | st.integers(65_530, 65_540).map(bytes)


@given(DATA)
def test_push_round_trips(data):
    """A push puts back exactly what was pushed."""
    (operation,) = parse_script(push(data))
    assert operation.data == data


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("", "00"),
        ("00", "0100"),
        ("01", "51"),
        ("10", "60"),
        ("11", "0111"),
        ("81", "4f"),
        ("80", "0180"),
        ("0101", "020101"),
    ],
)
def test_small_pushes_use_opcodes(data, encoding):
    """Minimal means the number opcodes where they say the same (policy MINIMALDATA)."""
    assert push(bytes.fromhex(data)).hex() == encoding


@pytest.mark.parametrize(
    ("size", "prefix"),
    [
        (75, "4b"),
        (76, "4c4c"),
        (255, "4cff"),
        (256, "4d0001"),
        (520, "4d0802"),
        (65_535, "4dffff"),
        (65_536, "4e00000100"),
    ],
)
def test_long_pushes_use_the_shortest_length(size, prefix):
    """The length takes as few bytes as it can."""
    assert push(bytes([7]) * size).hex().startswith(prefix + "07")


@given(st.integers(-(2**39), 2**39))
def test_numbers_agree_with_bitcoinlib(value):
    """Script numbers are another library's script numbers."""
    assert push_number(value) == bytes(CScript([value]))


@given(st.binary(max_size=60))
def test_parsing_random_scripts(data):
    """Any bytes are operations that add up to the bytes, or a truncated push."""
    code = "script.truncated_push"
    try:
        operations = list(parse_script(data))
        code = None
    except InvalidInput as error:
        assert error.code == code  # noqa: PT017 - both branches are looked at below
    if code is None:
        assert [operation.opcode for operation in operations] == [
            opcode for opcode, _, _ in CScript(data).raw_iter()
        ]


@pytest.mark.parametrize("text", ["01", "4c", "4c01", "4d01", "4d0100", "4e01000000", "4e010000", "51024e"])
def test_truncated_pushes(text):
    """A push that claims more than is there is refused."""
    with pytest.raises(InvalidInput, match=r"script\.truncated_push"):
        list(parse_script(bytes.fromhex(text)))


@given(st.integers(0, 16), st.binary(min_size=2, max_size=40))
def test_witness_programs_round_trip(version, program):
    """What is written as a witness program is read as that one."""
    assert script.witness_program(script.witness_script(version, program)) == (version, program)


@given(st.binary(max_size=45))
def test_only_witness_programs_are_read_as_such(data):
    """Whatever is read as a witness program writes back to the same script."""
    found = script.witness_program(data)
    assert found is None or script.witness_script(*found) == data


@pytest.mark.parametrize(("version", "length"), [(-1, 32), (17, 32), (1, 1), (1, 41)])
def test_no_such_witness_program(version, length):
    """Versions beyond 16 and programs of other lengths are no witness outputs."""
    with pytest.raises(InvalidInput, match=r"script\.bad_witness_program"):
        script.witness_script(version, bytes(length))


def test_output_scripts():
    """The output scripts we pay to, byte for byte."""
    assert script.p2tr_script(b"k" * 32) == b"\x51\x20" + b"k" * 32
    assert script.p2wpkh_script(b"h" * 20) == b"\x00\x14" + b"h" * 20
    assert script.p2wsh_script(b"s" * 32) == b"\x00\x20" + b"s" * 32
    assert script.op_return(b"ab", b"\1") == b"\x6a\x02ab\x51"
    assert script.witness_program(script.PAY_TO_ANCHOR) == (1, bytes.fromhex("4e73"))


@pytest.mark.parametrize("build", [script.p2tr_script, script.p2wpkh_script, script.p2wsh_script])
def test_output_scripts_refuse_other_lengths(build):
    """A key or hash of a wrong length would lock coins for ever."""
    with pytest.raises(InvalidInput, match=r"script\.bad_"):
        build(bytes(33))


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (0, "00"),
        (252, "fc"),
        (253, "fdfd00"),
        (65_535, "fdffff"),
        (65_536, "fe00000100"),
        (2**32, "ff0000000001000000"),
    ],
)
def test_compact_sizes(value, encoding):
    """Bitcoin's lengths at every change of width."""
    assert encode_compact_size(value).hex() == encoding
