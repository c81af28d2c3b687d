"""Small contracts in bytes that call INFER in any way and log what came of it, word for word."""

from __future__ import annotations

from typing import Any, NamedTuple

from primitives.hashes import keccak256

INFER = bytes.fromhex("0000000000000000000000000000000000100000")
CALL, CALLCODE, DELEGATECALL, STATICCALL = 0xF1, 0xF2, 0xF4, 0xFA
_PUSH1, _PUSH20 = 0x60, 0x73
_CALLDATASIZE, _CALLDATALOAD, _CALLDATACOPY = 0x36, 0x35, 0x37
_RETURNDATASIZE, _RETURNDATACOPY = 0x3D, 0x3E
_SUB, _ADD, _MSTORE, _MSTORE8, _DUP1, _DUP3, _NUMBER = 0x03, 0x01, 0x52, 0x53, 0x80, 0x82, 0x43
_LOG0, _REVERT, _CODECOPY, _RETURN = 0xA0, 0xFD, 0x39, 0xF3
_WORD = 32


class Called(NamedTuple):
    """What a probe saw: whether the call succeeded, and the bytes that it returned."""

    success: bool
    returned: bytes

    @property
    def answer(self) -> tuple[int, bytes]:
        """The status and output of (uint8 status, bytes output)."""
        length = int.from_bytes(self.returned[64:96], "big")
        return int.from_bytes(self.returned[:32], "big"), self.returned[96 : 96 + length]


def probe(
    opcode: int = CALL, target: bytes = INFER, *, value: int = 0, revert: bool = False, restless: bool = False
) -> bytes:
    """Return creation code of a contract that calls `target` with its calldata.

    The calldata's first word is the gas to give, the rest is passed on. Logs the call's success as a word and
    its return data behind; with `revert` the frame reverts with them instead. A restless one overwrites the
    last byte it passes on by one that depends on the block.
    """
    pushed_value = [_PUSH1, value] if opcode in (CALL, CALLCODE) else []
    runtime = bytes(
        [
            *(_PUSH1, _WORD, _CALLDATASIZE, _SUB),  # length
            *(_DUP1, _PUSH1, _WORD, _PUSH1, 0, _CALLDATACOPY),
            *(_touch_last_byte() if restless else ()),
            *(_PUSH1, 0, _PUSH1, 0, _DUP3, _PUSH1, 0, *pushed_value),
            *(_PUSH20, *target, _PUSH1, 0, _CALLDATALOAD, opcode),
            *(_PUSH1, 0, _MSTORE),
            *(_RETURNDATASIZE, _PUSH1, 0, _PUSH1, _WORD, _RETURNDATACOPY),
            *(_RETURNDATASIZE, _PUSH1, _WORD, _ADD, _PUSH1, 0, _REVERT if revert else _LOG0),
        ]
    )
    length = len(runtime)
    creation = bytes([_PUSH1, length, _DUP1, _PUSH1, 11, _PUSH1, 0, _CODECOPY, _PUSH1, 0, _RETURN])
    return creation + runtime


def _touch_last_byte() -> list[int]:
    """Write the block number, modulo 16, over the last byte of an unpadded input of 64 bytes at its place."""
    modulo, last = 0x06, INPUT_AT + 63
    return [_PUSH1, 16, _NUMBER, modulo, _PUSH1, last, _MSTORE8]


INPUT_AT = 4 + 4 * 32 + 32
"""Where the input's bytes stand in the calldata of `infer`."""


def encode_infer(model_id: str, image: bytes, max_output: int = 21, params: bytes = b"") -> bytes:
    """Return the calldata of infer(bytes32 modelId, bytes input, bytes params, uint32 maxOutput)."""
    heads = [bytes.fromhex(model_id[2:]), (128).to_bytes(32, "big")]
    tail = _encode_bytes(image)
    heads += [(128 + len(tail)).to_bytes(32, "big"), max_output.to_bytes(32, "big")]
    return (
        keccak256(b"infer(bytes32,bytes,bytes,uint32)")[:4] + b"".join(heads) + tail + _encode_bytes(params)
    )


def _encode_bytes(data: bytes) -> bytes:
    return len(data).to_bytes(32, "big") + data + bytes(-len(data) % 32)


def with_gas(gas: int, data: bytes) -> bytes:
    """Return a probe's calldata."""
    return gas.to_bytes(_WORD, "big") + data


def called(receipt: dict[str, Any]) -> Called:
    """Return what a probe logged."""
    (log,) = receipt["logs"]
    return decode_called(bytes.fromhex(log["data"][2:]))


def decode_called(data: bytes) -> Called:
    """Return what a probe's bytes say."""
    return Called(bool(int.from_bytes(data[:_WORD], "big")), data[_WORD:])
