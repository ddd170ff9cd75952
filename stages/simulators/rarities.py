"""Invented works in other scripts and of rarer kinds, written by hand."""

from __future__ import annotations

from stages.simulators.entry import Author, Copy, Entry

_OPEN = (Copy(),)
_REPOSITORY = (Copy(host="repository"),)


def _work(
    number: int, title: str, names: str, year: int, venue: str, short: str, publisher: str, language: str,
    volume: str | None = None, issue: str | None = None, pages: str | None = None,
    kind: str = "journal-article", copies: tuple[Copy, ...] = _OPEN,
) -> Entry:  # fmt: skip
    people = (name.partition(", ")[::2] for name in names.split("; "))
    return Entry(
        key=f"r{number:02d}", title=title, authors=tuple(Author(family, given) for family, given in people),
        year=year, venue=venue, short_venue=short, publisher=publisher, kind=kind, language=language,
        doi=f"10.5555/rar.{year}.{number:04d}", openalex=f"W99{2000 + number:08d}", volume=volume, issue=issue,
        pages=pages, copies=copies, field="other scripts",
    )  # fmt: skip


RARITIES = (
    _work(1, "Динамика намагниченности в слоистых никелатах при низких температурах",
          "Ветрова, Анна Сергеевна; Громыхалов, Илья Петрович", 2016, "Вестник низких температур",
          "Вестн. низк. темп.", "Северный издательский дом", "ru", "31", "4", "211-224"),
    _work(2, "О влиянии снежного покрова на прорастание семян альпийских растений",
          "Лесничий, Павел Олегович", 2009, "Журнал северной экологии", "Журн. сев. экол.",
          "Северный издательский дом", "ru", "18", "2", "77-91", copies=()),
    _work(3, "Стійкість мікросервісних систем до збоїв конфігурації",
          "Коваленчук, Оксана; Задорожник, Тарас", 2021, "Програмна інженерія", "Прогр. інж.",
          "Видавництво Обрій", "uk", "12", "1", "5-19"),
    _work(4, "Μελέτη της κυκλοφορίας των υδάτων στον κόλπο της Ασπρονήσου",
          "Παπαθεοφίλου, Ελένη; Καρδαμίτσης, Νίκος", 2014, "Θαλάσσια Χρονικά", "Θαλ. Χρον.",
          "Εκδόσεις Αιγίς", "el", "27", None, "133-148"),
    _work(5, "Η προσωδία της ερώτησης στις νησιωτικές διαλέκτους", "Βουρλιώτη, Μαρία", 2007,
          "Γλωσσικά Τετράδια", "Γλωσσ. Τετρ.", "Εκδόσεις Αιγίς", "el", "9", "3", "41-66", copies=()),
    _work(6, "層状コバルト酸化物における磁気秩序の中性子散乱による研究", "森川, 直子; 田辺, 健司", 2018,
          "低温物性論集", "低温物性", "北門書房", "ja", "42", "6", "501-512"),
    _work(7, "方言会話における相づちの韻律的特徴", "星野, 愛", 2012, "音声と意味", "音声と意味", "北門書房", "ja",
          "15", "1", "23-39", copies=_REPOSITORY),
    _work(8, "面向稀疏图神经网络的低秩自适应训练方法", "欧阳, 晓明; 孙, 丽华; 刘, 杰", 2022, "机器学习学报",
          "机器学习学报", "开放计算出版社", "zh", "8", "2", "188-203"),
    _work(9, "高寒草甸土壤呼吸对氮沉降的响应", "赵, 一帆; 黄, 伟", 2015, "生态变化", "生态变化", "远山出版社", "zh",
          "23", "5", "77-85", copies=()),
    _work(10, "도시 하천의 환경 DNA를 이용한 어류 군집 조사", "한, 서윤; 백, 도현", 2020, "수생태 연구",
          "수생태연구", "푸른언덕", "ko", "11", "3", "140-152"),
    _work(11, "أثر الري بالتنقيط على ملوحة التربة في الواحات", "الحمداني, ليلى; بن عاشور, يوسف", 2013,
          "مجلة علوم الأرض الجافة", "علوم الأرض الجافة", "دار النخيل", "ar", "6", "2", "55-70"),
    _work(12, "التحول الصوتي في لهجات المدن الساحلية", "القصبي, نور", 2019, "دراسات اللسان", "دراسات اللسان",
          "دار النخيل", "ar", "14", "1", "9-31", copies=_REPOSITORY),
    _work(13, "השפעת הבצורת על צמחיית הנחלים בצפון הנגב", "אילני, נועה; ברקן, יואב", 2017, "אקולוגיה וסביבה",
          "אקולוגיה", "הוצאת הגליל", "he", "8", "3", "212-225"),
    _work(14, "जलवायु परिवर्तन और हिमालयी घाटियों में वर्षा का पुनर्वितरण", "जोशी, मीरा; रावत, विक्रम", 2018,
          "पर्वतीय विज्ञान", "पर्वतीय विज्ञान", "शिखर प्रकाशन", "hi", "5", "1", "33-48"),
    _work(15, "Über die Wärmeleitung in geschichteten Oxiden", "Weißenborn, Jürgen; Köhler, Ute", 1994,
          "Annalen der Tieftemperaturphysik", "Ann. Tieftemp.", "Medica Verlag", "de", "51", "2", "119-137"),
    _work(16, "L’évolution des prairies calcaires après l’abandon du pâturage", "Lefèvre, Hélène; Château, Gaël",
          2003, "Écologie et Territoires", "Écol. Territ.", "Presses du Héron", "fr", "16", "4", "301-322"),
    _work(17, "La adquisición temprana de la marcación diferencial del objeto", "Echeverría, Íñigo", 2011,
          "Cuadernos de Lingüística Aplicada", "Cuad. Lingüíst. Apl.", "Ediciones Tajo", "es", "29", None, "71-98"),
    _work(18, "Zmęczenie materiału w cienkościennych rurach próżniowych", "Wiśniewski, Łukasz; Świątek, Agnieszka",
          2008, "Przegląd Akceleratorowy", "Przegl. Akcel.", "Wydawnictwo Dąb", "pl", "7", "3", "15-28"),
    _work(19, "Şehir içi göletlerde ötrofikasyonun uzaktan izlenmesi", "Yıldırım, Gülşen; Şahinbaş, Çağrı", 2019,
          "Çevre ve Değişim", "Çevre Değiş.", "Anadolu Akademi", "tr", "13", "2", "98-112"),
    _work(20, "Ứng dụng học liên bang trong chẩn đoán ảnh y khoa", "Nguyễn, Thị Phương; Trần, Minh Đức", 2023,
          "Tạp chí Trí tuệ Ứng dụng", "Trí tuệ Ứng dụng", "Nhà xuất bản Sao Mai", "vi", "4", "1", "12-25"),
    _work(21, "Foundations of Sparse Geometry", "Hallgrímsdóttir, Guðrún; De Santis, Niccolò", 1998,
          "Foundations of Sparse Geometry", "", "Lemma Foundation", "en", kind="book", copies=()),
    _work(22, "A Handbook of Beam Instrumentation", "Ångström-Lie, Frøydis; MacAllister, Duncan", 2005,
          "A Handbook of Beam Instrumentation", "", "Northgate Institute of Physics", "en", kind="book", copies=()),
    _work(23, "Slow variables in fast ecosystems", "Diallo, Amina", 2010, "The Northern Handbook of Ecosystems",
          "North. Handb. Ecosyst.", "Boreal Academic", "en", None, None, "233-261", kind="book-chapter"),
    _work(24, "Measuring turn-taking in court transcripts", "Chikwanha, Tendai; O'Hanlon, Rachel", 2013,
          "Methods in Sociolinguistics", "Methods Socioling.", "Harrowgate Press", "en", None, None, "88-120",
          kind="book-chapter", copies=_REPOSITORY),
)  # fmt: skip
