"""A pipeline that empties a mailbox, a folder of files: `python -m tests.engine.mail MAILBOX WORKSPACE`.

It tells on stdout when it acknowledges, and waits for a line on stdin before it does, so that it can be killed between
the commit and the acknowledgement.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from streamflow import Inputs, Pipeline, Source, Stage, record, run_pipeline


@record(key="name", table="mails")
class Mail:
    name: str
    text: str


async def unseen(inputs: Inputs) -> AsyncIterator[Mail]:
    for path in await asyncio.to_thread(lambda: sorted(Path(sys.argv[1]).iterdir())):
        yield Mail(path.name, await asyncio.to_thread(path.read_text))


async def mark_seen(mails: list[Mail]) -> None:
    print("to acknowledge", *(mail.name for mail in mails), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.to_thread(lambda: [Path(sys.argv[1], mail.name).unlink() for mail in mails])


async def read(mail: Mail) -> None:
    return None


pipeline = Pipeline("mail", sources=[Source(unseen, acknowledge=mark_seen)], stages=[Stage(read)])

if __name__ == "__main__":
    asyncio.run(run_pipeline(pipeline, workspace=Path(sys.argv[2])))
