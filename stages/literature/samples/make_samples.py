"""Makes the sample papers: `python -m stages.literature.samples.make_samples [FOLDER]`.

Needs fpdf2 (a development dependency) and, for the papers in several scripts, the DejaVu fonts; both only here,
since the papers are kept with the source. The same source makes the same bytes. Beside the papers it writes
`truth.json` (what is printed in each reference list, and which work of the catalogue it is) and `library.bib`.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from stages.literature.samples.bibtex import bibtex
from stages.literature.samples.paper import Paper, Printed, printed, write_paper
from stages.literature.samples.styles import FORMS, Form
from stages.literature.samples.typeset import Look
from stages.simulators.catalogue import catalogue
from stages.simulators.entry import Entry
from stages.simulators.inventions import invent, unknown_works
from stages.simulators.words import FIELDS

HERE = Path(__file__).parent
_FIELD = {field.name: field for field in FIELDS}
_READABLE = {"en", "ru", "uk", "el", "de", "fr", "es", "pl", "tr", "vi"}  # what DejaVu Serif can print

# Works of other fields that everybody cites.
CLASSICS = 8
WEB = (
    "Open Beam Archive. Turn-by-turn data, release 4. https://data.example.org/beams/release-4 (accessed 3 May 2023).",
    "Harrowgate City Council. Annual report on schools. https://example.org/reports/schools-2019.pdf (2019).",
    "J. Ashdown, private communication (2021).",
    "G. Jónsdóttir, Ph.D. thesis, University of Harrowgate (2012).",
)


def fonts() -> Path:
    """The folder with the DejaVu fonts. Raises FileNotFoundError where there is none."""
    roots = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts",
             Path("/Library/Fonts"))  # fmt: skip
    for root in roots:
        for found in sorted(root.rglob("DejaVuSerif-Italic.ttf")):
            return found.parent
    raise FileNotFoundError(f"no DejaVu fonts in {', '.join(map(str, roots))}: install them, or take the kept samples")


def papers(dejavu: Path) -> dict[str, tuple[Paper, int]]:
    """The sample papers with the number of their references, by file name."""
    two = Look(columns=2, size=9.5, margin=48)
    one = Look(columns=1, size=10.5)
    return {
        "lindqvist2024_cobaltates.pdf": (Paper(
            "Interfacial Superconductivity and the Fate of Charge Order in Layered Cobaltates",
            "A. Lindqvist-Braun, M. Köhler, R. Bonnard", _FIELD["condensed matter"], "terse", two,
            head="LETTERS IN QUANTUM MATERIALS 12, 041002 (2024)", figure_word="FIG."), 16),
        "mensah2023_spin_glasses.pdf": (Paper(
            "Slow Dynamics in Dilute Spin Glasses: A Preprint with Line Numbers", "K. Mensah-Boateng, Y. Tanabe",
            _FIELD["condensed matter"], "physics", Look(size=11, line_numbers=True, fonts=dejavu, ligatures=True),
            paragraphs=10, head="Manuscript submitted for review"), 15),
        "hrusovsky2022_halo.pdf": (Paper(
            "Measurement of Beam Halo in a Compact Storage Ring", "M. Hrušovský, F. Ångström-Lie, D. MacAllister",
            _FIELD["accelerators"], "ieee", Look(columns=2, size=9.5, margin=48, fonts=dejavu), paragraphs=11,
            caption_inside=True, nudge=14, head="Proceedings of NAC2022"), 13),
        "okonkwo2021_frailty.pdf": (Paper(
            "Frailty screening before day-case surgery: a stepped-wedge trial", "Okonkwo N, Pemberton O, Lefèvre H",
            _FIELD["medicine"], "vancouver", one, paragraphs=11, head="Clin Pract Outcomes 2021;44(3)"), 18),
        "dabrowska2020_phenology.pdf": (Paper(
            "Phenological mismatch in alpine meadows after two dry decades",
            "Małgorzata Dąbrowska, Győző Szabó-Tóth, Harriet Thorne", _FIELD["ecology"], "apa",
            Look(size=10.5, fonts=dejavu, decomposed=True), paragraphs=10, head="Ecology of Change"), 17),
        "simoes2023_mudflats.pdf": (Paper(
            "Environmental DNA from Tidal Mudflats Tells Two Stories", "Inês Simões, Duncan Ashdown",
            _FIELD["ecology"], "apa", two, appendix=True, head="Journal of Northern Ecology 48"), 14),
        "nunez2024_dwarfs.pdf": (Paper(
            "The Chemical Memory of Ultra-Faint Dwarf Galaxies", "B. Núñez, S. Bellandi, T. Hyvönen",
            _FIELD["astronomy"], "astro", Look(columns=2, size=9.5, margin=48, paper="letter"), paragraphs=17,
            head="The Celestial Journal, 971:14", figure_word="Figure"), 22),
        "tanabe2022_forgetting.pdf": (Paper(
            "Forgetting Is Not Catastrophic: Federated Learners Revisited", "Haruto Tanabe, Meera Iyer, João Falcão",
            _FIELD["machine learning"], "acm", Look(columns=2, size=9, margin=50, paper="letter"),
            head="CSIL ’22, Harrowgate"), 15),
        "zhang2023_calibration.pdf": (Paper(
            "Calibration Error Under Label Shift: Sparse Attention Helps", "J. Zhang, C. Zhao, and A. Adeyemi",
            _FIELD["machine learning"], "ieee", two, appendix=True, head="TRANSACTIONS ON LEARNING MACHINERY, VOL. 9"),
            16),
        "ferraris2021_stalling.pdf": (Paper(
            "Ribosome stalling shapes the zebrafish neuromast", "Giulia Ferraris, Wei Huang & Amina Diallo",
            _FIELD["molecular biology"], "nature", two, paragraphs=14, caption_inside=True, nudge=13,
            head="CELL PROCESSES"), 18),
        "gromyhalov2019_gaps.pdf": (Paper(
            "Spectral Gaps of Sparse Random Graphs via Transfer Operators", "I. Gromykhalov and G. Hallgrímsdóttir",
            _FIELD["mathematics"], "mathematical", Look(size=11, fonts=dejavu), paragraphs=9, appendix=True,
            head="ARCHIVE OF PURE ANALYSIS"), 13),
        "voulgari2022_prosody.pdf": (Paper(
            "Asking Without Words: Prosody in Five Dialects", "Maria Vourliotis, Łukasz Kołodziejczyk",
            _FIELD["linguistics"], "apa", Look(size=10.5, fonts=dejavu, ligatures=True), paragraphs=10,
            head="Studies in Sound and Meaning"), 15),
    }  # fmt: skip


def choose(paper: Paper, count: int, seed: int) -> list[Printed]:
    """`count` references for a paper: works of its field, some classics, and one or two that no service knows."""
    form = FORMS[paper.form]
    chance = random.Random(seed)  # noqa: S311
    works = [entry for entry in catalogue().entries if entry.downloadable or entry.closed]
    if not form.titles:  # only Crossref finds a work by its place
        works = [entry for entry in works if entry.in_crossref or entry.venue == "arXiv"]
    fits = [entry for entry in works if _printable(entry, form, wide=paper.look.fonts is not None)]
    own = [entry for entry in fits if entry.field == paper.field.name]
    rare = [entry for entry in own if not entry.key.startswith("w")]
    usual = [entry for entry in own if entry.key.startswith("w")]
    classics = [entry for entry in works if _printable(entry, form, wide=False) and entry.key.startswith("w")][::9]
    classics = classics[:CLASSICS]
    scripts = [entry for entry in fits if entry.key.startswith("r")] if paper.look.fonts is not None else []
    unknown = 1 + seed % 2
    wanted = [*rare[:4], *chance.sample(classics, 3), *chance.sample(scripts, min(len(scripts), 4))]
    for entry in chance.sample(usual, len(usual)):
        if entry not in wanted:
            wanted.append(entry)
    for entry in chance.sample(fits, len(fits)):  # where the field has too few
        if entry not in wanted and entry.language == "en":
            wanted.append(entry)
    references = [printed(entry, form, _doi(entry, chance)) for entry in wanted[: count - unknown]]
    strange = [entry for entry in unknown_works() if _printable(entry, form, wide=paper.look.fonts is not None)]
    references.append(printed(strange[seed % len(strange)], form, known=False))
    if unknown == 2:
        web = WEB[seed % len(WEB)]
        references.append(Printed(web, (web.casefold(), 0)))
    chance.shuffle(references)
    return references


def _printable(entry: Entry, form: Form, *, wide: bool) -> bool:
    if wide:
        return entry.language in _READABLE
    try:
        form.style(entry, "").encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _doi(entry: Entry, chance: random.Random) -> str:
    """The DOI that is printed, if any: half of the time, a former one where there is one."""
    if entry.doi is None or entry.doi.startswith("10.48550/") or chance.random() < 0.5:
        return ""
    return entry.aliases[0] if entry.aliases else entry.doi


def make_samples(folder: Path) -> dict[str, list[Printed]]:
    """Writes all samples and their truth; returns the references by file."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for seed, (name, (paper, count)) in enumerate(papers(fonts()).items(), start=1):
        made[name] = write_paper(folder / name, paper, choose(paper, count, seed), seed)
    truth = {name: [reference.truth() for reference in references] for name, references in made.items()}
    text = json.dumps(truth, ensure_ascii=False, indent=1)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")
    (folder / "library.bib").write_text(bibtex(_library()), encoding="utf-8")
    return made


def _library() -> Sequence[Entry]:
    """The works of the sample library: one in eight, and one of every script."""
    entries = catalogue().entries
    return [*entries[:160:20], *(entry for entry in entries if entry.key.startswith("r"))][:24]


# Papers for runs under load

LOAD_FORMS = ("ieee", "vancouver", "nature", "apa", "acm", "mathematical")


def make_papers(folder: Path, count: int, references_each: int = 20, seed: int = 0) -> list[Path]:
    """Writes `count` papers of `references_each` references in six styles, each to other works for load: those that
    `catalogue(extra=count * references_each)` knows. Half of the references tell a DOI. Core fonts only."""
    folder.mkdir(parents=True, exist_ok=True)
    works = invent(count * references_each)
    return [*_load_papers(folder, works, count, references_each, seed)]


def _load_papers(folder: Path, works: Iterator[Entry], count: int, each: int, seed: int) -> Iterator[Path]:
    chance = random.Random(seed)  # noqa: S311
    for number in range(count):
        cited = list(islice(works, each))
        name = LOAD_FORMS[number % len(LOAD_FORMS)]
        field = FIELDS[number % len(FIELDS)]
        look = Look(columns=1 + number % 2, size=10.5 - number % 2)
        title = f"{field.topics[number % 14].capitalize()} reviewed, part {number + 1}"
        paper = Paper(title, "E. Whitcombe, J. Brandão", field, name, look, paragraphs=5)
        references = [printed(entry, FORMS[name], _doi(entry, chance)) for entry in cited]
        path = folder / f"load{number + 1:04d}.pdf"
        write_paper(path, paper, references, seed + number)
        yield path


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    made = make_samples(folder)
    for name, references in made.items():
        sys.stdout.write(f"{name}: {len(references)} references, {(folder / name).stat().st_size // 1024} kB\n")
    sys.stdout.write(f"{sum(map(len, made.values()))} references in {len(made)} papers\n")


if __name__ == "__main__":
    main()
