"""INFER as its page tells it, as one more precompile of Ethereum's executable specification.

Written from docs/spec/infer.md and block.md, not from the core: models, budgets, stops, and who is paid.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ethereum.forks.osaka import vm
from ethereum.forks.osaka.fork_types import Address
from ethereum.forks.osaka.state import State, get_account, set_account_balance
from ethereum.forks.osaka.trie import copy_trie
from ethereum.forks.osaka.vm.exceptions import OutOfGasError, Revert
from ethereum.forks.osaka.vm.gas import calculate_gas_extend_memory, charge_gas
from ethereum.forks.osaka.vm.instructions import Ops
from ethereum.forks.osaka.vm.memory import memory_read_bytes, memory_write
from ethereum.forks.osaka.vm.stack import pop, push
from ethereum_types.numeric import U256, Uint

from primitives.hashes import keccak256
from vm import _core

OK, BAD_INPUT, UNAVAILABLE, UNKNOWN_MODEL = 0, 1, 3, 4
RECORD_OVERHEAD = 128
WORD_GAS = 6
ON_CHAIN, NEURON = 0, 1

Facts = tuple[int, int, int | None, int, bool]
"""(tier, MACs, input bytes, output bytes, callable)."""


class Stopped(BaseException):
    """A call ended its transaction; no handler of the specification catches this."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Opcodes:
    """The specification's opcodes and one more byte, as its interpreter looks them up."""

    STOP = Ops.STOP

    def __init__(self, infer: int) -> None:
        self.infer = infer

    def __call__(self, byte: int) -> "Ops | int":
        return byte if byte == self.infer else Ops(byte)


@dataclass
class Model:
    """The world's models: their facts, what they answer, and which neuron calls somebody answers."""

    facts: Mapping[bytes, Facts]
    run: Callable[[bytes, bytes, int], tuple[int, bytes]]
    answer: Callable[[bytes], tuple[int, bytes, bytes | None, int] | None]


@dataclass
class Infer:
    """INFER during one block."""

    models: Model
    base_gas: int
    mac_gas: int
    byte_gas: int
    limits: tuple[int, int]
    spent: Counter[int] = field(default_factory=Counter)
    wasted_gas: int = 0
    missing: str = "skip"
    call_gas: int = 0
    asked: Counter[int] = field(default_factory=Counter)
    charges: list[tuple[int, bytes | None]] = field(default_factory=list)
    records: list[int] = field(default_factory=list)

    def begin(self, missing: str) -> None:
        """Begin a transaction."""
        self.missing = missing
        self.asked, self.charges, self.records = Counter(), [], []

    def stop(self, declared_gas: int) -> None:
        """End a transaction that INFER stopped: only in replay it has cost the block something."""
        if self.missing == "skip":
            self.wasted_gas += declared_gas
            self.spent += self.asked

    def end(self) -> None:
        """End a transaction that is in the block."""
        self.spent += self.asked

    def __call__(self, evm: vm.Evm) -> None:
        """Run one call."""
        message = evm.message
        arguments = decode_arguments(bytes(message.data))
        if arguments is None or (message.should_transfer_value and message.value):
            charge_gas(evm, Uint(self.base_gas))
            self.charges.append((self.base_gas, None))
            evm.output = b""
            raise Revert
        status, output = self.pay_and_ask(evm, *arguments)
        padded = output + bytes(-len(output) % 32)
        words = [status, 64, len(output)]
        evm.output = b"".join(word.to_bytes(32, "big") for word in words) + padded

    def run_opcode(self, evm: vm.Evm) -> None:
        """Run the instruction: the same without ABI."""
        model, *numbers = [pop(evm.stack) for _ in range(7)]
        data_at, data_length, params_at, params_length, most, output_at = numbers
        if most >= U256(2**32):
            raise OutOfGasError
        places = [(data_at, data_length), (params_at, params_length), (output_at, most)]
        extend = calculate_gas_extend_memory(evm.memory, places)
        charge_gas(evm, extend.cost)
        evm.memory += bytes(int(extend.expand_by))
        data, params = (bytes(memory_read_bytes(evm.memory, at, length)) for at, length in places[:2])
        status, output = self.pay_and_ask(evm, bytes(model.to_be_bytes32()), data, params, int(most))
        push(evm.stack, U256(status))
        evm.return_data = output
        memory_write(evm.memory, output_at, output)
        evm.pc += Uint(1)

    def pay_and_ask(
        self, evm: vm.Evm, model: bytes, data: bytes, params: bytes, max_output: int
    ) -> tuple[int, bytes]:
        """Charge for what is handed over, then answer."""
        self.call_gas = self.base_gas + WORD_GAS * -(-(len(data) + len(params)) // 32)
        charge_gas(evm, Uint(self.call_gas))
        return self.ask(evm, model, data, params, max_output)

    def ask(
        self, evm: vm.Evm, model: bytes, data: bytes, params: bytes, max_output: int
    ) -> tuple[int, bytes]:
        """Answer (status, output)."""
        facts = self.models.facts.get(model)
        if facts is None:
            return self.refuse(UNKNOWN_MODEL)
        tier, macs, input_bytes, output_bytes, answerable = facts
        if params or output_bytes > max_output or input_bytes not in (None, len(data)):
            return self.refuse(BAD_INPUT)
        if not answerable or macs > self.limits[tier]:
            return self.refuse(UNAVAILABLE)
        price = -(-macs * self.mac_gas // 1_000)
        if tier == NEURON:
            price += (RECORD_OVERHEAD + max_output) * self.byte_gas
        charge_gas(evm, Uint(price))
        if self.asked[tier] + macs > self.limits[tier]:
            return self.over_budget(evm, price, "infer.transaction_mac_limit")
        if tier == ON_CHAIN:
            return self.run_on_chain(evm, model, data, max_output, price)
        return self.look_up(evm, _core.request_hash(model, data, params, max_output), max_output, price, macs)

    def run_on_chain(
        self, evm: vm.Evm, model: bytes, data: bytes, max_output: int, price: int
    ) -> tuple[int, bytes]:
        macs = self.models.facts[model][1]
        if self.spent[ON_CHAIN] + self.asked[ON_CHAIN] + macs > self.limits[ON_CHAIN]:
            return self.over_budget(evm, price, "infer.block_mac_limit")
        status, output = self.models.run(model, data, max_output)
        if status != OK:
            return self.refuse(status, evm, price)
        self.asked[ON_CHAIN] += macs
        self.charges.append((self.call_gas + price, None))
        return OK, output

    def look_up(
        self, evm: vm.Evm, request: bytes, max_output: int, price: int, macs: int
    ) -> tuple[int, bytes]:
        answer = self.models.answer(request)
        if answer is None or len(answer[1]) > max_output:
            if self.missing == "unavailable":
                return self.refuse(UNAVAILABLE, evm, price)
            raise Stopped("parked" if self.missing == "park" else "infer.no_record")
        status, output, neuron, record = answer
        if status != OK:
            return self.refuse(status, evm, price)
        if self.spent[NEURON] + self.asked[NEURON] + macs > self.limits[NEURON]:
            return self.over_budget(evm, price, "infer.block_mac_limit")
        self.asked[NEURON] += macs
        unused = (max_output - len(output)) * self.byte_gas
        evm.gas_left += Uint(unused)
        self.charges.append((self.call_gas + price - unused, neuron))
        if record not in self.records:
            self.records.append(record)
        return OK, output

    def refuse(self, status: int, evm: vm.Evm | None = None, price: int = 0) -> tuple[int, bytes]:
        """Answer without output for the base gas; what was charged beyond it comes back."""
        if evm is not None:
            evm.gas_left += Uint(price)
        self.charges.append((self.call_gas, None))
        return status, b""

    def over_budget(self, evm: vm.Evm, price: int, code: str) -> tuple[int, bytes]:
        if self.missing == "unavailable":
            return self.refuse(UNAVAILABLE, evm, price)
        raise Stopped(code)

    def pay(
        self, state: State, gas_used: int, prices: tuple[int, int], addresses: Mapping[str, bytes]
    ) -> int:
        """Move what INFER gas pays from where the specification put it; return the INFER gas.

        The specification gave the coinbase the whole priority fee and burnt the base fee.
        """
        price, base_fee = prices
        infer_gas = min(sum(gas for gas, _ in self.charges), gas_used)
        coinbase = Address(addresses["coinbase"])
        tips = infer_gas * (price - base_fee)
        if tips:
            set_account_balance(state, coinbase, get_account(state, coinbase).balance - U256(tips))
        rest = infer_gas * price
        pool = rest * 30 // 100
        shares = Counter({addresses["pool"]: pool})
        rest -= pool
        for gas, neuron in self.charges:
            if neuron is not None:
                share = min(gas * price * 70 // 100, rest)
                shares[neuron] += share
                rest -= share
        shares[addresses["vault"]] += rest + (gas_used - infer_gas) * base_fee
        for address, amount in shares.items():
            if amount:
                account = Address(address)
                set_account_balance(state, account, get_account(state, account).balance + U256(amount))
        return infer_gas


def decode_arguments(calldata: bytes) -> tuple[bytes, bytes, bytes, int] | None:
    """Return (model, input, params, max output), or None where Solidity's decoder would revert."""
    if calldata[:4] != keccak256(b"infer(bytes32,bytes,bytes,uint32)")[:4]:
        return None
    body = calldata[4:]

    def take(at: int, length: int) -> bytes:
        part = body[at : at + length]
        if len(part) != length:
            raise ValueError(length)
        return part

    def number(at: int) -> int:
        return int.from_bytes(take(at, 32), "big")

    def string(head: int) -> bytes:
        at = number(head)
        return take(at + 32, number(at))

    try:
        arguments = take(0, 32), string(32), string(64), number(96)
    except (ValueError, OverflowError):
        return None
    return arguments if arguments[3] < 2**32 else None


class Checkpoint:
    """The specification's state as it was, for a transaction that must leave no trace."""

    def __init__(self, state: State) -> None:
        self.main = copy_trie(state._main_trie)
        self.storage = {address: copy_trie(trie) for address, trie in state._storage_tries.items()}

    def restore(self, state: State) -> None:
        """Go back."""
        state._main_trie, state._storage_tries = self.main, self.storage
        state._snapshots.clear()
        state.created_accounts.clear()
