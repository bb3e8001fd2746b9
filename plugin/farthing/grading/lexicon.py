"""The words that grading counts, by what they tell. English first; a few in other languages."""

NARROW = {0xFF00 + ord(sign) - 0x20: sign for sign in ".,:;!?()"}
"""Full-width punctuation, and the ASCII sign that patterns have in its place; for ``str.translate``."""


def _words(text: str) -> set[str]:
    return set(text.split())


def _forms(verbs: str) -> set[str]:
    words: set[str] = set()
    for verb in verbs.split():
        stem = verb[:-1] if verb.endswith("e") else verb
        words |= {verb, f"{verb}s", f"{stem}ed", f"{stem}ing"}
    return words


REASONING = (
    _forms(
        "prove derive deduce justify analyse analyze evaluate compare contrast infer argue critique reason"
    )
    | _forms(
        "assess diagnose investigate reconcile verify interpret synthesise synthesize weigh assume suppose"
    )
    | _words(
        """why proof proofs theorem lemma corollary contradiction induction counterexample hypothesis
        implications implication rationale therefore hence consequence consequences tradeoff tradeoffs
        optimal explain explains cause causes legal clinical ethical statistical paradox
        warum beweise beweis begründe analysiere pourquoi démontre démontrer analyse explique
        demuestra demostrar analiza explica porqué докажи объясни почему
        beweist analysieren vergleiche bewerte erkläre leite herleite folgere widerspruch invariante
        justifie compare évalue prouve déduis démonstration hypothèse invariant
        justifica compara evalúa deriva demostración contradicción invariante
        dimostra giustifica analizza confronta valuta deduci demonstre justifique analise compare avalie
        выведи обоснуй сравни проанализируй оцени доказательство следствие
        kanıtla karşılaştır gerekçelendir analiz udowodnij uzasadnij porównaj przeanalizuj
        bewijs vergelijk verklaar أثبت حلل قارن برهن علل सिद्ध विश्लेषण तुलना buktikan bandingkan jelaskan"""
    )
)
MATHS = _forms(
    "calculate compute solve differentiate integrate multiply divide subtract factor simplify"
) | _words(
    """equation equations integral derivative probability matrix vector polynomial percent percentage ratio
    average mean median total sum product remainder twice half third quarter double triple fraction fractions
    prime modulo logarithm exponent geometry triangle radius area volume perimeter angle degrees variance
    converges series limit eigenvalue combinatorics permutations each per remaining cost costs profit speed
    berechne gleichung wahrscheinlichkeit calcule équation probabilité calcula ecuación probabilidad
    вычисли уравнение вероятность"""
)
CODE = _forms(
    "code implement refactor debug compile deploy parse serialise serialize profile benchmark"
) | _words(
    """function functions class algorithm algorithms api sql regex python javascript typescript rust golang
    java kotlin haskell bash exception stacktrace traceback async await concurrency concurrent thread threads
    deadlock race mutex database schema migration kubernetes docker recursion recursive complexity runtime
    query queries unittest tests bug bugs segfault memory leak endpoint library framework commit merge
    programmiere funktion datenbank programme fonction función programa функция
    implementiere komplexität algorithmus implémente complexité algorithme implementa complejidad algoritmo
    implemente complexidade complessità реализуй сложность алгоритм протокол"""
)
DESIGN = _forms("design architect plan model strategise propose restructure") | _words(
    """architecture strategy roadmap system systems scalable distributed protocol specification pipeline
    requirements proposal simulation simulate framework policy negotiate essay report thesis business
    entwirf architektur strategie conçois architecture stratégie diseña arquitectura estrategia
    progetta architettura projete arquitetura спроектируй архитектура архитектуру tasarla zaprojektuj صمم"""
)
CONSTRAINTS = _words(
    """must should exactly only without unless except ensure avoid never always between constraint constraints
    require required requires least most within either neither nor both respectively provided given satisfy
    preserve maintain limit limits
    muss genau ohne mindestens höchstens doit sans exactement moins debe exactamente sin menos"""
)
SIMPLE = _forms(
    "translate rephrase rewrite summarise summarize extract classify proofread spell define"
) | _words(
    """hello hi hey thanks thank bye capital name who when where synonym antonym greeting grammar shorten
    lowercase uppercase convert list
    hallo danke bonjour merci hola gracias ciao привет спасибо"""
)
STOPWORDS = frozenset(
    _words(
        """the a an of to and in is are was for on with that this it as at by from or be you your i my we what
    how which can do does if not have has he she they his her their there many much will would"""
    )
)
NUMBERS = frozenset(
    _words(
        """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand
        million half third quarter twice double triple dozen
        zwei drei vier fünf sechs sieben acht neun zehn hälfte doppelt deux trois quatre cinq sept huit neuf
        dix moitié dos tres cuatro cinco seis siete ocho nueve diez mitad doble два три четыре пять шесть семь
        восемь девять десять половина"""
    )
)
QUANTIFIERS = frozenset(
    _words(
        """each every per twice half double triple third quarter remaining remainder left rest more less fewer
        than times total altogether combined average percent percentage ratio fraction discount increase
        decrease increased decreased older younger longer shorter another same equal equally split share
        initially originally after before until jede pro mehr weniger als insgesamt rest chaque plus moins que
        reste cada más menos que resto каждый больше меньше чем всего"""
    )
)
CONTINUES = frozenset(
    _words(
        """a again ahead all alright and another b c carry cool continue do else finish fine fix go
    going good great it just keep let's lets looks me more next no now ok okay on one option perfect please
    proceed redo repeat rest resume retry right same sounds start step sure that the then these this those
    to too try up well y yeah yep yes you
    can could deeper detail fails from further in into it's its left more off part still stopped that's
    what where with wrong are section approach different but not
    weiter mach ja bitte genau gut und jetzt nochmal oui vas continuez d'accord suite encore
    sí si sigue continúa adelante vale dale claro sim continua segue avanti va bene
    да продолжай дальше ещё хорошо
    继续 好 好的 是 是的 可以 下一步 请继续 続けて 続き はい 次 お願いします 계속 네 예 좋아요"""
    )
)
"""A short turn of nothing but these asks for more of what was asked before."""
CONTINUING = (
    "continue", "keep going", "go on", "carry on", "try again", "go deeper", "weitermachen", "weiter",
    "continuez", "poursui", "continúa", "sigue", "continua", "prossegu", "продолж", "дальше",
    "继续", "接着", "続け", "もっと", "계속",
)  # fmt: skip
"""A short turn that says one of these continues, whatever else it says."""
UNSPACED = {
    "reasoning": (
        "证明",
        "推导",
        "论证",
        "导出",
        "導出",
        "論証",
        "비교",
        "比較",
        "證明",
        "分析",
        "比较",
        "为什么",
        "証明",
        "なぜ",
        "分析し",
        "증명",
        "분석",
        "왜",
    ),
    "maths": ("计算", "求解", "方程", "概率", "計算", "方程式", "確率", "계산", "방정식", "확률"),
    "code": (
        "代码",
        "函数",
        "算法",
        "数据库",
        "实现",
        "复杂度",
        "実装",
        "計算量",
        "구현",
        "복잡도",
        "コード",
        "関数",
        "アルゴリズム",
        "코드",
        "함수",
        "알고리즘",
    ),
    "design": ("设计", "架构", "方案", "設計", "戦略", "설계", "전략"),
    "constraints": ("必须", "不超过", "至少", "必ず", "以内", "반드시", "이내"),
}
"""Scripts written without spaces between words: looked for as substrings."""

GROUPS = {
    "reasoning": frozenset(REASONING),
    "maths": frozenset(MATHS),
    "code": frozenset(CODE),
    "design": frozenset(DESIGN),
    "constraints": frozenset(CONSTRAINTS),
    "simple": frozenset(SIMPLE),
}
DEMANDING = GROUPS["reasoning"] | GROUPS["code"] | GROUPS["design"] | GROUPS["constraints"]
"""Words that demand something of whoever answers."""
ROUTINE = frozenset(
    _words(
        """translate translated summarise summarize summary rephrase rewrite proofread extract classify
        shorten shorter simplify reply categorise categorize label paraphrase tldr tl correct spelling grammar
        tidy
        übersetze übersetzen fasse zusammen zusammenfassen korrigiere kürze formuliere
        traduis traduire traduisez résume résumer résumez corrige corriger corrigez raccourcis
        traduce traducir resume resumir corregir acorta traduci tradurre riassumi riassumere correggi
        traduza traduzir resuma resumir corrija vertaal samenvatten
        переведи перевести кратко перескажи исправь"""
    )
)
"""Operations on a text that is given, whatever it is about."""
