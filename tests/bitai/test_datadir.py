"""The data folder: private, locked by one node, and its run file believed only while its node lives."""

import errno
import os
import subprocess
import sys

import pytest

from bitai.atomic_file import write_atomically
from bitai.datadir import DataDir, DataDirLock, default_datadir
from bitai.run_file import RunFile, find_running, remove_run_file
from primitives.errors import ConfigError, Temporary


def _running(pid: int) -> RunFile:
    return RunFile(pid, "regtest", "dev", "http://r", "http://w", "ws://n", "http://a", "http://l")


def test_folders_are_private(tmp_path):
    """Folders and cookie are readable by their user alone."""
    files = DataDir(tmp_path / "node")
    files.prepare()
    cookie = files.new_cookie()
    assert files.read_cookie() == cookie
    assert files.cookie_file.stat().st_mode & 0o777 == 0o600
    assert files.keystore.stat().st_mode & 0o777 == 0o700
    assert files.new_cookie() != cookie


def test_unusable_place_is_a_config_error(tmp_path):
    """A path through a file cannot become a folder; the person is told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"datadir\.unusable"):
        DataDir(tmp_path / "file" / "node").prepare()


def test_one_node_holds_the_folder(tmp_path):
    """A second lock is refused naming the first process; release and death both free the folder."""
    files = DataDir(tmp_path)
    first, second = DataDirLock(files), DataDirLock(files)
    first.acquire()
    with pytest.raises(ConfigError, match=r"datadir\.locked") as caught:
        second.acquire()
    assert str(os.getpid()) in str(caught.value.details["why"])
    first.release()
    second.acquire()
    second.release()


def test_run_file_of_a_living_process_is_found(tmp_path):
    """Addresses are believed while their process lives, and gone after an orderly stop."""
    files = DataDir(tmp_path)
    _running(os.getpid()).write(files)
    assert find_running(files) == _running(os.getpid())
    remove_run_file(files)
    with pytest.raises(Temporary, match=r"node\.not_running"):
        find_running(files)


def test_run_file_of_a_dead_process_is_ignored(tmp_path):
    """A killed node leaves its file; nobody is fooled by it, nor by rubbish."""
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    files = DataDir(tmp_path)
    _running(ended.pid).write(files)
    with pytest.raises(Temporary, match=r"node\.not_running"):
        find_running(files)
    files.run_file.write_text("{")
    with pytest.raises(Temporary, match=r"node\.not_running"):
        find_running(files)


def test_atomic_write_leaves_old_or_new(tmp_path, monkeypatch):
    """A write that fails half-way leaves the old file and no rubbish beside it."""
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def broken(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_default_datadir_honours_the_desktop_standard(monkeypatch, tmp_path):
    """$XDG_DATA_HOME moves the folder; without it, it is under ~/.local/share."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_datadir("signet") == tmp_path / "bitai" / "signet"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_datadir("signet") == tmp_path / ".local/share/bitai/signet"


def test_a_disk_that_takes_nothing_is_told(tmp_path, monkeypatch):
    """A full or read-only disk under an existing folder is a person's matter, not a traceback."""
    files = DataDir(tmp_path)
    files.prepare()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bitai.datadir.write_atomically", full)
    with pytest.raises(ConfigError, match=r"datadir\.unusable") as caught:
        files.new_cookie()
    assert caught.value.fix.startswith("df -h")
    monkeypatch.setattr("bitai.datadir.os.write", full)
    lock = DataDirLock(files)
    with pytest.raises(ConfigError, match=r"datadir\.unusable"):
        lock.acquire()
    monkeypatch.undo()
    lock.acquire()  # what was refused holds nothing
    lock.release()
    files.lock_file.unlink()
    files.lock_file.mkdir()
    with pytest.raises(ConfigError, match=r"datadir\.unusable"):
        DataDirLock(files).acquire()
