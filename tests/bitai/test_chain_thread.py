"""The thread that owns the chain: in turn, to the end, off the loop."""

import asyncio
import threading

import pytest

from bitai.chain_thread import ChainThread


@pytest.fixture
def thread():
    """A chain thread."""
    made = ChainThread()
    yield made
    made.close()


async def test_in_turn_on_one_thread(thread):
    """Functions run one after the other in the order asked, never two at once, and never on the loop's thread."""
    running, story = [], []

    def work(number):
        running.append(number)
        assert running == [number]
        story.append((number, threading.get_ident()))
        running.clear()
        return number

    assert await asyncio.gather(*(thread.run(work, number) for number in range(50))) == list(range(50))
    assert [number for number, _ in story] == list(range(50))
    assert len({ident for _, ident in story}) == 1
    assert story[0][1] != threading.get_ident()


async def test_failures_reach_the_caller(thread):
    """An exception is the caller's, and the thread goes on; keyword arguments pass."""

    def work(a, *, b):
        return a / b

    with pytest.raises(ZeroDivisionError):
        await thread.run(work, 1, b=0)
    assert await thread.run(work, 6, b=3) == 2


async def test_a_cancelled_caller_does_not_undo_it(thread):
    """Half a commit is what this thread exists to prevent: the function runs to its end."""
    begun, finish, done = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        assert finish.wait(10)
        done.append(True)

    task = asyncio.create_task(thread.run(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    finish.set()
    assert await thread.run(lambda: "next") == "next"
    assert done == [True]


async def test_closing_waits(thread):
    """Closing returns once what was asked is done: the database is closed next."""
    done = []
    task = asyncio.create_task(thread.run(done.append, 1))
    await asyncio.sleep(0)
    await asyncio.to_thread(thread.close)
    assert done == [1]
    await task
