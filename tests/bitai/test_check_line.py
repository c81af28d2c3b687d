"""Checks run one at a time, the urgent first, and nothing waits for the one under way."""

import asyncio
import threading

import pytest

from bitai.check_line import CheckLine
from primitives.errors import Rejected


@pytest.fixture
async def line():
    """A line whose thread ends with the test."""
    line = CheckLine()
    yield line
    line.close()


async def test_results_and_failures_come_back(line):
    """What the work returns or raises is returned or raised where it was asked for, and the thread lives on."""

    def fail():
        raise Rejected("some.code", "refused")

    assert await line.run(lambda: 7, urgent=False) == 7
    thread = line._thread
    with pytest.raises(Rejected, match=r"some\.code"):
        await line.run(fail, urgent=True)
    assert await line.run(threading.current_thread, urgent=False) is thread


async def test_a_bug_ends_neither_the_line_nor_in_silence(line, monkeypatch):
    """What no check should raise is raised where it was asked for, and shown; the next check is run."""
    shown = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    thread = await line.run(threading.current_thread, urgent=False)
    with pytest.raises(ZeroDivisionError):
        await line.run(lambda: 1 // 0, urgent=True)
    assert await line.run(lambda: 7, urgent=False) == 7
    await asyncio.to_thread(thread.join, 20)
    assert [each.exc_type for each in shown] == [ZeroDivisionError]


async def test_the_urgent_go_first_and_the_cancelled_not_at_all(line):
    """Behind the work under way the urgent stand first, each class in the order of arrival."""
    begun, release, done = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        assert release.wait(20)

    under_way = asyncio.create_task(line.run(first, urgent=False))
    await asyncio.to_thread(begun.wait, 20)
    asked = [
        ("call 1", False),
        ("call 2", False),
        ("transaction 1", True),
        ("gone", True),
        ("transaction 2", True),
    ]
    tasks = [
        asyncio.create_task(line.run(lambda name=name: done.append(name), urgent=urgent))
        for name, urgent in asked
    ]
    await asyncio.sleep(0)
    tasks[3].cancel()
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(under_way, *tasks, return_exceptions=True)
    assert done == ["transaction 1", "transaction 2", "call 1", "call 2"]


async def test_closing_waits_for_nothing():
    """Work under way is left to itself, what waits is not begun, and the process may end meanwhile."""
    line, begun, release, done = CheckLine(), threading.Event(), threading.Event(), []

    def first():
        begun.set()
        assert release.wait(20)

    tasks = [
        asyncio.create_task(line.run(work, urgent=True)) for work in (first, lambda: done.append("second"))
    ]
    await asyncio.to_thread(begun.wait, 20)
    line.close()
    assert line._thread.daemon
    assert line._thread.is_alive()
    release.set()
    await asyncio.to_thread(line._thread.join, 20)
    assert not line._thread.is_alive()
    assert done == []
    await tasks[0]
    tasks[1].cancel()
