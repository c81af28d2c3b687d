"""The parts of one node that roles are built from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from bitai.adapters.bitcoin.node import BitcoinNode
    from bitai.adapters.bitcoin.transport import RpcTransport
    from bitai.chain_service import ChainService
    from bitai.chain_thread import ChainThread
    from bitai.node import Node
    from bitai.node_keys import NodeKeys
    from bitai.system_clock import SystemClock
    from rollup.config import RollupConfig
    from vm.executor import Executor
    from vm.store import KeyValueStore


@dataclass(frozen=True, slots=True)
class Parts:
    """What every role has; `keys` are there only where the node signs."""

    node: Node
    stack: AsyncExitStack
    clock: SystemClock
    transport: RpcTransport
    bitcoin: BitcoinNode
    rollup: RollupConfig
    store: KeyValueStore
    thread: ChainThread
    executor: Executor
    chain: ChainService
    keys: NodeKeys | None
    cookie: str
