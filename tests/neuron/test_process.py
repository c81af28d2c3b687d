"""The neuron as a process: killed at any instant it comes back and never contradicts itself."""

import asyncio
import contextlib
import os
import signal
import sys

import pytest

from primitives.curve import address_of
from tests.conftest import ROOT
from tests.neuron.fake_node import FakeNode, job_for, signer_of

SECRET = b"\7" * 32
pytestmark = pytest.mark.functional


@pytest.fixture
async def node():
    """A node on a free port."""
    fake = await FakeNode().start()
    yield fake
    await fake.stop()


@contextlib.asynccontextmanager
async def neuron_process(node, folder):
    """Run `python -m neuron` against a node on the exact route; kills it at the end if it still lives."""
    environment = os.environ | {"NEURON_KEY": SECRET.hex(), "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "neuron", "--connect", node.url, "--key-env", "NEURON_KEY"),
        *("--datadir", str(folder), "--device", "exact", "--json-logs"),
        env=environment,
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    reader = asyncio.create_task(process.stderr.read())
    process.log = reader
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reader


async def test_kill_and_return(node, digits, images, expected, tmp_path):
    """Killed under load, three times, a neuron returns and repeats its earlier answers byte for byte."""
    jobs = [job_for(digits, image) for image in images[:40]]
    seen = {}
    for life in range(1, 4):
        async with neuron_process(node, tmp_path) as process:
            await node.joined(life)
            node.answers.clear()
            await node.send(*jobs)
            await node.until(lambda n, wanted=5 * life: len(n.answers) >= wanted)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            node.socket = None
        for answer in node.answers:
            assert seen.setdefault(answer.answer.request_hash, answer) == answer
    async with neuron_process(node, tmp_path):
        await node.joined(4)
        node.answers.clear()
        await node.send(*jobs)
        await node.until(lambda n: len(n.answers) == len(jobs))
    for answer in node.answers:
        assert seen.setdefault(answer.answer.request_hash, answer) == answer
    assert {signer_of(answer, digits) for answer in node.answers} == {address_of(SECRET)}
    outputs = {answer.answer.request_hash: answer.answer.output for answer in node.answers}
    assert outputs == {job.request_hash: expected(job.request.input) for job in jobs}


async def test_terminate(node, digits, images, tmp_path):
    """SIGTERM ends the process with status 0, its jobs answered and a goodbye said; its log is JSON lines."""
    async with neuron_process(node, tmp_path) as process:
        await node.joined()
        await node.send(*(job_for(digits, image) for image in images[:20]))
        await node.until(lambda n: n.answers)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
        log = (await process.log).decode()
    assert node.goodbyes
    assert len(node.answers) + len(node.declines) == 20
    assert all(line.startswith("{") for line in log.splitlines())
    assert SECRET.hex() not in log
