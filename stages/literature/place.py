"""Where a work was published, as references name it: journal (often abbreviated), volume, first page."""

from __future__ import annotations

import re

from stages.literature.words import plain, split, word_set

_SMALL = word_set("of the and in on for de la le les des du der die das und et a an i")
_VOLUME = word_set("vol volume v no bd tome")
_NUMBER = re.compile(r"\d+")


def place_found(words: tuple[str, ...], venues: tuple[str, ...], volume: str, page: str) -> bool:
    """Whether words name one of the journals, then the volume, then the first page (or article number)."""
    volume, page = _bare(volume), _first_page(page)
    if not volume or not page:
        return False
    pages = {index for index, word in enumerate(words) if _first_page(word) == page}
    if not pages:
        return False
    volumes = [index for index, word in enumerate(words) if _bare(word) == volume]
    return any(
        _venue_before(words, index, venue)
        for index in volumes[:8]
        if not pages.isdisjoint(range(index + 1, index + 7))
        for venue in venues[:4]
    )


def venue_found(joined: str, venues: tuple[str, ...]) -> bool:
    """Whether a journal or book stands in words (joined by spaces), in full or as the service abbreviates it."""
    for venue in venues[:4]:
        words = split(plain(venue)).words
        if sum(map(len, words)) >= 4 and f" {' '.join(words)} " in joined:
            return True
    return False


def _bare(number: str) -> str:
    """A volume without its section letter and leading zeros: `66B`, `E27` and `066` are 66, 27 and 66."""
    digits = _NUMBER.findall(number)
    return digits[0].lstrip("0") if len(digits) == 1 and len(number) <= len(digits[0]) + 2 else ""


def _first_page(page: str) -> str:
    first = re.split(r"[-–—,;\s]", page.strip(), maxsplit=1)[0].lower()
    letters = first.rstrip("0123456789")
    return letters + first[len(letters) :].lstrip("0") if _NUMBER.search(first) else ""


def _venue_before(words: tuple[str, ...], index: int, venue: str) -> bool:
    """Whether the words before a volume name a journal, in full, word by word abbreviated, or by initials."""
    full = [word for word in split(plain(venue)).words if word not in _SMALL or len(word) == 1]
    if not full:
        return False
    run: list[str] = []
    for back in range(index - 1, max(-1, index - 14), -1):
        word = words[back]
        if word in _SMALL and len(word) > 1:
            continue
        if word in _VOLUME and not run:
            continue
        run.insert(0, word)
        if word[0] == full[0][0] and _abbreviates(run, full):
            return True
    return False


def _abbreviates(run: list[str], full: list[str]) -> bool:
    if len(run) == 1 and len(full) > 1:
        initials = "".join(word[0] for word in full)
        return run[0] == initials or run[0] == "".join(full)
    position = 0
    for place, word in enumerate(run):
        while position < len(full) and not full[position].startswith(word):
            if place == 0:
                return False
            position += 1
        if position == len(full):
            return False
        position += 1
    return len(run) > 1 or run[0] == full[0]
