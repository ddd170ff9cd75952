"""`run`, `watch` and `retry`: exit codes, what they say, wrong inputs, signals."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path

import pytest

from streamflow.storage.lock import WorkspaceLock
from tests.cli.harness import PIPELINE, cli, read_until, started, write_pipeline, write_words

RUN = ("run", "tiny:pipeline", "words.txt", "-w", "ws")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    return tmp_path


def rows(folder: Path) -> list[tuple[str, int]]:
    connection = sqlite3.connect(folder / "ws" / "streamflow.db")
    try:
        return connection.execute("SELECT word, length FROM lengths ORDER BY word").fetchall()
    finally:
        connection.close()


def states(folder: Path) -> dict[str, int]:
    connection = sqlite3.connect(folder / "ws" / "streamflow.db")
    try:
        return dict(connection.execute("SELECT state, count(*) FROM streamflow_items GROUP BY state"))
    finally:
        connection.close()


def test_a_run_ends_with_its_rows_and_a_summary_on_stderr(folder: Path) -> None:
    write_words(folder, "a", "bb", "dull")
    done = cli(folder, *RUN)
    assert done.returncode == 0
    assert rows(folder) == [("a", 1), ("bb", 2)]
    assert "tiny finished in" in done.stderr
    assert "finished" not in done.stdout
    assert (folder / "ws" / "logs" / "streamflow.jsonl").stat().st_size > 0


def test_the_json_summary_is_all_of_stdout(folder: Path) -> None:
    (folder / "tiny.py").write_text(PIPELINE.replace("print(", "(lambda *a, **k: None)("))
    write_words(folder, "a", "bb", "bad one", "dull")
    done = cli(folder, *RUN, "--json")
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert told["pipeline"] == "tiny"
    assert told["exit_code"] == 3
    assert isinstance(told["stages"]["measure"].pop("shares"), dict)  # none in a run too short to be looked at
    assert told["stages"] == {"measure": {"pending": 0, "done": 2, "skipped": 1, "dead": 1, "retries": 0}}
    assert told["failures"] == [
        {"stage": "measure", "key": "bad one", "attempts": 1, "error": "no \x1b[31mgood"},
    ]


def test_quiet_says_nothing(folder: Path) -> None:
    write_words(folder, "a")
    assert cli(folder, *RUN, "--quiet").stderr == ""


def test_a_dead_letter_is_named_without_obeying_it_and_retried_by_the_command_that_is_told(folder: Path) -> None:
    write_words(folder, "a", "bad one")
    first = cli(folder, *RUN)
    assert first.returncode == 3
    assert "bad one  no \\x1b[31mgood" in first.stderr
    assert "\x1b" not in first.stderr
    command = next(line for line in first.stderr.splitlines() if "streamflow retry" in line)
    (folder / "mended").touch()
    again = cli(folder, *command.partition("streamflow ")[2].split())
    assert again.returncode == 0
    assert "Trying again: 1 of measure." in again.stderr
    assert rows(folder) == [("a", 1), ("bad one", 7)]


def test_the_exit_code_is_3_as_long_as_there_are_dead_letters(folder: Path) -> None:
    write_words(folder, "bad one")
    assert cli(folder, *RUN).returncode == 3
    again = cli(folder, *RUN)
    assert again.returncode == 3
    assert "in earlier runs" in again.stderr


def test_retry_takes_only_the_stage_and_the_key_that_are_named(folder: Path) -> None:
    write_words(folder, "bad one", "bad two")
    cli(folder, *RUN)
    (folder / "mended").touch()
    done = cli(folder, "retry", "tiny:pipeline", "-w", "ws", "--stage", "measure", "--key", "bad two")
    assert done.returncode == 3
    assert rows(folder) == [("bad two", 7)]


def test_retry_without_dead_letters_does_nothing(folder: Path) -> None:
    write_words(folder, "a")
    cli(folder, *RUN)
    done = cli(folder, "retry", "tiny:pipeline", "-w", "ws")
    assert done.returncode == 0
    assert "no dead letters" in done.stderr


def test_retry_of_an_unknown_stage_is_refused(folder: Path) -> None:
    write_words(folder, "bad one")
    cli(folder, *RUN)
    done = cli(folder, "retry", "tiny:pipeline", "-w", "ws", "--stage", "messure")
    assert done.returncode == 2
    assert "no stage 'messure'" in done.stderr
    assert states(folder) == {"dead": 1}


def test_a_refused_credential_stops_the_run_with_its_items_pending(folder: Path) -> None:
    write_words(folder, "forbidden", "b")
    done = cli(folder, *RUN)
    assert done.returncode == 4
    assert "dictionary refused the key" in done.stderr
    assert "[services.dictionary]" in done.stderr
    assert "dead" not in states(folder)
    (folder / "mended").touch()
    assert cli(folder, *RUN).returncode == 0
    assert rows(folder) == [("b", 1), ("forbidden", 9)]


def test_the_reason_of_a_stop_is_a_sentence_with_one_full_stop(folder: Path) -> None:
    write_pipeline(folder, PIPELINE.replace("refused the key", "refused the key; see [services.dictionary]."))
    write_words(folder, "forbidden")
    assert "see [services.dictionary]. Nothing is lost" in cli(folder, *RUN).stderr


def test_a_failing_source_is_a_short_message_with_the_traceback_in_the_log(folder: Path) -> None:
    write_words(folder, "a", "broken source")
    done = cli(folder, *RUN)
    assert done.returncode == 1
    assert "RuntimeError: the source broke" in done.stderr
    assert "Traceback" not in done.stderr
    assert "streamflow.jsonl" in done.stderr
    assert "Traceback" in (folder / "ws" / "logs" / "streamflow.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "literatur", "-w", "ws"), "Did you mean 'literature'?"),
        (("run", "nowhere:pipeline", "-w", "ws"), "no module 'nowhere'"),
        (("run", "nowhere.py:pipeline", "-w", "ws"), "no file 'nowhere.py'"),
        (("run", "tiny.py", "-w", "ws"), "tiny.py:pipeline"),
        (("run", "tiny:pipelin", "-w", "ws"), "The pipelines there are: pipeline."),
        (("run", "tiny:words", "-w", "ws"), "is no pipeline"),
        (("run", "broken:pipeline", "-w", "ws"), "ZeroDivisionError"),
        (("run", "leaves:pipeline", "-w", "ws"), "its module calls sys.exit(0)"),
        (("run", "cyclic:pipeline", "-w", "ws"), "which no source and no stage"),
        (("run", "tiny:pipeline", "nothing.txt", "-w", "ws"), "nothing.txt"),
        (("run", "tiny:pipeline", "words.txt"), "-w DIR"),
        (("run", "tiny:pipeline", "words.txt", "-w", "words.txt"), "words.txt is a file"),
        (("run", "tiny:pipeline", "words.txt", "-w", "words.txt/ws"), "cannot be written to"),
        ((*RUN, "--workers", "mesure=2"), "Did you mean 'measure'?"),
        ((*RUN, "--workers", "measure"), "STAGE=N"),
        ((*RUN, "--workers", "measure=0"), "STAGE=N"),
        ((*RUN, "--queue-size", "0"), "--queue-size"),
        (("watch", "tiny:pipeline", "words.txt", "-w", "ws"), "takes a folder"),
        (("status", "-w", "nowhere"), "nowhere"),
        (("dead", "list", "-w", "nowhere"), "nowhere"),
        (("export", "tiny:pipeline", "--format", "text", "-w", "nowhere"), "nowhere"),
        (("export", "tiny:pipeline", "--format", "pdf", "-w", "ws"), "the formats are: text"),
        (("simulate", "crosref"), "Did you mean 'crossref'?"),
        (("simulate", "crossref", "--latency", "fast"), "--latency"),
        (("simulate", "crossref", "--faults", "tea=1"), "tea"),
        (("bench", "tiny:pipeline"), "no simulators"),
        (("demo", "tiny:pipeline"), "no simulators"),
    ],
)
def test_wrong_words_are_refused_with_a_reason_and_a_way_out(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    write_words(folder, "a")
    (folder / "broken.py").write_text("1 / 0")
    (folder / "leaves.py").write_text("import sys; sys.exit(0)")
    (folder / "cyclic.py").write_text(PIPELINE.replace("AsyncIterator[Word]", "AsyncIterator[Length]"))
    done = cli(folder, *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "ws" / "streamflow.db").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("[stages.measure]\nworkers = 'many'", "stages.measure.workers"),
        ("[stages.measure]\nworker = 2", "Did you mean 'workers'?"),
        ("[stages.mesure]\nworkers = 2", "Did you mean 'measure'?"),
        ("[services.crosref]\nrate = 2", "crosref"),
        ("grace = ", "streamflow.toml"),
    ],
)
def test_wrong_settings_are_refused(folder: Path, setting: str, words: str) -> None:
    write_words(folder, "a")
    (folder / "ws").mkdir()
    (folder / "ws" / "streamflow.toml").write_text(setting)
    done = cli(folder, *RUN)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_held_workspace_is_refused_and_its_holder_named(folder: Path) -> None:
    write_words(folder, "a")
    with WorkspaceLock(folder / "ws"):
        done = cli(folder, *RUN)
    assert done.returncode == 2
    assert "is in use by process" in done.stderr


def test_input_that_no_source_reads_is_told(folder: Path) -> None:
    (folder / "notes.md").write_text("a")
    done = cli(folder, "run", "tiny:pipeline", "notes.md", "-w", "ws")
    assert done.returncode == 0
    assert "found anything to read in notes.md" in done.stderr


def test_sequential_limit_refresh_workers_and_queue_size_are_taken(folder: Path) -> None:
    write_words(folder, "a", "b", "c")
    assert cli(folder, *RUN, "--sequential", "--limit", "2").returncode == 0
    assert [word for word, _ in rows(folder)] == ["a", "b"]
    done = cli(folder, *RUN, "--refresh", "--workers", "measure=2", "--queue-size", "1", "--limit", "1")
    assert done.returncode == 0
    assert "measured a" in done.stdout
    assert "measured b" not in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_finishes_what_is_active_and_keeps_the_rest(
    folder: Path, number: signal.Signals, code: int
) -> None:
    write_words(folder, "wait", "b")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        run.send_signal(number)
        told = read_until(run.stderr, "finishing 1 active item,")
        assert "second signal stops at once" in told
        (folder / "go").touch()
        assert run.wait(60) == code
    assert rows(folder) == [("wait", 4)]
    assert states(folder) == {"done": 1, "pending": 1}


def test_the_second_signal_stops_at_once(folder: Path) -> None:
    write_words(folder, "wait", "b")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        run.send_signal(signal.SIGTERM)
        read_until(run.stderr, "finishing 1 active item,")
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 143
    assert rows(folder) == []
    assert states(folder) == {"pending": 2}


def test_watch_takes_new_files_until_a_signal(folder: Path) -> None:
    (folder / "in").mkdir()
    write_words(folder / "in", "first", name="first.txt")
    with started(folder, "watch", "tiny:pipeline", "in", "-w", "ws", STREAMFLOW_WATCH__QUIET="0.05") as watching:
        read_until(watching.stdout, "measured first")
        write_words(folder / "in", "second", name="second.txt")
        read_until(watching.stdout, "measured second")
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(60) == 143
    assert [word for word, _ in rows(folder)] == ["first", "second"]


@pytest.mark.parametrize(("words", "code"), [(("a",), 0), (("a", "bad"), 3)])
@pytest.mark.parametrize("left", ["on the loop", "in a thread"])
def test_what_a_stage_left_behind_does_not_keep_the_process(
    folder: Path, words: tuple[str, ...], code: int, left: str
) -> None:
    """A task that swallows its cancellation, or a thread that hangs: the loop cannot be closed."""
    begin = "left.append(asyncio.create_task(lasts()))"
    if left == "in a thread":
        begin = "asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)"
    lasting = f"""
import threading

left = []

async def lasts():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def measure(word: Word) -> Length:
    {begin}
"""
    write_pipeline(folder, PIPELINE.replace("\nasync def measure(word: Word) -> Length:\n", lasting))
    write_words(folder, *words)
    done = cli(folder, *RUN, "--json")
    assert done.returncode == code
    assert json.loads(done.stdout[done.stdout.index("{") :])["exit_code"] == code
    assert "left behind ignores its cancellation" in done.stderr
    assert "left_at_once" in (folder / "ws" / "logs" / "streamflow.jsonl").read_text()


THREAD = "import threading, time\n    threading.Thread(target=time.sleep, args=(600,), name='counter\\x1b[31m').start()"
POOL = "import concurrent.futures\n    concurrent.futures.ThreadPoolExecutor().submit(print, 'in a pool').result()"


@pytest.mark.parametrize(("words", "code"), [(("a",), 0), (("a", "bad"), 3)])
def test_a_thread_that_a_stage_left_behind_does_not_keep_the_process(
    folder: Path, words: tuple[str, ...], code: int
) -> None:
    """The interpreter waits for those that are no daemons."""
    before = "\nasync def measure(word: Word) -> Length:\n"
    write_pipeline(folder, PIPELINE.replace(before, f"{before}    {THREAD}\n"))
    write_words(folder, *words)
    done = cli(folder, *RUN)
    assert done.returncode == code
    assert "left threads behind that go on (counter\\x1b[31m" in done.stderr


def test_a_signal_ends_it_too(folder: Path) -> None:
    before = "\nasync def measure(word: Word) -> Length:\n"
    write_pipeline(folder, PIPELINE.replace(before, f"{before}    {THREAD}\n"))
    write_words(folder, "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        run.send_signal(signal.SIGTERM)
        read_until(run.stderr, "finishing 1 active item,")
        (folder / "go").touch()
        read_until(run.stderr, "left threads behind that go on")
        assert run.wait(60) == 143


def test_an_idle_pool_of_threads_is_nothing_to_tell_of(folder: Path) -> None:
    before = "\nasync def measure(word: Word) -> Length:\n"
    write_pipeline(folder, PIPELINE.replace(before, f"{before}    {POOL}\n"))
    write_words(folder, "a")
    done = cli(folder, *RUN)
    assert done.returncode == 0
    assert "left threads" not in done.stderr


def test_a_stage_that_changes_the_current_folder_harms_nothing(folder: Path) -> None:
    """Neither the workspace nor an input that is looked for later is lost: each source looks when it is its turn."""
    moving = "os.chdir('/')\n    print(\"measured\""
    slow = """async def later(inputs: Inputs) -> AsyncIterator[Word]:
    while Path.cwd() != Path("/"):
        await asyncio.sleep(0.01)
    async for file in inputs.files((".txt",)):
        yield Word(file.name)


async def measure"""
    source = PIPELINE.replace('print("measured"', moving).replace("async def measure", slow)
    write_pipeline(folder, source.replace("sources=[words]", "sources=[words, later]"))
    write_words(folder, "a", "bad one")
    done = cli(folder, *RUN)
    assert done.returncode == 3, done.stderr
    assert rows(folder) == [("a", 1), ("words.txt", 9)]
    command = next(line for line in done.stderr.splitlines() if "streamflow retry" in line)
    (folder / "mended").touch()
    assert cli(folder, *command.partition("streamflow ")[2].split()).returncode == 0
