"""Ports: the wanted one, a free one, or the name of who has it."""

import os
import socket

import pytest

from bitai.ports import choose_port, find_holder
from primitives.errors import ConfigError


@pytest.fixture
def taken():
    """A port on which this process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener.getsockname()[1]


def test_a_free_port_is_given_as_asked(taken):
    """What is free is not changed, and 0 gives any."""
    free = choose_port(0, name="JSON-RPC", flag="--rpc-port")
    assert free != taken
    assert choose_port(free, name="JSON-RPC", flag="--rpc-port") == free


def test_a_taken_port_names_its_holder(taken):
    """The error names the process and how to go around it; nobody is killed."""
    with pytest.raises(ConfigError, match=r"port\.busy") as caught:
        choose_port(taken, name="JSON-RPC", flag="--rpc-port")
    assert str(os.getpid()) in str(caught.value.details["why"])
    assert caught.value.fix == "bitai-node run --rpc-port 0"


def test_dev_moves_to_a_free_port(taken):
    """A dev node starts beside another one."""
    moved = choose_port(taken, name="JSON-RPC", flag="--rpc-port", may_move=True)
    assert moved != taken
    assert find_holder(moved) is None


def test_a_foreign_address_is_refused():
    """An address that is not this machine's cannot be listened on, moved or not."""
    with pytest.raises(ConfigError, match=r"port\.forbidden"):
        choose_port(8545, name="JSON-RPC", flag="--rpc-port", address="192.0.2.1", may_move=True)


def test_holder_of_a_port(taken):
    """The holder is this process; a free port has none."""
    holder = find_holder(taken)
    assert holder is not None
    assert holder.pid == os.getpid()
