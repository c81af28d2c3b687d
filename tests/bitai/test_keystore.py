"""Encrypted keys: what opens, what does not, and what a file may not do to us."""

import json
from itertools import count

import pytest

from bitai.keystore import LIGHT, Keystore, Stretch
from primitives.curve import address_of, xonly_public_key
from primitives.errors import ConfigError, InvalidInput, Rejected

QUICK = Stretch(n=2)
SECRET = bytes(31) + b"\x01"


def _store(folder) -> Keystore:
    """A keystore whose draws are 1, 2, 3, ... as numbers of the asked length."""
    numbers = count(1)
    return Keystore(folder, entropy=lambda length: next(numbers).to_bytes(length, "big"))


def test_a_stored_key_opens_with_its_password_only(tmp_path):
    """The right password gives the secret back; any other is refused with one code."""
    store = Keystore(tmp_path)
    key = store.new("batcher", network="regtest", password="open sesame", stretch=QUICK)
    secret = store.unlock("batcher", "open sesame")
    assert key.address == "0x" + address_of(secret).hex()
    assert key.xonly == xonly_public_key(secret).hex()
    with pytest.raises(Rejected, match=r"keystore\.wrong_password"):
        store.unlock("batcher", "open sesame ")


def test_known_key_has_its_known_address(tmp_path):
    """The secret key 1 belongs to the address every Ethereum tool shows for it."""
    key = _store(tmp_path).store("one", SECRET, network="regtest", password="p", stretch=QUICK)
    assert key.address == "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"


def test_files_are_private_and_hold_no_secret(tmp_path):
    """The file is readable by its user alone, and the secret is in it only sealed."""
    Keystore(tmp_path).store("one", SECRET, network="regtest", password="p", stretch=QUICK)
    path = tmp_path / "one.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert SECRET.hex() not in path.read_text()
    assert "password" not in path.read_text()


@pytest.mark.parametrize("field", ["name", "network", "address", "xonly"])
def test_a_changed_file_does_not_open(tmp_path, field):
    """What the file shows is bound to the seal: nobody can swap the address under a key."""
    store = Keystore(tmp_path)
    store.new("one", network="regtest", password="p", stretch=QUICK)
    path = tmp_path / "one.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: "changed"}))
    with pytest.raises(Rejected, match=r"keystore\.wrong_password"):
        store.unlock("one", "p")


@pytest.mark.parametrize(
    "costs", [{"n": 2**30}, {"n": 3}, {"n": 0}, {"r": 0}, {"p": 10**6}, {"n": "2"}, {"salt": 1}]
)
def test_absurd_costs_are_refused_before_they_are_paid(tmp_path, costs):
    """A file cannot make us allocate a terabyte or compute for ever."""
    store = Keystore(tmp_path)
    store.new("one", network="regtest", password="p", stretch=QUICK)
    path = tmp_path / "one.json"
    content = json.loads(path.read_text())
    content["scrypt"] |= costs
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match=r"keystore\.bad_file"):
        store.unlock("one", "p")


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", ".hidden", "a" * 65, "a\n"])
def test_names_cannot_leave_the_folder(tmp_path, name):
    """A key's name is a plain file name."""
    with pytest.raises(InvalidInput, match=r"keystore\.bad_name"):
        Keystore(tmp_path).new(name, network="regtest", password="p", stretch=QUICK)


def test_a_key_is_never_overwritten(tmp_path):
    """Making a key of a name that exists is refused, and the first stays."""
    store = Keystore(tmp_path)
    first = store.new("one", network="regtest", password="p", stretch=QUICK)
    with pytest.raises(Rejected, match=r"keystore\.exists"):
        store.new("one", network="regtest", password="p", stretch=QUICK)
    assert store.list() == (first,)


def test_an_empty_password_is_refused(tmp_path):
    """Encryption under nothing would only look like safety."""
    with pytest.raises(Rejected, match=r"keystore\.no_password"):
        Keystore(tmp_path).new("one", network="regtest", password="", stretch=QUICK)


def test_a_draw_that_is_no_key_is_drawn_again(tmp_path):
    """Zero and numbers beyond the curve's order are no keys."""
    draws = [bytes(32), b"\xff" * 32, SECRET, bytes(16), bytes(12)]
    store = Keystore(tmp_path, entropy=lambda _length: draws.pop(0))
    store.new("one", network="regtest", password="p", stretch=QUICK)
    assert store.unlock("one", "p") == SECRET


def test_listing_needs_no_password_and_hides_no_damage(tmp_path):
    """Keys are listed by name; a file that is no key file is an error, not an absence."""
    store = Keystore(tmp_path)
    assert store.list() == ()
    made = [store.new(name, network="regtest", password="p", stretch=LIGHT) for name in ("b", "a")]
    assert store.list() == tuple(reversed(made))
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"keystore\.bad_file"):
        store.list()


def test_an_unknown_key_is_named(tmp_path):
    """Opening what is not there says so."""
    with pytest.raises(Rejected, match=r"keystore\.unknown"):
        Keystore(tmp_path).unlock("nobody", "p")


def test_the_folder_around_is_private_too(tmp_path):
    """A key made before the first start leaves no data folder that others can list."""
    Keystore(tmp_path / "node" / "keystore").new("mine", network="regtest", password="pw", stretch=LIGHT)
    assert (tmp_path / "node").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_none_holds_no_keys_but_says_so(tmp_path):
    """A mistyped folder is not an empty keystore."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"keystore\.no_folder"):
        Keystore(tmp_path / "file" / "keystore").list()
    assert Keystore(tmp_path / "none").list() == ()
