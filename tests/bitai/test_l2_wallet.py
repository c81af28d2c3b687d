"""Our own signing gives what wallets give."""

import pytest
from eth_account import Account
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from bitai.l2_wallet import Unsigned, sign_transaction
from primitives.curve import address_of
from primitives.hashes import sha256
from vm._core import decode

SECRET = sha256(b"someone")


@given(
    nonce=st.integers(0, 2**64 - 2),
    tip=st.integers(0, 10**12),
    room=st.integers(0, 10**12),
    gas=st.integers(100_000, 16_777_216),
    to=st.one_of(st.none(), st.binary(min_size=20, max_size=20)),
    value=st.integers(0, 2**128),
    data=st.binary(max_size=64),
)
def test_same_bytes_as_eth_account(**fields):
    """Any transaction is signed to the same bytes as by eth-account, and the core recovers the signer."""
    unsigned = Unsigned(
        chain_id=726_945,
        nonce=fields["nonce"],
        max_fee_per_gas=fields["tip"] + fields["room"],
        max_priority_fee_per_gas=fields["tip"],
        gas_limit=fields["gas"],
        to=fields["to"],
        value=fields["value"],
        data=fields["data"],
    )
    raw = sign_transaction(unsigned, SECRET)
    theirs = {
        "type": 2,
        "chainId": 726_945,
        "nonce": unsigned.nonce,
        "maxFeePerGas": unsigned.max_fee_per_gas,
        "maxPriorityFeePerGas": unsigned.max_priority_fee_per_gas,
        "gas": unsigned.gas_limit,
        "value": unsigned.value,
        "data": unsigned.data,
        "to": b"" if unsigned.to is None else to_checksum_address(unsigned.to),
    }
    assert raw == bytes(Account.sign_transaction(theirs, SECRET).raw_transaction)
    (decoded,) = decode([raw], 726_945)
    assert decoded.sender == address_of(SECRET)
    assert (decoded.to, decoded.value, decoded.input) == (unsigned.to, unsigned.value, unsigned.data)


def test_a_short_signature_part_has_no_leading_zeros():
    """Both parts are integers in RLP: one in 256 signatures has a short one, and it still decodes."""
    short = 0
    for nonce in range(400):
        unsigned = Unsigned(1, nonce, 1, 1, 21_000, bytes(20))
        (decoded,) = decode([sign_transaction(unsigned, SECRET)], 1)
        assert not isinstance(decoded, tuple)
        short += min(decoded.r, decoded.s) < 2**248
    assert short


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_no_key_no_signature(secret):
    """What is no secret key signs nothing."""
    with pytest.raises(Exception, match=r"(?i)secret|key|range|scalar"):
        sign_transaction(Unsigned(1, 0, 1, 1, 21_000, None), secret)
