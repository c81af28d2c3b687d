"""Look at this machine as a node will, and say what stands in its way before anything is started."""

import base64
import contextlib
import http.client
import json
import os
import platform
import shutil
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bitai.config import NodeConfig, flag_of, is_loopback
from bitai.ports import find_holder

_GIB: Final = 1024**3
_LOW_DISK_BYTES: Final = 2 * _GIB
_TIGHT_DISK_BYTES: Final = 10 * _GIB
_LOW_OPEN_FILES: Final = 1_024
_ASK_TIMEOUT_S: Final = 5.0
# Bitcoin accepts blocks up to two hours ahead; a sequencer's own blocks should be far closer than that.
_MOST_CLOCK_SKEW_S: Final = 60.0


class Verdict(StrEnum):
    """What a finding means: fail stops a node, warn will annoy it."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `fix` is empty where nothing needs fixing."""

    name: str
    verdict: Verdict
    what: str
    fix: str = ""


def examine(config: NodeConfig) -> tuple[Finding, ...]:
    """Look at everything a node with these settings needs."""
    looks: tuple[Callable[[NodeConfig], tuple[Finding, ...]], ...] = (
        _python,
        _native_core,
        _datadir,
        _open_files,
        _ports,
        _bitcoin,
        _engine,
    )
    return tuple(finding for look in looks for finding in look(config))


def _python(_config: NodeConfig) -> tuple[Finding, ...]:
    words = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    if sys.platform != "linux":
        fix = "run it on Linux, or in a Linux container"
        return (Finding("python", Verdict.WARN, f"{words}; only Linux is tested", fix),)
    return (Finding("python", Verdict.OK, words),)


def _native_core(_config: NodeConfig) -> tuple[Finding, ...]:
    with contextlib.suppress(ImportError):
        if find_spec("vm._core") is not None:
            return (Finding("core", Verdict.OK, "the native EVM core is built"),)
    return (Finding("core", Verdict.FAIL, "the native EVM core is not built", "make setup"),)


def _datadir(config: NodeConfig) -> tuple[Finding, ...]:
    root = config.files.root
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        fix = "bitai-node run --datadir ./data"
        return (Finding("disk", Verdict.FAIL, f"{existing} cannot be written", fix),)
    free = shutil.disk_usage(existing).free
    words = f"{free // _GIB} GiB free for {root}"
    if free < _LOW_DISK_BYTES:
        return (Finding("disk", Verdict.FAIL, words, "free at least 2 GiB, or name another --datadir"),)
    if free < _TIGHT_DISK_BYTES:
        return (Finding("disk", Verdict.WARN, words, "free 10 GiB for a long run"),)
    return (Finding("disk", Verdict.OK, words),)


def _open_files(_config: NodeConfig) -> tuple[Finding, ...]:
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < _LOW_OPEN_FILES:
        return (Finding("open files", Verdict.WARN, f"at most {limit}", f"ulimit -n {4 * _LOW_OPEN_FILES}"),)
    return (Finding("open files", Verdict.OK, f"at most {limit}"),)


def _ports(config: NodeConfig) -> tuple[Finding, ...]:
    names = ["rpc_port", "web_port", "neuron_port", "metrics_port"] + ["l1_port"] * config.embedded_bitcoin
    found = [_port(name, getattr(config, name)) for name in names]
    if not is_loopback(config.rpc_bind):
        words = f"JSON-RPC and the page will listen on {config.rpc_bind}, for everyone who reaches it"
        found.append(Finding("bind", Verdict.WARN, words, "bitai-node run --rpc-bind 127.0.0.1"))
    return tuple(found)


def _port(name: str, port: int) -> Finding:
    holder = find_holder(port) if port else None
    if holder is None:
        return Finding(name, Verdict.OK, f"{port} is free" if port else "any free port")
    words = f"{port} is taken by {holder.name} (process {holder.pid})"
    return Finding(name, Verdict.WARN, words, f"bitai-node run {flag_of(name)} 0")


def _bitcoin(config: NodeConfig) -> tuple[Finding, ...]:
    if config.embedded_bitcoin:
        if find_spec("pbk") is None:
            return (Finding("bitcoin", Verdict.FAIL, "py-bitcoinkernel is missing", "make setup"),)
        return (Finding("bitcoin", Verdict.OK, "embedded regtest, started with the node"),)
    try:
        answer, skew_s = _ask_bitcoin(config)
    except (OSError, http.client.HTTPException, ValueError) as error:
        fix = "bitcoin-cli getblockchaininfo"
        return (Finding("bitcoin", Verdict.FAIL, f"{_shown(config)} does not answer: {error}", fix),)
    return (_judge_chain(config, answer), _judge_clock(skew_s))


def _judge_chain(config: NodeConfig, answer: dict[str, Any]) -> Finding:
    names = {"main": "mainnet", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest"}
    chain = names.get(str(answer.get("chain")), str(answer.get("chain")))
    if chain != config.network:
        fix = f"bitai-node run --network {chain}"
        return Finding("bitcoin", Verdict.FAIL, f"{_shown(config)} is on {chain}, not {config.network}", fix)
    words = f"{_shown(config)} at height {answer.get('blocks')}"
    if answer.get("initialblockdownload") and config.network != "regtest":
        return Finding("bitcoin", Verdict.WARN, f"{words}, still downloading blocks", "wait for Bitcoin Core")
    return Finding("bitcoin", Verdict.OK, words + (", pruned" if answer.get("pruned") else ""))


def _judge_clock(skew_s: float | None) -> Finding:
    if skew_s is None:
        return Finding("clock", Verdict.OK, "not compared: the Bitcoin node tells no time")
    if abs(skew_s) > _MOST_CLOCK_SKEW_S:
        return Finding(
            "clock", Verdict.WARN, f"{skew_s:.0f} s off the Bitcoin node's", "timedatectl set-ntp true"
        )
    return Finding("clock", Verdict.OK, "agrees with the Bitcoin node's")


def _ask_bitcoin(config: NodeConfig) -> tuple[dict[str, Any], float | None]:
    """Call getblockchaininfo; also return how far our clock is ahead of the node's, if it says its time."""
    address = urlsplit(config.l1_rpc or "")
    body = json.dumps({"jsonrpc": "1.0", "id": 0, "method": "getblockchaininfo", "params": []})
    secret = base64.b64encode(_credentials(config).encode()).decode()
    connection = _connection(config, address.scheme, address.hostname or "", address.port)
    try:
        connection.request("POST", "/", body, {"Authorization": f"Basic {secret}"})
        response = connection.getresponse()
        if response.status in {401, 403}:
            raise ValueError("it refuses our user name and password")
        answer = json.loads(response.read())
    finally:
        connection.close()
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, dict):
        raise ValueError("this is no Bitcoin RPC")
    return result, _skew_s(response.getheader("Date"))


def _connection(config: NodeConfig, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=_ASK_TIMEOUT_S)
    ca_file = config.l1_ca_file
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file.expanduser()))
    return http.client.HTTPSConnection(host, port, timeout=_ASK_TIMEOUT_S, context=context)


def _skew_s(date: str | None) -> float | None:
    if date is None:
        return None
    return time.time() - parsedate_to_datetime(date).timestamp()


def _credentials(config: NodeConfig) -> str:
    if config.l1_password_file is not None:
        return f"{config.l1_user}:{config.l1_password_file.expanduser().read_text().strip()}"
    return config.cookie_path.read_text().strip()


def _shown(config: NodeConfig) -> str:
    """The RPC address without credentials that someone may have put into it."""
    address = urlsplit(config.l1_rpc or "")
    return f"{address.hostname}:{address.port}"


def _engine(config: NodeConfig) -> tuple[Finding, ...]:
    """Say what a neuron would run on; finding torch on disk is enough, importing it takes seconds."""
    if not config.neuron or config.role != "dev":
        return ()
    if find_spec("torch") is None:
        fix = "pip install 'bitai-node[neuron]'"
        return (
            Finding("torch", Verdict.WARN, "torch is missing: the neuron computes on numpy, slower", fix),
        )
    has_gpu = Path("/proc/driver/nvidia").exists() or Path("/dev/nvidia0").exists()
    return (
        Finding("torch", Verdict.OK, "found; " + ("an NVIDIA GPU is here" if has_gpu else "no GPU, on CPU")),
    )
