"""Measure everything in one run, print it as it comes, and write bench/RESULTS.md.

    make bench                       all of it, under four minutes
    make bench ARGS="core full"      only these parts; the file is then left alone
    make bench ARGS="--rounds 9"     more runs through the front door

Parts: core, full, e2e, replay, payload, infer. Ratios are made within one run, between things that ran on the same
machine minutes apart; the file says which machine, and how busy it was.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import end_to_end, execution, inferring, payload, replaying
from bench.measuring import Figure, hardware, load_average, versions
from bench.results import Results, as_line, write_results
from bench.world import make_world

PARTS = ("core", "full", "e2e", "replay", "payload", "infer")


def measure(parts: Iterable[str], rounds: int) -> Iterator[tuple[str, Figure]]:
    """Yield figures with the part they belong to, as they are found."""
    wanted = set(parts)
    if "core" in wanted:
        yield from (("core", each) for each in execution.measure_core())
    if wanted & {"full", "replay"}:
        world = make_world()
        full = list(execution.measure_full(world))
        yield from (("full", each) for each in full)
        if "replay" in wanted:
            for signer in world.signers:
                signer.nonce = 0
            yield from (("replay", each) for each in replaying.measure_replay(world, full[0].best))
    if wanted & {"payload", "infer"}:
        chain = inferring.AskingChain()
        if "infer" in wanted:
            yield from (("infer", each) for each in inferring.measure_infer(chain))
        if "payload" in wanted:
            digits = (chain.neuron, chain.answer)
            yield from (("payload", each) for each in payload.measure_payload(digits))
    if "e2e" in wanted:
        yield from (("e2e", each) for each in end_to_end_figures(rounds, sync="replay" in wanted))


def end_to_end_figures(rounds: int, *, sync: bool) -> Iterator[Figure]:
    """Play the same script to anvil and to a node in turns; then sync a second node from the first's Bitcoin."""
    script = end_to_end.make_script(rounds)
    with TemporaryDirectory(prefix="bitai-bench-") as folder, end_to_end.bench_node(Path(folder)) as node:
        assert node.process is not None
        groups = (node.process.pid, *node.children().values())  # each child has a session of its own
        ours = end_to_end.Side("node", node.run_file["rpc_url"], groups)
        with end_to_end.anvil() as theirs:
            told = end_to_end.play(script, (theirs, ours))
        for who, reports in told.items():
            yield from end_to_end.figures(who, reports)
        yield from end_to_end.shares(told)
        if sync:
            yield from replaying.measure_sync(Path(folder), node)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="which parts to measure; all without a name")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind through the front door")
    parser.add_argument("--json", type=Path, help="also write every value to this file")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    started, busy = time.monotonic(), load_average()
    results = Results(hardware(), versions(end_to_end.anvil_version()), busy)
    print(f"{results.hardware}\n{results.versions}\nload average before: {busy}\n", flush=True)
    for part, figure in measure(options.parts or PARTS, options.rounds):
        results.add(part, figure)
        print(as_line(figure), flush=True)
    results.seconds = time.monotonic() - started
    print(f"\n{results.seconds:.0f} s, load average after: {load_average()}")
    if options.json:
        options.json.write_text(json.dumps(results.values(), indent=2) + "\n")
    if not options.parts:
        print(f"written to {write_results(results)}")


if __name__ == "__main__":
    main()
