"""Recipes: what to train and how, as a TOML file with nine tables, each key known by name and type.

A recipe is found by name in the package's `recipes/` folder or by path. Any key may be overridden, by its full name
(`optimiser.learning_rate`) or, where it is the only one of that name, by its last part (`epochs`; the keys of
[second_view] always in full); hyphens count as underscores.
"""

import dataclasses
import difflib
import math
import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vitrine.errors import RecipeError


@dataclass(frozen=True)
class DataTable:
    """name: "fashion-mnist", "drawn", or the path of a folder of pictures or of a CSV of their files and labels; "":
    to be named on the command line (--data). limit: train on the first so many images only (0: all), some of which are
    held out; with model.name "photo", on so many, chosen by seed, of each folder its share, beside those held out,
    which are the same whatever the limit. validation: share of the training images held out, 0 < share < 1. split:
    "random" (by class, by seed) or "last" (the last share, as Keras does). leave_out: numbers of classes whose images
    are not used at all, to measure retrieval on classes never seen. size: side of the square image, pixels. normalise:
    "standard" (mean 0, sd 1 over the training images) or "unit" (pixels / 255). beside (model.name "photo" only): a
    data set that photos are learnt together with; its classes are those of the model. kept (likewise): the side at
    which photos are kept to cut views out of, 0: size. middle (likewise): the share of each side of a photo that the
    model is asked about, see `ImageSpec.middle`.
    """

    name: str = "fashion-mnist"
    limit: int = 0
    validation: float = 0.1
    split: Literal["random", "last"] = "random"
    leave_out: tuple[int, ...] = ()
    size: int = 28
    normalise: Literal["standard", "unit"] = "standard"
    beside: Literal["", "fashion-mnist"] = ""
    kept: int = 0
    middle: float = 1.0


@dataclass(frozen=True)
class ModelTable:
    """name: "mlp", "compact", "resnet50", "keras-resnet50", or "photo" for photos in colour (training/photo/). start: a
    recipe whose run, beside this one's, gives the first weights ("": fresh ones). weights (photo only): a photo model,
    by name or path, that gives them, all but the head's. teachers (photo only): runs beside this one's of the same
    network, photos and seed, from whose mean answer the net learns, too. embedding: size of the features that the head
    classifies (compact only). widths, blocks: channels and residual blocks of each stage.
    dropout: share of embedding values set to 0 in training before the head. initialisation: "torch" (its defaults),
    "glorot" (Keras's: Glorot uniform, biases 0). stride (resnet50 only): how many times its stem makes the image
    smaller, 1, 2 or 4.
    denoise (compact only): the classifier sees noisy images filtered (`models.Denoise`).

    looks: size of the vector of looks; 0: the embedding is the feature vector. With looks (compact only), the embedding
    is made of the class probabilities, that vector, and one of shape (`models.NetworkWithLooks`): looks_widths and
    looks_blocks are the channels and residual blocks of the stages of the branch for looks, looks_channels how many
    channels are left at its end; shape_channels and shape_places how many principal components of the last map's
    channels and places the shape has (0 channels: there is no shape), shape_picture the part of it that the picture
    averaged over 4x4 pixels has; looks_weight the weight of looks and shape beside the class, shape_share the part of
    it that the shape has, sharpness what the logits are multiplied by.
    """

    name: Literal["mlp", "compact", "resnet50", "keras-resnet50", "photo"] = "compact"
    start: str = ""
    weights: str = ""
    teachers: tuple[str, ...] = ()
    frozen: bool = False
    embedding: int = 128
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: tuple[int, ...] = (1, 2, 3)
    dropout: float = 0.0
    initialisation: Literal["torch", "glorot"] = "torch"
    stride: int = 1
    denoise: bool = False
    looks: int = 0
    looks_widths: tuple[int, ...] = (16, 32)
    looks_blocks: tuple[int, ...] = (1, 0)
    looks_channels: int = 8
    looks_weight: float = 0.1
    looks_share: float = 0.5
    kind: int = 48
    half: bool = False
    shape_channels: int = 0
    shape_places: int = 24
    shape_picture: float = 0.0
    shape_share: float = 0.5
    sharpness: float = 1.0


@dataclass(frozen=True)
class LossTable:
    """cross_entropy: weight of the classifier's cross-entropy; at 0 the classifier learns alone on top of an
    encoder that the metric loss trains (a linear probe). second_view: the share of the images whose class is learnt
    from their second view and not from their first; at 0 the second is for the metric loss alone. label_smoothing:
    Szegedy et al. 2016, 0 <= share < 1. metric: the loss on the embedding ("none", or one of losses.py), weight: its
    weight. positives: which images belong together, "class" or "image" (the views of one image only). temperature
    (supcon), margin (contrastive, triplet, cosface), scale (cosface): the loss's own number, 0: its usual value.
    taught: the share of the loss that comes from model.teachers.
    """

    cross_entropy: float = 1.0
    second_view: float = 0.0
    label_smoothing: float = 0.0
    metric: Literal["none", "report-a", "contrastive", "triplet", "supcon", "cosface"] = "none"
    weight: float = 1.0
    positives: Literal["class", "image"] = "class"
    temperature: float = 0.0
    margin: float = 0.0
    scale: float = 0.0
    taught: float = 0.0


@dataclass(frozen=True)
class SamplerTable:
    """name: "shuffled" (every image once an epoch), "pairs" (half of the pairs of one class, half of two) or
    "per-class" (per_class images of each class in the batch). steps: batches an epoch for the last two (0: as many as
    shuffling would give).
    """

    name: Literal["shuffled", "pairs", "per-class"] = "shuffled"
    per_class: int = 4
    steps: int = 0


@dataclass(frozen=True)
class OptimiserTable:
    """name: "sgd" (with Nesterov momentum where momentum > 0), "adam", "adamw", "muon". weight_decay spares biases and
    batch norms.
    """

    name: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4


@dataclass(frozen=True)
class ScheduleTable:
    """name: "constant", "cosine" (to 0, after a linear warm-up), "one-cycle" (linear up, then linear down to 0).
    warmup: share of all steps that the rate rises.
    """

    name: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    warmup: float = 0.2


@dataclass(frozen=True)
class AugmentationTable:
    """How a view of an image is made. flip: mirror half of the images. translate: shift by up to so many pixels each
    way. rotate: turn by up to so many degrees each way. crop: show a window whose side is up to this share smaller.
    brightness: multiply by up to this share more or less. hole: side in pixels of a black square. noise: sd of normal
    noise, where white is 1. erase: share of images that lose a rectangle to noise (Zhong et al. 2017, random erasing; 2
    to 33 % of the area).
    """

    flip: bool = False
    translate: int = 0
    rotate: float = 0.0
    crop: float = 0.0
    brightness: float = 0.0
    hole: int = 0
    noise: float = 0.0
    erase: float = 0.0


@dataclass(frozen=True)
class PhotographTable:
    """How photos are learnt (model.name "photo"). size: side in pixels that the net learns at. A view of a photo is a
    window of `least` to all of its area, its sides' ratio changed by up to the factor `stretch`, turned by up to `turn`
    degrees, mirrored in the share `mirrored`; its light changes by up to `light`; shares of views are `colourless`,
    `blurred`, have a part erased (`erase`), or a part of another photo in them (`mix`). Each batch has so many
    `garments` of the data set beside, the share `plain` of them as they are, the others on grounds, and so many
    pictures by code that show `nothing`. For the share `early` of all epochs, the side is early_size and the garments
    are early_garments; for the share `late`, at the end, the side is late_size.
    """

    size: int = 96
    least: float = 0.3
    stretch: float = 1.33
    turn: float = 12.0
    mirrored: float = 0.5
    light: float = 0.4
    colourless: float = 0.1
    blurred: float = 0.15
    erase: float = 0.25
    mix: float = 0.5
    garments: int = 24
    plain: float = 0.5
    nothing: int = 4
    early: float = 0.4
    early_size: int = 64
    early_garments: int = 64
    late: float = 0.0
    late_size: int = 128


@dataclass(frozen=True)
class TrainingTable:
    """views: 1, or 2 of each image of the batch, the second made as [second_view] says. ema: decay per step of the
    exponential moving average of the weights that is evaluated and exported (0: none). precision: "bf16" autocast,
    "fp32", or "auto" (bf16 where the processor computes in it). mirror: the model file averages its answer over the
    image and its mirror image.
    """

    epochs: int = 30
    batch_size: int = 128
    views: int = 1
    seed: int = 0
    ema: float = 0.0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    mirror: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training gives. name: the file's stem. classes: what the folders of photos mean,
    folder -> class names; an empty list: none of the classes. A folder that is not named means itself.
    """

    name: str
    data: DataTable = field(default_factory=DataTable)
    model: ModelTable = field(default_factory=ModelTable)
    loss: LossTable = field(default_factory=LossTable)
    sampler: SamplerTable = field(default_factory=SamplerTable)
    optimiser: OptimiserTable = field(default_factory=OptimiserTable)
    schedule: ScheduleTable = field(default_factory=ScheduleTable)
    augmentation: AugmentationTable = field(default_factory=AugmentationTable)
    second_view: AugmentationTable = field(default_factory=AugmentationTable)
    training: TrainingTable = field(default_factory=TrainingTable)
    photograph: PhotographTable = field(default_factory=PhotographTable)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


TABLES: dict[str, type] = {
    "data": DataTable,
    "model": ModelTable,
    "loss": LossTable,
    "sampler": SamplerTable,
    "optimiser": OptimiserTable,
    "schedule": ScheduleTable,
    "augmentation": AugmentationTable,
    "second_view": AugmentationTable,
    "training": TrainingTable,
    "photograph": PhotographTable,
}

_TYPES = {table: get_type_hints(kind) for table, kind in TABLES.items()}
KEYS = tuple(f"{table}.{key}" for table in TABLES for key in _TYPES[table])

# (least, most): what a number may be; both ends allowed
_RANGES: dict[str, tuple[float, float]] = {
    "data.limit": (0, 10**9),
    "data.validation": (0.001, 0.9),
    "data.leave_out": (0, 4095),
    "data.size": (8, 512),
    "data.kept": (0, 512),
    "data.middle": (0.5, 1),
    "model.embedding": (2, 4096),
    "model.widths": (1, 4096),
    "model.blocks": (1, 4096),
    "model.dropout": (0, 0.95),
    "model.stride": (1, 4),
    "model.looks": (0, 4096),
    "model.looks_widths": (1, 4096),
    "model.looks_blocks": (0, 4096),
    "model.looks_channels": (1, 4096),
    "model.looks_weight": (0.001, 1000),
    "model.looks_share": (0, 1),
    "model.kind": (1, 4096),
    "model.shape_channels": (0, 4096),
    "model.shape_places": (1, 4096),
    "model.shape_picture": (0, 0.99),
    "model.shape_share": (0, 1),
    "model.sharpness": (0.01, 100),
    "loss.cross_entropy": (0, 1000),
    "loss.second_view": (0, 1),
    "loss.label_smoothing": (0, 0.95),
    "loss.weight": (0, 1000),
    "loss.temperature": (0, 100),
    "loss.margin": (0, 100),
    "loss.scale": (0, 1000),
    "sampler.per_class": (2, 65_536),
    "sampler.steps": (0, 100_000),
    "optimiser.learning_rate": (1e-9, 100),
    "optimiser.momentum": (0, 0.9999),
    "optimiser.weight_decay": (0, 10),
    "loss.taught": (0, 1),
    "schedule.warmup": (0, 0.9),
    "training.epochs": (1, 100_000),
    "training.batch_size": (2, 65_536),
    "training.views": (1, 2),
    "training.seed": (0, 2**31 - 1),
    "training.ema": (0, 0.99999),
    "photograph.size": (32, 512),
    "photograph.early_size": (32, 512),
    "photograph.late_size": (32, 512),
    "photograph.least": (0.01, 1),
    "photograph.stretch": (1, 4),
    "photograph.turn": (0, 180),
    "photograph.garments": (0, 65_536),
    "photograph.early_garments": (0, 65_536),
    "photograph.nothing": (0, 65_536),
    **{
        f"photograph.{key}": (0, 1)
        for key in ("mirrored", "light", "colourless", "blurred", "erase", "mix", "plain", "early", "late")
    },
    **{
        f"{table}.{key}": ends
        for table in ("augmentation", "second_view")
        for key, ends in {
            "translate": (0, 64),
            "rotate": (0, 180),
            "crop": (0, 0.9),
            "brightness": (0, 1),
            "hole": (0, 512),
            "noise": (0, 1),
            "erase": (0, 1),
        }.items()
    },
}


def names() -> list[str]:
    """The recipes that come with vitrine."""
    folder = resources.files("vitrine.training") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(name_or_path: str, overrides: dict[str, str] | None = None) -> Recipe:
    """Read a recipe and apply overrides, whose values are written as in TOML (a bare word counts as a string).

    Raises RecipeError: not found, not TOML, an unknown key, a wrong type, a value out of range.
    """
    name, text = _text(name_or_path)
    try:
        tables = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError is one, and so is a number of thousands of digits
        raise RecipeError(f"The recipe {name_or_path} is not valid TOML: {error}.") from error
    values: dict[str, Any] = {}
    classes = _classes(tables.pop("classes", {}), name_or_path)
    for table, entries in tables.items():
        if table not in TABLES or not isinstance(entries, dict):
            raise RecipeError(
                f"The recipe {name_or_path} has an unknown table [{table}]; {_nearest(table, (*TABLES, 'classes'))}."
            )
        for key, value in entries.items():
            values[_full_key(f"{table}.{key}", f"The recipe {name_or_path}")] = value
    for key, written in (overrides or {}).items():
        values[_full_key(key, "The command line")] = _parse(written)
    return _build(name, values, classes)


def _classes(entries: Any, name: str) -> dict[str, tuple[str, ...]]:
    """The table [classes]. Raises RecipeError."""
    if not isinstance(entries, dict) or not all(
        isinstance(names, list) and all(type(each) is str and each for each in names) for names in entries.values()
    ):
        raise RecipeError(
            f"The recipe {name} has a table [classes] that is not folder = [names of classes], such as shoes ="
            ' ["Sandal", "Sneaker"].'
        )
    return {folder: tuple(names) for folder, names in entries.items()}


def _text(name_or_path: str) -> tuple[str, str]:
    """The recipe's name and its TOML."""
    path = Path(name_or_path)
    if path.suffix == ".toml" or "/" in name_or_path:
        try:
            return path.stem, path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise RecipeError(
                f"The recipe {path} cannot be read ({reason}); name a TOML file or one of: {', '.join(names())}."
            ) from error
    if name_or_path not in names():
        raise RecipeError(
            f"There is no recipe {name_or_path!r}; {_nearest(name_or_path, tuple(names()))}, or a path that ends in"
            " .toml."
        )
    return name_or_path, (resources.files("vitrine.training") / "recipes" / f"{name_or_path}.toml").read_text(
        encoding="utf-8"
    )


def _nearest(wrong: str, right: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(wrong, right, n=1, cutoff=0.5)
    listed = f"known are {', '.join(right)}"
    return f"did you mean {close[0]!r}? ({listed})" if close else listed


def _full_key(key: str, where: str) -> str:
    """`key` with its table. Raises RecipeError for an unknown or ambiguous one."""
    wanted = key.replace("-", "_")
    if wanted in KEYS:
        return wanted
    ending = [full for full in KEYS if full.split(".")[1] == wanted and not full.startswith("second_view.")]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise RecipeError(f"{where} has a key {key!r} that could be {' or '.join(ending)}; write it in full.")
    close = difflib.get_close_matches(
        wanted, KEYS if "." in wanted else tuple(full.split(".")[1] for full in KEYS), n=1, cutoff=0.4
    )
    hint = f"did you mean {close[0]!r}?" if close else f"known keys are {', '.join(KEYS)}."
    raise RecipeError(f"{where} has an unknown key {key!r}; {hint}")


def _parse(written: str) -> Any:
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except ValueError:
        # TOML wants digits on both sides of the point
        number = re.fullmatch(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", written)
        return float(written) if number else written


def _build(name: str, values: dict[str, Any], classes: dict[str, tuple[str, ...]]) -> Recipe:
    tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for full, value in values.items():
        table, key = full.split(".")
        tables[table][key] = _typed(full, value, _TYPES[table][key])
    recipe = dataclasses.replace(
        Recipe(name, *(kind(**tables[table]) for table, kind in TABLES.items())), classes=classes
    )
    _check_together(recipe)
    return recipe


def _check_together(recipe: Recipe) -> None:
    """Raises RecipeError for keys that contradict each other."""
    for wrong, sentence in (*_loss_faults(recipe), *_model_faults(recipe)):
        if wrong:
            raise RecipeError(sentence)


Faults = list[tuple[bool, str]]


def _loss_faults(recipe: Recipe) -> Faults:
    """What may be wrong with loss and sampler, and what to say then."""
    loss, sampler, training = recipe.loss, recipe.sampler, recipe.training
    return [
        (
            loss.cross_entropy == 0 and loss.metric == "none",
            "loss.cross_entropy is 0 and loss.metric is 'none'; nothing would be learnt: set one of them.",
        ),
        (
            loss.metric == "report-a" and (sampler.name != "pairs" or training.views != 1),
            "loss.metric 'report-a' compares the two halves of a batch; it needs sampler.name 'pairs' (now"
            f" {sampler.name!r}) and training.views 1 (now {training.views}).",
        ),
        (
            loss.metric == "report-a" and training.ema > 0 and not recipe.model.frozen,
            f"loss.metric 'report-a' learns a head that fits the net of the last step, not an average; training.ema is"
            f" {training.ema:g}: set it to 0.",
        ),
        (
            loss.positives == "image" and (training.views != 2 or loss.metric in ("report-a", "cosface")),
            "loss.positives 'image' needs training.views 2 and loss.metric 'contrastive', 'triplet' or 'supcon'; now"
            f" {training.views} and {loss.metric!r}.",
        ),
        (
            loss.second_view > 0 and training.views != 2,
            f"loss.second_view is {loss.second_view:g}, and there is no second view; set training.views to 2, or it to"
            " 0.",
        ),
        (
            training.views == 2 and loss.metric == "none" and loss.second_view == 0,
            "training.views is 2, and nothing learns from the second: set it to 1, or set loss.metric or"
            " loss.second_view.",
        ),
        (
            sampler.name == "pairs" and training.batch_size % 4 != 0,
            "sampler.name 'pairs' makes half of the pairs of one class and half of two; training.batch_size must be a"
            f" multiple of 4, it is {training.batch_size}.",
        ),
        (
            sampler.name == "per-class" and training.batch_size < 2 * sampler.per_class,
            f"sampler.per_class is {sampler.per_class}, and training.batch_size {training.batch_size} has no room for"
            " so many of two classes; take fewer, or a larger batch.",
        ),
    ]


def _model_faults(recipe: Recipe) -> Faults:
    """What may be wrong with the network, and what to say then."""
    model, loss = recipe.model, recipe.loss
    stages = len(model.widths)
    side = -(-recipe.data.size // 2 ** (stages - 1))  # of the last map: each stage after the first halves it
    return [
        (
            len(model.blocks) != stages,
            f"model.widths has {stages} stages and model.blocks {len(model.blocks)}; they must be as many.",
        ),
        (
            (
                recipe.data.beside != ""
                or recipe.data.kept > 0
                or recipe.data.middle < 1
                or bool(model.weights)
                or model.half
                or bool(recipe.classes)
            )
            and model.name != "photo",
            "data.beside, data.kept, data.middle, model.weights, model.half, [classes] are for model.name 'photo'; it"
            f" is {model.name!r}.",
        ),
        (
            recipe.data.middle < 1 and recipe.data.kept <= recipe.data.size,
            f"data.middle {recipe.data.middle:g} is cut out of photos that are kept larger; raise data.kept"
            f" ({recipe.data.kept}) above data.size ({recipe.data.size}), or set data.middle to 1.",
        ),
        (
            model.name == "photo" and (recipe.data.size < 32 or not model.looks),
            "model.name 'photo' wants data.size 32 or more and model.looks above 0; they are"
            f" {recipe.data.size} and {model.looks}.",
        ),
        (
            bool(model.start) and bool(model.weights),
            f"model.start is {model.start!r} and model.weights {model.weights!r}; the first weights can come from one"
            " only: leave the other empty.",
        ),
        (
            bool(model.teachers) != (loss.taught > 0) or (bool(model.teachers) and model.name != "photo"),
            "model.teachers and loss.taught belong together, and are for model.name 'photo'; they are"
            f" {list(model.teachers)} and {loss.taught:g}, for {model.name!r}.",
        ),
        (
            any(name in ("", ".", "..") or "/" in name or "\\" in name for name in model.teachers),
            f"model.teachers is {list(model.teachers)}; each must be the name of a run's folder that lies beside this"
            " run's.",
        ),
        (
            model.frozen and (not model.start or loss.metric != "report-a"),
            "model.frozen leaves report A's head alone to learn; it needs model.start and loss.metric 'report-a', now"
            f" {model.start!r} and {loss.metric!r}.",
        ),
        (
            model.start in (".", "..") or "/" in model.start or "\\" in model.start,
            f"model.start is {model.start!r}; it must be the name of a run's folder that lies beside this run's.",
        ),
        (
            len(model.looks_blocks) != len(model.looks_widths),
            f"model.looks_widths has {len(model.looks_widths)} stages and model.looks_blocks"
            f" {len(model.looks_blocks)}; they must be as many.",
        ),
        (
            model.denoise and model.name != "compact",
            f"model.denoise is for model.name 'compact'; this is {model.name!r}: set it to false, or change the name.",
        ),
        (
            model.denoise and recipe.data.size < 24,
            f"model.denoise needs data.size 24 or more: in smaller images no place is calm; it is {recipe.data.size}.",
        ),
        (
            model.looks > 0 and model.name not in ("compact", "photo"),
            f"model.looks is for model.name 'compact' or 'photo'; this is {model.name!r}: set model.looks to 0, or"
            " change it.",
        ),
        (
            model.looks > 0
            and model.name == "compact"
            and (loss.metric in ("none", "report-a") or loss.cross_entropy == 0),
            "model.looks are learnt by a metric loss beside cross-entropy; loss.metric is"
            f" {loss.metric!r} and loss.cross_entropy {loss.cross_entropy:g}: change them, or set model.looks to 0.",
        ),
        (
            model.shape_channels > 0 and model.looks == 0,
            f"model.shape_channels ({model.shape_channels}) stands beside model.looks, which is 0; set both, or"
            " neither.",
        ),
        (
            model.shape_channels > model.widths[-1] or (model.shape_channels > 0 and model.shape_places > side * side),
            f"The last map has {model.widths[-1]} channels and {side * side} places; model.shape_channels is"
            f" {model.shape_channels} and model.shape_places {model.shape_places}: take fewer.",
        ),
        (
            model.stride not in (1, 2, 4) or (model.stride > 1 and model.name != "resnet50"),
            f"model.stride is {model.stride}, model.name {model.name!r}; allowed are 1, and 2 or 4 for 'resnet50'.",
        ),
        (
            model.name == "keras-resnet50" and recipe.data.size < 32,
            f"model.name 'keras-resnet50' wants data.size 32 or more; it is {recipe.data.size}.",
        ),
    ]


def _typed(key: str, value: Any, kind: Any) -> Any:
    """`value` as the key's type, or RecipeError."""
    least, most = _RANGES.get(key, (float("-inf"), float("inf")))
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise RecipeError(f"{key} is {value!r}; allowed are {', '.join(map(repr, get_args(kind)))}.")
        return value
    if kind == tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(type(item) is str for item in value):
            raise RecipeError(f"{key} is {value!r}; it must be a list of texts, such as ['one', 'two'].")
        return tuple(value)
    if get_origin(kind) is tuple:
        if (
            not isinstance(value, list | tuple)
            or not (value or key == "data.leave_out")
            or not all(type(item) is int and least <= item <= most for item in value)
        ):
            raise RecipeError(
                f"{key} is {value!r}; it must be a list of whole numbers from {least:g} to {most:g}, such as [16, 32,"
                " 64]."
            )
        return tuple(value)
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**1000 else math.inf  # beyond, float() raises; no range allows it
    if type(value) is not kind:
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        raise RecipeError(f"{key} is {value!r}; it must be {wanted}.")
    if key in _RANGES and not least <= value <= most:  # false for nan, too
        raise RecipeError(f"{key} is {value}; allowed is {least} to {most}.")
    return value
