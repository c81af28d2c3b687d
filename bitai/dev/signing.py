"""Sign for the ten accounts whose keys everyone knows, and name a sender where nobody can sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primitives.curve import ecdsa_sign
from primitives.hashes import keccak256
from vm.dev_accounts import DEV_ACCOUNTS

if TYPE_CHECKING:
    from bitai.rpc.unsigned import UnsignedTransaction
    from primitives.ids import Address

_KEYS: Final = {account.address: account.secret for account in DEV_ACCOUNTS}
_MESSAGE_PREFIX: Final = b"\x19Ethereum Signed Message:\n"
_TYPED_DATA_PREFIX: Final = b"\x19\x01"


def dev_addresses() -> tuple[Address, ...]:
    """Return the ten accounts in their usual order."""
    return tuple(account.address for account in DEV_ACCOUNTS)


def holds_key(address: Address) -> bool:
    """Tell whether an account is one of the ten."""
    return address in _KEYS


def sign_as(address: Address, unsigned: UnsignedTransaction) -> bytes:
    """Return a raw transaction signed by one of the ten; KeyError for another."""
    signature = ecdsa_sign(_KEYS[address], keccak256(unsigned.signing_payload()))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return unsigned.with_signature(signature[64], r, s)


def name_sender(address: Address, unsigned: UnsignedTransaction) -> bytes:
    """Return a raw transaction in an account's name: r is 0, which is no signature anywhere, and s the account."""
    return unsigned.with_signature(0, 0, int.from_bytes(address, "big"))


def sign_message(address: Address, message: bytes) -> bytes:
    """Return r | s | v (27 or 28) over a message in the form of EIP-191; KeyError for an account not of the ten."""
    return _sign_digest(address, keccak256(_MESSAGE_PREFIX + str(len(message)).encode() + message))


def sign_typed(address: Address, domain_separator: bytes, message_hash: bytes) -> bytes:
    """Return r | s | v over typed data (EIP-712); KeyError for an account not of the ten."""
    return _sign_digest(address, keccak256(_TYPED_DATA_PREFIX + domain_separator + message_hash))


def _sign_digest(address: Address, digest: bytes) -> bytes:
    signature = ecdsa_sign(_KEYS[address], digest)
    return signature[:64] + bytes([27 + signature[64]])
