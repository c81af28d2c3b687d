"""How the node logs: text with colour for a person, JSON lines for a collector, and secrets in neither."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import IO, Any

import structlog
from aiohttp.web import RequestPayloadError
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

# A field whose name holds one of these is never shown. The node's own code logs none: this is the second
# lock.
_SECRET_NAME = re.compile(
    r"secret|passw|private|mnemonic|seed_phrase|cookie|token|authorization", re.IGNORECASE
)

# user:password in front of a host, as people put them into RPC URLs.
_URL_CREDENTIALS = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)


def configure_logging(*, as_json: bool, level: str = "info", stream: IO[str] | None = None) -> None:
    """Send structlog's and the standard library's records to one place in one form.

    `stream` is standard error unless given: standard output belongs to what a command was asked for.
    """
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True) if as_json else _clock_time,
        structlog.processors.StackInfoRenderer(),
        redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(target, as_json=as_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # A line per HTTP request says nothing that the metrics do not.
    for chatty in ("aiohttp.access", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    server = logging.getLogger("aiohttp.server")
    if not any(isinstance(each, _BrokenBodies) for each in server.filters):
        server.addFilter(_BrokenBodies())


class _BrokenBodies(logging.Filter):
    """Makes a counted line for debugging of the traceback that aiohttp logs for each body that does not unpack.

    Its sender has been answered by then; anybody may send as many as they like.
    """

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info is None or not isinstance(record.exc_info[1], RequestPayloadError):
            return True
        self._count += 1
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        record.msg, record.args = (
            "a request's body is cut short or packed wrongly, the %d. so far",
            (self._count,),
        )
        record.exc_info = record.exc_text = None
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank every value whose name or shape is that of a secret, also inside nested mappings and lists."""
    for name, value in event.items():
        event[name] = _redacted(name, value)
    return event


def _redacted(name: str, value: object) -> Any:
    if _SECRET_NAME.search(name) and value is not None:
        return REDACTED
    if isinstance(value, str):
        return _URL_CREDENTIALS.sub(rf"\g<scheme>{REDACTED}@", value)
    if isinstance(value, MutableMapping):
        return {inner: _redacted(str(inner), content) for inner, content in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", content) for content in value]
    return value


def _clock_time(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)(logger, method, event)


def _renderers(target: IO[str], *, as_json: bool) -> list[Processor]:
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The plain form of tracebacks: the pretty one prints local variables, keys among them.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=target.isatty(), pad_event_to=0, exception_formatter=plain)]
