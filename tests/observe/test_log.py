from __future__ import annotations

import io
import json
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from streamflow.observe.log import Log, printable, readable
from streamflow.observe.redact import MARK, Redactor


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(log: Log) -> list[dict[str, Any]]:
    log.flush()
    assert log.path is not None
    return [json.loads(line) for line in log.path.read_text(encoding="ascii").splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(tmp_path: Path, stream: io.StringIO) -> Iterator[Log]:
    with Log(tmp_path, secrets=["s3cr3t-v4lue"], stream=stream) as log:
        yield log


def test_a_line_is_json_with_time_level_and_event(log: Log) -> None:
    structlog.get_logger().info("item_done", stage="enrich", attempts=2, title="Übung \ud800")
    (line,) = lines(log)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "item_done",
        "stage": "enrich",
        "attempts": 2,
        "title": "Übung \ud800",
    }


def test_the_terminal_shows_less_than_the_file(log: Log, stream: io.StringIO) -> None:
    logger = structlog.get_logger()
    logger.debug("hidden")
    logger.info("in_the_file")
    logger.warning("on_both", why="it matters")
    assert [line["event"] for line in lines(log)] == ["in_the_file", "on_both"]
    assert stream.getvalue().count("\n") == 1
    assert 'on_both why="it matters"' in stream.getvalue()


def test_what_libraries_log_is_in_the_file(log: Log) -> None:
    logging.getLogger("aiohttp.client").warning("Unclosed %s", "session")
    (line,) = lines(log)
    assert (line["event"], line["logger"], line["level"]) == ("Unclosed session", "aiohttp.client", "warning")


@pytest.mark.parametrize(
    "key",
    ["api_key", "X-Api-Key", "token", "access_token", "PASSWORD", "Authorization", "client_secret", "mailto", "email"],
)
def test_values_under_secret_keys_are_redacted_however_deep(log: Log, key: str) -> None:
    structlog.get_logger().info("call", headers={"nested": [{key: "abc"}]}, **{key.lower().replace("-", "_"): 12345})
    assert log.path is not None
    log.flush()
    text = log.path.read_text()
    assert "abc" not in text
    assert "12345" not in text
    assert text.count(MARK) == 2


def test_counts_of_tokens_are_no_secrets(log: Log) -> None:
    structlog.get_logger().info("call", tokens=7, stage_tokens_used=8, keywords="a")
    (line,) = lines(log)
    assert (line["tokens"], line["stage_tokens_used"], line["keywords"]) == (7, 8, "a")


class Odd:
    def __repr__(self) -> str:
        return "Odd(s3cr3t-v4lue)"


@pytest.mark.parametrize(
    "value",
    [
        "https://api.example.org/works?key=s3cr3t-v4lue",
        ["a", {"b": ("s3cr3t-v4lue",)}],
        {"s3cr3t-v4lue": 1},
        b"s3cr3t-v4lue",
        Odd(),
        ValueError("refused s3cr3t-v4lue"),
        Path("/home/s3cr3t-v4lue"),
    ],
)
def test_known_secrets_are_redacted_wherever_they_turn_up(log: Log, stream: io.StringIO, value: object) -> None:
    structlog.get_logger().warning("call", value=value)
    assert "s3cr3t" not in json.dumps(lines(log))
    assert MARK in json.dumps(lines(log))
    assert "s3cr3t" not in stream.getvalue()


def test_known_secrets_are_redacted_in_events_and_exceptions_and_their_causes(log: Log, stream: io.StringIO) -> None:
    try:
        try:
            raise KeyError("s3cr3t-v4lue")
        except KeyError as error:
            raise RuntimeError("call failed") from error
    except RuntimeError:
        structlog.get_logger().exception("failed with s3cr3t-v4lue")
    (line,) = lines(log)
    assert "KeyError" in line["exception"]
    assert "RuntimeError: call failed" in line["exception"]
    assert "s3cr3t" not in json.dumps(line)
    assert stream.getvalue().rstrip().endswith("RuntimeError: call failed")
    assert "s3cr3t" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "GET https://x.org/?mailto=hidden%40me.org&rows=1",
        "GET https://x.org/?rows=1&api_key=hidden",
        "Authorization: Bearer hidden0123456789",
        "https://user:hidden@x.org/a",
    ],
)
def test_credentials_are_known_by_their_shape(text: str) -> None:
    redacted = Redactor().text(text)
    assert "hidden" not in redacted
    assert MARK in redacted


def test_what_was_redacted_before_and_the_punctuation_after_it_stay() -> None:
    """The client redacts its messages; they pass here on their way to the log and to the summary."""
    text = "answered 404 to https://x.org/?mailto=[redacted]: Resource not found (see ?key=hidden)."
    assert Redactor().text(text) == text.replace("hidden", MARK)


def test_ordinary_words_are_left_alone() -> None:
    title = "Basic understanding of token economies: a secret password? me@home"
    assert Redactor(["a", ""]).text(title) == title


def test_a_secret_is_found_quoted_and_escaped() -> None:
    redact = Redactor(["pa&ss wörd'\"\\"])
    for shown in ("pa%26ss+w%C3%B6rd%27%22%5C", "pa%26ss%20w%C3%B6rd%27%22%5C", repr("pa&ss wörd'\"\\")):
        assert "rd" not in redact.text(shown)


def test_secret_strings_stay_secret(log: Log) -> None:
    structlog.get_logger().info("settings", value=SecretStr("unknown-elsewhere"))
    assert "unknown-elsewhere" not in json.dumps(lines(log))


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [Hostile(), float("nan"), float("inf"), 10**5000, {"k": {1: {2: Hostile()}}}, [[[[[[[[[[1]]]]]]]]]]],
    ids=["hostile", "nan", "infinity", "huge", "hostile within", "deep"],
)
def test_no_value_breaks_the_log(log: Log, value: object) -> None:
    structlog.get_logger().info("odd", value=value)
    structlog.get_logger().info("next")
    assert [line["event"] for line in lines(log)] == ["odd", "next"]


def test_a_value_that_contains_itself_is_bounded(log: Log) -> None:
    endless: list[object] = []
    endless.append(endless)
    structlog.get_logger().info("odd", value=endless, text="x" * 10**6, many=list(range(10**5)))
    (line,) = lines(log)
    assert len(json.dumps(line)) < 50_000


def test_a_key_of_the_caller_cannot_forge_time_level_or_event(log: Log) -> None:
    structlog.get_logger().info("real", time="forged", **{"line": 1})
    (line,) = lines(log)
    assert line["time"] != "forged"
    assert line["event"] == "real"


@given(st.text())
def test_nothing_printed_can_steer_a_terminal_or_break_a_line(text: str) -> None:
    line = readable({"time": "2026-01-01T00:00:00Z", "level": "info", "event": text, text: text, "exception": text})
    line.encode()
    assert all(
        character == " " or character.isprintable() or character == "\xa0" or ord(character) > 0xA0
        for character in line
    )
    assert len(line.splitlines()) == 1


def test_escape_sequences_and_direction_marks_are_shown() -> None:
    assert printable("a\x1b[2Jb\u202ec\x9bd\n") == "a\\x1b[2Jb\\u202ec\\x9bd\\n"
    assert printable("論文 – Ünïcode 🜚") == "論文 – Ünïcode 🜚"


def test_colour_only_on_a_terminal_that_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted, no_colour in ((True, ""), (False, "1")):
        monkeypatch.setenv("NO_COLOR", no_colour)
        terminal = Terminal()
        with Log(tmp_path, stream=terminal):
            structlog.get_logger().warning("event")
        assert ("\x1b[" in terminal.getvalue()) is wanted


def test_the_log_is_bounded(tmp_path: Path) -> None:
    with Log(tmp_path, max_bytes=4096, keep=2, console=None) as log:
        for number in range(500):
            structlog.get_logger().info("line", number=number)
            if number % 50 == 0:
                log.flush()
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["streamflow.jsonl", "streamflow.jsonl.1", "streamflow.jsonl.2"]
    assert all(file.stat().st_size <= 4096 for file in files)
    newest = [json.loads(line)["number"] for file in reversed(files) for line in file.read_text().splitlines()]
    assert newest == list(range(newest[0], 500))


def test_a_second_run_continues_the_file(tmp_path: Path) -> None:
    for number in range(2):
        with Log(tmp_path, console=None) as log:
            structlog.get_logger().info("run", number=number)
    assert [line["number"] for line in lines(log)] == [0, 1]


def test_a_log_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path: Path, stream: io.StringIO) -> None:
    (tmp_path / "logs").write_text("a file where the folder belongs")
    with Log(tmp_path, stream=stream):
        for _ in range(10):
            structlog.get_logger().info("event")
            structlog.get_logger().warning("shown")
    assert stream.getvalue().count("cannot be written") == 1
    assert stream.getvalue().count("shown") == 10


def test_it_is_told_again_only_after_the_log_could_be_written(
    tmp_path: Path, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamflow.observe.log._RETRY_FILE", 0.0)
    logs = tmp_path / "logs"
    with Log(tmp_path, stream=stream) as log:
        for _ in range(2):
            logs.write_text("a file where the folder belongs")
            for _ in range(5):
                structlog.get_logger().info("lost")
                log.flush()
            logs.unlink()
            structlog.get_logger().info("written")
            log.flush()
            shutil.rmtree(logs)
            structlog.get_logger().info("goes into the file that was removed")
            log.flush()
    assert stream.getvalue().count("cannot be written") == 2


def test_a_log_folder_that_is_removed_is_made_again(tmp_path: Path, stream: io.StringIO) -> None:
    with Log(tmp_path, stream=stream) as log:
        structlog.get_logger().info("before")
        log.flush()
        shutil.rmtree(tmp_path / "logs")
        structlog.get_logger().info("meanwhile")
        log.flush()
        structlog.get_logger().info("after")
    assert [line["event"] for line in lines_of(tmp_path)] == ["after"]
    assert stream.getvalue() == ""


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "streamflow.jsonl").write_text('{"event": "whole"}\n{"event": "cut o')
    with Log(tmp_path, console=None):
        structlog.get_logger().info("next")
    whole, _, following = (tmp_path / "logs" / "streamflow.jsonl").read_text().splitlines()
    assert (json.loads(whole)["event"], json.loads(following)["event"]) == ("whole", "next")


def test_a_stuck_terminal_does_not_hold_the_caller_and_what_was_dropped_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamflow.observe.log._WAITING", 3)
    stuck, go_on = threading.Event(), threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            stuck.set()
            assert go_on.wait(10)
            return len(text)

    with Log(tmp_path, stream=Stuck()) as log:
        structlog.get_logger().warning("stuck")
        assert stuck.wait(10)
        for _ in range(100):
            structlog.get_logger().info("more")
        go_on.set()
        events = [line["event"] for line in lines(log)]
        log.flush()
    written = lines_of(tmp_path)
    dropped = [line["count"] for line in written if line["event"] == "log_lines_dropped"]
    assert sum(dropped) + sum(line["event"] == "more" for line in written) == 100
    assert events[0] == "stuck"


def lines_of(workspace: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workspace / "logs" / "streamflow.jsonl").read_text().splitlines()]


def test_closing_writes_what_waits_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = structlog.get_config()
    handlers = list(logging.getLogger().handlers)
    log = Log(tmp_path, console=None)
    for number in range(200):
        structlog.get_logger().info("line", number=number)
    log.close()
    log.close()
    assert len(lines_of(tmp_path)) == 200
    assert structlog.get_config() == before
    assert logging.getLogger().handlers == handlers
    assert not any(thread.name == "streamflow-log" for thread in threading.enumerate())
