"""What limits a classifier: missed classes, and labels that contradict confident predictions."""

from __future__ import annotations

from pixelwise.data.listing import counted, some
from pixelwise.report.limits import Limit, rounded_percent
from pixelwise.tasks.classify.scores import PictureAnswer
from pixelwise.tasks.evaluation import Evaluation, Outcome
from pixelwise.tasks.limits import absent_classes, label_file, missed_classes

SURE = 0.95
"""Probability from which on a prediction is confident."""
TRUSTED = 0.95
"""Share of confident predictions that must be right before the others cast doubt on labels."""
MAX_FILES = 5


def classify_limits(outcome: Outcome) -> list[Limit]:
    """All findings; the functions below and `tasks.limits` define their thresholds."""
    confusion, pictures = outcome.validation.scores.confusion, outcome.facts.class_pixels
    missed = missed_classes(confusion, pictures, ("picture", "pictures"))
    disputed = disputed_limit(outcome)
    return [*missed, *([] if disputed is None else [disputed]), *absent_classes(confusion, pictures)]


def disputed_limit(outcome: Outcome) -> Limit | None:
    """Pictures for which a class other than the label's has a probability of 0.95 or more.

    At most five are named, in descending order of probability. There is a finding only if 95 % of all predictions with
    such a probability are right.
    """
    both = [outcome.validation, *([] if outcome.training is None else [outcome.training])]
    sure = [(answer, each) for each in both for answer in each.scores.pictures if answer.probabilities.max() >= SURE]
    wrong = [pair for pair in sure if not pair[0].right]
    if not wrong or len(wrong) > (1 - TRUSTED) * len(sure):
        return None
    contradicted = len(wrong)
    wrong = sorted(wrong, key=lambda pair: -float(pair[0].probabilities.max()))[:MAX_FILES]
    names = outcome.facts.class_names
    files = [_file(answer, each) for answer, each in wrong]
    described = [
        f"{file} ({names[answer.truth]} -> {names[int(answer.probabilities.argmax())]})"
        for file, (answer, _) in zip(files, wrong, strict=True)
    ]
    return Limit(
        "disputed-labels",
        f"{counted(contradicted, 'label', 'labels')} contradicted by predictions with a probability of 0.95 or more, "
        f"of which {rounded_percent(1 - contradicted / len(sure))} are right: {some(described, 3)}.",
        "Look at them: if a label is wrong, fix it; if it is right, label more pictures of that kind.",
        files=tuple(files),
    )


def _file(answer: PictureAnswer, evaluation: Evaluation) -> str:
    record = next(each for each in evaluation.dataset.split(evaluation.split) if each.name == answer.name)
    return label_file(evaluation.dataset, record)
