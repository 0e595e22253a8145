"""The model file: one ONNX file whose metadata, under the key "vitrine", says everything that is needed to use it.

docs/file-formats.md describes it for readers in other languages. Reading needs neither torch nor the onnx package: the
metadata is found by walking the file's top-level protobuf fields (onnx.proto: ModelProto), which also gives the
checksum of all the rest.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitrine import background as backgrounds
from vitrine import storage
from vitrine.errors import InputError, ModelFileError
from vitrine.similarity import Similarity
from vitrine.spec import ImageSpec

if TYPE_CHECKING:
    import onnx

FORMAT_VERSION = 2  # 1 had no output "activation", and always classes
METADATA_KEY = "vitrine"
BACKGROUND_KEY = "vitrine.background"
INPUT = "image"
LOGITS, EMBEDDING, ACTIVATION = "logits", "embedding", "activation"
OUTPUTS = (LOGITS, EMBEDDING)

_GRAPH, _METADATA_PROPS = 7, 14  # field numbers in onnx.proto


@dataclass(frozen=True)
class Rejection:
    """From which score on a picture shows something of a kind that the model knows: score >= threshold.

    score: "energy", see `metrics.energy`. threshold: a finite number.
    """

    score: Literal["energy"]
    threshold: float

    def __post_init__(self) -> None:
        if self.score != "energy":
            raise InputError(f"A rejection goes by the score {self.score!r}; allowed is 'energy'.")
        if not math.isfinite(self.threshold):
            raise InputError(f"The threshold of a rejection is {self.threshold}; it must be a finite number.")

    def to_json(self) -> dict[str, Any]:
        return {"score": self.score, "threshold": self.threshold}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Rejection":
        """Raises InputError for impossible values, KeyError, TypeError, ValueError or OverflowError for others."""
        return cls(fields["score"], float(fields["threshold"]))


@dataclass(frozen=True)
class ModelCard:
    """What a model file says of itself.

    name: the recipe's. identity: hash of the graph that makes the embedding, its weights and the image spec; catalogues
    go by it. image: what the model wants to see. classes: language -> names; no names in a model that gives only
    embeddings. embedding: its size. temperature: logits are divided by it before the softmax. rejection: how it tells
    what it does not know, or None. similarity: what the likeness of two pictures says of their classes, or None.
    recipe, seed, data: how it was trained. metrics: measured on the validation split by ONNX Runtime. activation:
    whether the graph has that output.
    """

    name: str
    identity: str
    image: ImageSpec
    classes: dict[str, tuple[str, ...]]
    embedding: int
    temperature: float
    rejection: Rejection | None
    similarity: Similarity | None
    recipe: dict[str, Any]
    seed: int
    data: dict[str, Any]
    metrics: dict[str, float]
    activation: bool = False

    def names(self, language: str = "en") -> tuple[str, ...]:
        """Of the classes, in that language, or in English; none where the model has no classes."""
        return self.classes.get(language, self.classes["en"])

    def to_json(self) -> dict[str, Any]:
        """As a file of today's format has it, whatever the format that it was read from."""
        fields = {
            **vars(self),
            "image": self.image.to_json(),
            "classes": {language: list(names) for language, names in self.classes.items()},
            "rejection": self.rejection.to_json() if self.rejection else None,
            "similarity": self.similarity.to_json() if self.similarity else None,
        }
        return {"format_version": FORMAT_VERSION, **fields}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "ModelCard":
        """Raises KeyError, TypeError, ValueError, OverflowError or InputError for what is not a card."""
        classes = {str(language): tuple(str(name) for name in names) for language, names in fields["classes"].items()}
        if len({len(classes["en"]), *map(len, classes.values())}) != 1:
            raise ValueError("the classes differ in number between languages")
        if not 0 < float(fields["temperature"]) < 1e6:
            raise ValueError("the temperature must be above 0")
        rejection, similarity, activation = fields["rejection"], fields["similarity"], fields.get("activation", False)
        if type(activation) is not bool:
            raise TypeError("activation is neither true nor false")
        card = cls(
            name=str(fields["name"]),
            identity=str(fields["identity"]),
            image=ImageSpec.from_json(fields["image"]),
            classes=classes,
            embedding=int(fields["embedding"]),
            temperature=float(fields["temperature"]),
            rejection=None if rejection is None else Rejection.from_json(rejection),
            similarity=None if similarity is None else Similarity.from_json(similarity),
            recipe=dict(fields["recipe"]),
            seed=int(fields["seed"]),
            data=dict(fields["data"]),
            metrics={str(name): float(value) for name, value in fields["metrics"].items()},
            activation=activation,
        )
        compares = card.similarity is None or card.similarity.measure == "cosine"
        if not card.names() and (card.rejection or card.activation or not compares):
            raise ValueError("without classes there is no rejection, no activation and no similarity but of cosines")
        return card


@dataclass(frozen=True)
class ModelFile:
    """A model file read and checked. content: its bytes, as ONNX Runtime takes them."""

    card: ModelCard
    content: bytes


def read(path: Path) -> ModelFile:
    """Read and check a model file.

    Raises ModelFileError, one sentence each: it cannot be read, is not ONNX, is not one of ours, is too new, or is
    damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"The model file {path} cannot be read ({error.strerror}); name a model by name (default) or a path."
        ) from error
    return parse(content, str(path))


def parse(content: bytes, source: str) -> ModelFile:
    """`read` for bytes; `source` is what to call them in an error."""
    try:
        entries = dict(_metadata(value) for number, value, _ in _fields(content) if number == _METADATA_PROPS)
        graphs = [value for number, value, _ in _fields(content) if number == _GRAPH]
    except ValueError as error:
        raise ModelFileError(
            f"{source} is not an ONNX file, or it is damaged ({error}); make one with `vitrine train`."
        ) from error
    if not graphs:
        raise ModelFileError(f"{source} is not an ONNX file; make one with `vitrine train`.")
    if METADATA_KEY not in entries:
        raise ModelFileError(
            f"{source} is an ONNX file, but not one of vitrine's: it has no metadata {METADATA_KEY!r}; make one with"
            " `vitrine train`."
        )
    try:
        fields = json.loads(entries[METADATA_KEY])
        version = int(fields["format_version"])
        if version < 1:
            raise ValueError(f"there is no format {version}")
        if version > FORMAT_VERSION:
            raise ModelFileError(
                f"{source} has model file format {version}, newer than this vitrine knows ({FORMAT_VERSION}); update"
                " vitrine."
            )
        checksum = str(fields["checksum"])
        card = ModelCard.from_json(fields)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError, InputError) as error:
        raise ModelFileError(
            f"The metadata of {source} is damaged ({type(error).__name__}: {error}); make the file anew with `vitrine"
            " train`."
        ) from error
    if checksum != _checksum(content):
        raise ModelFileError(
            f"{source} is damaged: its content does not match its checksum; copy it again or make it anew with `vitrine"
            " train`."
        )
    return ModelFile(card, content)


def read_background(file: ModelFile) -> backgrounds.Vectors | None:
    """(m, d): what the model makes of pictures that it knows, where the file holds that. Raises ModelFileError."""
    entries = dict(_metadata(value) for number, value, _ in _fields(file.content) if number == _METADATA_PROPS)
    if BACKGROUND_KEY not in entries:
        return None
    try:
        found = backgrounds.from_json(json.loads(entries[BACKGROUND_KEY]))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise ModelFileError(
            f"The background of the model {file.card.name} is damaged ({type(error).__name__}: {error}); copy the file"
            " again or make it anew with `vitrine train`."
        ) from error
    if found.shape[1] != file.card.embedding:
        raise ModelFileError(
            f"The background of the model {file.card.name} has {found.shape[1]} numbers a picture, and the"
            f" model {file.card.embedding}; make it anew with `vitrine train`."
        )
    return found


def write(path: Path, onnx_model: bytes, card: ModelCard, background: backgrounds.Vectors | None = None) -> None:
    """Write an ONNX model with its card, and a background, atomically. Metadata that the model had is replaced.

    Raises StorageError.
    """
    plain = b"".join(raw for number, _, raw in _fields(onnx_model) if number != _METADATA_PROPS)
    fields = {**card.to_json(), "checksum": _checksum(plain)}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    entries = {METADATA_KEY: text}
    if background is not None:
        entries[BACKGROUND_KEY] = json.dumps(backgrounds.to_json(background), separators=(",", ":")).encode()
    for key, value in entries.items():
        plain += _field(_METADATA_PROPS, _field(1, key.encode()) + _field(2, value))  # StringStringEntryProto
    storage.write_bytes(path, plain)


def identity(onnx_model: bytes, image: ImageSpec) -> str:
    """Hash of what makes the embedding: its operators and weights in order, whatever their names, and the image spec.

    Needs the onnx package, which comes with the [train] extra.
    """
    import onnx

    graph = onnx.load_from_string(onnx_model).graph
    makers = {output: node for node in graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    digest = hashlib.sha256(json.dumps(image.to_json(), sort_keys=True).encode())
    numbers: dict[str, int] = {}
    open_values = [EMBEDDING]
    while open_values:  # depth first from an output to the inputs that it is made of
        value = open_values.pop()
        if value in numbers:
            digest.update(f"again {numbers[value]}\n".encode())
            continue
        numbers[value] = len(numbers)
        if value in weights:
            array = onnx.numpy_helper.to_array(weights[value])
            digest.update(f"weight {array.dtype} {array.shape}\n".encode() + array.tobytes())
        elif value in makers:
            node = makers[value]
            attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
            digest.update(
                f"{node.domain}:{node.op_type} output {list(node.output).index(value)}\n".encode()
                + b"".join(attributes)
            )
            open_values += [*node.input, *outer_values(node)][::-1]
        else:
            digest.update(b"input\n")
    return digest.hexdigest()[:32]


def outer_values(node: "onnx.NodeProto") -> Iterator[str]:
    """What the graphs within a node (a loop's body, say) take from the graph that it stands in."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            own |= {output for inner in graph.node for output in inner.output}
            for inner in graph.node:
                yield from (name for name in (*inner.input, *outer_values(inner)) if name and name not in own)


def _checksum(content: bytes) -> str:
    """SHA-256 over every top-level field except the metadata."""
    digest = hashlib.sha256()
    for number, _, raw in _fields(content):
        if number != _METADATA_PROPS:
            digest.update(raw)
    return digest.hexdigest()


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The fields of a protobuf message: number, value (b"" for numbers), and the whole field as it stands. Raises
    ValueError.
    """
    at, end = 0, len(message)
    while at < end:
        start = at
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        value = b""
        if kind == 0:
            _, at = _varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = _varint(message, at)
            value = message[at : at + length]
            at += length
        else:
            raise ValueError("an unknown wire type")
        if not number or at > end:
            raise ValueError("it ends too early" if number else "a field without a number")
        yield number, value, message[start:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A protobuf variable-length number and the place after it."""
    value = 0
    for step in range(10):
        if at >= len(message):
            raise ValueError("it ends too early")
        byte = message[at]
        value |= (byte & 0x7F) << (7 * step)
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return _write_varint(number << 3 | 2) + _write_varint(len(value)) + value


def _write_varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(written) + bytes([value])


def _metadata(entry: bytes) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto. Raises ValueError."""
    parts = {number: value for number, value, _ in _fields(entry)}
    return parts.get(1, b"").decode(), parts.get(2, b"").decode()
