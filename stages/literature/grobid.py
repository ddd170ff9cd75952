"""The `extract` stage by a GROBID server, in place of the built-in one when `[services.grobid] base_url` is set."""

import re
from dataclasses import replace

from anyio import to_thread

from stages.literature.extraction.guess import guess
from stages.literature.extraction.pdftext import look_over
from stages.literature.identifiers import normal_arxiv_id, normal_doi
from stages.literature.records import Paper, Reference
from stages.services.grobid import Grobid, ParsedReference, Unreadable
from streamflow.engine.context import Context
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Stage
from streamflow.errors import Reject, Skip
from streamflow.settings import Settings

# Another extractor finds other references: papers that the built-in one has read are read again, and the other way
# round. Far above any version that the built-in one may reach.
VERSION = 1_000
_MARKER = re.compile(r"\s*(?:\[\d{1,4}\]|\(\d{1,4}\)|\d{1,4}\.(?=\s))\s*")


def with_grobid(pipeline: Pipeline, settings: Settings) -> Pipeline:
    """The pipeline that the settings want: with a server's address its `extract` asks that server."""
    if settings.services["grobid"].base_url is None:
        return pipeline
    stages = [_by_grobid(stage) if stage.name == "extract" else stage for stage in pipeline.stages]
    return replace(pipeline, stages=stages, resources=[*pipeline.resources, Grobid])


def _by_grobid(built_in: Stage) -> Stage:
    return Stage(
        extract_by_grobid,
        name=built_in.name,
        workers=4,
        timeout=600,
        retry=built_in.retry,
        newest_first=built_in.newest_first,
        version=VERSION,
    )


async def extract_by_grobid(paper: Paper, *, grobid: Grobid, context: Context) -> list[Reference]:
    """The references of a paper as GROBID reads them; what it left open is guessed from the printed text.

    Raises Reject for a file that cannot be read, Skip for a paper without references.
    """
    path = context.workspace / paper.path
    await to_thread.run_sync(look_over, path, paper.paper_file)
    try:
        found = await grobid.references(path)
    except Unreadable as error:
        raise Reject(f"{paper.paper_file}: GROBID cannot read this file: {error}") from error
    if not found:
        raise Skip(f"{paper.paper_file}: GROBID found no references; if the paper has some, add them as a .bib file")
    return [_reference(paper, position, entry) for position, entry in enumerate(found, start=1)]


def _reference(paper: Paper, position: int, entry: ParsedReference) -> Reference:
    marker = _MARKER.match(entry.raw)
    raw = entry.raw[marker.end() :] if marker else entry.raw
    seen = guess(raw, (entry.url,) if entry.url else ())
    return Reference(
        paper=paper.paper,
        position=position,
        paper_file=paper.paper_file,
        raw=raw,
        doi=normal_doi(entry.doi) or seen.doi,
        arxiv_id=normal_arxiv_id(entry.arxiv_id) or seen.arxiv_id,
        url=seen.url,
        year=entry.year or seen.year,
        first_author=entry.first_author or seen.first_author,
        title=entry.title or seen.title,
    )
