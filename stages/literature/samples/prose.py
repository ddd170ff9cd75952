"""Readable prose for the papers: invented, and made of the words of a field of research."""

from __future__ import annotations

import random
from collections.abc import Iterator

from stages.simulators.words import Field

OPENINGS = (
    "The question of {t} in {s} has been with us for longer than the methods to answer it{c}.",
    "Over the last decade {m} has become the method of choice for {s}{c}.",
    "Few subjects are as often described and as seldom measured as {t}{c}.",
    "It is commonly held that {t} in {s} follows from {u}{c}, although the evidence is thin.",
    "Two lines of work meet in this paper: {m}, and the study of {t}{c}.",
    "Most of what is known about {s} comes from {m}{c}.",
)
SENTENCES = (
    "Earlier reports differ by as much as {n} per cent, which is more than their stated errors allow{c}.",
    "We find no sign of {u} above the level that {m} can resolve.",
    "The effect was largest where {t} had been absent before, and vanished within {n} days{c}.",
    "This agrees with what {m} has shown for {v}{c}, and extends it to {s}.",
    "A simple model with two free parameters describes {n} of the 40 cases.",
    "Since {u} and {t} act on different scales, they can be told apart{c}.",
    "Where the data are sparse, we prefer the more cautious reading{c}.",
    "The first sample was discarded because of a fault in the recording, and all figures below are without it.",
    "In contrast to {v}, the response of {s} was neither uniform nor monotonic{c}.",
    "None of the usual corrections changes the sign of the result.",
    "It has been argued that {u} must be considered at the same time{c}; Section 3 shows why it may be neglected here.",
    "The remaining differences are of the order of the scatter between two runs on the same day.",
    "Such behaviour was predicted for {v}{c} but had not been observed.",
    "Each measurement was repeated {n} times by two of us who did not know the order.",
    "Fig. 1 summarizes the outcome for all groups.",
    "A full account of the procedure, with the raw values, is given elsewhere{c}.",
    "We return to this point below, after a word about {m}.",
    "The comparison with {v} is instructive, for there {u} dominates{c}.",
    "Our estimate lies between the two classical values{c}.",
    "What looks like {t} at first sight is, in {v}, a consequence of the sampling{c}.",
    "The instrument was calibrated against {n} reference samples before and after each series.",
    "Only one of the four groups departs from the common line, and it is the smallest.",
    "Whether {u} is cause or consequence cannot be decided by {m} alone{c}.",
    "The same trend appears, weaker, in the records of {v}{c}.",
    "A blind reanalysis by a colleague who had not seen the data changed no figure by more than {n} per mille.",
    "Taken by itself this would favour the older explanation{c}.",
    "There is a simpler reading, which the next section rules out.",
    "Of {n} sites that were visited twice, two had to be left out for want of permission.",
    "Its absence in {v} is the strongest argument against a common origin{c}.",
    "We chose the step such that {t} could not hide between two points{c}.",
    "For completeness we list the failed attempts as well.",
    "Costs were low: a season of {m} and two notebooks.",
    "The slope is {n} per cent steeper than the one reported before{c}, and its error is half as large.",
    "With hindsight a longer baseline would have been wiser{c}.",
    "All of this presupposes that {u} is stationary, which holds for {s} but not for {v}{c}.",
)
ABSTRACT = (
    "We study {t} in {s} by {m}.",
    "Against expectation, {u} contributes little, while the effect on {v} is of the order of {n} per cent.",
    "The result holds for all groups that we looked at and does not depend on the choice of the reference level.",
    "We discuss what follows for {v} and propose a test that needs no new equipment.",
)


class Prose:
    """Sentences, paragraphs and captions about a field."""

    def __init__(self, field: Field, chance: random.Random) -> None:
        self.field = field
        self.chance = chance
        self.decks: dict[tuple[str, ...], list[str]] = {}

    def draw(self, forms: tuple[str, ...]) -> str:
        """The next of the shuffled forms, so that none comes twice before all came once."""
        deck = self.decks.get(forms)
        if not deck:
            deck = self.decks[forms] = self.chance.sample(forms, len(forms))
        return deck.pop()

    def sentence(self, form: str, citation: str = "") -> str:
        topic, other = self.chance.sample(self.field.topics, 2)
        system, second = self.chance.sample(self.field.systems, 2)
        text = form.format(
            t=topic, u=other, s=system, v=second, m=self.chance.choice(self.field.methods),
            n=self.chance.randint(11, 39), c=citation,
        )  # fmt: skip
        return text[0].upper() + text[1:]

    def abstract(self) -> str:
        return " ".join(self.sentence(form) for form in ABSTRACT)

    def paragraph(self, citations: Iterator[str], length: int = 6) -> str:
        forms = [self.draw(OPENINGS), *(self.draw(SENTENCES) for _ in range(length - 1))]
        return " ".join(self.sentence(form, next(citations, "") if "{c}" in form else "") for form in forms)

    def caption(self, number: int, word: str) -> str:
        form = "{t} in {s} as seen by {m}. The line is a guide to the eye; bars are smaller than the symbols."
        return f"{word} {number}{':' if word == 'Figure' else '.'} {self.sentence(form)}"

    def curve(self) -> list[float]:
        value, values = 0.5, []
        for _ in range(60):
            value = min(0.97, max(0.03, value + self.chance.uniform(-0.09, 0.09)))
            values.append(round(value, 3))
        return values
