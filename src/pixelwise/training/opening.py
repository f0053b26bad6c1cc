"""Opens the data of a recipe, reads its labels once, and checks that they suit a task."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pixelwise.catalog import DEFAULT_RECIPES, system
from pixelwise.data.cache import SampleCache
from pixelwise.data.codings import KNOWLEDGE
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.formats import open_dataset
from pixelwise.data.stock import take_stock
from pixelwise.errors import UserError
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.recipe.sections import DataSection
from pixelwise.tasks.base import Task
from pixelwise.training.recipes import task_named


@dataclass(frozen=True, slots=True)
class Data:
    """Pictures and labels that were checked for a task, facts about them, and a cache of what was read so far."""

    dataset: Dataset
    facts: Fingerprint
    cache: SampleCache
    task: Task


def open_data(recipe: Recipe | PlannedRecipe) -> Data:
    """The recipe's dataset, checked for training, and facts about it. Every label is read before anything else happens.

    Raises:
        UserError: no data given, a file that cannot be used, or nothing to learn from or to measure on.
    """
    dataset = open_recipe_data(recipe)
    task = _suited_task(recipe, dataset)
    cache = task.cache(recipe, dataset)
    stock = take_stock(dataset, cache)
    task.check(dataset, stock)
    facts = replace(
        stock.facts,
        objects=stock.objects["train"] if "objects" in task.needs else None,
        values=stock.values["train"],
    )
    return Data(replace(dataset, notes=(*dataset.notes, *stock.notes)), facts, cache, task)


def _suited_task(recipe: Recipe | PlannedRecipe, dataset: Dataset) -> Task:
    """The task that the recipe names, or the first of the network's tasks that the labels suffice for.

    Raises:
        UserError: the labels suffice for none of them.
    """
    name = recipe.model.name
    tasks = system(name).tasks if recipe.task is None else (task_named(name, recipe.task),)
    for task in tasks:
        if task.needs <= dataset.knows:
            return task
    needed = " or ".join(" and ".join(KNOWLEDGE[word] for word in sorted(task.needs)) for task in tasks)
    raise UserError(
        f"{dataset.root}: the labels give {_known(dataset)}, but {name} learns from {needed}; {tasks[0].hint}."
    )


def open_recipe_data(recipe: Recipe | PlannedRecipe) -> Dataset:
    """The recipe's dataset, split according to the recipe, and arranged for the first task that it suffices for.

    Raises:
        UserError: no data given, nothing in the folder that can be read, or an impossible option of the network.
    """
    tasks = system(recipe.model.name).tasks
    layouts = tuple(layout for task in tasks for layout in task.layouts)
    dataset = _opened(recipe.data, labels=any(task.needs for task in tasks), preferred=layouts)
    suited = next((task for task in tasks if task.needs <= dataset.knows), None)
    return dataset if suited is None else suited.arranged(dataset, recipe.model.options)


def _opened(data: DataSection, *, labels: bool = True, preferred: tuple[str, ...] = ()) -> Dataset:
    if data.path is None:
        raise UserError("no data: give a folder with --data (or data.path in the recipe).")
    return open_dataset(
        data.path,
        data.layout,
        val_fraction=data.val_fraction,
        seed=data.split_seed,
        labels=labels,
        unlabelled=data.unlabelled,
        labelled=data.labelled,
        rle_order=data.rle_order,
        preferred=preferred,
    )


def _known(dataset: Dataset) -> str:
    return " and ".join(KNOWLEDGE[word] for word in sorted(dataset.knows)) or "nothing, since there are none"


def default_recipe(data: DataSection) -> str:
    """The default recipe for a dataset, chosen by its labels.

    Raises:
        UserError: no data given, nothing in the folder that can be read, or no default recipe for such labels.
    """
    dataset = _opened(data)
    for word, recipe in DEFAULT_RECIPES.items():
        if word in dataset.knows:
            return recipe
    raise UserError(
        f"{dataset.root}: the labels give {_known(dataset)}, and there is no default recipe for that; name a recipe "
        "(`pixelwise recipes` lists them)."
    )
