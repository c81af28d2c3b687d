"""Calls about the node itself: its clock, its network (there is none), help and addresses."""

from typing import Any, Final

from primitives.bitcoin.script import witness_program
from primitives.errors import InvalidInput
from regtest import limits
from regtest.node import Node
from regtest.policy.scripts import ScriptKind, solve_script
from regtest.rpc.addresses import script_of_address
from regtest.rpc.amounts import to_json
from regtest.rpc.errors import Code, RpcError
from regtest.rpc.method import Method
from regtest.rpc.parameters import NUMBER, STRING, Arguments, Param

VERSION: Final = 310000
"""The Bitcoin Core whose shapes and policy this follows."""
SUBVERSION: Final = "/BitAI-regtest:0.1.0/"
_PROTOCOL_VERSION: Final = 70016
_SCRIPT_KINDS: Final = (
    ScriptKind.SCRIPTHASH,
    ScriptKind.WITNESS_V0_SCRIPTHASH,
    ScriptKind.WITNESS_V1_TAPROOT,
)
_MAX_TIME: Final = 0xFFFFFFFF


def getnetworkinfo(_node: Node, _args: Arguments) -> Any:
    """Version and relay fees; this node has no peers."""
    return {
        "version": VERSION,
        "subversion": SUBVERSION,
        "protocolversion": _PROTOCOL_VERSION,
        "localservices": "0000000000000000",
        "localservicesnames": [],
        "localrelay": False,
        "timeoffset": 0,
        "networkactive": False,
        "connections": 0,
        "connections_in": 0,
        "connections_out": 0,
        "networks": [],
        "relayfee": to_json(limits.MIN_RELAY_FEERATE),
        "incrementalfee": to_json(limits.INCREMENTAL_FEERATE),
        "localaddresses": [],
        "warnings": [],
    }


def getconnectioncount(_node: Node, _args: Arguments) -> Any:
    """Return 0: this node has no peers."""
    return 0


def getpeerinfo(_node: Node, _args: Arguments) -> Any:
    """Return nothing: this node has no peers."""
    return []


def getzmqnotifications(_node: Node, _args: Arguments) -> Any:
    """Return nothing: this node publishes nothing; poll getbestblockhash."""
    return []


def getindexinfo(node: Node, _args: Arguments) -> Any:
    """Tell that every transaction of the chain can be asked for."""
    return {"txindex": {"synced": True, "best_block_height": node.tip.height}}


def validateaddress(_node: Node, args: Arguments) -> Any:
    """Tell whether a text is an address of regtest, and its output script."""
    address = args.text("address")
    try:
        script = script_of_address(address)
    except InvalidInput as error:
        return {"isvalid": False, "error_locations": [], "error": error.message}
    shape: dict[str, Any] = {
        "isvalid": True,
        "address": address.lower() if address.lower().startswith("bcrt1") else address,
        "scriptPubKey": script.hex(),
        "isscript": solve_script(script).kind in _SCRIPT_KINDS,
        "iswitness": False,
    }
    program = witness_program(script)
    if program is not None:
        witness = {"iswitness": True, "witness_version": program[0], "witness_program": program[1].hex()}
        shape |= witness
    return shape


def setmocktime(node: Node, args: Arguments) -> Any:
    """Move the node's clock to a Unix time, from where it goes on; 0 puts it right again.

    Core's clock stands still after this call; this one runs, so that interval mining goes on. It cannot be
    set further ahead than block times may be, two hours beyond this machine's clock.
    """
    time = args.integer("timestamp", limit=2**63 - 1)
    if not 0 <= time <= _MAX_TIME:
        message = f"Mocktime must be in the range [0, {_MAX_TIME}], not {time}."
        raise RpcError(Code.INVALID_PARAMETER, message)
    try:
        node.clock.set(time)
    except InvalidInput as error:
        raise RpcError(Code.INVALID_PARAMETER, error.message) from error


METHODS: Final = (
    Method("getnetworkinfo", getnetworkinfo),
    Method("getconnectioncount", getconnectioncount),
    Method("getpeerinfo", getpeerinfo),
    Method("getzmqnotifications", getzmqnotifications),
    Method("getindexinfo", getindexinfo, (Param("index_name", STRING, ""),)),
    Method("validateaddress", validateaddress, (Param("address", STRING),)),
    Method("setmocktime", setmocktime, (Param("timestamp", NUMBER),)),
)
