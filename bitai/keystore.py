"""Keys at rest: one file a key, encrypted by a password, readable by its user alone.

The file is JSON: what may be known (name, addresses, how the password was stretched) and the secret, sealed
with ChaCha20-Poly1305 under scrypt(password). The known part is bound to the seal, so that a changed name or
address is noticed. The format is BitAI's own; version 1 is the only one.
"""

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from bitai.atomic_file import write_atomically
from primitives.curve import address_of, xonly_public_key
from primitives.errors import ConfigError, InvalidInput, Rejected

VERSION: Final = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MAX_FILE_BYTES: Final = 16 * 1024

# The order of secp256k1: a secret key is a number from 1 to one below it.
_CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True)
class Stretch:
    """Costs of scrypt: memory is 128 * n * r bytes."""

    n: int
    r: int = 8
    p: int = 1


# 128 MiB and about half a second a guess, the strongest that OWASP's password page lists.
STRONG: Final = Stretch(n=2**17)
# 4 MiB: regtest coins are worth nothing, and tests make many keys.
LIGHT: Final = Stretch(n=2**12)
# Above this a file asks for more memory than a node should give to a stranger's file.
_MOST_N: Final = 2**20


@dataclass(frozen=True)
class StoredKey:
    """What a key file shows without its password: the L2 address and BIP340's x-only key, in hex."""

    name: str
    network: str
    address: str
    xonly: str


class Keystore:
    """The key files of one folder; reads and writes are the only effects."""

    def __init__(self, folder: Path, *, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._folder = folder
        self._entropy = entropy

    def new(self, name: str, *, network: str, password: str, stretch: Stretch = STRONG) -> StoredKey:
        """Make a key, seal it, and return what may be known of it.

        Raises InvalidInput `keystore.bad_name`, Rejected `keystore.exists` or `keystore.no_password`.
        """
        return self.store(name, self._fresh_secret(), network=network, password=password, stretch=stretch)

    def store(
        self, name: str, secret: bytes, *, network: str, password: str, stretch: Stretch = STRONG
    ) -> StoredKey:
        """Seal a given secret of 32 bytes; see `new`."""
        path = self._path(name)
        if path.exists():
            raise Rejected("keystore.exists", f"there is a key '{name}' already", fix="bitai-node keys list")
        if not password:
            why = "encryption under nothing would only look like safety"
            fix = f"bitai-node keys new {name} --password-file FILE"
            raise Rejected(
                "keystore.no_password", "a key needs a password that is not empty", why=why, fix=fix
            )
        key = StoredKey(name, network, "0x" + address_of(secret).hex(), xonly_public_key(secret).hex())
        salt, nonce = self._entropy(16), self._entropy(12)
        known = _known_part(key, stretch, salt)
        sealed = ChaCha20Poly1305(_stretched(password, salt, stretch)).encrypt(nonce, secret, _bound(known))
        content = known | {"nonce": nonce.hex(), "sealed": sealed.hex()}
        for folder in (
            self._folder.parent,
            self._folder,
        ):  # a data folder made here is as private as a node's
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, indent=1).encode())
        return key

    def list(self) -> tuple[StoredKey, ...]:
        """All keys by name; a file that is no key file is an error, not an absence.

        Raises ConfigError `keystore.no_folder` where the folder cannot be one.
        """
        if any(place.exists() and not place.is_dir() for place in (self._folder, *self._folder.parents)):
            raise ConfigError(
                "keystore.no_folder",
                f"{self._folder} lies in no folder",
                fix="bitai-node keys list --datadir FOLDER",
            )
        return tuple(_shown(_read(path)) for path in sorted(self._folder.glob("*.json")))

    def unlock(self, name: str, password: str) -> bytes:
        """Return the secret of 32 bytes.

        Raises Rejected `keystore.unknown` or `keystore.wrong_password` (which a changed file also gives),
        InvalidInput `keystore.bad_file`.
        """
        path = self._path(name)
        if not path.exists():
            raise Rejected("keystore.unknown", f"there is no key '{name}'", fix="bitai-node keys list")
        content = _read(path)
        stretch, salt = _stretch_of(content)
        known = {field: content[field] for field in content if field not in {"nonce", "sealed"}}
        cipher = ChaCha20Poly1305(_stretched(password, salt, stretch))
        try:
            return cipher.decrypt(_hex(content, "nonce"), _hex(content, "sealed"), _bound(known))
        except InvalidTag as error:
            why = "the password is wrong, or the file was changed"
            fix = f"ls -l {path}"
            raise Rejected(
                "keystore.wrong_password", f"key '{name}' stays locked", why=why, fix=fix
            ) from error

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            why = "up to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
            raise InvalidInput("keystore.bad_name", f"'{name}' cannot name a key", why=why)
        return self._folder / f"{name}.json"

    def _fresh_secret(self) -> bytes:
        """Draw until the number is a key; a second draw happens once in 2^128."""
        while True:
            secret = self._entropy(32)
            if 0 < int.from_bytes(secret, "big") < _CURVE_ORDER:
                return secret


def _known_part(key: StoredKey, stretch: Stretch, salt: bytes) -> dict[str, Any]:
    return {
        "version": VERSION,
        "name": key.name,
        "network": key.network,
        "address": key.address,
        "xonly": key.xonly,
        "cipher": "chacha20-poly1305",
        "scrypt": {"n": stretch.n, "r": stretch.r, "p": stretch.p, "salt": salt.hex()},
    }


def _bound(known: dict[str, Any]) -> bytes:
    return json.dumps(known, sort_keys=True, separators=(",", ":")).encode()


def _stretched(password: str, salt: bytes, stretch: Stretch) -> bytes:
    return Scrypt(salt=salt, length=32, n=stretch.n, r=stretch.r, p=stretch.p).derive(password.encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()[: _MAX_FILE_BYTES + 1]
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidInput("keystore.bad_file", f"{path} cannot be read", why=str(error)) from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise InvalidInput("keystore.bad_file", f"{path} is no key file of version {VERSION}")
    return content


def _shown(content: dict[str, Any]) -> StoredKey:
    values = [content.get(field) for field in ("name", "network", "address", "xonly")]
    if not all(isinstance(value, str) for value in values):
        raise InvalidInput("keystore.bad_file", "a key file lacks its name or addresses")
    return StoredKey(*(str(value) for value in values))


def _stretch_of(content: dict[str, Any]) -> tuple[Stretch, bytes]:
    costs = content.get("scrypt")
    if not isinstance(costs, dict) or not all(isinstance(costs.get(name), int) for name in "nrp"):
        raise InvalidInput("keystore.bad_file", "a key file lacks the costs of scrypt")
    stretch = Stretch(costs["n"], costs["r"], costs["p"])
    power_of_two = stretch.n > 1 and stretch.n & (stretch.n - 1) == 0
    if not power_of_two or stretch.n > _MOST_N or not 1 <= stretch.r <= 32 or not 1 <= stretch.p <= 16:
        raise InvalidInput("keystore.bad_file", "a key file asks for absurd costs of scrypt")
    return stretch, _hex(costs, "salt")


def _hex(content: dict[str, Any], name: str) -> bytes:
    try:
        return bytes.fromhex(content[name])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("keystore.bad_file", f"a key file lacks '{name}' in hex") from error
