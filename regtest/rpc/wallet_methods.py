"""Calls to the faucet; Core's wallet names for the four things a test needs."""

from typing import Any, Final

from primitives.bitcoin.parser import parse_whole_transaction
from primitives.bitcoin.transaction import TxOut
from primitives.errors import InvalidInput, Rejected
from primitives.ids import display_hash
from regtest import limits
from regtest.node import Node
from regtest.policy.rejection import TransactionRejected
from regtest.rpc import lookup
from regtest.rpc.addresses import address_of_script
from regtest.rpc.amounts import to_json, to_sats
from regtest.rpc.errors import Code, RpcError
from regtest.rpc.method import Method
from regtest.rpc.parameters import AMOUNT, ARRAY, BOOLEAN, NUMBER, OBJECT, STRING, Arguments, Param
from regtest.wallet import OwnedCoin

_KNOWN_TYPES: Final = ("", "bech32m")
_SATS_PER_KVB: Final = 1000
_MAX_CONFIRMATIONS: Final = 9_999_999


def getnewaddress(node: Node, args: Arguments) -> Any:
    """Return a fresh taproot address of the faucet."""
    if args.text("address_type") not in _KNOWN_TYPES:
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, "the faucet knows address type bech32m only")
    return address_of_script(node.wallet.new_script())


def getbalance(node: Node, args: Arguments) -> Any:
    """Return what the faucet can spend now, of coins with at least so many confirmations."""
    return to_json(node.wallet.balance_sats(args.integer("minconf")))


def listunspent(node: Node, args: Arguments) -> Any:
    """List the faucet's coins that can be spent."""
    least, most = args.integer("minconf"), args.integer("maxconf")
    if args.value("query_options"):
        raise RpcError(Code.INVALID_PARAMETER, "query_options is not supported by the faucet")
    wanted = None
    if args.value("addresses") is not None:
        wanted = {_address(item) for item in args.items("addresses")}
    return [
        _coin_shape(owned)
        for owned in node.wallet.unspent()
        if least <= owned.confirmations <= most
        and owned.is_spendable
        and (wanted is None or owned.coin.script in wanted)
    ]


def sendtoaddress(node: Node, args: Arguments) -> Any:
    """Pay from the faucet; returns the transaction id."""
    script = _address(args.text("address"))
    value = to_sats(args.value("amount"))
    if args.value("subtractfeefromamount"):
        raise RpcError(Code.INVALID_PARAMETER, "subtractfeefromamount is not supported by the faucet")
    feerate = limits.FALLBACK_FEERATE
    if args.value("fee_rate") is not None:
        feerate = _feerate(args.value("fee_rate"))
    if value == 0:
        raise RpcError(Code.TYPE, "Invalid amount for send")
    try:
        payment = parse_whole_transaction(node.wallet.pay([TxOut(value, script)], feerate).raw)
        node.submit_transaction(payment, None)
    except TransactionRejected as rejection:
        raise RpcError(Code.WALLET, f"Transaction rejected: {rejection.message}") from rejection
    except Rejected as error:
        raise RpcError(Code.INSUFFICIENT_FUNDS, error.message) from error
    except InvalidInput as error:
        raise RpcError(Code.WALLET, error.message) from error
    txid = display_hash(payment.txid)
    return {"txid": txid, "fee_reason": "Fallback fee"} if args.flag("verbose") else txid


def _address(value: object) -> bytes:
    if not isinstance(value, str):
        raise RpcError(Code.TYPE, "an address is a string")
    return lookup.address_script(value, f"Invalid Bitcoin address: {value[:100]}")


def _feerate(value: object) -> int:
    """Return sats per 1,000 vbytes of a rate in sat/vB with up to three decimals."""
    return to_sats(value) * _SATS_PER_KVB // 10**8


def _coin_shape(owned: OwnedCoin) -> dict[str, Any]:
    return {
        "txid": display_hash(owned.outpoint.txid),
        "vout": owned.outpoint.vout,
        "address": address_of_script(owned.coin.script),
        "label": "",
        "scriptPubKey": owned.coin.script.hex(),
        "amount": to_json(owned.coin.value_sats),
        "confirmations": owned.confirmations,
        "spendable": True,
        "solvable": True,
        "safe": owned.confirmations > 0,
    }


METHODS: Final = (
    Method(
        "getnewaddress",
        getnewaddress,
        (Param("label", STRING, ""), Param("address_type", STRING, "")),
    ),
    Method(
        "getbalance",
        getbalance,
        (
            Param("dummy", STRING, "*"),
            Param("minconf", NUMBER, 0),
            Param("include_watchonly", BOOLEAN, False),
            Param("avoid_reuse", BOOLEAN, True),
        ),
    ),
    Method(
        "listunspent",
        listunspent,
        (
            Param("minconf", NUMBER, 1),
            Param("maxconf", NUMBER, _MAX_CONFIRMATIONS),
            Param("addresses", ARRAY, None),
            Param("include_unsafe", BOOLEAN, True),
            Param("query_options", OBJECT, None),
        ),
    ),
    Method(
        "sendtoaddress",
        sendtoaddress,
        (
            Param("address", STRING),
            Param("amount", AMOUNT),
            Param("comment", STRING, ""),
            Param("comment_to", STRING, ""),
            Param("subtractfeefromamount", BOOLEAN, False),
            Param("replaceable", BOOLEAN, True),
            Param("conf_target", NUMBER, 2),
            Param("estimate_mode", STRING, "unset"),
            Param("avoid_reuse", BOOLEAN, True),
            Param("fee_rate", AMOUNT, None),
            Param("verbose", BOOLEAN, False),
        ),
    ),
)
