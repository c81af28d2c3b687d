"""A tiny assembler, so that test contracts can be read where they are used."""

from vm import _core

STOP, ADD, MUL, SUB, DIV = range(5)
LT, GT, EQ, ISZERO = 0x10, 0x11, 0x14, 0x15
SHR, CLZ, KECCAK = 0x1C, 0x1E, 0x20
ADDRESS, BALANCE, ORIGIN, CALLER, CALLVALUE, CALLDATALOAD, CALLDATASIZE, CALLDATACOPY = range(0x30, 0x38)
CODESIZE, CODECOPY, GASPRICE, EXTCODESIZE, EXTCODECOPY, RETURNDATASIZE, RETURNDATACOPY, EXTCODEHASH = range(
    0x38, 0x40
)
BLOCKHASH, COINBASE, TIMESTAMP, NUMBER, PREVRANDAO, GASLIMIT, CHAINID, SELFBALANCE, BASEFEE = range(
    0x40, 0x49
)
BLOBBASEFEE = 0x4A
POP, MLOAD, MSTORE, MSTORE8, SLOAD, SSTORE, JUMP, JUMPI, PC, MSIZE, GAS, JUMPDEST = range(0x50, 0x5C)
TLOAD, TSTORE, MCOPY, PUSH0 = range(0x5C, 0x60)
DUP1, SWAP1 = 0x80, 0x90
LOG0, LOG1 = 0xA0, 0xA1
CREATE, CALL, CALLCODE, RETURN, DELEGATECALL, CREATE2 = range(0xF0, 0xF6)
STATICCALL, REVERT, INVALID, SELFDESTRUCT = 0xFA, 0xFD, 0xFE, 0xFF
INFER = 0xB0

Part = int | bytes


def push(value: int | bytes) -> bytes:
    """Return a push of a number, or of a byte string as it stands."""
    data = value if isinstance(value, bytes) else value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([PUSH0]) if not data else bytes([PUSH0 + len(data)]) + data


def code(*parts: Part) -> bytes:
    """Return bytecode: opcodes as numbers, everything else as bytes."""
    return b"".join(bytes([part]) if isinstance(part, int) else part for part in parts)


def deployer(runtime: bytes) -> bytes:
    """Return init code that deploys `runtime`."""
    head = code(push(len(runtime).to_bytes(2, "big")), DUP1, push(b"\0\x0c"), PUSH0, CODECOPY, PUSH0, RETURN)
    return head.ljust(12, b"\0") + runtime


def store_bytes(data: bytes, at: int = 0) -> bytes:
    """Return code that writes `data` to memory, whole words."""
    words = [data[start : start + 32].ljust(32, b"\0") for start in range(0, len(data), 32)]
    return b"".join(code(push(word), push(at + 32 * i), MSTORE) for i, word in enumerate(words))


def call(kind: int, target: bytes, data: bytes = b"", *, value: int = 0, gas: int | None = None) -> bytes:
    """Return code that calls `target` with `data` from memory 0; leaves the success flag."""
    values = [push(value)] if kind in {CALL, CALLCODE} else []
    gas_code = code(GAS) if gas is None else push(gas)
    return code(
        store_bytes(data), PUSH0, PUSH0, push(len(data)), PUSH0, *values, push(target), gas_code, kind
    )


def require() -> bytes:
    """Return code that runs out of gas unless the top of the stack is 1, and else drops it."""
    return code(push(1), SUB, push(2**40), MUL, MLOAD, POP)


def return_data() -> bytes:
    """Return code that returns the return data of the last call."""
    return code(RETURNDATASIZE, PUSH0, PUSH0, RETURNDATACOPY, RETURNDATASIZE, PUSH0, RETURN)


def infer_calldata(model_id: bytes, data: bytes, params: bytes = b"", max_output: int = 32) -> bytes:
    """Return calldata of the INFER precompile."""

    def word(value: int) -> bytes:
        return value.to_bytes(32, "big")

    def tail(item: bytes) -> bytes:
        return word(len(item)) + item + b"\0" * (-len(item) % 32)

    first = tail(data)
    head = model_id + word(128) + word(128 + len(first)) + word(max_output)
    return _core.INFER_SELECTOR + head + first + tail(params)
