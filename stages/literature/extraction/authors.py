"""The list of authors that a reference begins with: who comes first, and where the list ends.

A name is written in one of a few forms; the names of one list are written in one form, or in one after the first
("Brown, Anna, and Li Wei"). Names without initials look like any words in capitals, so that a list of them is believed
only where "and" ends it, or semicolons part it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stages.literature.extraction.likeness import UPPER

PARTICLES = frozenset(
    {
        "van", "von", "de", "der", "den", "del", "della", "di", "da", "dos", "das", "du", "la", "le", "el", "al", "ter",
        "ten", "zu", "zur", "zum", "af", "av", "bin", "ibn", "do", "e", "y", "st", "'t", "’t", "dalla", "degli", "dei",
    }
)  # fmt: skip
_CAPITAL_PARTICLES = (
    r"(?:Van|Von|De|Del|Della|Di|Da|Dos|Du|La|Le|El|Al|Ter|Mac|Mc|St\.|San|Santa|Ben|Abu|Bin|Lo|Ten|Den|Der|Las|Los)"
)
_P = (
    r"(?:van|von|der|den|del|della|dalla|degli|dei|de|di|da|dos|das|du|la|le|el|al|ter|ten|zur?|zum|af|av|bin|ibn|do"
    r"|['’]t)"
)
_WORD = rf"(?:[dlDL]['’])?[{UPPER}][\w'’‐-]{{0,30}}\w"
_ONE = rf"(?:(?:{_P}|{_CAPITAL_PARTICLES})\s){{0,3}}{_WORD}"
_FAMILY = rf"{_ONE}(?:\s{_ONE}){{0,2}}?"
_INITIAL = rf"(?:[{UPPER}]|Yu|Ch|Zh|Sh|Ph|Th|Ya|Kh|Ju|Ts|Dz|Fr|Chr|Jr)\."
_INITIALS = rf"{_INITIAL}(?:\s?[‐-]?(?:{_INITIAL}|(?<=[‐-])[a-z]\.|(?<=[‐-])[{UPPER}](?=\s))){{0,4}}"
_END = r"(?=\s*(?:[,;.:(\[]|$)|\s+(?:and|und|et|y|e|и|with|in|&)\s|\s+(?:1[5-9]|20)\d\d)"
_SUFFIX = r"(?:,?\s(?:Jr\.?|Sr\.?|II|III|IV)(?!\w))?"

_FORMS = {
    "initials first": re.compile(rf"{_INITIALS}\s?(?:(?:{_WORD}\s)(?={_INITIAL}))?(?P<f>{_FAMILY}){_SUFFIX}{_END}"),
    "comma": re.compile(rf"(?P<f>{_ONE}),\s{_INITIALS}(?:\s{_P}(?:\s{_P})?(?=[,\s]))?{_SUFFIX}"),
    "comma, two names": re.compile(
        rf"(?P<f>{_FAMILY}),\s(?>{_INITIALS}){_SUFFIX}(?!\s?{_FAMILY}(?:,|\s(?:and|&|und|et)\s))"
    ),
    "initials last": re.compile(
        rf"(?P<f>{_FAMILY})\s{_INITIALS}{_SUFFIX}(?=\s*(?:[,;:&(]|$)|\s(?!{_ONE}\s*(?:[,;.:(]|$|(?:and|und|et|&)\s)))"
    ),
    "capitals last": re.compile(
        rf"(?P<f>{_FAMILY})\s[{UPPER}]{{1,3}}(?:-[{UPPER}])?"
        rf"(?=[,;:]|\.(?!\s{_ONE}(?:\s?[,.;]|\s(?:and|und|et|&)\s))|\s(?:and|&|et|\(?\d{{4}})){_SUFFIX}"
    ),
    "comma, given": re.compile(
        rf"(?P<f>{_ONE}|{_FAMILY}(?=,\s{_WORD}(?:\s{_INITIALS})?{_END})),\s"
        rf"{_WORD}(?:\s(?:{_INITIALS}|{_WORD}|{_P})){{0,3}}?{_SUFFIX}{_END}"
    ),
    "given first": re.compile(
        rf"{_WORD}(?:\s(?:{_INITIALS}|{_WORD})){{0,3}}?\s(?P<f>{_ONE}){_SUFFIX}{_END}"
    ),
    "alone": re.compile(rf"(?P<f>{_FAMILY})(?=,?\set\.?\sal)"),
}  # fmt: skip
_FURTHER = {
    "initials first": ("initials first", "given first"),
    "comma": ("comma", "comma, two names", "initials first", "comma, given"),
    "comma, two names": ("comma", "comma, two names", "initials first", "comma, given"),
    "initials last": ("initials last", "capitals last"),
    "capitals last": ("capitals last", "initials last"),
    "comma, given": ("comma, given", "comma", "comma, two names", "initials first", "given first"),
    "given first": ("initials first", "given first"),
    "alone": (),
}
_WEAK = frozenset({"comma, given", "given first"})
_AND = re.compile(r"\s*[,;]?\s*(?:&|\b(?:and|und|et|y|e|и|en|och|og|i|a|ve)\b)\s+")
_PLAIN = re.compile(r"\s*[,;]\s*(?:(?:\.\s?){2,3}|…\s*)?")
_OTHERS = re.compile(
    r"\s*,?\s*(?:&\s+|and\s+)?(?:\(?et\.?\s?al\b\.?\)?|and others|and coworkers|и др\.?|u\.\s?a\.)", re.IGNORECASE
)
_ROLE = re.compile(
    r"\s*,?\s*(?:\((?:eds?|editors?|hrsg|org|ed\. by)\.?\)|(?:eds|ed|editors?|hrsg)\.?(?=[,:.\s])"
    r"|\((?:for )?(?:the )?[^()]{2,60}(?:Collaboration|Consortium|Group|Team)s?\)"
    r"|\(?(?:for|on behalf of) the [^(),]{2,60}(?:Collaboration|Consortium|Group|Team)\)?)",
    re.IGNORECASE,
)
_YEAR = re.compile(
    r"[\s,.:]*(?:[(\[]\s*(?:1[5-9]|20)\d\d[a-z]?(?:[,/]?\s*[^()\[\]]{1,30})?\s*[)\]]"
    r"|(?:1[5-9]|20)\d\d[a-z]?(?=[\s.,:;])(?!\s*[-–]))"
)
_STOP = re.compile(r"\s*([.,:;]?)\s*")
_MOST = 100
ORGANISATION = re.compile(
    r"\b(?:collaborations?|consortium|organi[sz]ation|university|universit\w+|institut\w*|institution|instruments|agency"
    r"|committee|commission|department|ministry|society|association|foundation|council|cent(?:re|er)|corporation|company"
    r"|inc|ltd|gmbh|group|team|network|bureau|office|board|bank|union|nations|federation|laborator(?:y|ies)|academy"
    r"|services?|project|forum|survey|programme|program)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Authors:
    """A list of authors as read. `end` is where what follows it (and the year) begins.

    `first` is the first one's family name; `stop` the sign before what follows: ".", ",", ":" or "" for none; `dated`
    says whether a year stands between.
    """

    first: str
    end: int
    stop: str
    dated: bool


def read_authors(text: str) -> Authors | None:
    """The authors that a reference begins with; None for what does not begin with people in a known form."""
    for form, pattern in _FORMS.items():
        found = pattern.match(text)
        if found and not ORGANISATION.search(found.group()):
            end = _list_end(text, found.end(), form)
            if end is not None:
                return _ended(text, found["f"], end)
    return None


def read_organisation(text: str) -> Authors | None:
    """The organisation that a reference begins with, as its author; None where none does."""
    head = re.match(r"[^,.:;(\[“\"]{3,120}(?:\.(?=\w)[^,.:;(\[“\"]{1,40})*", text)
    if head is None or not ORGANISATION.search(head.group()) or not head.group()[0].isupper():
        return None
    year = re.search(r"\s\(?(?:1[5-9]|20)\d\d", head.group())
    name = head.group()[: year.start()] if year else head.group()
    return _ended(text, name.strip(), len(name.rstrip()))


def read_same_authors(text: str) -> Authors | None:
    """What stands for the authors of the reference before: dashes, or a rule, of which only the comma is text."""
    found = re.match(r"(?:[—–_‒―-]{1,8}|(?=[,.]\s))(?=[\s.,:(]|$)", text)
    return _ended(text, "", found.end()) if found else None


def _list_end(text: str, place: int, form: str) -> int | None:
    """Where the list ends whose first name ends at `place`."""
    sure = place
    for _ in range(_MOST):
        if others := _OTHERS.match(text, place):
            return others.end()
        both = _AND.match(text, place)
        between = both or _PLAIN.match(text, place)
        if between is None:
            break
        name, kind = _name(text, between.end(), form)
        if name is None:
            break
        place = name.end()
        if both:
            sure = place
            further = _AND.match(text, place) or _PLAIN.match(text, place)
            if not further or _name(text, further.end(), form)[1] in (None, *_WEAK):
                others = _OTHERS.match(text, place)
                return others.end() if others else place
        elif kind not in _WEAK or ";" in between.group():
            sure = place
    return sure


def _name(text: str, place: int, form: str) -> tuple[re.Match[str] | None, str | None]:
    for kind in _FURTHER[form]:
        if found := _FORMS[kind].match(text, place):
            return found, kind
    return None, None


def _ended(text: str, first: str, end: int) -> Authors:
    while role := _ROLE.match(text, end):
        end = role.end()
    year = _YEAR.match(text, end)
    end = year.end() if year else end
    stop = _STOP.match(text, end)
    sign = (stop[1] if stop else "") or ("." if text[end - 1 : end] == "." else "")
    return Authors(first, stop.end() if stop else end, sign, year is not None)
