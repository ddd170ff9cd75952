"""Logging: JSON lines into `<workspace>/logs/streamflow.jsonl`, readable lines on stderr.

Everywhere else: `log = structlog.get_logger(__name__)`, then `log.warning("an_event", key=value)`. The caller
pays for redaction and a queue; one thread formats and writes, so a slow disk or terminal never holds the loop.
When the queue is full, lines are dropped and counted; when the file cannot be written, the terminal says so once
and the run goes on.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import structlog

from streamflow.observe.redact import Redactor
from streamflow.observe.words import printable
from streamflow.plain_file import open_plain

FILE_NAME = "streamflow.jsonl"
_WAITING = 10_000
_RETRY_FILE = 30.0
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31", "critical": "31;1"}


class Log:
    """The log of one process. Close it, or use it in a `with` block."""

    def __init__(
        self,
        workspace: Path | None,
        *,
        level: str = "info",
        console: str | None = "warning",
        max_bytes: int = 10 * 2**20,
        keep: int = 4,
        secrets: Iterable[str] = (),
        stream: TextIO | None = None,
    ) -> None:
        self.path = workspace / "logs" / FILE_NAME if workspace is not None else None
        self.redact = Redactor(secrets)
        self._file = _Rotating(self.path, max_bytes, keep) if self.path is not None else None
        self._file_level = _LEVELS[level]
        self._console_level = _LEVELS[console] if console is not None else sys.maxsize
        self._stream = stream
        self._queue: queue.Queue[dict[str, Any] | threading.Event | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._before = structlog.get_config()
        self._bridge = _Bridge()
        self._thread = threading.Thread(target=self._work, name="streamflow-log", daemon=True)
        self._thread.start()
        self._configure()
        logging.getLogger().addHandler(self._bridge)

    def _configure(self) -> None:
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                self._take,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(min(self._file_level, self._console_level, 50)),
            logger_factory=structlog.ReturnLoggerFactory(),
            cache_logger_on_first_use=False,
        )

    def set_level(self, level: str) -> None:
        """The least that is written to the file, from now on."""
        self._file_level = _LEVELS[level]
        self._configure()

    def flush(self, timeout: float = 5.0) -> None:
        """Wait until all that was logged so far is written, at most `timeout` seconds."""
        if not self._thread.is_alive():
            return
        written = threading.Event()
        try:
            self._queue.put(written, timeout=timeout)
        except queue.Full:
            return
        written.wait(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits and end, at most after `timeout` seconds. Closing twice does nothing."""
        if not self._thread.is_alive():
            return
        logging.getLogger().removeHandler(self._bridge)
        structlog.configure(**self._before)
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, logger: object, method: str, event: MutableMapping[str, Any]) -> Any:
        try:
            self._queue.put_nowait(self._line(event))
        except Exception:  # noqa: BLE001  a full queue, or a value that fails when it is looked at
            self._dropped += 1
        raise structlog.DropEvent  # structlog has nothing left to do

    def _line(self, event: MutableMapping[str, Any]) -> dict[str, Any]:
        exception = _exception_text(event.pop("exc_info", None))
        # A key of the caller's must not forge the time or the level of the line.
        line = {"time": _now(), "level": event.pop("level"), "event": self.redact(event.pop("event", ""))}
        line |= {name: value for name, value in self.redact.mapping(event).items() if name not in line}
        if exception is not None:
            line["exception"] = self.redact.text(exception)
        return line

    def _work(self) -> None:
        while True:
            entry = self._queue.get()
            if isinstance(entry, dict):
                self._write(entry)
                if self._dropped and self._queue.empty():
                    count, self._dropped = self._dropped, 0
                    self._write({"time": _now(), "level": "warning", "event": "log_lines_dropped", "count": count})
            if self._file is not None and self._queue.empty():
                self._report(self._file.flush())
            if isinstance(entry, threading.Event):
                entry.set()
            if entry is None:
                if self._file is not None:
                    self._file.close()
                return

    def _write(self, line: dict[str, Any]) -> None:
        level = _LEVELS.get(line["level"], 50)
        if self._file is not None and level >= self._file_level:
            self._report(self._file.write(json.dumps(line) + "\n"))
        if level >= self._console_level:
            self._print(line)

    def _report(self, problem: OSError | None) -> None:
        if problem is not None:
            event = f"The log file cannot be written: {problem.strerror}. The run goes on without it."
            self._print({"time": _now(), "level": "warning", "event": event, "path": str(self.path)})

    def _print(self, line: dict[str, Any]) -> None:
        # Looked up each time: a progress display puts itself in the place of sys.stderr.
        stream = self._stream if self._stream is not None else sys.stderr
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it, or it is closed
            stream.write(readable(line, colour=stream.isatty() and not os.environ.get("NO_COLOR")) + "\n")
            stream.flush()


def readable(line: dict[str, Any], colour: bool = False) -> str:
    """One line for people. Nothing in it can move the cursor; of an exception it shows the last line."""
    level = str(line["level"])
    shown = f"{level:<7}"
    if colour:
        shown = f"\x1b[{_COLOURS.get(level, '31')}m{shown}\x1b[0m"
    parts = [str(line["time"])[11:19], shown, printable(str(line["event"]))]
    for key, value in line.items():
        if key == "exception":
            parts.append(printable(str(value).rstrip().rpartition("\n")[2]))
        elif key not in ("time", "level", "event"):
            text = (
                value
                if isinstance(value, str) and value and " " not in value
                else json.dumps(value, ensure_ascii=False)
            )
            parts.append(f"{printable(key)}={printable(text)}")
    return " ".join(parts)


class _Rotating:
    """A file that is put aside when it is full. Its methods return the problem instead of raising it."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._file: TextIO | None = None
        self._size = 0
        self._not_before = 0.0
        self._told = False

    def write(self, line: str) -> OSError | None:
        if time.monotonic() < self._not_before:
            return None
        try:
            if self._file is None:
                self._open()
            if self._size and self._size + len(line) > self._max_bytes:
                self._rotate()
            assert self._file is not None  # noqa: S101
            self._file.write(line)
            self._size += len(line)
        except OSError as error:
            return self._give_up(error)
        return None

    def flush(self) -> OSError | None:
        try:
            if self._file is not None:
                self._file.flush()
                self._told = False
                if not self._is_there():
                    self.close()  # removed or put aside by somebody else: the next line makes a new one
        except OSError as error:
            return self._give_up(error)
        return None

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # the lines are lost, and there is nobody left to tell
                file.close()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "a", encoding="ascii", opener=open_plain)  # noqa: SIM115 - stays open
        self._size = self._file.tell()
        if self._size and not _ends_a_line(self._path):
            self._file.write("\n")  # the disk was full, or the process killed, in the middle of a line

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep, 0, -1):
            newer = self._aside(number - 1) if number > 1 else self._path
            if newer.exists():
                newer.replace(self._aside(number))
        self._path.unlink(missing_ok=True)
        self._open()

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _is_there(self) -> bool:
        assert self._file is not None  # noqa: S101
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _give_up(self, error: OSError) -> OSError | None:
        """The problem, unless it was told since the file could last be written."""
        self.close()
        self._not_before = time.monotonic() + _RETRY_FILE
        told, self._told = self._told, True
        return None if told else error


def _ends_a_line(path: Path) -> bool:
    with open(path, "rb", opener=open_plain) as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


class _Bridge(logging.Handler):
    """Hands on what libraries log (asyncio's unretrieved exceptions, aiohttp)."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = structlog.get_logger()
            log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001  the log's own failure stops nothing
            self.handleError(record)


def _exception_text(given: object) -> str | None:
    if given is True:
        given = sys.exc_info()
    if isinstance(given, tuple):
        given = given[1]
    if not isinstance(given, BaseException):
        return None
    try:
        return "".join(traceback.format_exception(given))
    except Exception:  # noqa: BLE001  an exception whose text cannot be made
        return type(given).__name__


def _now() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
