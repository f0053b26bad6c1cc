"""What limits a classifier: classes that are missed, and labels that confident answers contradict."""

from __future__ import annotations

from pixelwise.data.listing import counted, some
from pixelwise.report.limits import Limit, rounded_percent
from pixelwise.tasks.base import Evaluation, Outcome
from pixelwise.tasks.classify.scores import PictureAnswer
from pixelwise.tasks.limits import absent_classes, label_file, missed_classes

SURE = 0.95
"""Probability from which an answer is confident."""
TRUSTED = 0.95
"""Share of the confident answers that have to be right for the others to cast doubt on labels."""
MOST_FILES = 5


def classify_limits(outcome: Outcome) -> list[Limit]:
    """All findings; see the functions below and `tasks.limits` for their thresholds."""
    confusion, pictures = outcome.validation.scores.confusion, outcome.facts.class_pixels
    missed = missed_classes(confusion, pictures, ("picture", "pictures"))
    disputed = disputed_limit(outcome)
    return [*missed, *([] if disputed is None else [disputed]), *absent_classes(confusion, pictures)]


def disputed_limit(outcome: Outcome) -> Limit | None:
    """Pictures of which another class than the label's has a probability of 0.95 or more, at most five, the surest
    first; only where 95 % of all answers that confident are right."""
    both = [outcome.validation, *([] if outcome.training is None else [outcome.training])]
    sure = [(answer, each) for each in both for answer in each.scores.pictures if answer.probabilities.max() >= SURE]
    wrong = [pair for pair in sure if not pair[0].right]
    if not wrong or len(wrong) > (1 - TRUSTED) * len(sure):
        return None
    contradicted = len(wrong)
    wrong = sorted(wrong, key=lambda pair: -float(pair[0].probabilities.max()))[:MOST_FILES]
    names = outcome.facts.class_names
    files = [_file(answer, each) for answer, each in wrong]
    described = [
        f"{file} ({names[answer.truth]} -> {names[int(answer.probabilities.argmax())]})"
        for file, (answer, _) in zip(files, wrong, strict=True)
    ]
    return Limit(
        "disputed-labels",
        f"{counted(contradicted, 'label', 'labels')} contradicted by answers of a probability of 0.95 or more, of "
        f"which {rounded_percent(1 - contradicted / len(sure))} are right: {some(described, 3)}.",
        "Look at them: where the label is wrong, fix it; where it is right, label more pictures of that kind.",
        files=tuple(files),
    )


def _file(answer: PictureAnswer, evaluation: Evaluation) -> str:
    record = next(each for each in evaluation.dataset.split(evaluation.split) if each.name == answer.name)
    return label_file(evaluation.dataset, record)
