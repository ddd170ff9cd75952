from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamflow.errors import WorkspaceError, WorkspaceLocked
from streamflow.storage.lock import WorkspaceLock, holder

HOLD = """
import sys
from pathlib import Path
from streamflow.storage.lock import WorkspaceLock
sys.argv = ["/bin/streamflow", "run", "literature"]
with WorkspaceLock(Path({path!r})):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(workspace: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(path=str(workspace))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str], *, kill: bool = False) -> None:
    if kill:
        process.kill()
    process.communicate(timeout=10)


def test_a_held_workspace_is_refused_with_the_name_of_its_holder(tmp_path: Path) -> None:
    process = hold(tmp_path)
    try:
        with pytest.raises(WorkspaceLocked) as caught:
            WorkspaceLock(tmp_path).acquire()
        message = str(caught.value)
        assert f"process {process.pid}" in message
        assert "streamflow run literature" in message
        assert str(tmp_path) in message
        found = holder(tmp_path)
        assert found is not None
        assert found["pid"] == process.pid
    finally:
        end(process)
    with WorkspaceLock(tmp_path):
        pass


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    end(hold(tmp_path), kill=True)
    assert holder(tmp_path) is None
    with WorkspaceLock(tmp_path):
        assert holder(tmp_path) is not None


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    with WorkspaceLock(tmp_path), pytest.raises(WorkspaceLocked, match=f"process {os.getpid()} "):
        WorkspaceLock(tmp_path).acquire()
    assert holder(tmp_path) is None


def test_a_worker_that_outlives_its_engine_does_not_keep_the_lock(tmp_path: Path) -> None:
    script = HOLD.format(path=str(tmp_path)).replace(
        'print("held", flush=True)',
        'import subprocess; subprocess.Popen([sys.executable, "-c", CHILD], close_fds=False)',
    )
    child = "CHILD = 'import sys; print(\\'held\\', flush=True); sys.stdin.read()'\n"
    engine = subprocess.Popen(
        [sys.executable, "-c", child + script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "held\n"
        assert holder(tmp_path) is not None
        engine.kill()
        engine.wait(10)
        with WorkspaceLock(tmp_path):
            pass
    finally:
        end(engine, kill=True)


def test_the_workspace_is_made_where_it_is_missing(tmp_path: Path) -> None:
    with WorkspaceLock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


def test_a_file_in_the_place_of_the_workspace_is_named(tmp_path: Path) -> None:
    (tmp_path / "workspace").touch()
    for path in (tmp_path / "workspace", tmp_path / "workspace" / "below"):
        with pytest.raises(WorkspaceError, match="workspace"):
            WorkspaceLock(path).acquire()


def test_an_unwritable_workspace_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:  # permissions do not bind root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(WorkspaceError, match=r"Permission denied.*-w"):
        WorkspaceLock(tmp_path).acquire()


def test_a_symlink_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("keep me")
    (tmp_path / "streamflow.lock").symlink_to(tmp_path / "outside")
    with pytest.raises(WorkspaceError):
        WorkspaceLock(tmp_path).acquire()
    assert (tmp_path / "outside").read_text() == "keep me"


@pytest.mark.parametrize("content", ["", "[]", "{", "{}"])
def test_a_lock_file_with_any_content_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "streamflow.lock").write_text(content)
    with WorkspaceLock(tmp_path):
        (tmp_path / "streamflow.lock").write_text(content)
        with pytest.raises(WorkspaceLocked, match="another process"):
            WorkspaceLock(tmp_path).acquire()


def test_a_free_workspace_has_no_holder(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with WorkspaceLock(tmp_path):
        pass
    assert holder(tmp_path) is None
