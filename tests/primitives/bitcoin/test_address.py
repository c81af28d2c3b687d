"""Addresses are those of BIP 173 and BIP 350."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin import address
from primitives.bitcoin.script import p2tr_script, witness_script
from primitives.errors import InvalidInput

NETWORKS = st.sampled_from(sorted(address.NETWORK_PREFIXES))
OF_PREFIX = {"bc": "mainnet", "tb": "testnet4", "bcrt": "regtest"}


@pytest.fixture(scope="module")
def vectors(shared_vectors):
    """BIP 350's strings and addresses."""
    return json.loads((shared_vectors / "bips" / "bip350.json").read_text())


def test_bech32m_strings(vectors):
    """Every valid string decodes with the bech32m checksum and encodes back; every invalid one is refused."""
    assert vectors["bech32m_valid"]
    for text in vectors["bech32m_valid"]:
        prefix, values, checksum = address.decode_bech32(text)
        assert address.encode_bech32(prefix, values, checksum) == text.lower()
        assert checksum == 0x2BC830A3
    for case in vectors["bech32m_invalid"]:
        code = None
        try:
            _, _, checksum = address.decode_bech32(case["string"])
        except InvalidInput as error:
            code = error.code
        assert code == "address.bad_encoding" or checksum != 0x2BC830A3, case["reason"]


def test_segwit_addresses(vectors):
    """Every valid address is that of its script, on its network and on no other."""
    assert vectors["segwit_valid"]
    for case in vectors["segwit_valid"]:
        text, script = case["address"], bytes.fromhex(case["script_pubkey"])
        network = OF_PREFIX[text.lower().rpartition("1")[0]]
        assert address.decode_address(network, text) == script
        assert address.encode_address(network, script) == text.lower()
        with pytest.raises(InvalidInput, match=r"address\.wrong_network"):
            address.decode_address("regtest", text)


def test_invalid_segwit_addresses(vectors):
    """Every invalid address is refused on every network."""
    assert len(vectors["segwit_invalid"]) >= 15
    for case in vectors["segwit_invalid"]:
        for network in address.NETWORK_PREFIXES:
            with pytest.raises(InvalidInput, match=r"address\."):
                pytest.fail(case["reason"] + address.decode_address(network, case["address"]).hex())


@given(NETWORKS, st.integers(0, 16), st.binary(min_size=2, max_size=40))
def test_round_trip(network, version, program):
    """Scripts become addresses and come back, version 0 with its two lengths only."""
    if version == 0:
        program = program.ljust(32, b"\0")[:32]
    script = witness_script(version, program)
    assert address.decode_address(network, address.encode_address(network, script)) == script


@given(st.binary(min_size=32, max_size=32), st.data())
def test_a_changed_character_is_noticed(key, data):
    """The checksum finds every single wrong character."""
    text = address.encode_address("regtest", p2tr_script(key))
    at = data.draw(st.integers(5, len(text) - 1))
    wrong = data.draw(st.sampled_from([c for c in "qpzry9x8gf2tvdw0s3jn54khce6mua7l" if c != text[at]]))
    with pytest.raises(InvalidInput, match=r"address\."):
        address.decode_address("regtest", text[:at] + wrong + text[at + 1 :])


@given(st.text(max_size=100))
def test_random_text_is_refused(text):
    """Whatever a person types, the answer is a refusal in words."""
    with pytest.raises(InvalidInput, match=r"address\."):
        address.decode_address("mainnet", text)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: address.encode_address("mainnet", b"\x6a\x00"), "address.no_address"),
        (lambda: address.encode_address("moonnet", p2tr_script(bytes(32))), "address.bad_network"),
        (lambda: address.decode_address("moonnet", ""), "address.bad_network"),
        (lambda: address.encode_address("mainnet", witness_script(0, bytes(21))), "address.bad_program"),
    ],
)
def test_codes(call, code):
    """Other scripts have no address, other networks no prefix."""
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.code == code
