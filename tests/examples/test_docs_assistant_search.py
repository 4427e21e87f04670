"""From a question to what is quoted: reading, retrieving, ranking, choosing, judging, refining."""

from collections.abc import Iterator
from pydoc_data.topics import topics

import pytest

from examples.docs_assistant.corpus import Passage, read_passages
from examples.docs_assistant.index import Index
from examples.docs_assistant.question import Subject, read_question, refine
from examples.docs_assistant.quoting import choose, compress
from examples.docs_assistant.ranking import confidence_in, match_expression, rerank
from examples.docs_assistant.sources import citation
from examples.docs_assistant.words import stem, symbols


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    made = Index(read_passages(topics))
    yield made
    made.close()


def _quoted(index: Index, question: str) -> list[Passage]:
    reading = read_question(question)
    subject = reading.subjects[0]
    ranked = rerank(index.search(match_expression(subject), 60), subject, reading, index)
    return choose(ranked, subject, index)


def _shown(question: str) -> list[list[str]]:
    return [[term.shown for term in subject.terms] for subject in read_question(question).subjects]


def test_a_keyword_that_is_also_english_counts_as_code_only_where_the_question_shows_it() -> None:
    assert _shown("how does the with statement work?") == [["`with`", "statement"]]
    assert _shown("how do I do that with a class?") == [["class"]]
    assert _shown("what does `in` do?") == [["`in`"]]
    assert _shown("what is the else clause for?") == [["`else`", "clause"]]


def test_a_comparison_has_two_subjects() -> None:
    assert _shown("what is the difference between is and ==?") == [["`is`"], ["`==`"]]
    assert _shown("list vs tuple") == [["list"], ["tuple"]]
    assert _shown("how does a list differ from a tuple?") == [["list"], ["tuple"]]


def test_several_words_that_name_one_thing_are_one_term() -> None:
    assert _shown("why is a context manager useful") == [["context manager", "useful"]]


def test_names_are_recognised_however_they_are_written() -> None:
    for question in ("what does str.split do?", "what does str.split() do", "explain `str.split`"):
        assert read_question(question).names == ("str.split",), question


def test_a_question_of_small_words_has_no_terms() -> None:
    assert _shown("what is this?") == [[]]


def test_operators_and_keyword_pairs_are_symbols() -> None:
    assert symbols("yield from x") == ["kw_yield_from", "kw_yield", "kw_from"]
    assert symbols("x ** y") == ["op_" + b"**".hex()]


def test_words_of_one_family_have_one_stem_and_others_do_not() -> None:
    assert stem("evaluated") == stem("evaluation") == stem("evaluates")
    assert stem("classes") == stem("class")
    assert stem("iterator") != stem("iterable")


def test_nothing_that_is_typed_is_an_operator_of_the_query_language(index: Index) -> None:
    for question in ('" OR 1', "NEAR(a b)", "title: x AND NOT (y", "a* ^b -c", "'); DROP TABLE passages;--"):
        for subject in read_question(question).subjects:
            if subject.terms:
                index.search(match_expression(subject), 5)


def test_titles_weigh_more_than_text(index: Index) -> None:
    best = [index.passages[number].headings[-1] for number, _ in index.search('"decorator"', 60)]
    lambdas = [index.passages[number].headings[-1] for number, _ in index.search('"lambda"', 5)]

    assert "Lambdas" in lambdas[:3]
    assert "Function definitions" in best


def test_an_entry_is_found_by_each_of_its_names(index: Index) -> None:
    assert index.named("str.split") == index.named("split") == index.named("split()") != []
    assert index.named("__slots__") != []
    assert index.named("os.path.join") == []


def test_a_slip_of_the_keyboard_is_forgiven_and_another_word_is_not(index: Index) -> None:
    assert index.spelled_like("decoratr") == "decorator"
    assert index.spelled_like("bread") is None
    assert index.spelled_like("qqqqqqq") is None


@pytest.mark.parametrize(
    ("question", "source", "words"),
    [
        ("how does the with statement work?", 'help("with")', "`__exit__()` method is invoked"),
        ("what is a decorator?", 'help("def")', "wrapped by one or more *decorator* expressions"),
        ("what is yield from?", 'help("yield")', "yield from <expr>"),
        ("when are default argument values evaluated?", 'help("def")', "evaluated once, when the function is defined"),
        ("in which order do try and finally run?", 'help("try")', "clause is also executed"),
        ("what are __slots__ for?", 'help("ATTRIBUTEMETHODS")', "deny the creation of `__dict__`"),
        ("what is the operator precedence?", 'help("EXPRESSIONS")', "`**` — Exponentiation"),
        ("how does async for work?", 'help("async")', "async for TARGET in ITER:"),
        ("how does string formatting work?", 'help("STRINGMETHODS")', "replacement fields delimited by braces"),
        ("how does comparison chaining work?", 'help("COMPARISON")', "Comparisons can be chained arbitrarily"),
        ("how are names resolved?", 'help("NAMESPACES")', "resolved using the nearest enclosing scope"),
        ("what is a metaclass?", 'help("SPECIALMETHODS")', "class MyClass(metaclass=Meta):"),
        ("how do I unpack a list into variables?", 'help("ASSIGNMENT")', "to the corresponding targets"),
        ("how does the match statement work?", 'help("LOOPING")', "takes a pattern as input"),
        ("what is false in a boolean test?", 'help("BOOLEAN")', "interpreted as false: `False`, `None`"),
        ("how does slicing work?", 'help("SLICINGS")', "selects a range of items in a sequence object"),
        ("what is a descriptor?", 'help("ATTRIBUTEMETHODS")', "an object attribute with “binding behavior”"),
        ("what does str.split do?", 'help("STRINGMETHODS")', "Return a list of the words in the string"),
        ("what does raise from do?", 'help("raise")', "used for exception chaining"),
        ("what is name mangling?", 'help("PRIVATENAMES")', "it is considered a *private name* of that class"),
        ("what are soft keywords?", 'help("IDENTIFIERS")', "only reserved under specific contexts"),
        ("what does ** do in a function call?", 'help("CALLS")', "treated as additional keyword arguments"),
        ("how do I join strings?", 'help("STRINGMETHODS")', "concatenation of the strings"),
        ("why is my mutable default argument shared?", 'help("def")', "penguin.append"),
    ],
)
def test_a_real_question_is_answered_from_the_right_place(index: Index, question: str, source: str, words: str) -> None:
    quoted = _quoted(index, question)

    assert source in " ".join(citation(passage) for passage in quoted)
    assert words in " ".join(passage.text for passage in quoted)


@pytest.mark.parametrize("question", ["how do I bake bread?", "what is the capital of France?", "how do threads work?"])
def test_the_judge_is_not_convinced_by_what_is_only_mentioned(index: Index, question: str) -> None:
    confidence, _ = confidence_in(_quoted(index, question), read_question(question).subjects[0], index)

    assert confidence < 0.6


def test_the_judge_names_the_terms_that_are_missing(index: Index) -> None:
    question = "how can a context manager swallow an exception?"
    confidence, missing = confidence_in(_quoted(index, question), read_question(question).subjects[0], index)

    assert confidence < 0.6
    assert missing == ["swallow"]


def _refined(index: Index, question: str, missing: list[str]) -> Subject | None:
    return refine(read_question(question).subjects[0], missing, index.knows, index.spelled_like)


def test_refining_puts_what_is_missing_into_the_words_of_the_reference(index: Index) -> None:
    subject = read_question("what is the walrus operator?").subjects[0]
    again = _refined(index, subject.text, ["walrus"])

    assert again is not None
    assert match_expression(again) != match_expression(subject)
    assert "assignment expression" in again.shown()
    assert again.terms[1] == subject.terms[1]


def test_refining_corrects_the_spelling_when_there_are_no_other_words(index: Index) -> None:
    again = _refined(index, "how does a decoratr work?", ["decoratr"])

    assert again is not None
    assert again.shown() == "decoratr → decorator"


def test_refining_gives_up_when_there_is_nothing_left_to_try(index: Index) -> None:
    again = _refined(index, "what is the walrus operator?", ["walrus"])

    assert again is not None
    assert refine(again, [term.shown for term in again.terms], index.knows, index.spelled_like) is None
    assert _refined(index, "how do I bake bread?", ["bake", "bread"]) is None


def test_what_is_quoted_fits_into_the_room_and_repeats_nothing(index: Index) -> None:
    for question in ("what is a list?", "how does the with statement work?", "what is an object?"):
        quoted = _quoted(index, question)
        assert sum(len(passage.text) for passage in quoted) <= 2000, question
        assert len({passage.number for passage in quoted}) == len(quoted), question


def test_compressing_never_cuts_code(index: Index) -> None:
    subject = read_question("what is a descriptor?").subjects[0]
    for passage in index.passages:
        code = {block.text for block in passage.blocks if block.kind == "code" and block.depth == 0}
        left = {block.text for block in compress(passage, subject).blocks if block.kind == "code"}
        assert code <= left, passage


def test_syntax_is_quoted_only_when_it_is_asked_for(index: Index) -> None:
    assert not any(passage.kind == "grammar" for passage in _quoted(index, "what is a lambda?"))
    assert any(passage.kind == "grammar" for passage in _quoted(index, "what is the syntax of lambda?"))


def test_the_same_question_is_answered_in_the_same_way(index: Index) -> None:
    again = Index(read_passages(topics))

    for question in ("what is a decorator?", "how does slicing work?"):
        assert _quoted(index, question) == _quoted(again, question)
    again.close()
