"""One directory, one process; secrets only its user can read."""

import stat

import pytest

from primitives.errors import ConfigError, InvalidInput
from regtest.server.instance import (
    COOKIE_FILE,
    Credentials,
    InstanceLock,
    read_password,
    remove_cookie,
    write_cookie,
)
from regtest.server.mempool_file import MEMPOOL_FILE, load_mempool, save_mempool


def test_second_instance_is_told_whom_to_stop(tmp_path):
    """The refusal names the process and one command; after release the directory is free."""
    lock = InstanceLock(tmp_path)
    with pytest.raises(ConfigError) as caught:
        InstanceLock(tmp_path)
    assert caught.value.code == "instance.taken"
    assert "kill" in caught.value.fix
    lock.release()
    InstanceLock(tmp_path).release()


def test_bitcoin_cores_directory_is_left_alone(tmp_path):
    """A directory that looks like a real node's is refused before anything is written."""
    (tmp_path / "chainstate").mkdir()
    with pytest.raises(ConfigError) as caught:
        InstanceLock(tmp_path)
    assert caught.value.code == "instance.foreign_directory"
    assert [path.name for path in tmp_path.iterdir()] == ["chainstate"]


def test_directory_that_cannot_be_made(tmp_path):
    """A file in the way is the person's to move, not a stack trace."""
    (tmp_path / "file").write_text("in the way")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError) as caught:
            InstanceLock(directory)
        assert caught.value.code == "instance.unusable_directory"


def test_cookie(tmp_path):
    """Only this user can read it, each start has a new one, a clean stop removes it."""
    first = write_cookie(tmp_path)
    path = tmp_path / COOKIE_FILE
    assert path.read_bytes() == first
    assert first.startswith(b"__cookie__:")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert write_cookie(tmp_path) != first
    remove_cookie(tmp_path)
    assert not path.exists()


def test_credentials():
    """Any accepted pair is let in, nothing else."""
    credentials = Credentials((b"a:b", b"c:d"))
    assert credentials.admits(b"a:b")
    assert credentials.admits(b"c:d")
    assert not credentials.admits(b"a:d")
    assert not credentials.admits(b"")


def test_password_file(tmp_path):
    """The first line counts; a missing or empty file says how to make one."""
    path = tmp_path / "password"
    path.write_text("secret\nsecond line\n")
    assert read_password(path) == "secret"
    for content in ("", "\n"):
        path.write_text(content)
        with pytest.raises(ConfigError):
            read_password(path)
    with pytest.raises(ConfigError) as caught:
        read_password(tmp_path / "nowhere")
    assert "printf" in caught.value.fix


def test_saved_mempool(tmp_path):
    """Saved transactions come back; a damaged file is reported, a missing one is empty."""
    assert load_mempool(tmp_path) == []
    save_mempool(tmp_path, [b"one", b"", b"three" * 100])
    assert load_mempool(tmp_path) == [b"one", b"", b"three" * 100]
    path = tmp_path / MEMPOOL_FILE
    data = path.read_bytes()
    for damaged in (data[:-1], b"x" + data, data[:20] + b"!" + data[21:], b""):
        path.write_bytes(damaged)
        with pytest.raises(InvalidInput):
            load_mempool(tmp_path)
