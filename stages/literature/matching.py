"""Is this work the one that a printed reference means? A pure decision.

**By title.** A candidate is accepted when all of these hold:

- its title stands in the reference: its words in order and together. Likeness is one minus what it costs to find it
  there (a missing word costs its length, a word in between half of it, a word with one wrong letter a quarter);
  at least `LIKE` is needed. The title may end where the work's subtitle begins.
- it stands there as a whole: punctuation before and after it, or the reference names the work's volume and page.
  So "Deep learning" is not found in "Deep learning for galaxies".
- its numbers agree: "Part I" is not "Part II", and what the reference counts after the title is in the title too.
- it is no erratum, correction, comment or reply, nor an extended abstract, supplement and the like, unless the
  reference says so too, and the other way round.
- the family name of its first author stands in the reference (or, after a collaboration, of the second).
- its year differs by at most one from the reference's, when both are known.
- a short title (under three words, or under 12 letters; CJK: 5) also needs the journal, or volume and page, or to be
  just the title that was read out of the reference, and the very year.
- without authors, or without a year, the service's record must repeat the title exactly.

**By place**, for references without a title ("A. Author et al., Phys. Rev. Lett. 122, 161801 (2019)"): journal,
volume, first page or article number, first author, and year ±1, all of them. Journals may be abbreviated word by
word ("Phys. Rev. Lett."), by initials ("PRL") or as the service abbreviates them.

`contradicts` answers the other question: does a work found by a DOI clearly not fit the reference that carries it?

The cost is bounded: at most `MOST_WORDS` words of a reference against `TITLE_WORDS` of a title, a few milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from stages.literature.alignment import Found, find_words, one_letter_apart
from stages.literature.place import place_found, venue_found
from stages.literature.words import Words, is_spaceless, plain, scripts, split, word_set

LIKE = 0.85
TITLE_WORDS = 60
_YEAR = re.compile(r"(?<![\d.])(1[5-9]\d\d|20\d\d|21\d\d)(?![\d:]|\.\d)")
_YEAR_IN_BRACKETS = re.compile(r"[(\[](?:[^()\[\]]{0,20}[\s,])?(1[5-9]\d\d|20\d\d|21\d\d)[a-z]?[)\]]")
# Years are not looked for in DOIs and addresses: 10.1016/S0375-9601(98)00123-4, …/2014/05/paper.pdf.
_ADDRESS = re.compile(r"(?:https?://|www\.|\b10\.\d{4,9}/)\S+", re.IGNORECASE)
_NOTICES = word_set(
    "erratum errata corrigendum corrigenda correction retraction addendum comment comments reply response rejoinder"
)
_AFTER_NOTICE = word_set("to on of for the a by")
_ROMAN = word_set("ii iii iv vi vii viii ix xi xii")
_VERSIONS = word_set("extended abridged supplement supplementary supporting revisited continued poster")
_PART = word_set("part teil partie parte")
_PARTICLES = word_set("van von der den de del della di da dos la le ten ter af zu zur el al bin ibn")
_NO_WORDS = word_set("doi org https http www dx url")
_WITHDRAWN = re.compile(r"^\W{0,3}(?:retracted|withdrawn)(?: article| paper| chapter)?\W{1,3}", re.IGNORECASE)
_SAYS_END = re.compile(r"[^\s]")


@dataclass(frozen=True)
class Candidate:
    """A work as a service describes it, as far as matching needs it. `authors` are (family, given) names."""

    title: str
    subtitle: str = ""
    authors: tuple[tuple[str, str], ...] = ()
    years: frozenset[int] = frozenset()
    venues: tuple[str, ...] = ()
    volume: str = ""
    page: str = ""


class Printed:
    """A reference as printed, with what was guessed from it; prepared once for several candidates."""

    def __init__(self, raw: str, *, year: int | None = None, title: str | None = None) -> None:
        self.raw = raw[:2000]
        self.words = split(plain(self.raw))
        self.title = split(plain(title[:1000])).words if title else ()
        self.years = frozenset({year}) if year else _years(self.raw)

    @cached_property
    def joined(self) -> str:
        """All words with a space around each, to find sequences of words in."""
        return f" {' '.join(self.words.words)} "

    @cached_property
    def joined_without_umlauts(self) -> str:
        return _without_umlauts(self.joined)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate was accepted, how alike it is (0 to 1), and by which rule or why not.

    `rank` orders several accepted ones, the best last: by likeness, by whether the place and the very year are named,
    and by how much of the reference the title takes up.
    """

    accepted: bool
    score: float
    why: str
    rank: tuple[float, bool, bool, int] = (0.0, False, False, 0)


def judge(printed: Printed, candidate: Candidate) -> Verdict:
    """Decide by the rules above."""
    title, found = find_title(printed, candidate)
    if not title:
        return Verdict(False, 0.0, "the work has no title")
    placed = place_found(printed.words.words, candidate.venues, candidate.volume, candidate.page)
    if found.likeness >= LIKE:
        refusal = _refuse_title(printed, candidate, title, found, placed)
        if refusal is None:
            return Verdict(True, round(found.likeness, 4), "title", _rank(found.likeness, placed, printed, candidate))
        return Verdict(False, round(found.likeness, 4), refusal)
    if not placed:
        return Verdict(False, round(found.likeness, 4), "neither the title nor the place is in the reference")
    if not author_found(printed, candidate):
        return Verdict(False, round(found.likeness, 4), "the first author is another")
    if not _years_agree(printed, candidate, 1) or not (printed.years and candidate.years):
        return Verdict(False, round(found.likeness, 4), "the year is another")
    return Verdict(True, 0.9, "place", _rank(0.9, placed, printed, candidate))


def _rank(likeness: float, placed: bool, printed: Printed, candidate: Candidate) -> tuple[float, bool, bool, int]:
    the_year = bool(candidate.years) and _years_agree(printed, candidate, 0)
    return round(likeness, 2), placed, the_year, len(candidate.title)


def contradicts(printed: Printed, candidate: Candidate) -> str | None:
    """Why a work cannot be what a reference means, or None. Two of title, first author and year must speak against it.

    A place that is named speaks for it. What cannot be compared does not speak: a reference without words, a title in
    another script.
    """
    words = [word for word in printed.words.words if word.isalpha() and word not in _NO_WORDS]
    if len(words) < 4:
        return None
    if place_found(printed.words.words, candidate.venues, candidate.volume, candidate.page):
        return None
    title, found = find_title(printed, candidate)
    comparable = bool(title) and bool(scripts(title) & scripts(tuple(words)))
    against = []
    if comparable and len(printed.title) >= 2 and found.likeness < 0.5:
        against.append("title")
    if comparable and candidate.authors and not author_found(printed, candidate):
        against.append("first author")
    if not _years_agree(printed, candidate, 1):
        against.append("year")
    return " and ".join(against) if len(against) >= 2 else None


def title_words(candidate: Candidate) -> tuple[str, ...]:
    """The words of a work's title, without "RETRACTED:", by which publishers mark the work itself."""
    return split(_WITHDRAWN.sub("", plain(candidate.title[:2000]))).words[:TITLE_WORDS]


def find_title(printed: Printed, candidate: Candidate) -> tuple[tuple[str, ...], Found]:
    """The words of the title, with the subtitle's when those stand in the reference too, and where they stand."""
    title = title_words(candidate)
    if candidate.subtitle:
        longer = (*title, *split(plain(candidate.subtitle)).words)[:TITLE_WORDS]
        found = find_words(printed.words.words, longer)
        if found.likeness >= LIKE:
            return longer, found
    return title, find_words(printed.words.words, title)


def _years(raw: str) -> frozenset[int]:
    """The years that a reference names: those in brackets where there are any, as page numbers look like years."""
    raw = _ADDRESS.sub(" ", raw)
    return frozenset(map(int, _YEAR_IN_BRACKETS.findall(raw) or _YEAR.findall(raw)))


def _refuse_title(
    printed: Printed, candidate: Candidate, title: tuple[str, ...], found: Found, placed: bool
) -> str | None:
    words = printed.words
    if _notices(title) - set(words.words):
        return "the work is an erratum, comment or reply"
    if notice := _notice_before(words, found.start) - set(title):
        return f"the reference is a {min(notice)}"
    inside = words.words[found.start : found.end]
    if {word for word in title if _counts(word)} - set(inside):
        return "the numbers in the titles differ"
    if {word for word in inside if _counts(word)} - set(title):
        return "the numbers in the titles differ"
    if _counted_after(words, found.end):
        return "the reference means another part"
    if words.words[found.end : found.end + 1] and words.words[found.end] in _VERSIONS:
        return f"the reference means another version ({words.words[found.end]})"
    if versions := (_VERSIONS & set(title)) - set(inside):
        return f"the work is another version ({min(versions)})"
    begins = _ends(words.before(found.start), found.start == 0)
    if not (placed or (begins and _ends(words.before(found.end), found.end >= len(words.words)))):
        return "the title is only part of the reference's title"
    if not candidate.authors:
        if found.likeness < 1 or len(title) < 4:
            return "the work names no author, and its title alone does not suffice"
    elif not author_found(printed, candidate, garbled=len(title) >= 4):
        return "the first author is another"
    if not _years_agree(printed, candidate, 1):
        return "the year is another"
    if not candidate.years and found.likeness < 1:
        return "the work has no year and another title"
    if _is_short(title) and not placed:
        named = printed.title == title or venue_found(printed.joined, candidate.venues)
        if not (named and found.likeness == 1 and _years_agree(printed, candidate, 0)):
            return "the title is too short to be sure"
    return None


def _notices(words: tuple[str, ...]) -> set[str]:
    """Notices at the head of a title: "Erratum: …", "Comment on …", "Retracted article: …"."""
    return {word for word in words[:3] if word in _NOTICES}


def _notice_before(words: Words, start: int) -> set[str]:
    """A notice that stands directly before a title: "Comment on", "Erratum to:"."""
    for index in range(start - 1, max(-1, start - 4), -1):
        if words.words[index] in _NOTICES:
            return {words.words[index]}
        if words.words[index] not in _AFTER_NOTICE:
            break
    return set()


def _counts(word: str) -> bool:
    return word.isdigit() or word in _ROMAN


def _counted_after(words: Words, end: int) -> bool:
    """Whether the reference goes on with "II", "Part 2" and the like."""
    following = words.words[end : end + 2]
    if not following:
        return False
    if following[0] in _ROMAN:
        return True
    return following[0] in _PART and len(following) == 2 and (_counts(following[1]) or len(following[1]) == 1)


def _ends(gap: str, at_edge: bool) -> bool:
    """Whether more than white space stands between two words."""
    return at_edge or (_SAYS_END.search(gap) is not None and gap.strip() not in {"-", "‐", "‑", "/", "&", "+"})


def _is_short(title: tuple[str, ...]) -> bool:
    letters = sum(2 if "가" <= sign <= "힣" else 1 for word in title for sign in word)
    if all(is_spaceless(word) for word in title):
        return letters < 5
    return len(title) < 3 or letters < 12


def _years_agree(printed: Printed, candidate: Candidate, within: int) -> bool:
    if not printed.years or not candidate.years:
        return True
    return any(abs(ours - theirs) <= within for ours in printed.years for theirs in candidate.years)


def author_found(printed: Printed, candidate: Candidate, *, garbled: bool = False) -> bool:
    """Whether the first author's family name stands in the reference; after an organisation, the next one's too.

    `garbled` also finds long names with a wrong letter or a space inside, as text from PDFs has them.
    """
    for family, given in candidate.authors[:2]:
        if _name_found(printed, family, given) or (garbled and _garbled_name_found(printed, family)):
            return True
        if given:  # a person: nobody further down counts
            return False
    return False


def _name_found(printed: Printed, family: str, given: str) -> bool:
    words = split(plain(family)).words
    if not words:
        return False
    if all(is_spaceless(word) for word in words):
        return _spaceless_name_found(printed, words, split(given).words)
    main = [word for word in words if word not in _PARTICLES] or list(words)
    if not given and len(words) > 2:  # an organisation: most of its words
        there = set(printed.words.words)
        return sum(word in there for word in main) * 3 >= len(main) * 2
    ways = {" ".join(words), "".join(words), " ".join(main), "".join(main), max(main, key=len)}
    ways.add("".join((*words, *split(given).words)))
    ways |= {_without_umlauts(way) for way in ways}
    found = (way for way in ways if f" {way} " in printed.joined or f" {way} " in printed.joined_without_umlauts)
    return any(len(way) > 1 or way in printed.words.words[:3] for way in found)


def _garbled_name_found(printed: Printed, family: str) -> bool:
    name = max(split(plain(family)).words, key=len, default="")
    return len(name) >= 6 and (
        name in printed.joined.replace(" ", "") or any(one_letter_apart(name, word) for word in printed.words.words)
    )


def _without_umlauts(text: str) -> str:
    """Mueller and Müller (whose accent is gone already) alike."""
    return text.replace("ue", "u").replace("oe", "o").replace("ae", "a")


def _spaceless_name_found(printed: Printed, family: tuple[str, ...], given: tuple[str, ...]) -> bool:
    ways = [(*family, *given), (*given, *family)] if given else [family]
    # One character may stand anywhere, except where a reference begins: there it is the name.
    if len(family) > 1 or family[0] in printed.words.words[:3]:
        ways.append(family)
    return any(f" {' '.join(way)} " in printed.joined for way in ways)
