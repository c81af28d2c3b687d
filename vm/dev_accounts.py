"""Ten accounts whose keys the whole world knows, funded on regtest so that wallets and tests work at once.

They are the first ten of the mnemonic that every Ethereum development chain uses, path m/44'/60'/0'/0/i. Any
other network must never hold a coin at these addresses; tests/vm/test_dev_accounts.py derives them anew.
"""

from typing import Final, NamedTuple

from primitives.ids import Address
from vm.genesis import GenesisAccount

MNEMONIC: Final = "test test test test test test test test test test test junk"
DEV_BALANCE_WEI: Final = 10_000 * 10**18
"""10,000 BTC each, and so 100,000 in all: less than there is, more than any test spends."""


class DevAccount(NamedTuple):
    """An address and its secret key, both public knowledge."""

    address: Address
    secret: bytes


_SECRETS: Final = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
)
_ADDRESSES: Final = (
    "f39fd6e51aad88f6f4ce6ab8827279cfffb92266",
    "70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
    "90f79bf6eb2c4f870365e785982e1f101e93b906",
    "15d34aaf54267db7d7c367839aaf71a00a2c6a65",
    "9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
    "976ea74026e726554db657fa54763abd0c3a0aa9",
    "14dc79964da2c08b23698b3d3cc7ca32193d9955",
    "23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f",
    "a0ee7a142d267c1f36714e4a8f75612f20a79720",
)

DEV_ACCOUNTS: Final = tuple(
    DevAccount(Address(bytes.fromhex(address)), bytes.fromhex(secret))
    for address, secret in zip(_ADDRESSES, _SECRETS, strict=True)
)


def funded_dev_accounts() -> tuple[GenesisAccount, ...]:
    """Return the accounts as regtest's first block holds them."""
    return tuple(GenesisAccount(account.address, balance=DEV_BALANCE_WEI) for account in DEV_ACCOUNTS)
