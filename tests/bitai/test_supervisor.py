"""Child processes: ready before used, restarted with patience, stopped in order, and never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bitai.supervisor import ChildSpec, ChildState, Patience, Supervisor
from primitives.errors import Temporary

FOREVER = "import signal; signal.pause()"


def _spec(name: str, program: str, **more) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-c", textwrap.dedent(program)), **more)


class _Lines:
    """A sink that lets a test wait for a line."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def __call__(self, child: str, line: str) -> None:
        self.seen.append((child, line))
        self._changed.set()

    async def until(self, wanted: tuple[str, str], times: int = 1) -> None:
        async with asyncio.timeout(20):
            while self.seen.count(wanted) < times:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def lines():
    """Where the children's lines go."""
    return _Lines()


@pytest.fixture
async def supervisor(lines):
    """A supervisor whose children are gone after the test."""
    quick = Patience(first_s=0.0, give_up_after=3)
    supervisor = Supervisor(lines, patience=quick)
    yield supervisor
    await supervisor.stop()


async def test_start_waits_until_ready(supervisor, tmp_path):
    """A child counts as started once it says so itself, not when it was spawned."""
    flag = tmp_path / "ready"

    async def ready() -> bool:
        return flag.exists()

    program = f"open({str(flag)!r}, 'w').close()\n{FOREVER}"
    await supervisor.start(_spec("child", program, ready=ready))
    assert flag.exists()
    assert supervisor.reports()[0].state is ChildState.RUNNING


async def test_a_child_that_ends_early_did_not_start(supervisor):
    """The error carries the child's last words."""

    async def never() -> bool:
        return False

    with pytest.raises(Temporary, match=r"child\.not_started") as caught:
        await supervisor.start(_spec("child", "import sys; print('no disk'); sys.exit(3)", ready=never))
    assert "exit code 3" in str(caught.value.details["why"])
    assert "no disk" in str(caught.value.details["why"])


async def test_a_child_that_stays_unready_is_stopped(supervisor):
    """Waiting has an end, and leaves no process."""

    async def never() -> bool:
        return False

    with pytest.raises(Temporary, match=r"child\.not_started"):
        await supervisor.start(_spec("child", FOREVER, ready=never, ready_within_s=0.1))
    assert supervisor.reports()[0].state is ChildState.STOPPED


async def test_a_killed_child_comes_back(supervisor, lines):
    """SIGKILL to a child is noticed, counted and mended."""
    await supervisor.start(_spec("child", f"print('up', flush=True)\n{FOREVER}"))
    await lines.until(("child", "up"))
    os.kill(supervisor.reports()[0].pid, signal.SIGKILL)
    await lines.until(("child", "up"), times=2)
    assert supervisor.reports()[0].restarts == 1


async def test_patience_ends(supervisor):
    """A child that only ever fails is given up, loudly, not restarted for ever."""
    await supervisor.start(_spec("child", "raise SystemExit(1)"))
    await asyncio.wait_for(supervisor._children["child"].keeper, 20)
    assert supervisor.reports()[0].state is ChildState.GIVEN_UP
    assert supervisor.reports()[0].restarts == 3


async def test_a_node_is_told_when_a_vital_child_is_lost(lines):
    """Of what the node cannot do without it is told why, once; of anything else it is not."""
    lost = []
    supervisor = Supervisor(lines, patience=Patience(first_s=0.0, give_up_after=1), on_lost=lost.append)
    for name, vital in (("bitcoin", True), ("neuron", False)):
        program = f"print('no room for {name}'); raise SystemExit(5)"
        await supervisor.start(_spec(name, program, vital=vital))
        await asyncio.wait_for(supervisor._children[name].keeper, 20)
    await supervisor.stop()
    (error,) = lost
    assert error.code == "child.given_up"
    assert "exit code 5" in error.details["why"]
    assert "no room for bitcoin" in error.details["why"]


def test_patience_grows_and_is_capped():
    """Waits double up to the cap."""
    patience = Patience(first_s=1, factor=2, most_s=5)
    assert [patience.delay_s(failures) for failures in (1, 2, 3, 4, 9)] == [1, 2, 4, 5, 5]


async def test_children_stop_in_reverse(lines):
    """What was started last stops first: a neuron before its node, a node before its Bitcoin."""
    program = """
        import signal, sys
        def bye(*_):
            print('bye', flush=True)
            sys.exit()
        signal.signal(signal.SIGTERM, bye)
        print('up', flush=True)
        signal.pause()
    """
    supervisor = Supervisor(lines)
    for name in ("bitcoin", "neuron"):
        await supervisor.start(_spec(name, program))
        await lines.until((name, "up"))
    await supervisor.stop()
    assert [child for child, line in lines.seen if line == "bye"] == ["neuron", "bitcoin"]
    assert {report.state for report in supervisor.reports()} == {ChildState.STOPPED}


async def test_a_deaf_child_is_killed(lines):
    """A child that ignores the request to stop is killed after its grace."""
    program = (
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\n{FOREVER}"
    )
    supervisor = Supervisor(lines)
    await supervisor.start(_spec("deaf", program, stop_grace_s=0.1))
    await lines.until(("deaf", "up"))
    pid = supervisor.reports()[0].pid
    await supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_lines_without_end_are_cut(supervisor, lines):
    """A child cannot fill our memory with one endless line."""
    await supervisor.start(
        _spec("child", f"print('x' * 100_000, flush=True); print('end', flush=True)\n{FOREVER}")
    )
    await lines.until(("child", "end"))
    assert max(len(line) for _, line in lines.seen) <= 3 * 8 * 1024


async def test_environment_is_added(supervisor, lines):
    """A child gets our environment and what its spec adds."""
    program = f"import os; print(os.environ['BITAI_CHILD'], 'PATH' in os.environ, flush=True)\n{FOREVER}"
    await supervisor.start(_spec("child", program, environment={"BITAI_CHILD": "yes"}))
    await lines.until(("child", "yes True"))


def test_children_die_with_their_parent():
    """SIGKILL to the parent takes the child along: nothing keeps the data folder locked."""
    parent = textwrap.dedent("""
        import asyncio, sys
        from bitai.supervisor import ChildSpec, Supervisor

        async def main():
            supervisor = Supervisor(lambda name, line: print(line, flush=True))
            child = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
            await supervisor.start(ChildSpec("child", (sys.executable, "-c", child)))
            await asyncio.Event().wait()

        asyncio.run(main())
    """)
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=root) as process:
        child = int(process.stdout.readline())
        descriptor = os.pidfd_open(child)
        process.kill()
        process.wait()
        assert _ended(descriptor, within_s=20)
        os.close(descriptor)


def _ended(descriptor: int, *, within_s: float) -> bool:
    """Wait on the kernel's own notice of a process's end."""
    import select

    ready, _, _ = select.select([descriptor], [], [], within_s)
    return bool(ready)


async def test_a_child_speaks_on_when_nobody_listens():
    """A sink that fails (a closed terminal) does not stop the reading: a full pipe would stop the child."""
    first, last = asyncio.Event(), asyncio.Event()

    def deaf(_child: str, line: str) -> None:
        (last if line == "last" else first).set()
        raise BrokenPipeError

    supervisor = Supervisor(deaf)
    try:
        program = "print('first', flush=True); print('x\\n' * 200_000 + 'last', flush=True)"
        await supervisor.start(_spec("talker", program + "; " + FOREVER))
        async with asyncio.timeout(20):
            await first.wait()
            await last.wait()
    finally:
        await supervisor.stop()


async def test_a_machine_that_starts_nothing_for_a_while_is_waited_out(supervisor, lines, monkeypatch):
    """When the system refuses a new process, the child comes back once it allows one."""
    await supervisor.start(_spec("child", f"print('here', flush=True); {FOREVER}"))
    await lines.until(("child", "here"))
    start, refusals = asyncio.create_subprocess_exec, [OSError(11, "no more processes")]

    async def reluctant(*words, **more):
        if refusals:
            raise refusals.pop()
        return await start(*words, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", reluctant)
    os.kill(supervisor.reports()[0].pid, signal.SIGKILL)
    await lines.until(("child", "here"), times=2)
    assert refusals == []
