"""Where the copies of a work lie: the addresses that OpenAlex and Unpaywall tell, and the publisher answers."""

from __future__ import annotations

from stages.simulators.entry import Copy, Entry


def pdf_url(entry: Entry, copy: Copy, publisher: str) -> str:
    """`publisher` is the simulator's own address."""
    if copy.host == "arxiv":
        return f"{publisher}/arxiv/pdf/{entry.arxiv}"
    return f"{publisher}/{copy.host}/{copy.behaviour}/{entry.key}.pdf"


def landing_url(entry: Entry, copy: Copy, publisher: str) -> str:
    if copy.host == "arxiv":
        return f"{publisher}/arxiv/abs/{entry.arxiv}"
    return f"{publisher}/{copy.host}/article/{entry.key}"
