"""The transactions that everything is measured with: transfers of coin and of an ERC-20 token, signed ahead."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from coincurve import PrivateKey

from primitives.curve import address_of
from primitives.ids import Address
from vm._core import keccak256

ROOT: Final = Path(__file__).resolve().parent.parent
CHAIN_ID: Final = 726_945
GWEI: Final = 10**9
TIP_WEI: Final = GWEI
FEE_CAP_WEI: Final = 100 * GWEI
TRANSFER_GAS: Final = 21_000
TOKEN_GAS: Final = 60_000
"""A transfer to a new holder takes 51,700, to a known one 34,600."""

TOKEN: Final = json.loads((ROOT / "contracts/artifacts/Token.json").read_text())
BALANCES_SLOT: Final = 2
"""balanceOf is the third variable in storage: name, symbol, balanceOf (constants and immutables take no slot)."""

_TRANSFER: Final = keccak256(b"transfer(address,uint256)")[:4]


class Signer:
    """A key that signs type 2 transactions, nonce after nonce; quick, because thousands are wanted."""

    def __init__(self, secret: bytes, nonce: int = 0) -> None:
        """Sign from this nonce on."""
        self.secret = secret
        self.address = address_of(secret)
        self.nonce = nonce
        self._key = PrivateKey(secret)

    def sign(
        self, to: bytes, gas: int, *, value: int = 0, data: bytes = b"", fee_cap_wei: int = FEE_CAP_WEI
    ) -> bytes:
        """Return a raw transaction with the next nonce; an empty `to` creates a contract."""
        numbers = (CHAIN_ID, self.nonce, TIP_WEI, fee_cap_wei, gas)
        self.nonce += 1
        head = b"".join(map(_number, numbers)) + _string(to) + _number(value) + _string(data) + b"\xc0"
        signature = self._key.sign_recoverable(keccak256(b"\x02" + _list(head)), hasher=None)
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:64]))
        return b"\x02" + _list(head + _number(signature[64]) + _number(r) + _number(s))

    def pay(self, to: bytes, wei: int) -> bytes:
        """Return a transfer of coin."""
        return self.sign(to, TRANSFER_GAS, value=wei)

    def pay_token(self, token: bytes, to: bytes, amount: int) -> bytes:
        """Return a transfer of the token."""
        return self.sign(token, TOKEN_GAS, data=transfer_call(to, amount))


def transfer_call(to: bytes, amount: int) -> bytes:
    """Return the calldata of a token transfer."""
    return _TRANSFER + to.rjust(32, b"\0") + amount.to_bytes(32, "big")


def _number(value: int) -> bytes:
    return _string(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _string(data: bytes) -> bytes:
    if len(data) == 1 and data[0] < 0x80:
        return data
    return _prefix(len(data), 0x80) + data


def _list(payload: bytes) -> bytes:
    return _prefix(len(payload), 0xC0) + payload


def _prefix(length: int, kind: int) -> bytes:
    if length <= 55:
        return bytes([kind + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([kind + 55 + len(size)]) + size


def make_signers(count: int, label: bytes = b"sender") -> list[Signer]:
    """Return signers with keys of their own, the same at every run."""
    return [Signer(keccak256(label + index.to_bytes(4, "big"))) for index in range(count)]


def make_holders(count: int, label: bytes = b"holder") -> list[Address]:
    """Return addresses that nobody has a key of."""
    return [Address(keccak256(label + index.to_bytes(4, "big"))[:20]) for index in range(count)]


def token_transfers(
    signers: Sequence[Signer], holders: Sequence[bytes], token: bytes, count: int
) -> list[bytes]:
    """Return transfers of the token, the senders taking turns, to holders in a scattered order."""
    return [
        signers[index % len(signers)].pay_token(
            token, holders[_scatter(index, signers) % len(holders)], 1 + index
        )
        for index in range(count)
    ]


def coin_transfers(signers: Sequence[Signer], holders: Sequence[bytes], count: int) -> list[bytes]:
    """Return transfers of coin in the same manner."""
    return [
        signers[index % len(signers)].pay(holders[_scatter(index, signers) % len(holders)], 10**12 + index)
        for index in range(count)
    ]


def _scatter(index: int, signers: Sequence[Signer]) -> int:
    """Step through the holders by a large prime, going on where the last call with these signers ended."""
    return (index + signers[0].nonce * len(signers)) * 7_919


def deploy_token(signer: Signer, supply: int) -> bytes:
    """Return the creation of the token by a signer, who then holds all of it."""
    heads = b"".join(each.to_bytes(32, "big") for each in (96, 160, supply))
    texts = b"".join(len(text).to_bytes(32, "big") + text.ljust(32, b"\0") for text in (b"Token", b"TKN"))
    arguments = heads + texts
    return signer.sign(b"", 3_000_000, data=bytes.fromhex(TOKEN["bytecode"][2:]) + arguments)


def created_address(sender: bytes, nonce: int) -> Address:
    """Return where a creation with this nonce puts its contract."""
    return Address(keccak256(_list(_string(sender) + _number(nonce)))[12:])


def balance_slot(owner: bytes) -> bytes:
    """Return the storage slot of a token balance."""
    return keccak256(owner.rjust(32, b"\0") + BALANCES_SLOT.to_bytes(32, "big"))
