"""Channels in the order of their numbers: take frames in any order, give channels back one after the other.

Order is by number, not by position. A channel times out `channel_timeout` blocks after the first frame of it
or of any later channel, so a number that nobody ever writes holds up the others for one timeout at most.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from primitives.bitcoin.envelope import Envelope
from primitives.errors import InvalidInput
from rollup.batch.channel import Frame, decode_frame
from rollup.derivation.errors import FrameCode
from rollup.derivation.pieces import Assembly, Fit
from rollup.limits import Limits

_MISFITS: Final = {
    Fit.BAD_INDEX: FrameCode.BAD_INDEX,
    Fit.DUPLICATE: FrameCode.DUPLICATE,
    Fit.CONFLICT: FrameCode.CONFLICT,
}


@dataclass(frozen=True, slots=True)
class ChannelBank:
    """Channels that have frames but are not read yet; every number is at least `next_number`."""

    next_number: int = 0
    channels: Mapping[int, Assembly] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return the bytes that wait."""
        return sum(channel.size for channel in self.channels.values())


@dataclass(frozen=True, slots=True)
class Closed:
    """Channels `number` to `last_number`: one that is complete, or those that timed out (`assembly` None)."""

    number: int
    last_number: int
    assembly: Assembly | None


def add_frame(limits: Limits, bank: ChannelBank, envelope: Envelope, height: int) -> tuple[ChannelBank, str]:
    """Return the bank with a frame, and an empty code; or the same bank and the reason why not."""
    number, index = envelope.header.number, envelope.header.index
    if number < bank.next_number:
        return bank, FrameCode.CHANNEL_CLOSED
    if number >= bank.next_number + limits.open_channels:
        return bank, FrameCode.TOO_FAR_AHEAD
    try:
        frame = decode_frame(envelope.payload)
    except InvalidInput as error:
        return bank, error.code
    if frame.of > limits.channel_frames:
        return bank, FrameCode.TOO_MANY_FRAMES
    channel = bank.channels.get(number) or Assembly.begin(frame, height)
    fit = channel.fit(frame, index)
    if fit is not Fit.NEW:
        return bank, _MISFITS[fit]
    code = _check_room(limits, bank, channel, frame)
    if code:
        return bank, code
    return replace(bank, channels={**bank.channels, number: channel.add(frame, index)}), FrameCode.ACCEPTED


def close_channels(bank: ChannelBank, height: int, timeout: int) -> Iterator[tuple[Closed, ChannelBank]]:
    """Yield what can be read at the end of an L1 block, in order, each with the bank that is left.

    A frame `timeout` blocks after the first one still counts: frames of a block are taken before this is
    asked.
    """
    while bank.channels:
        lowest = min(bank.channels)
        channel = bank.channels[lowest]
        complete = lowest == bank.next_number and channel.is_complete
        started = min(each.first_height for each in bank.channels.values())
        if not complete and height - started < timeout:
            return
        # numbers without a frame below the lowest share its fate in one step, however many they are
        last = bank.next_number if lowest == bank.next_number else lowest - 1
        closed = Closed(bank.next_number, last, channel if complete else None)
        left = {number: each for number, each in bank.channels.items() if number > last}
        bank = ChannelBank(last + 1, left)
        yield closed, bank


def _check_room(limits: Limits, bank: ChannelBank, channel: Assembly, frame: Frame) -> str:
    if channel.size + len(frame.data) > limits.channel_bytes:
        return FrameCode.CHANNEL_TOO_LARGE
    if bank.size + len(frame.data) > limits.buffered_bytes:
        return FrameCode.BUFFER_FULL
    return ""
