"""Random programs that mean something: each piece pushes what it takes, so that most of them run to an end."""

from collections.abc import Callable
from random import Random

from tests.vm.differential.precompile_inputs import input_for

# Opcodes by what they take; all leave one word.
_BINARY = [
    0x01,
    0x02,
    0x03,
    0x04,
    0x05,
    0x06,
    0x07,
    0x0A,
    0x0B,
    0x10,
    0x11,
    0x12,
    0x13,
    0x14,
    0x16,
    0x17,
    0x18,
]
_BINARY += [0x1A, 0x1B, 0x1C, 0x1D]
_TERNARY = [0x08, 0x09]
_UNARY = [0x15, 0x19, 0x1E, 0x31, 0x35, 0x3B, 0x3F, 0x40, 0x49, 0x51, 0x54, 0x5C]
_NULLARY = [
    0x30,
    0x32,
    0x33,
    0x34,
    0x36,
    0x38,
    0x3A,
    0x3D,
    0x41,
    0x42,
    0x43,
    0x44,
    0x45,
    0x46,
    0x47,
    0x48,
    0x4A,
]
_NULLARY += [0x58, 0x59, 0x5A, 0x5F]
_EDGES = [
    0,
    1,
    2,
    31,
    32,
    33,
    255,
    256,
    2**31,
    2**63,
    2**64 - 1,
    2**64,
    2**128,
    2**255,
    2**256 - 1,
    2**256 - 2,
]
# Opcodes that came with a fork; elsewhere they are rare.
_NEW = {
    "London": [0x48],
    "Shanghai": [0x5F],
    "Cancun": [0x49, 0x4A, 0x5C, 0x5D, 0x5E],
    "Osaka": [0x1E],
}
_ORDER = ["Berlin", "London", "Paris", "Shanghai", "Cancun", "Prague", "Osaka"]
PRECOMPILES = [*range(1, 0x12), 0x100]


def push(value: int) -> bytes:
    """Push a number in its shortest form, zero as PUSH1 0: PUSH0 is not in every fork."""
    data = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return bytes([0x5F + len(data)]) + data


class Programmer:
    """Write programs for contracts that know each other's addresses."""

    def __init__(self, random: Random, addresses: list[int], fork: str) -> None:
        """Know which accounts there are, and which opcodes."""
        self._random = random
        later = _ORDER[_ORDER.index(fork) + 1 :]
        self._unknown = {opcode for name in later for opcode in _NEW.get(name, [])}
        self._addresses = addresses
        self._pieces: list[tuple[float, Callable[[], bytes]]] = [
            (10, self._arithmetic),
            (10, self._storage),
            (5, self._transient),
            (8, self._memory),
            (6, self._surroundings),
            (6, self._log),
            (12, self._call),
            (6, self._precompile),
            (5, self._create),
            (4, self._branch),
            (2, self._loop),
            (3, self._copy),
            (0.3, self._junk),
        ]

    def program(self, pieces: int | None = None) -> bytes:
        """Return the code of a contract."""
        count = self._random.choice([1, 2, 3, 5, 8, 12, 20]) if pieces is None else pieces
        weights = [weight for weight, _ in self._pieces]
        chosen = self._random.choices([piece for _, piece in self._pieces], weights, k=count)
        return b"".join(piece() for piece in chosen) + self._ending()

    def init_code(self, depth: int = 0) -> bytes:
        """Return code that creates a contract, or fails to."""
        random = self._random
        kind = random.randrange(10)
        if kind < 5:
            runtime = self.program(random.choice([1, 2, 3])) if depth == 0 else b"\x00"
            if random.random() < 0.1:
                runtime = b"\xef" + runtime
            head = b"" if random.random() < 0.7 else self._storage()
            copy = len(head) + 15
            return (
                head
                + b"\x61"
                + len(runtime).to_bytes(2, "big")
                + b"\x61"
                + copy.to_bytes(2, "big")
                + b"\x60\x00\x39"
                b"\x61" + len(runtime).to_bytes(2, "big") + b"\x60\x00\xf3" + b"\x00" + runtime
            )
        if kind == 5:
            return push(self._address()) + b"\xff"
        if kind == 6:
            return b"\x60\x20\x60\x00\xfd"
        if kind == 7:
            return push(random.choice([24_576, 24_577, 100])) + b"\x60\x00\xf3"
        if kind == 8:
            return b""
        return self.program(2)

    def _known(self, opcodes: list[int]) -> int:
        opcode = self._random.choice(opcodes)
        while opcode in self._unknown and self._random.random() < 0.97:
            opcode = self._random.choice(opcodes)
        return opcode

    def word(self) -> int:
        """Return a number, often one at an edge."""
        random = self._random
        kind = random.randrange(6)
        if kind < 3:
            return random.randrange(8)
        return random.choice(_EDGES) if kind < 5 else random.getrandbits(random.choice([8, 64, 160, 256]))

    def _address(self) -> int:
        random = self._random
        if random.random() < 0.08:
            return random.choice(PRECOMPILES)
        return random.choice(self._addresses) if random.random() < 0.92 else random.getrandbits(160)

    def _words(self, count: int) -> bytes:
        return b"".join(push(self.word()) for _ in range(count))

    def _keep(self) -> bytes:
        """Do something with the word on top, so that a wrong one is seen."""
        random = self._random
        return b"\x50" if random.random() < 0.3 else push(random.randrange(6)) + b"\x55"

    def _arithmetic(self) -> bytes:
        random = self._random
        if random.random() < 0.2:
            return self._words(3) + bytes([random.choice(_TERNARY)]) + self._keep()
        return self._words(2) + bytes([random.choice(_BINARY)]) + self._keep()

    def _storage(self) -> bytes:
        value = self._random.choice([0, 0, 1, 2, self.word()])
        return push(value) + push(self._random.randrange(6)) + b"\x55"

    def _transient(self) -> bytes:
        if 0x5C in self._unknown and self._random.random() < 0.97:
            return self._storage()
        slot = push(self._random.randrange(3))
        if self._random.random() < 0.5:
            return push(self.word()) + slot + b"\x5d"
        return slot + b"\x5c" + self._keep()

    def _memory(self) -> bytes:
        random = self._random
        at = self.word() if random.random() < 0.03 else random.choice([0, 1, 31, 32, 64, 100, 1000])
        kind = self._random.choice([0, 1, 3]) if 0x5E in self._unknown else random.randrange(4)
        if kind == 0:
            return push(self.word()) + push(at) + b"\x52"
        if kind == 1:
            return push(self.word()) + push(at) + b"\x53"
        if kind == 2:
            return (
                push(random.randrange(70)) + push(random.randrange(70)) + push(random.randrange(70)) + b"\x5e"
            )
        return push(random.randrange(90)) + push(random.randrange(70)) + b"\x20" + self._keep()

    def _surroundings(self) -> bytes:
        random = self._random
        if random.random() < 0.5:
            return bytes([self._known(_NULLARY)]) + self._keep()
        opcode = self._known(_UNARY)
        operand = self._address() if opcode in {0x31, 0x3B, 0x3F} else self.word()
        if opcode == 0x51 and random.random() < 0.95:
            operand %= 200
        return push(operand) + bytes([opcode]) + self._keep()

    def _log(self) -> bytes:
        topics = self._random.randrange(5)
        return (
            self._words(topics)
            + push(self._random.randrange(70))
            + push(self._random.randrange(40))
            + bytes([0xA0 + topics])
        )

    def _call(self) -> bytes:
        random = self._random
        opcode = random.choice([0xF1, 0xF1, 0xF1, 0xF2, 0xF4, 0xFA])
        area = (
            push(random.choice([0, 32, 64]))
            + push(random.choice([0, 32]))
            + push(random.choice([0, 32, 64]))
            + push(0)
        )
        value = push(random.choice([0, 0, 1, 5, 10**19])) if opcode in {0xF1, 0xF2} else b""
        gas = b"\x5a" if random.random() < 0.7 else push(random.choice([0, 1, 2300, 10_000, 50_000]))
        after = self._keep()
        if random.random() < 0.3:
            after += push(random.choice([0, 1, 32])) + push(random.choice([0, 0, 1])) + push(64) + b"\x3e"
        return area + value + push(self._address()) + gas + bytes([opcode]) + after

    def _precompile(self) -> bytes:
        random = self._random
        target = random.choice(PRECOMPILES)
        data = input_for(target, random)
        code = b""
        for at in range(0, len(data), 32):
            code += b"\x7f" + data[at : at + 32].ljust(32, b"\0") + push(at) + b"\x52"
        output = random.choice([0, 32, 64, 128])
        gas = b"\x5a" if random.random() < 0.9 else push(random.choice([0, 100, 3_000, 6_900, 45_000]))
        code += (
            push(output) + push(0) + push(len(data)) + push(0) + push(target) + gas + b"\xfa" + self._keep()
        )
        return code + b"\x3d" + self._keep() + push(0) + b"\x51" + self._keep()

    def _create(self) -> bytes:
        random = self._random
        code = self.init_code(depth=1)[:128]
        store = b""
        for at in range(0, len(code), 32):
            store += b"\x7f" + code[at : at + 32].ljust(32, b"\0") + push(at) + b"\x52"
        value = push(random.choice([0, 0, 0, 1, 10**19]))
        if random.random() < 0.5:
            made = push(random.randrange(3)) + push(len(code)) + push(0) + value + b"\xf5"
        else:
            made = push(len(code)) + push(0) + value + b"\xf0"
        if random.random() < 0.4:  # call what was made
            return (
                store
                + made
                + b"\x60\x00\x60\x00\x60\x00\x60\x00\x60\x00\x85\x5a\xf1"
                + self._keep()
                + b"\x50"
            )
        return store + made + self._keep()

    def _branch(self) -> bytes:
        """Jump over some bytes, or not; where to is relative to the program counter."""
        over = self._arithmetic() if self._random.random() < 0.7 else bytes(self._random.randbytes(5))
        condition = self._random.choice([b"\x60\x01", b"\x60\x00", b"\x36", b"\x34", b"\x5a"])
        # PC is at this opcode; the destination follows what is jumped over.
        return condition + b"\x58" + push(len(over) + 5) + b"\x01\x57" + over + b"\x5b"

    def _loop(self) -> bytes:
        """Count down from a few, doing something each time."""
        body = self._random.choice([b"\x5a\x50", b"\x60\x07\x60\x00\x52", b"\x60\x40\x60\x00\x20\x50"])
        count = push(self._random.randrange(1, 30))
        # JUMPDEST body; 1 SWAP1 SUB DUP1; PC - distance JUMPI; POP
        inner = body + b"\x60\x01\x90\x03\x80"
        return count + b"\x5b" + inner + push(len(inner) + 3) + b"\x58\x03\x57\x50"

    def _copy(self) -> bytes:
        random = self._random
        opcode = random.choice([0x37, 0x39, 0x3C])
        size, source, at = random.choice([0, 5, 33, 70]), self.word(), random.choice([0, 3, 64])
        code = push(size) + push(source) + push(at)
        return code + (push(self._address()) if opcode == 0x3C else b"") + bytes([opcode])

    def _junk(self) -> bytes:
        return self._random.randbytes(self._random.randrange(1, 6))

    def _ending(self) -> bytes:
        random = self._random
        kind = random.randrange(20)
        if kind < 10:
            return b"\x00"
        if kind < 15:
            return push(random.choice([0, 32, 64])) + push(0) + b"\xf3"
        if kind < 17:
            return push(random.choice([0, 32])) + push(0) + b"\xfd"
        if kind < 19:
            return push(self._address()) + b"\xff"
        return b"\xfe" if random.random() < 0.3 else b""
