"""Opening files and nothing else."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from streamflow.plain_file import NoFile, check_plain, open_plain

FLAGS = [os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW]


@pytest.mark.parametrize("flags", FLAGS)
def test_what_is_no_file_is_refused_with_what_it_is(tmp_path: Path, flags: int) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, words in [("fifo", "a FIFO"), ("folder", "a folder"), ("socket", "a socket")]:
            before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
            with pytest.raises(NoFile) as caught:
                os.close(open_plain(tmp_path / name, flags))
            assert caught.value.strerror == f"{name} is {words}, not a file"
            assert not before or len(os.listdir("/proc/self/fd")) == before
            with pytest.raises(NoFile):
                check_plain(tmp_path / name)


def test_a_file_is_opened_and_a_missing_one_made_where_that_is_asked_for(tmp_path: Path) -> None:
    check_plain(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "file", os.O_RDONLY)
    with open(tmp_path / "file", "w", opener=open_plain) as file:
        file.write("text")
    check_plain(tmp_path / "file")
    with open(tmp_path / "file", opener=open_plain) as file:
        assert file.read() == "text"
        assert not os.get_inheritable(file.fileno())
