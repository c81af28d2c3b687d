"""Segwit addresses: bech32 for witness version 0, bech32m for every later one (BIP 173, BIP 350)."""

from collections.abc import Iterable
from typing import Final

from primitives.bitcoin.script import witness_program, witness_script
from primitives.errors import InvalidInput
from primitives.hashes import BytesLike

NETWORK_PREFIXES: Final = {"mainnet": "bc", "testnet4": "tb", "signet": "tb", "regtest": "bcrt"}

_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {character: value for value, character in enumerate(_CHARSET)}
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32: Final = 1
_BECH32M: Final = 0x2BC830A3
_CHECKSUM_LENGTH: Final = 6
_MAX_LENGTH: Final = 90


def encode_address(network: str, script: BytesLike) -> str:
    """Return the address of a witness output script.

    Raises InvalidInput `address.no_address` for other scripts, `address.bad_network` for an unknown network.
    """
    program = witness_program(script)
    if program is None:
        raise InvalidInput("address.no_address", "only witness outputs have an address here")
    return encode_segwit(_prefix_of(network), *program)


def decode_address(network: str, address: str) -> bytes:
    """Return the output script that an address of this network stands for.

    Raises InvalidInput `address.bad_network`, `.bad_encoding`, `.wrong_network`, `.bad_program`.
    """
    prefix = _prefix_of(network)
    found, version, program = decode_segwit(address)
    if found != prefix:
        raise InvalidInput(
            "address.wrong_network", f"an address of {network} begins with {prefix}1", got=found
        )
    return witness_script(version, program)


def encode_segwit(prefix: str, version: int, program: bytes) -> str:
    """Return the address of a witness program; raises InvalidInput `address.bad_program`."""
    _check_program(version, program)
    data = [version, *_regroup(program, 8, 5)]
    return encode_bech32(prefix, data, _checksum_of_version(version))


def decode_segwit(address: str) -> tuple[str, int, bytes]:
    """Return prefix, witness version and program of an address.

    Raises InvalidInput `address.bad_encoding`, `address.bad_program`.
    """
    prefix, data, checksum = decode_bech32(address)
    if not data:
        raise InvalidInput("address.bad_program", "an address holds a witness version")
    program = _regroup_strict(data[1:])
    _check_program(data[0], program)
    if checksum != _checksum_of_version(data[0]):
        raise InvalidInput("address.bad_encoding", "the checksum belongs to another witness version")
    return prefix, data[0], program


def encode_bech32(prefix: str, data: Iterable[int], checksum: int = _BECH32M) -> str:
    """Return prefix, separator, 5-bit values and checksum as lower-case text."""
    values = list(data)
    polymod = _polymod([*_expand(prefix), *values, *([0] * _CHECKSUM_LENGTH)]) ^ checksum
    values += [(polymod >> 5 * (_CHECKSUM_LENGTH - 1 - i)) & 31 for i in range(_CHECKSUM_LENGTH)]
    return prefix + "1" + "".join([_CHARSET[value] for value in values])


def decode_bech32(text: str) -> tuple[str, list[int], int]:
    """Return prefix, 5-bit values and the checksum constant that fits (1 bech32, 0x2bc830a3 bech32m).

    Raises InvalidInput `address.bad_encoding`.
    """
    separator = text.rfind("1")
    lowered = text.lower()
    if len(text) > _MAX_LENGTH or separator < 1 or separator + 1 + _CHECKSUM_LENGTH > len(text):
        raise InvalidInput("address.bad_encoding", "too long, or its parts are missing")
    if text not in (lowered, text.upper()) or not all(33 <= ord(character) <= 126 for character in text):
        raise InvalidInput("address.bad_encoding", "mixed case or a character out of range")
    prefix, tail = lowered[:separator], lowered[separator + 1 :]
    if any(character not in _VALUES for character in tail):
        raise InvalidInput("address.bad_encoding", "a character outside the alphabet")
    values = [_VALUES[character] for character in tail]
    checksum = _polymod([*_expand(prefix), *values])
    if checksum not in (_BECH32, _BECH32M):
        raise InvalidInput("address.bad_encoding", "the checksum is wrong")
    return prefix, values[:-_CHECKSUM_LENGTH], checksum


def _prefix_of(network: str) -> str:
    prefix = NETWORK_PREFIXES.get(network)
    if prefix is None:
        raise InvalidInput("address.bad_network", "no such Bitcoin network", network=network)
    return prefix


def _checksum_of_version(version: int) -> int:
    return _BECH32 if version == 0 else _BECH32M


def _check_program(version: int, program: bytes) -> None:
    allowed = (20, 32) if version == 0 else range(2, 41)
    if not 0 <= version <= 16 or len(program) not in allowed:
        message = "no such witness version, or a program of a wrong length"
        raise InvalidInput("address.bad_program", message, version=version, length=len(program))


def _regroup(values: Iterable[int], from_bits: int, to_bits: int) -> list[int]:
    """Regroup bits, most significant first, the last group filled with zeros."""
    gathered = count = 0
    groups = []
    for value in values:
        gathered = gathered << from_bits | value
        count += from_bits
        while count >= to_bits:
            count -= to_bits
            groups.append(gathered >> count & ((1 << to_bits) - 1))
        gathered &= (1 << count) - 1
    if count:
        groups.append(gathered << (to_bits - count))
    return groups


def _regroup_strict(values: list[int]) -> bytes:
    """Turn 5-bit values into bytes; what is left over must be fewer than 5 zero bits."""
    whole, spare = divmod(5 * len(values), 8)
    groups = _regroup(values, 5, 8)
    if spare >= 5 or any(groups[whole:]):
        raise InvalidInput("address.bad_encoding", "the padding is not a few zero bits")
    return bytes(groups[:whole])


def _expand(prefix: str) -> list[int]:
    codes = [ord(character) for character in prefix]
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for position, generator in enumerate(_GENERATORS):
            checksum ^= generator if top >> position & 1 else 0
    return checksum
