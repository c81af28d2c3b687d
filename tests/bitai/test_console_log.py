"""console.log: every form of the library is decoded, nothing that a contract prints breaks a line or fills memory."""

import pytest
from eth_abi import encode as abi_encode
from structlog.testing import capture_logs

from bitai import console_log
from bitai.console_log import FORMS, ConsoleLog, render
from primitives.hashes import keccak256
from tests.bitai.rig import Rig, asking_world
from tests.vm.native import assembly as a
from tests.vm.world import World
from vm.console import MAX_MESSAGES

CONSOLE = bytes.fromhex("000000000000000000636f6e736f6c652e6c6f67")
ME = "0x" + "ab" * 20


def message(signature, *values):
    """Calldata of a method of the library."""
    types = signature[signature.index("(") + 1 : -1]
    data = abi_encode(types.split(",") if types else [], values)
    return keccak256(signature.encode())[:4] + data


def printing(*messages):
    """A contract that prints these messages."""
    return b"".join(a.call(a.STATICCALL, CONSOLE, each) + a.code(a.POP) for each in messages)


@pytest.mark.parametrize(
    ("signature", "values", "text"),
    [
        ("log()", (), ""),
        ("log(string)", ("hello",), "hello"),
        ("log(uint256)", (2**256 - 1,), str(2**256 - 1)),
        ("log(int256)", (-5,), "-5"),
        ("log(bool,address)", (True, ME), f"true {ME}"),
        ("log(string,uint256,string,bool)", ("a", 7, "b", False), "a 7 b false"),
        ("log(string,uint256)", ("%d of %s", 7), "7 of %s"),
        ("log(string,string,uint256)", ("%s has %d wei", "Bob", 3), "Bob has 3 wei"),
        ("logBytes(bytes)", (b"\x01\x02",), "0x0102"),
        ("logBytes4(bytes4)", (b"\x01\x02\x03\x04",), "0x01020304"),
        ("logInt(int256)", (-1,), "-1"),
        ("log(string)", ("two\nlines \x1b[31mred",), "two\\nlines \\x1b[31mred"),
    ],
)
def test_messages_are_shown_as_the_library_means_them(signature, values, text):
    """Types, directives of a first string, and unprintable characters."""
    assert render(message(signature, *values)) == text


def test_old_selectors_unknown_ones_and_cut_messages():
    """`uint` in a selector means uint256; what does not decode is shown as hex; long text is cut."""
    old = keccak256(b"log(string,uint)")[:4] + abi_encode(["string", "uint256"], ["n", 5])
    assert render(old) == "n 5"
    assert render(b"\x01\x02\x03\x04\x05") == "0x0102030405"
    assert render(message("log(uint256)", 1)[:-1]).startswith("0xf82c50f1")
    assert render(b"") == "0x"
    long = render(message("log(string)", "x" * 5_000))
    assert (len(long), long[-1]) == (console_log.MAX_LINE + 1, "…")
    assert len(FORMS) > 600


def printing_world(runtime, printed):
    """A chain with a printing contract; what it prints goes into `printed`."""
    world = World()
    world.executor.close()
    world.executor = type(world.executor)(
        world.spec, world.store, world.models, console=lambda *told: printed.append(told)
    )
    made = world.run(world.alice.sign(data=a.deployer(runtime), gas=10_000_000))
    world.printer = made.sealed.receipts[0].contract_address
    return world


def test_included_transactions_print_once_also_when_they_revert():
    """A block's transactions print when it is committed, by hash; what is only tried prints nothing."""
    printed = []
    hello = message("log(string)", "hello")
    world = printing_world(printing(hello, hello) + a.code(a.PUSH0, a.PUSH0, a.REVERT), printed)
    raw = world.alice.sign(world.printer)
    tried = world.executor.execute(world.data(raw))
    tried.execution.abandon()
    assert printed == []
    block = world.run(raw)
    assert block.sealed.receipts[0].status == 0
    assert printed == [(keccak256(raw), (hello, hello))]


def test_printing_is_bounded_and_changes_no_gas():
    """A loop of messages is cut short; a node that shows them makes the same block as one that does not."""
    printed = []
    loop = a.code(a.JUMPDEST) + printing(message("log()")) + a.code(a.PUSH0, a.JUMP)
    world = printing_world(loop, printed)
    block = world.run(world.alice.sign(world.printer, gas=5_000_000))
    ((_, messages),) = printed
    assert len(messages) == MAX_MESSAGES
    silent = World()
    silent.run(silent.alice.sign(data=a.deployer(loop), gas=10_000_000))
    assert silent.run(silent.alice.sign(world.printer, gas=5_000_000)).hash == block.hash


async def test_calls_and_estimates_print():
    """eth_call prints what it prints; an estimate, which runs many times, prints once."""
    world = asking_world()
    world.executor.simulator._console = ConsoleLog()
    call = {"to": "0x" + "c0" * 20}
    code = {call["to"]: {"code": "0x" + printing(message("log(string,uint256)", "n", 5)).hex()}}
    async with Rig(world) as rig:
        for method in ("eth_call", "eth_estimateGas"):
            with capture_logs() as logs:
                await rig.call(method, call, "latest", code)
            lines = [each for each in logs if each["event"].startswith("console.log")]
            assert [(each["event"], each["source"]) for each in lines] == [("console.log n 5", "call")], (
                method
            )
