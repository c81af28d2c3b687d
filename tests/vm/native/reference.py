"""The same blocks by Ethereum's executable specification, with this chain's one difference: nothing is burnt."""

from collections.abc import Mapping

from ethereum.crypto.hash import Hash32
from ethereum.exceptions import EthereumException
from ethereum.forks.osaka import fork, vm
from ethereum.forks.osaka.bloom import logs_bloom
from ethereum.forks.osaka.fork_types import Account, Address
from ethereum.forks.osaka.state import (
    State,
    get_account,
    set_account,
    set_account_balance,
    set_storage,
    state_root,
)
from ethereum.forks.osaka.transactions import LegacyTransaction, decode_transaction
from ethereum.forks.osaka.trie import root
from ethereum_rlp import rlp
from ethereum_types.bytes import Bytes32
from ethereum_types.numeric import U64, U256, Uint

from tests.vm.native.lab import CHAIN_ID, FEE_VAULT, Storage
from vm import _core


class Reference:
    """A chain run by the specification."""

    def __init__(self, allocation: Mapping[bytes, tuple[int, int, bytes, Storage]]) -> None:
        self.state = State()
        for address, (nonce, balance, code, storage) in allocation.items():
            set_account(self.state, Address(address), Account(Uint(nonce), U256(balance), code))
            for slot, value in storage.items():
                set_storage(self.state, Address(address), Bytes32(slot), U256(value))

    def state_root(self) -> bytes:
        """Return the root of the world."""
        return bytes(state_root(self.state))

    def supply(self) -> int:
        """Return the sum of all balances."""
        accounts = self.state._main_trie._data.values()
        return sum(int(account.balance) for account in accounts if account)

    def open(self, env: _core.BlockEnv, hashes: Mapping[int, bytes]) -> None:
        """Begin a block: the calls before its transactions."""
        known = range(max(0, env.number - 256), env.number)
        self.env = vm.BlockEnvironment(
            chain_id=U64(CHAIN_ID),
            state=self.state,
            block_gas_limit=Uint(env.gas_limit),
            block_hashes=[Hash32(hashes[number]) for number in known],
            coinbase=Address(env.coinbase),
            number=Uint(env.number),
            base_fee_per_gas=Uint(env.base_fee),
            time=U256(env.timestamp),
            prev_randao=Bytes32(env.prev_randao),
            excess_blob_gas=U64(0),
            parent_beacon_block_root=Hash32(env.origin_hash),
        )
        self.output = vm.BlockOutput()
        calls = [
            (fork.BEACON_ROOTS_ADDRESS, self.env.parent_beacon_block_root),
            (fork.HISTORY_STORAGE_ADDRESS, self.env.block_hashes[-1]),
        ]
        for target, data in calls:
            fork.process_unchecked_system_transaction(block_env=self.env, target_address=target, data=data)
        self.index = 0

    def run(self, raw: bytes) -> int | None:
        """Run one transaction; return the gas it used, or None if the block cannot hold it."""
        parsed = rlp.decode_to(LegacyTransaction, raw) if raw[0] >= 0xC0 else raw
        before = self.output.block_gas_used
        try:
            fork.process_transaction(self.env, self.output, decode_transaction(parsed), Uint(self.index))
        except EthereumException:
            return None
        self.index += 1
        used = self.output.block_gas_used - before
        vault = get_account(self.state, Address(FEE_VAULT)).balance
        fee = U256(used * self.env.base_fee_per_gas)
        if fee:
            set_account_balance(self.state, Address(FEE_VAULT), vault + fee)
        return int(used)

    def close(self) -> dict[str, bytes]:
        """Return what the header says of the block."""
        return {
            "state_root": self.state_root(),
            "receipts_root": bytes(root(self.output.receipts_trie)),
            "logs_bloom": bytes(logs_bloom(self.output.block_logs)),
        }
