"""A model file at work: pictures in, classes and embeddings out, by ONNX Runtime. Nothing here knows torch."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from vitrine import images, learning, metrics, modelfile, similarity, storage
from vitrine.errors import InputError, ModelFileError
from vitrine.images import Picture
from vitrine.learning import Judge, sidecar
from vitrine.modelfile import ModelCard, ModelFile
from vitrine.progress import Progress, silent
from vitrine.similarity import Measure, Similarity

Vectors = npt.NDArray[np.float32]

BATCH = 250
_BATCH_PIXELS = 2**20  # of a batch, at most, so that large pictures take no more memory: 20 of 224x224


@dataclass(frozen=True)
class Outputs:
    """logits: (n, classes) float32, (n, 0) of a model without classes. embeddings: (n, d) float32, L2-normalised."""

    logits: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float32]

    def __getitem__(self, which: npt.NDArray[np.integer] | slice) -> "Outputs":
        """The rows that an index array or a slice chooses."""
        return Outputs(self.logits[which], self.embeddings[which])


@dataclass(frozen=True)
class Prediction:
    """What one picture shows. probabilities: one per class, those learnt later last, summing to 1; where a model has
    only such, the rest is that it is none of them. label: English, see `Encoder.names` for others. known: whether it
    looks like any of the classes at all; None where the model cannot tell (see `Rejection`).
    """

    class_index: int
    label: str
    probability: float
    probabilities: tuple[float, ...]
    known: bool | None


@dataclass(frozen=True)
class Comparison:
    """How alike two pictures are. same_probability: that both show the same class, if as many pairs do as do not.
    score: the model's measure of likeness, see `Similarity`. distance: Euclidean, of the embeddings, 0 to 2; it counts
    looks and shape, too, where the embedding has them.
    """

    same_probability: float
    score: float
    distance: float


class Encoder:
    """A model that is ready to answer. Make one with `Encoder.load`."""

    def __init__(self, card: ModelCard, content: bytes, session: onnxruntime.InferenceSession) -> None:
        self.card = card
        self.content = content
        self._session = session
        self._single: Encoder | None = None

    @classmethod
    def load(cls, name_or_path: str | Path = "default") -> "Encoder":
        """The model of that name (shipped, or in the models folder), or the model file at that path.

        Raises ModelFileError: not found, not one of vitrine's, too new, damaged.
        """
        file = modelfile.read(find(name_or_path))
        return cls.from_content(file.content, file.card)

    @classmethod
    def from_content(cls, content: bytes, card: ModelCard, threads: int | None = None) -> "Encoder":
        """An encoder from a model file's bytes and its card, that runs on so many threads, one a core by default.

        Raises ModelFileError when ONNX Runtime refuses them.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = storage.cores() if threads is None else threads
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no public base
            raise ModelFileError(
                f"ONNX Runtime cannot run the model {card.name} ({str(error).splitlines()[0]}); make it anew with"
                " `vitrine train`."
            ) from error
        _check_graph(card, session)
        return cls(card, content, session)

    def on_one_thread(self) -> "Encoder":
        """The same model, for many threads at once: each call is answered on the thread that makes it."""
        if self._single is None:
            self._single = Encoder.from_content(self.content, self.card, threads=1)
            self._single.judge = self.judge
        return self._single

    @cached_property
    def judge(self) -> Judge | None:
        """Tells the classes that were learnt after the training, where there are any (`learn`, `forget`): as they were
        when somebody first asked.

        Raises ModelFileError where the file that keeps them cannot be used.
        """
        learnt = sidecar.read(self.card)
        return learning.judge(learnt) if learnt else None

    def learn(self, name: str, shown: Vectors, others: Vectors | None = None) -> None:
        """Learn a class from embeddings (k, d) of its pictures; others: (m, d) of pictures that show other things, None
        for those that were given before, or those that the model file holds.

        Raises InputError: the name cannot be or is there, fewer than two different pictures, or nothing to tell them
        from; ModelFileError as `judge`; StorageError. Then nothing is kept.
        """
        own = modelfile.read_background(ModelFile(self.card, self.content))
        self.judge = learning.judge(sidecar.learn(self.card, name, shown, others, own))

    def forget(self, name: str) -> None:
        """Forget a class that was learnt. Raises InputError where there is none of that name; ModelFileError,
        StorageError.
        """
        left = sidecar.forget(self.card, name)
        self.judge = learning.judge(left) if left.classes else None

    def run(self, batch: npt.NDArray[np.uint8], progress: Progress = silent) -> Outputs:
        """Answers for images (n, h, w, c) uint8 that already look as the model's image spec says.

        Raises InputError for other arrays, ModelFileError when the answers are not finite numbers.
        """
        classes = len(self.card.names())
        shapes = {modelfile.LOGITS: (classes,)} if classes else {}
        found = self._run({**shapes, modelfile.EMBEDDING: (self.card.embedding,)}, batch, progress)
        logits = found[modelfile.LOGITS] if classes else np.empty((len(batch), 0), np.float32)
        return Outputs(logits, found[modelfile.EMBEDDING])

    def activation(self, batch: npt.NDArray[np.uint8], progress: Progress = silent) -> npt.NDArray[np.float32]:
        """Where in each of the images (n, height, width, c) uint8 the model sees evidence for each class, and how much,
        as (n, classes, h, w) float32; h and w are the model's own and lie over the whole image.

        Raises InputError where the model does not say so, and as `run` does.
        """
        if not self.card.activation:
            raise InputError(
                f"The model {self.card.name} cannot say where it looked: it has no output {modelfile.ACTIVATION}; name"
                " one that has it."
            )
        shape = next(value.shape for value in self._session.get_outputs() if value.name == modelfile.ACTIVATION)
        return self._run({modelfile.ACTIVATION: tuple(shape[1:])}, batch, progress)[modelfile.ACTIVATION]

    def _run(
        self, shapes: dict[str, tuple[int, ...]], batch: npt.NDArray[np.uint8], progress: Progress
    ) -> dict[str, npt.NDArray[np.float32]]:
        """The outputs of these names, of these shapes for one image. Raises as `run` does."""
        if batch.ndim != 4 or batch.shape[1:] != self.card.image.shape or batch.dtype != np.uint8:
            raise InputError(
                f"The model {self.card.name} wants images (n, {', '.join(map(str, self.card.image.shape))}) uint8;"
                f" these are {batch.shape} {batch.dtype}."
            )
        n = len(batch)
        found = {name: np.empty((n, *shape), np.float32) for name, shape in shapes.items()}
        size = max(1, min(BATCH, _BATCH_PIXELS // (self.card.image.height * self.card.image.width)))
        for first in range(0, n, size):
            part = np.ascontiguousarray(batch[first : first + size])
            answers = self._session.run(list(found), {modelfile.INPUT: part})
            for whole, answer in zip(found.values(), answers, strict=True):
                whole[first : first + size] = answer
            progress(min(first + size, n), n)
        if not all(np.isfinite(whole).all() for whole in found.values()):
            raise ModelFileError(
                f"The model {self.card.name} answers with numbers that are not finite; train it again, or name another."
            )
        return found

    def prepare(self, pictures: Sequence[Picture]) -> npt.NDArray[np.uint8]:
        """Pictures of any kind as the images (n, h, w, c) that the model wants to see. Raises ImageError."""
        if not pictures:
            return np.empty((0, *self.card.image.shape), np.uint8)
        return np.stack(
            [images.prepare(images.read(picture, spec=self.card.image), self.card.image) for picture in pictures]
        )

    def names(self, language: str = "en") -> tuple[str, ...]:
        """Of all classes, those learnt later last, in that language where there are such names; none where the model
        has no classes. Raises ModelFileError as `judge`.
        """
        return (*self.card.names(language), *(self.judge.names if self.judge else ()))

    def class_names(self, language: str = "en") -> tuple[str, ...]:
        """As `names`. Raises InputError where the model has no classes."""
        names = self.names(language)
        if not names:
            raise InputError(
                f"The model {self.card.name} knows no classes, it can only search for what looks alike; name another"
                " model, such as default, or teach it some with `vitrine model learn`."
            )
        return names

    def predictions(self, outputs: Outputs) -> list[Prediction]:
        """Logits as calibrated probabilities and names. Raises InputError where the model has no classes."""
        names = self.class_names()
        verdicts = self._known(outputs)
        if not self.judge:
            table, order = metrics.softmax(outputs.logits, self.card.temperature), outputs.logits.argmax(axis=1)
        else:
            table = learning.join(outputs.logits / self.card.temperature, self.judge.log_odds(outputs.embeddings))
            order = table.argmax(axis=1)
            learnt = table[:, -len(self.judge.names) :].sum(axis=1) >= 0.5
            verdicts = [True if sure else verdict for sure, verdict in zip(learnt, verdicts, strict=True)]
        return [
            Prediction(int(best), names[best], float(row[best]), tuple(map(float, row)), known)
            for row, best, known in zip(table, order, verdicts, strict=True)
        ]

    def _known(self, outputs: Outputs) -> Sequence[bool | None]:
        """Whether each picture looks like any of the model's own classes; None where it cannot tell."""
        rejection = self.card.rejection
        if rejection is None:
            return [None if self.card.names() else False] * len(outputs.logits)
        found: list[bool] = (metrics.energy(outputs.logits) >= rejection.threshold).tolist()
        return found

    def classify(self, pictures: Sequence[Picture]) -> list[Prediction]:
        """What each picture (path, bytes, PIL image or array) shows. Raises ImageError, or InputError where the
        model has no classes.
        """
        self.class_names()
        return self.predictions(self.run(self.prepare(pictures)))

    def embed(self, pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
        """(n, d) float32, L2-normalised: pictures that look alike have a high inner product. Raises ImageError."""
        return self.run(self.prepare(pictures)).embeddings

    def scores(self, left: Outputs, right: Outputs) -> npt.NDArray[np.float64]:
        """(n,) float64: how alike each row of `left` and the same row of `right` are, by the model's measure.

        Raises InputError when the model has no similarity table, or the rows differ in number.
        """
        return pair_scores(self._table().measure, left, right)

    def same_probability(self, left: Outputs, right: Outputs) -> npt.NDArray[np.float64]:
        """(n,) float64: the probability that each row of `left` and the same row of `right` show the same class, if as
        many pairs do as do not.

        Raises InputError when the model has no similarity table, or the rows differ in number.
        """
        return self._table().probability(self.scores(left, right))

    def compare(self, a: Picture, b: Picture) -> Comparison:
        """Whether two pictures show the same kind of garment.

        Raises ImageError, or InputError when the model has no similarity table.
        """
        outputs = self.run(self.prepare([a, b]))
        return self.comparison(outputs[:1], outputs[1:])

    def comparison(self, a: Outputs, b: Outputs) -> Comparison:
        """The same of what `run` said of them, one row each. Raises InputError as `compare` does."""
        table = self._table()
        score = pair_scores(table.measure, a, b)
        distance = np.linalg.norm(a.embeddings[0].astype(np.float64) - b.embeddings[0])
        return Comparison(float(table.probability(score)[0]), float(score[0]), float(distance))

    def _table(self) -> Similarity:
        if self.card.similarity is None:
            raise InputError(f"The model {self.card.name} cannot compare: {why_no_table(self.card)}")
        return self.card.similarity


def why_no_table(card: ModelCard) -> str:
    """Why a model without a similarity table has none, and what to do: the end of a sentence."""
    if "wrapped" in card.recipe:
        return "it was not trained here, and has no similarity table; name another model, such as default."
    if not card.names():
        return "it knows no classes and has no similarity table; name another model, such as default."
    return (
        "its training held out too few images of each class to fit a similarity table on; train it with more images or"
        " a larger data.validation, or name another model."
    )


def _check_graph(card: ModelCard, session: onnxruntime.InferenceSession) -> None:
    """Raises ModelFileError where a model's inputs and outputs are not those that its card promises."""
    found = {value.name: (value.type, value.shape[1:]) for value in (*session.get_inputs(), *session.get_outputs())}
    classes, activation = len(card.names()), found.get(modelfile.ACTIVATION)
    if activation is None or not _is_activation(*activation, classes):
        activation = ("tensor(float)", [classes, "h >= 2", "w >= 2"])
    wanted = {
        modelfile.INPUT: ("tensor(uint8)", list(card.image.shape)),
        modelfile.LOGITS: ("tensor(float)", [classes]) if classes else None,
        modelfile.EMBEDDING: ("tensor(float)", [card.embedding]),
        modelfile.ACTIVATION: activation if card.activation else None,
    }
    for name, promised in wanted.items():
        if found.get(name) != promised:
            raise ModelFileError(
                f"Card and graph of the model {card.name} disagree on {name}: {promised} and {found.get(name)}; make it"
                " anew with `vitrine train`."
            )


def _is_activation(kind: str, shape: Sequence[int | str | None], classes: int) -> bool:
    """Whether an output of that type and shape, without n, is an activation of so many classes."""
    fixed = all(isinstance(side, int) and side >= 2 for side in shape[1:])  # a name, or None, where it is not fixed
    return kind == "tensor(float)" and len(shape) == 3 and shape[0] == classes and fixed


def pair_scores(measure: Measure, left: Outputs, right: Outputs) -> npt.NDArray[np.float64]:
    """(n,) float64: how alike each row of `left` and the same row of `right` are.

    Raises InputError when the rows differ in number.
    """
    if len(left.logits) != len(right.logits):
        raise InputError(
            f"Pairs need as many on the left as on the right; these are {len(left.logits)} and {len(right.logits)}."
        )
    if measure == "cosine":
        return similarity.cosine(left.embeddings, right.embeddings)
    of_classes = similarity.class_product if measure == "class-product" else similarity.class_distance
    return of_classes(left.logits, right.logits)


def find(name_or_path: str | Path) -> Path:
    """The model file that a name or a path means. Raises ModelFileError."""
    text = str(name_or_path)
    if "/" in text or text.endswith(".onnx") or isinstance(name_or_path, Path):
        return Path(text)
    kept = storage.data_folder() / "models" / f"{text}.onnx"
    shipped = Path(str(resources.files("vitrine") / "models" / f"{text}.onnx"))
    for path in (kept, shipped):
        if path.exists():
            return path
    raise ModelFileError(
        f"There is no model {text!r}; known are {', '.join(names())}, or name a path that ends in .onnx."
    )


def shipped_names() -> list[str]:
    """The models that vitrine comes with."""
    return sorted(path.stem for path in Path(str(resources.files("vitrine") / "models")).glob("*.onnx"))


def names() -> list[str]:
    """The models that can be loaded by name."""
    kept = (path.stem for path in (storage.data_folder() / "models").glob("*.onnx"))
    return sorted({*kept, *shipped_names()})


def of_identity(identity: str) -> Encoder | None:
    """The model of that identity among those that can be loaded by name, or None."""
    for name in names():
        with suppress(ModelFileError):  # one that is damaged is not it
            file = modelfile.read(find(name))
            if file.card.identity == identity:
                return Encoder.from_content(file.content, file.card)
    return None
