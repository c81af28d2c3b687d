"""The core against Ethereum's executable specification where random code seldom goes.

Precompiles with inputs that mean something, storage tries of hundreds of slots, blocks of little gas with odd
coinbases and base fees, delegations to precompiles, calldata and init code at their limits.
"""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.vm.native import assembly as a
from tests.vm.native.lab import BASE_FEE, COINBASE, ETHER, FEE_VAULT, GWEI, START_TIME, Key, Lab, keys, slot
from tests.vm.native.reference import Reference
from tests.vm.native.test_reference import CONTRACTS, Programs, Traffic, run_block
from vm import _core

BLOCKS = 3
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BN254_G1 = (1).to_bytes(32, "big") + (2).to_bytes(32, "big")
BLS_G1 = bytes.fromhex(
    "0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
    "6c55e83ff97a1aeffb3af00adb22c6bb0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4"
    "fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1"
)


def precompile(number: int) -> bytes:
    """Return a precompile's address."""
    return number.to_bytes(20, "big")


def words(*values: int) -> bytes:
    """Return numbers as 32-byte words."""
    return b"".join(value.to_bytes(32, "big") for value in values)


class WidePrograms(Programs):
    """Random code that also works with real points, signatures and exponents, and with many slots."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.targets += [precompile(1), precompile(4), precompile(5), COINBASE, FEE_VAULT]
        self.targets += [_core.HISTORY_ADDRESS, _core.BEACON_ROOTS_ADDRESS]
        self.steps += [self.fill, self.fill, self.wipe, self.power, self.verify, self.recover, self.point]
        self.steps += [
            self.read_code,
            self.read_return,
            self.ask_history,
            self.recurse,
            self.deploy,
            self.wide_sum,
        ]

    def ask(self, number: int, data: bytes) -> bytes:
        """Call a precompile and keep its flag, its first word and its length."""
        gas = a.code(a.GAS) if self.random.random() < 0.8 else a.push(self.random.randrange(200_000))
        head = [
            a.push(64),
            a.PUSH0,
            a.push(len(data)),
            a.PUSH0,
            a.PUSH0,
            a.push(precompile(number)),
            gas,
            a.CALL,
        ]
        return a.code(
            a.store_bytes(data), *head, a.push(self.slot()), a.SSTORE, a.PUSH0, a.MLOAD, a.push(self.slot()),
            a.SSTORE, a.RETURNDATASIZE, a.push(self.slot()), a.SSTORE,
        )  # fmt: skip

    def fill(self) -> bytes:
        """Write a run of slots."""
        base = self.random.choice([0, 0, 5, 100, self.random.getrandbits(200)])
        step, value = self.random.choice([1, 1, 7, 1 << 200]), self.number()
        slots = [(base + at * step) % 2**256 for at in range(self.random.randrange(1, 30))]
        return b"".join(a.code(a.push(value), a.push(at), a.SSTORE) for at in slots)

    def wipe(self) -> bytes:
        """Clear a run of slots: the trie shrinks, branches become extensions and leaves."""
        base, step = self.random.choice([0, 0, 5, 100]), self.random.choice([1, 2, 7])
        slots = range(base, base + step * self.random.randrange(1, 30), step)
        return b"".join(a.code(a.PUSH0, a.push(at), a.SSTORE) for at in slots)

    def power(self) -> bytes:
        """Modular exponentiation, at and over its limits (EIP-7823, EIP-7883)."""
        sizes = [self.random.choice([0, 1, 31, 32, 33, 64, 200, 1_024, 1_025]) for _ in range(3)]
        if self.random.random() < 0.1:
            sizes[self.random.randrange(3)] = self.random.getrandbits(self.random.choice([16, 64, 256]))
        body = b"".join(self.random.randbytes(min(size, 1_025)) for size in sizes)
        return self.ask(5, words(*sizes) + body[: self.random.choice([0, 100, 1_500, 1_500])])

    def verify(self) -> bytes:
        """A P-256 signature, whole or damaged (EIP-7951)."""
        key, digest = ec.derive_private_key(self.random.getrandbits(200) + 1, ec.SECP256R1()), bytes(32)
        signature = key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        public = key.public_key().public_numbers()
        data = bytearray(digest + words(*utils.decode_dss_signature(signature), public.x, public.y))
        if self.random.random() < 0.4:
            data[self.random.randrange(160)] ^= 1 << self.random.randrange(8)
        return self.ask(0x100, bytes(data[: self.random.choice([160, 160, 160, 159, 200])]))

    def recover(self) -> bytes:
        """A secp256k1 signature, in either half, under a right or wrong v."""
        digest = self.random.randbytes(32)
        odd, r, s = self.random.choice(keys(4)).signature(digest)
        if self.random.random() < 0.3:
            odd, s = odd ^ 1, SECP256K1_ORDER - s
        v = self.random.choice([27 + odd, 27 + odd, 28 - odd, 29, 0])
        return self.ask(1, digest + words(v, r, s))

    def point(self) -> bytes:
        """Points on and off the curves, pairings of nothing, BLAKE2 rounds, an opening that fails."""
        scalar = self.random.randbytes(32)
        blake = words(self.random.choice([0, 1, 12]))[28:] + self.random.randbytes(208)
        number, data = self.random.choice(
            [
                (6, BN254_G1 + self.random.choice([BN254_G1, bytes(64), BN254_G1[:40], scalar * 2])),
                (7, BN254_G1 + scalar), (8, b""), (8, bytes(192)), (8, bytes(191)), (8, BN254_G1 + bytes(128)),
                (9, blake + b"\1"), (9, blake + b"\2"), (0x0A, self.random.randbytes(192)),
                (0x0B, BLS_G1 + self.random.choice([BLS_G1, bytes(128)])), (0x0C, BLS_G1 + scalar),
                (0x0D, bytes(512)), (0x0E, bytes(288)), (0x0F, bytes(384)), (0x0F, b""),
                (0x10, bytes(16) + self.random.randbytes(48)), (0x10, bytes(64)), (0x11, bytes(128)),
            ]
        )  # fmt: skip
        return self.ask(number, data)

    def read_code(self) -> bytes:
        at = self.random.choice([0, 10, 1_000, 2**64, 2**255])
        copy = a.code(
            a.push(self.random.randrange(300)), a.push(at), a.PUSH0, a.push(self.target()), a.EXTCODECOPY
        )
        return copy + a.code(a.PUSH0, a.MLOAD, a.push(self.slot()), a.SSTORE)

    def read_return(self) -> bytes:
        """Copy return data; beyond its end the frame fails."""
        if self.random.random() < 0.7:
            return a.code(a.RETURNDATASIZE, a.PUSH0, a.PUSH0, a.RETURNDATACOPY)
        return a.code(a.push(self.random.choice([1, 500])), a.push(self.number()), a.PUSH0, a.RETURNDATACOPY)

    def ask_history(self) -> bytes:
        """Ask for an older block's hash or an origin's, in time or not (EIP-2935, EIP-4788)."""
        target = self.random.choice([_core.HISTORY_ADDRESS, _core.BEACON_ROOTS_ADDRESS])
        asked = self.random.choice([0, 1, 2, 3, START_TIME + 2, START_TIME + 4, 2**64, 2**255])
        call = [a.push(32), a.PUSH0, a.push(32), a.PUSH0, a.PUSH0, a.push(target), a.GAS, a.CALL]
        keep = [a.push(self.slot()), a.SSTORE, a.PUSH0, a.MLOAD, a.push(self.slot()), a.SSTORE]
        return a.code(a.push(asked), a.PUSH0, a.MSTORE, *call, *keep)

    def recurse(self) -> bytes:
        """Call oneself with all the gas there is."""
        kind = self.random.choice([a.CALL, a.DELEGATECALL, a.STATICCALL])
        values = [a.PUSH0] if kind == a.CALL else []
        return a.code(a.PUSH0, a.PUSH0, a.PUSH0, a.PUSH0, *values, a.ADDRESS, a.GAS, kind, a.POP)

    def deploy(self) -> bytes:
        """Create an account with code that looks like a delegation, with none, or with zeros."""
        init = self.random.choice(
            [b"", a.deployer(b"\xef\x01\x00" + bytes(20)), a.code(a.push(self.slot()), a.PUSH0, a.RETURN)]
        )
        make = a.code(
            a.store_bytes(init), a.push(len(init)), a.PUSH0, a.PUSH0, a.CREATE, a.DUP1, a.EXTCODEHASH
        )
        return make + a.code(a.push(self.slot()), a.SSTORE, a.push(self.slot()), a.SSTORE)

    def wide_sum(self) -> bytes:
        """ADDMOD or MULMOD."""
        three = [a.push(self.number()) for _ in range(3)]
        return a.code(*three, self.random.choice([0x08, 0x09]), a.push(self.slot()), a.SSTORE)


class WideTraffic(Traffic):
    """Random transactions, with calldata and init code at their limits and odd authorizations among them."""

    def next(self) -> bytes:
        chance, sender = self.random.random(), self.random.choice(self.senders)
        if chance < 0.08:
            return self.long_call(sender)
        if chance < 0.12:
            length = self.random.choice([24_576, 24_577, 49_140, 49_141])
            init = a.deployer(self.random.randbytes(length)) if chance < 0.11 else bytes(49_152)
            return sender.sign(None, data=init, gas=16_000_000, nonce=sender.nonce)
        return super().next()

    def long_call(self, sender: Key) -> bytes:
        """Calldata that pays its floor (EIP-7623), and gas around the cap (EIP-7825)."""
        length = self.random.choice([500, 3_000, 20_000])
        data = self.random.choice([self.random.randbytes(length), bytes(length)])
        gas = self.random.choice([21_000 + 40 * length, 21_000 + 10 * length, 2_000_000, 2**24, 2**24 + 1])
        tip = self.random.choice([0, GWEI, 3 * BASE_FEE, 3 * BASE_FEE + 1])
        return sender.sign(self.programs.target(), data=data, gas=gas, tip=tip, nonce=sender.nonce)

    def authorization(self, sender: Key) -> list[object]:
        signed = super().authorization(sender)
        chance, signer = self.random.random(), self.random.choice(self.senders)
        if chance < 0.15:
            target = self.random.choice([precompile(1), precompile(4), COINBASE])
            return signer.authorize(target, signer.nonce + (signer is sender))
        if chance < 0.2:
            return signer.authorize(CONTRACTS[0], 2**64 - 1)
        if chance < 0.25:
            signed[3] = self.random.choice([0, 1, 2, 27, 255])
        elif chance < 0.3:
            signed[5] = SECP256K1_ORDER - int(signed[5])  # type: ignore[call-overload]
        return signed


@pytest.mark.parametrize("seed", range(8))
def test_random_chains_far_afield(seed: int) -> None:
    """Also there gas, receipts, state roots, destroyed coin and undo data are right."""
    programs = WidePrograms(seed)
    pick, senders = programs.random.choice, keys(4)
    contracts = {}
    for address in CONTRACTS:
        slots = {
            slot(programs.random.randrange(200)): 1 + programs.number() // 2 for _ in range(pick([0, 3, 100]))
        }
        contracts[address] = (1, pick([0, ETHER]), programs.program(), slots)
    lab = Lab(contracts, rich=senders, cache_bytes=pick([0, 1 << 16, 64 << 20]))
    reference = Reference(lab.allocation)
    assert reference.state_root() == lab.head.state_root
    traffic = WideTraffic(programs, senders)
    gas_limit = pick([60_000_000, 60_000_000, 5_000_000, 900_000])
    coinbases = [COINBASE, FEE_VAULT, CONTRACTS[0], senders[0].address, precompile(1), b"\xab" * 20]
    for _ in range(BLOCKS):
        odd = {"coinbase": pick(coinbases), "base_fee": pick([BASE_FEE, BASE_FEE, 0, 7, 2 * BASE_FEE])}
        run_block(lab, reference, traffic, f"seed {seed}", gas_limit=gas_limit, **odd)
