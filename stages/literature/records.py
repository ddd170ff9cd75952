"""What flows through the literature pipeline."""

from streamflow.record import record


@record(key="paper", merge={"paper_file": min, "path": min})
class Paper:
    """A PDF of the user's. `paper` is the sha256 of its bytes, `path` where they lie below the workspace."""

    paper: str
    paper_file: str
    path: str
    size: int


@record(key=("paper", "position"), table="no_metadata", merge={"paper_file": min})
class Reference:
    """One entry of a paper's reference list, as printed (`raw`) and what was guessed from it."""

    paper: str
    position: int
    paper_file: str
    raw: str
    doi: str | None = None
    arxiv_id: str | None = None
    url: str | None = None
    year: int | None = None
    first_author: str | None = None
    title: str | None = None


@record(key="work", table="with_metadata")
class Work:
    """A published work. `work` is the normalised DOI, else `openalex:W…`, else `arxiv:…`."""

    work: str
    title: str
    doi: str | None = None
    arxiv_id: str | None = None
    openalex_id: str | None = None
    first_author: str | None = None
    authors: tuple[str, ...] = ()
    year: int | None = None
    venue: str | None = None
    volume: str | None = None
    issue: str | None = None
    pages: str | None = None
    publisher: str | None = None
    kind: str | None = None
    url: str | None = None
    metadata_source: str | None = None


@record(key=("paper", "position"), table="citations", merge={"paper_file": min})
class Citation:
    """Which paper cites which work, where, and by what evidence the two were matched."""

    paper: str
    position: int
    paper_file: str
    work: str
    matched_by: str
    score: float


@record(key=("paper", "position"), table="unresolved", merge={"paper_file": min})
class Unresolved:
    """A reference for which no service knew an acceptable work."""

    paper: str
    position: int
    paper_file: str
    raw: str
    reason: str


@record(key=("work", "alias"), table="merge_log", merge={"reason": min})
class Alias:
    """Two names were found to be one work: `alias` is another DOI or arXiv id under which it was cited."""

    work: str
    alias: str
    reason: str


@record(key="work", table="to_download_references")
class Download:
    """A work with at least one free copy; `candidates` are URLs in the order to try them."""

    work: str
    doi: str | None
    title: str
    first_author: str | None
    year: int | None
    candidates: tuple[str, ...]


@record(key="work", table="closed_access")
class ClosedAccess:
    """A work of which no free copy is known."""

    work: str
    doi: str | None
    title: str
    reason: str


@record(key="work", table="downloaded_references")
class DownloadedPaper:
    """A downloaded copy. `file` lies below the workspace; `size` is in bytes."""

    work: str
    doi: str | None
    title: str
    first_author: str | None
    year: int | None
    url: str
    file: str
    sha256: str
    size: int
