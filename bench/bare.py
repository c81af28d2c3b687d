"""The same block run by revm alone, from Rust: what the core may cost at least."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.workload import ROOT, TOKEN, balance_slot
from bench.world import FUNDS_WEI, TOKEN_ADDRESS, World

if TYPE_CHECKING:
    from vm import _core

_MANIFEST: Final = ROOT / "vm/native/Cargo.toml"
_NAME: Final = "bare_revm"


def build() -> Path | None:
    """Build the example by the profile that the core is built by; None where there is no cargo."""
    if shutil.which("cargo") is None:
        return None
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", str(_MANIFEST)]
    subprocess.run([*command, "--example", _NAME], check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", _MANIFEST.parent / "target"))
    return target / "release/examples" / _NAME


def facts(world: World, transactions: Sequence["_core.Transaction"]) -> Iterator[str]:
    """Yield the world and one block as the example reads them."""
    token = "0x" + TOKEN_ADDRESS.hex()
    yield f"code {token} {TOKEN['deployedBytecode']}"
    for signer in world.signers:
        yield f"coin 0x{signer.address.hex()} {FUNDS_WEI:x}"
        yield f"slot {token} {balance_slot(signer.address).hex()} {10**30:x}"
    for holder in world.holders:
        yield f"coin 0x{holder.hex()} 1"
        yield f"slot {token} {balance_slot(holder).hex()} 1"
    for each in transactions:
        fees = f"{each.max_fee_per_gas:x} {each.max_priority_fee_per_gas:x}"
        assert each.to is not None
        yield (
            f"tx 0x{each.sender.hex()} 0x{each.to.hex()} {each.nonce:x} {each.gas_limit:x} {fees} "
            f"0x{each.input.hex()}"
        )


def seconds(
    program: Path, world: World, transactions: Sequence["_core.Transaction"]
) -> dict[str, list[float]]:
    """Return processor seconds of each round but the first, which warms the caches, by what is done with changes."""
    told = subprocess.run(
        [str(program)],
        input="\n".join(facts(world, transactions)).encode(),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    found: dict[str, list[float]] = {}
    for line in told.splitlines():
        name, spent_ns = line.split()
        found.setdefault(name, []).append(int(spent_ns) / 1e9)
    return {name: values[1:] for name, values in found.items()}
