"""The socket in the workspace: whose it is, where it may lie, and what it finds in its place."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from streamflow.engine.control import place
from streamflow.engine.control.place import NAME, connected, is_stranger, listening
from streamflow.errors import ControlError


def meets(workspace: Path, listener: socket.socket) -> bool:
    """Whether whoever connects to the workspace gets to this listener."""
    connection = connected(workspace, 5.0)
    if connection is None:
        return False
    with connection:
        listener.settimeout(5.0)
        accepted, _ = listener.accept()
        with accepted:
            connection.sendall(b"?")
            return accepted.recv(1) == b"?"


def test_it_is_there_for_its_owner_only_and_for_as_long_as_the_block(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with listening(tmp_path) as listener:
            assert stat.S_IMODE(os.lstat(tmp_path / NAME).st_mode) == 0o600
            assert meets(tmp_path, listener)
            assert os.listdir(tmp_path) == [NAME]
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == []


def test_until_it_is_private_nobody_else_can_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the binding and the mode that makes it private, a folder that is private by itself is around it."""
    seen = []
    chmod = os.chmod

    def look(path: Path, mode: int) -> None:
        seen.append((stat.S_IMODE(os.stat(path.parent).st_mode), path.parent == tmp_path, os.listdir(tmp_path)))
        chmod(path, mode)

    monkeypatch.setattr(os, "chmod", look)
    before = os.umask(0)
    try:
        with listening(tmp_path):
            pass
    finally:
        os.umask(before)
    assert [(mode, in_place) for mode, in_place, _ in seen] == [(0o700, False)]
    assert NAME not in seen[0][2]


def test_a_path_longer_than_an_address_is_reached_all_the_same(tmp_path: Path) -> None:
    workspace = tmp_path
    while len(os.fsencode(workspace)) < 300:
        workspace /= "a folder with a long name"
    workspace.mkdir(parents=True)
    with listening(workspace) as listener:
        assert meets(workspace, listener)
    assert os.listdir(workspace) == []


def test_a_relative_workspace_is_the_one_it_was_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ws").mkdir()
    monkeypatch.chdir(tmp_path)
    with listening(Path("ws")) as listener:
        monkeypatch.chdir("/")
        assert meets(tmp_path / "ws", listener)
    assert os.listdir(tmp_path / "ws") == []


def left_behind(workspace: Path) -> None:
    """What a process that was killed leaves: a socket at which nobody listens, and one that was being made."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(workspace / NAME))
    (workspace / ".control.new").mkdir()
    (workspace / ".control.new" / NAME).touch()


def test_what_a_killed_process_left_is_nobody_and_gives_way(tmp_path: Path) -> None:
    left_behind(tmp_path)
    assert connected(tmp_path, 5.0) is None
    with listening(tmp_path) as listener:
        assert meets(tmp_path, listener)
    assert os.listdir(tmp_path) == []


def test_a_symlink_in_its_place_is_not_followed_by_anybody(tmp_path: Path) -> None:
    workspace, elsewhere = tmp_path / "ws", tmp_path / "elsewhere"
    workspace.mkdir()
    elsewhere.mkdir()
    with listening(elsewhere) as other:
        (workspace / NAME).symlink_to(elsewhere / NAME)
        with pytest.raises(ControlError, match="is no socket"):
            connected(workspace, 5.0)
        with listening(workspace) as listener:
            assert meets(workspace, listener)
            assert meets(elsewhere, other)


@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
def test_what_is_no_socket_is_not_asked(tmp_path: Path, kind: str) -> None:
    match kind:
        case "file":
            (tmp_path / NAME).touch()
        case "folder":
            (tmp_path / NAME).mkdir()
        case _:
            os.mkfifo(tmp_path / NAME)
    with pytest.raises(ControlError, match="is no socket"):
        connected(tmp_path, 5.0)


def test_a_socket_of_another_that_took_its_place_is_left_alone(tmp_path: Path) -> None:
    with listening(tmp_path):
        (tmp_path / NAME).unlink()
        (tmp_path / NAME).write_text("mine")
    assert (tmp_path / NAME).read_text() == "mine"


@pytest.mark.parametrize("workspace", ["missing", "file"])
def test_where_nobody_can_listen_there_is_nobody(tmp_path: Path, workspace: str) -> None:
    (tmp_path / "file").touch()
    assert connected(tmp_path / workspace, 5.0) is None
    with pytest.raises(OSError), listening(tmp_path / workspace):  # noqa: PT011 - one of several, by system
        pass


def test_one_that_listens_and_never_answers_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_BACKLOG", 0)
    with listening(tmp_path):
        first = connected(tmp_path, 5.0)
        assert first is not None
        with first, pytest.raises(ControlError, match="does not answer"):
            connected(tmp_path, 0.05)


def test_it_is_not_inherited(tmp_path: Path) -> None:
    with listening(tmp_path) as listener:
        assert not listener.get_inheritable()


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED") or os.geteuid() != 0, reason="needs root, and Linux")
def test_another_user_is_a_stranger(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, socket
        connection = socket.socket(socket.AF_UNIX)
        os.chdir({str(tmp_path)!r})
        os.setuid(65534)
        connection.connect({NAME!r})
        connection.recv(1)
    """)
    with listening(tmp_path) as listener:
        os.chmod(tmp_path / NAME, 0o666)  # as if the mode had not kept them out  # noqa: S103
        tmp_path.chmod(0o755)
        child = subprocess.Popen([sys.executable, "-c", script])
        try:
            listener.settimeout(30.0)
            accepted, _ = listener.accept()
            with accepted:
                assert is_stranger(accepted)
        finally:
            assert child.wait(30) == 0
        connection = connected(tmp_path, 5.0)
        assert connection is not None
        with connection:
            accepted, _ = listener.accept()
            with accepted:
                assert not is_stranger(accepted)
