"""A publisher's site, a repository and arXiv's downloads on one server: good PDFs, and everything that comes instead.

`/publisher/BEHAVIOUR/KEY.pdf` and `/repository/BEHAVIOUR/KEY.pdf`, where BEHAVIOUR is

    pdf        the paper                          redirect   302, then the paper
    slow       the paper, a second later          loop       302 to itself, for ever
    html       a page behind the .pdf address     private    302 to http://169.254.169.254/
    missing    404                                endless    a PDF without an end, in chunks
    truncated  the first third of the paper       bomb       64 MB of nothing in 64 KB of gzip
    closed     403 with a page

`/publisher/article/KEY` is the landing page, `/arxiv/pdf/ID` the paper of an arXiv id.
"""

from __future__ import annotations

import gzip
import html
import re
from functools import cache
from typing import Any, ClassVar

from stages.simulators.catalogue import Catalogue, catalogue
from stages.simulators.entry import Entry
from stages.simulators.tiny_pdf import tiny_pdf
from streamflow.testing.simulator import Call, Reply, Simulator

BOMB_SIZE = 64 * 2**20
SLOW_SECONDS = 1.0
PRIVATE = "http://169.254.169.254/latest/meta-data/"


class PublisherSimulator(Simulator):
    name: ClassVar[str] = "publisher"

    def __init__(self, works: Catalogue | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.works = works or catalogue()

    @property
    def environment(self) -> dict[str, str]:
        # Loopback is an address to which downloads do not lead unless they are allowed to.
        return {
            **super().environment,
            "STREAMFLOW_SERVICES__ARXIV__BASE_URL": f"{self.url}/arxiv",
            "STREAMFLOW_DOWNLOAD__ALLOW_PRIVATE": "true",
        }

    def identify(self, call: Call) -> tuple[str, str]:
        parts = call.path.split("/", 3)
        return parts[2] if len(parts) == 4 else "other", call.path

    def answer(self, call: Call, key: str) -> Reply:
        if match := re.fullmatch(r"/arxiv/(pdf|abs)/(\d{4}\.\d{4,5})(?:v\d+)?(?:\.pdf)?", call.path):
            entry = self.works.by_arxiv.get(match[2])
            behaviour = "pdf" if match[1] == "pdf" else "article"
        elif match := re.fullmatch(r"/(?:publisher|repository)/([a-z]+)/(\w+?)(?:\.pdf)?", call.path):
            entry = self.works.by_key.get(match[2])
            behaviour = match[1]
        else:
            entry, behaviour = None, "missing"
        if entry is None or behaviour == "missing":
            return _page("Page not found", "The page that you look for has moved.", 404)
        return self._behave(behaviour, entry)

    def _behave(self, behaviour: str, entry: Entry) -> Reply:
        match behaviour:
            case "pdf":
                return Reply(body=tiny_pdf(entry), content_type="application/pdf")
            case "slow":
                return Reply(body=tiny_pdf(entry), content_type="application/pdf", delay=SLOW_SECONDS)
            case "truncated":
                paper = tiny_pdf(entry)
                return Reply(body=paper[: len(paper) // 3], content_type="application/pdf")
            case "html":
                return _page("Sign in to read", f"{entry.title} is available to subscribers of {entry.venue}.")
            case "article":
                return _page(entry.title, ", ".join(author.display for author in entry.authors))
            case "closed":
                return _page("Access denied", "Your institution has no subscription.", 403)
            case "redirect":
                return _redirect(f"/publisher/pdf/{entry.key}.pdf")
            case "loop":
                return _redirect(f"/publisher/loop/{entry.key}.pdf")
            case "private":
                return _redirect(PRIVATE)
            case "endless":
                return Reply(body=b"%PDF-1.4\n", content_type="application/pdf", endless=bytes(65536))
            case "bomb":
                return Reply(body=_bomb(), content_type="application/pdf", headers={"Content-Encoding": "gzip"})
        return _page("Page not found", "There is nothing here.", 404)


def _redirect(location: str) -> Reply:
    return Reply(302, b"", "text/html", {"Location": location})


def _page(title: str, text: str, status: int = 200) -> Reply:
    head, body = html.escape(title), html.escape(text)
    page = f"<html><head><title>{head}</title></head><body><h1>{head}</h1><p>{body}</p></body></html>\n"
    return Reply.text(f"<!DOCTYPE html>\n{page}", status, "text/html; charset=utf-8")


@cache
def _bomb() -> bytes:
    return gzip.compress(b"%PDF-1.4\n" + bytes(BOMB_SIZE), mtime=0)
