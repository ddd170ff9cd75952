"""Headings: where a reference list begins, and what may follow one."""

from __future__ import annotations

import re
import unicodedata

LONGEST_HEADING = 90

_BEGINS = frozenset(
    """
    references|reference|referencesandnotes|notesandreferences|referencesandfurtherreading|referencescited
    |referencelist|listofreferences|referencesandcitations|selectedreferences|supplementaryreferences
    |supplementalreferences|additionalreferences|methodsreferences|onlinemethodsreferences|supportingreferences
    |appendixreferences|furtherreferences|keyreferences|mainreferences|bibliographicreferences
    |referencesandbibliography|bibliographyandreferences|referencesandlinks|referencesforsupplementarymaterial
    |referencesforthesupplementarymaterial|referencesforsupplementaryinformation
    |bibliography|selectedbibliography|selectbibliography|generalbibliography|annotatedbibliography
    |literaturecited|citedliterature|literature|workscited|workscitedandconsulted|citations|citedreferences
    |citedworks|sources|sourcescited|literaturereferences|cited
    |références|référencesbibliographiques|bibliographie|référencescitées|ouvragescités|bibliographiesommaire
    |literatur|literaturverzeichnis|quellen|quellenverzeichnis|literaturangaben|referenzen|quellenangaben
    |literaturundquellen|literaturhinweise|zitierteliteratur
    |referencias|referenciasbibliográficas|bibliografía|bibliografíacitada|obrascitadas|literaturacitada
    |referências|referênciasbibliográficas|bibliografia|obrascitadas|referênciascitadas
    |riferimenti|riferimentibibliografici|referencesbibliografiche|referenzebibliografiche|operecitate
    |literatuur|literatuurlijst|referenties|bronnen|bronnenlijst|literatuurverwijzingen|geraadpleegdeliteratuur
    |referenser|referanser|referencer|litteratur|litteraturförteckning|källor|källförteckning|litteraturliste
    |litteraturhenvisninger|kilder|viitteet|lähteet|lähdeluettelo|kirjallisuus|kirjallisuusluettelo|heimildir
    |literatura|bibliografiaireferencje|piśmiennictwo|seznamliteratury|seznampoužitéliteratury|použitáliteratura
    |zoznamliteratúry|použitáliteratúra|zdroje|irodalom|irodalomjegyzék|hivatkozások|felhasználtirodalom
    |bibliografie|referințe|referințebibliografice|literatūra|literatūrossąrašas|kirjandus|viited|kaynaklar|kaynakça
    |kaynaklarlistesi|referanslar|daftarpustaka|rujukan|tàiliệuthamkhảo|sanggunian|bibliografija|popisliterature
    |списоклитературы|литература|библиография|библиографическийсписок|списокиспользованнойлитературы
    |списокисточников|списокиспользованныхисточников|использованнаялитература|источники|цитированнаялитература
    |література|списоклітератури|списоквикористаноїлітератури|бібліографія|посилання|списоквикористанихджерел
    |βιβλιογραφία|βιβλιογραφικέςαναφορές|αναφορές|литературы
    |参考文献|參考文獻|引用文献|引用文獻|参考资料|參考資料|文献|文獻|參考書目|参考书目|参考文献及注释|主要参考文献
    |参考文献および注|참고문헌|인용문헌|참고자료|المراجع|مراجع|منابع|קושמקורות|ביבליוגרפיה|संदर्भ
    """.replace("\n", "")
    .replace(" ", "")
    .split("|")
)
_NUMBERING = re.compile(
    r"^(?:(?:appendix|section|chapter|kapitel|§)\s+)?(?:\d{1,2}(?:\.\d{1,2}){0,3}|[IVXL]{1,6}|[A-Z])\s*[.):—–-]?\s+"
)
_NOT_LETTERS = re.compile(r"[\W\d_]+")
_CAPTION = re.compile(
    r"(?:(?:supplementary|extended data|suppl?\.|online)\s+)?"
    r"(?:fig(?:ure|s|\.)?|abb(?:ildung|\.)?|tab(?:le|elle|leau|la|\.)?|figura|cuadro|scheme|chart|plate"
    r"|algorithm|listing|box"
    r"|рис(?:унок|\.)?|табл(?:ица|\.)?|图|表|図|그림|표)\s*\.?\s*[A-Z]{0,2}\.?-?\d{1,3}(?:[.\-]\d{1,2})?[a-z]?"
    r"(?:\s*[.:|—–)]|\s+[A-ZÀ-ÞА-Я(]|\s*$|\s+[a-z]+\b)",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"(?:online\s+|supplementary\s+|supplemental\s+|supporting\s+|extended\s+|electronic\s+|detailed\s+"
    r"|technical\s+)?"
    r"(?:appendix|appendices|annex(?:es)?|anhang|annexe|apéndice|apêndice|appendice|приложение|附录|付録|부록"
    r"|supplement(?:ary|al)?(?:\s+(?:material|materials|information|data|note|notes|figures?|tables?|methods|text))?"
    r"|supporting information|extended data|additional (?:information|files?|data)"
    r"|acknowledge?ments?|danksagung|remerciements|agradecimientos|agradecimentos|ringraziamenti|благодарности|致谢|謝辞"
    r"|author contributions?|authors?['’]? contributions?|contributions"
    r"|credit author(?:ship)? (?:contribution )?statement"
    r"|competing (?:financial )?interests?|conflicts? of interests?|declarations?(?: of .{0,40})?|disclosures?"
    r"|ethics .{0,30}"
    r"|data (?:and code )?availability(?: statement)?|code availability|availability of data.{0,30}"
    r"|funding(?: .{0,25})?"
    r"|about the authors?|author biograph(?:y|ies)|biograph(?:y|ies)|authors?['’]? (?:biograph.{1,6}|information"
    r"|details)"
    r"|vita|autorenbiographien?|(?:figure|table)s?(?: captions?| legends?)?|figures and tables"
    r"|tables and figures|captions?|legends?"
    r"|list of (?:figures|tables|symbols|abbreviations|acronyms)|index|glossary|nomenclature|notation|abbreviations"
    r"|(?:online |star ?)?(?:materials and )?methods|experimental (?:section|procedures)|.{0,20}\bchecklist"
    r"|proofs?|proof of .{1,60}"
    r"|publisher['’]s note|open access|copyright.{0,40}|permissions?|correspondence|reviewer.{0,40}"
    r"|received:?\s.{0,60}"
    r"|curriculum vitae|footnotes?|endnotes?|notes?|author affiliations?|affiliations|contents|contributors"
    r"|editorial note"
    r"|further reading|see also|external links|reprints? .{0,40}|how to cite.{0,40}|cite this.{0,40}|keywords?)"
    r"(?:\s*[A-Z0-9]{1,4})?(?:\s*[.:—–-].{0,80})?",
    re.IGNORECASE,
)
_LETTERED = re.compile(r"(?:[A-Z](?:\.\d{1,2}){0,2}\.?|\d{1,2}(?:\.\d{1,2}){0,2}\.?|[IVX]{1,5}\.)\s+[A-ZÀ-ÞА-Я]")


def begins_references(text: str) -> bool:
    """Whether a line is the heading of a reference list, in one of many languages, numbered or spaced out or not."""
    if len(text) > LONGEST_HEADING:
        return False
    text = unicodedata.normalize("NFC", text.strip())
    return any(
        _NOT_LETTERS.sub("", part).casefold() in _BEGINS
        for part in (text, _NUMBERING.sub("", text, count=1))
        if not part[-1:].isdigit()  # "References 45" is an entry of the contents
    )


def follows_references(text: str) -> bool:
    """Whether a line reads as the heading of a part that commonly follows a reference list."""
    return len(text) <= LONGEST_HEADING and _AFTER.fullmatch(_NUMBERING.sub("", text.strip(), count=1)) is not None


def is_lettered(text: str) -> bool:
    """Whether a line begins like a numbered heading: `A Proofs`, `B.2 Data`."""
    return len(text) <= LONGEST_HEADING and _LETTERED.match(text) is not None


def is_caption(text: str) -> bool:
    """Whether a line begins the caption of a figure or a table."""
    return _CAPTION.match(text[:LONGEST_HEADING]) is not None
