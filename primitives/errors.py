"""Every error of the project says who is at fault and what a driver does next."""


class BitaiError(Exception):
    """Carry a stable code, a sentence for a person, and details for a log line.

    `code` is `area.reason` in lower case (`envelope.bad_signature`). Programs compare it: it never changes.
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        """Keep the code apart from the message, so that rewording never breaks a caller."""
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        """Return `code: message (name=value, ...)`."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.details.items())
        return f"{self.code}: {self.message}" + (f" ({shown})" if shown else "")


class InvalidInput(BitaiError):
    """Outside data breaks a rule; every honest node agrees: drop it and count it."""


class Rejected(BitaiError):
    """Well formed, but not applicable now; the same bytes may be accepted later."""


class Duplicate(Rejected):
    """Seen before; accepting it again would change nothing."""


class Temporary(BitaiError):
    """The world is slow or away; retry with capped backoff."""


class InvariantViolation(BitaiError):
    """Our bug or a corrupt disk: stop and dump. Untrusted input must never lead here."""


class ConfigError(BitaiError):
    """A person must change something; `fix` is one command or one line that does it."""

    def __init__(self, code: str, message: str, *, fix: str, **details: object) -> None:
        """Keep the remedy beside the complaint."""
        super().__init__(code, message, **details)
        self.fix = fix
