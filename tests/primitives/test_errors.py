"""Errors keep a stable code beside their words."""

import pytest

from primitives.errors import (
    BitaiError,
    ConfigError,
    Duplicate,
    InvalidInput,
    InvariantViolation,
    Rejected,
    Temporary,
)


@pytest.mark.parametrize("error", [InvalidInput, Rejected, Duplicate, Temporary, InvariantViolation])
def test_an_error_shows_code_message_and_details(error):
    """What a log line needs is in the error, whichever class says who is at fault."""
    raised = error("area.reason", "what happened", height=7)
    assert isinstance(raised, BitaiError)
    assert (raised.code, raised.message, raised.details) == ("area.reason", "what happened", {"height": 7})
    assert str(raised) == "area.reason: what happened (height=7)"


def test_a_duplicate_is_a_rejection():
    """Whoever handles a rejection handles a duplicate."""
    with pytest.raises(Rejected):
        raise Duplicate("pool.known", "seen before")


def test_a_config_error_says_what_to_do():
    """A person who must act is told one way to act."""
    raised = ConfigError("config.no_key", "there is no key", fix="bitai-node keys new", path="keys/")
    assert raised.fix == "bitai-node keys new"
    assert str(raised) == "config.no_key: there is no key (path='keys/')"
