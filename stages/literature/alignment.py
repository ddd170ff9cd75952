"""Where the words of a title stand in a reference, at the least cost."""

from __future__ import annotations

from dataclasses import dataclass

from stages.literature.words import is_spaceless


@dataclass(frozen=True, slots=True)
class Found:
    """Where a title was found: its words are `start` up to `end` of the text. Likeness 1 is word for word."""

    likeness: float
    start: int
    end: int


def find_words(text: tuple[str, ...], title: tuple[str, ...]) -> Found:
    """Align all of `title` with some stretch of `text`; takes time by the product of their lengths.

    A missing word costs its weight, a word in between half of its own, a word with one wrong letter a quarter; a word
    that one side writes as two costs nothing.
    """
    if not title:
        return Found(0.0, 0, 0)
    weights = [_weight(word) for word in title]
    there = set(text)
    if sum(weight for word, weight in zip(title, weights, strict=True) if word in there) < sum(weights) / 4:
        return Found(0.0, 0, 0)  # too few words in common to look closer
    between = [_weight(word) / 2 for word in text]
    previous = [(0.0, index) for index in range(len(text) + 1)]
    before_previous: list[tuple[float, int]] = []
    for row, word in enumerate(title):
        weight = weights[row]
        joined = title[row - 1] + word if row else ""
        current = [(previous[0][0] + weight, previous[0][1])]
        for column, other in enumerate(text):
            cost, start = previous[column]
            best = (cost if other == word else cost + weight * _unlike(word, other), start)
            cost, start = previous[column + 1]
            if cost + weight < best[0]:
                best = (cost + weight, start)
            cost, start = current[column]
            if cost + between[column] < best[0]:
                best = (cost + between[column], start)
            if column and text[column - 1] + other == word and previous[column - 1][0] < best[0]:
                best = previous[column - 1]
            if row and joined == other and before_previous[column][0] < best[0]:
                best = before_previous[column]
            current.append(best)
        before_previous, previous = previous, current
    cost, start, end = min((cost, start, end) for end, (cost, start) in enumerate(previous))
    return Found(max(0.0, 1 - cost / sum(weights)), start, end)


def _weight(word: str) -> float:
    return 2.0 if is_spaceless(word) else 1.0 + min(len(word), 10)


def _unlike(word: str, other: str) -> float:
    """What replacing a word costs, as a share of its weight: a quarter when one letter differs, else more than all."""
    return 0.25 if len(word) >= 5 and one_letter_apart(word, other) else 1.25


def one_letter_apart(word: str, other: str) -> bool:
    """Whether two words differ in one letter: another one, one more or one less. Numbers never do."""
    if abs(len(word) - len(other)) > 1 or word.isdigit() or other.isdigit():
        return False
    same = 0
    shorter = min(len(word), len(other))
    while same < shorter and word[same] == other[same]:
        same += 1
    if len(word) == len(other):
        return word[same + 1 :] == other[same + 1 :]
    if len(word) > len(other):
        return word[same + 1 :] == other[same:]
    return word[same:] == other[same + 1 :]
