"""Tell the owner of a dev node which accounts hold coins, so that a wallet can be used at once."""

import sys

import structlog

from vm.dev_accounts import DEV_ACCOUNTS, DEV_BALANCE_WEI, MNEMONIC

log = structlog.get_logger(__name__)

_WEI_PER_BTC = 10**18


def tell_accounts(*, as_json: bool) -> None:
    """Print the ten accounts of regtest's genesis with their keys, or log them for a program.

    The keys are public knowledge, the same on every development chain: nothing is given away.
    """
    if as_json:
        for account in DEV_ACCOUNTS:
            log.info("funded test account", address=_hex(account.address), key=_hex(account.secret))
        return
    lines = [
        f"ten accounts hold {DEV_BALANCE_WEI // _WEI_PER_BTC:,} BTC each, address and key; everyone knows them:"
    ]
    lines += [f"  {_hex(account.address)}  {_hex(account.secret)}" for account in DEV_ACCOUNTS]
    lines.append(f"  mnemonic: {MNEMONIC}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
