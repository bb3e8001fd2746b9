"""The way to a grade: each step is taken only if those before it left something open."""

import numpy as np

from farthing.grading.cache import open_cache
from farthing.grading.judge import Judge
from farthing.grading.outcomes import Book, RetryWatch
from farthing.grading.pipeline import Pipeline
from farthing.grading.task import task_from


class Cuts:
    def __init__(self, high):
        self.high = high

    def name(self, score):
        return "HIGH" if score >= self.high else "MEDIUM" if score >= 0.3 else "LOW"


class Assessment:
    def __init__(self, score, unsure, vector):
        self.score, self.unsure, self.reason, self.vector = score, unsure, "learned: length", vector


class Learned:
    """Stands for the learned grader: the score is in the text, unsure if the text says so."""

    version = "1"

    def __init__(self):
        self.assessed = 0

    def cuts(self, quality):
        return Cuts(high=1.6 - quality)

    def assess(self, task, cuts=None):
        self.assessed += 1
        words = task.ask.split()
        vector = np.zeros(256, dtype=np.float32)
        vector[len(words) % 256] = 1
        score = float(words[0].removeprefix("d")) + 0.3 * task.ask.count("please please")
        return Assessment(score, "unsure" in task.ask, vector)


class Asked:
    """Stands for the judge's model."""

    def __init__(self, answer):
        self.answer, self.requests = answer, []

    async def __call__(self, request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def task(text, **more):
    return task_from({"messages": [{"role": "user", "content": text}], **more})


def pipeline(**parts):
    learned = Learned()
    parts.setdefault("cache", open_cache(100, 60.0))
    return learned, Pipeline(learned, **parts)


SURE, UNSURE = "d0.1 translate this", "d0.5 unsure about this"


async def test_a_repeat_is_remembered_and_says_so():
    learned, grader = pipeline()
    first = await grader.grade(task(SURE), "ada", 0.99)
    again = await grader.grade(task(SURE.upper()), "ada", 0.99)
    assert (first.grade.source, first.layer) == ("learned", "miss")
    assert (again.grade.source, again.layer) == ("cache", "exact")
    assert (again.grade.grade, again.grade.score) == (first.grade.grade, first.grade.score)
    assert again.intent == first.intent
    assert learned.assessed == 1


async def test_another_account_or_dial_starts_afresh():
    learned, grader = pipeline()
    for scope, quality in (("ada", 0.99), ("grace", 0.99), ("ada", 0.9)):
        assert (await grader.grade(task(SURE), scope, quality)).layer == "miss"
    assert learned.assessed == 3


async def test_the_dial_moves_the_cuts():
    _, grader = pipeline()
    assert (await grader.grade(task("d0.65 and so on"), "ada", 0.99)).grade.grade == "HIGH"
    assert (await grader.grade(task("d0.65 and so on"), "ada", 0.8)).grade.grade == "MEDIUM"


async def test_the_judge_is_asked_only_where_the_score_is_unsure():
    ask = Asked('{"grade": "HIGH"}')
    _, grader = pipeline(judge=Judge())
    sure = await grader.grade(task(SURE), "ada", 0.99, ask)
    assert (sure.grade.source, ask.requests) == ("learned", [])
    unsure = await grader.grade(task(UNSURE), "ada", 0.99, ask)
    assert (unsure.grade.grade, unsure.grade.source, len(ask.requests)) == ("HIGH", "judge", 1)
    again = await grader.grade(task(UNSURE), "ada", 0.99, ask)
    assert (again.grade.grade, again.layer, len(ask.requests)) == ("HIGH", "exact", 1)
    assert again.saved_s >= 0


async def test_a_judge_that_fails_leaves_the_score_standing_and_is_asked_again():
    ask = Asked(RuntimeError("down"))
    _, grader = pipeline(judge=Judge())
    for calls in (1, 2):
        decision = await grader.grade(task(UNSURE), "ada", 0.99, ask)
        assert (decision.grade.source, decision.judge_failure) == ("learned", "error")
        assert len(ask.requests) == calls


async def test_a_judge_may_move_by_one_tier_unless_it_judges_always():
    ask = Asked('{"grade": "HIGH"}')
    _, grader = pipeline(judge=Judge())
    low = "d0.1 unsure"
    assert (await grader.grade(task(low), "ada", 0.99, ask)).grade.grade == "MEDIUM"
    _, always = pipeline(judge=Judge(), judge_always=True)
    assert (await always.grade(task(SURE), "ada", 0.99, ask)).grade.grade == "HIGH"


async def test_without_anybody_to_ask_an_unsure_score_is_not_remembered():
    ask = Asked('{"grade": "HIGH"}')
    _, grader = pipeline(judge=Judge())
    assert (await grader.grade(task(UNSURE), "ada", 0.99)).grade.source == "learned"
    # So that the call which may ask the judge still does.
    assert (await grader.grade(task(UNSURE), "ada", 0.99, ask)).grade.source == "judge"


async def test_outcomes_shift_a_remembered_grade_for_their_own_account_alone():
    book = Book()
    _, grader = pipeline(outcomes=book)
    first = await grader.grade(task(SURE), "ada", 0.99)
    for _ in range(3):
        book.record("ada", first.intent, "LOW", "check", False)
    shifted = await grader.grade(task(SURE), "ada", 0.99)
    assert (shifted.grade.grade, shifted.grade.source, shifted.layer) == ("MEDIUM", "outcome", "exact")
    assert (await grader.grade(task(SURE), "grace", 0.99)).grade.grade == "LOW"


async def test_asking_the_same_again_and_again_moves_the_intent_up(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("farthing.grading.pipeline.time.monotonic", lambda: now[0])
    _, grader = pipeline(outcomes=Book(), retries=RetryWatch())
    grades = []
    for _ in range(6):
        grades.append((await grader.grade(task(SURE), "ada", 0.99, session_id="s")).grade.grade)
        now[0] += 20
    assert grades[0] == "LOW"
    assert grades[-1] == "MEDIUM"


async def test_a_pipeline_without_memory_still_grades():
    _, grader = pipeline(cache=None)
    decision = await grader.grade(task(SURE), "ada", 0.99)
    assert (decision.layer, decision.grade.grade) == ("", "LOW")


async def test_a_near_intent_saves_the_judge_but_only_if_its_score_is_near_too():
    ask = Asked('{"grade": "HIGH"}')
    _, grader = pipeline(judge=Judge())
    await grader.grade(task("d0.5 unsure please translate this letter"), "ada", 0.99, ask)
    near = await grader.grade(task("d0.5 unsure translate please this letter"), "ada", 0.99, ask)
    assert (near.layer, near.grade.grade, len(ask.requests)) == ("near", "HIGH", 1)
    far = await grader.grade(task("d0.5 unsure please please translate this letter"), "ada", 0.99, ask)
    assert (far.layer, len(ask.requests)) == ("miss", 2)
