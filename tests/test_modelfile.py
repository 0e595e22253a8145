import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from small_models import CLASSES, graph, halves, small_model
from vitrine import encoder as encoders
from vitrine import modelfile, storage
from vitrine.encoder import Encoder
from vitrine.errors import ModelFileError
from vitrine.modelfile import Rejection
from vitrine.similarity import Similarity

DEFAULT = encoders.find("default")
FILES = Path(__file__).parent / "files"


@pytest.fixture(scope="module")
def content() -> bytes:
    return DEFAULT.read_bytes()


def test_the_shipped_file_is_whole_small_and_self_contained(content: bytes) -> None:
    file = modelfile.read(DEFAULT)
    assert len(content) < 1_400_000
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    assert not any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer)
    assert file.card.classes["uk"][9] == "Черевики"
    assert file.card.recipe["model"]["name"] == "compact"
    assert sum(np.prod(tensor.dims) for tensor in model.graph.initializer) < 310_000
    assert b"/site-packages/" not in content  # no paths of the machine that made it


def test_the_shipped_photo_model_is_whole_and_small() -> None:
    file = modelfile.read(encoders.find("photo"))
    assert len(file.content) < 6_000_000
    assert (file.card.image.height, file.card.image.width, file.card.image.channels) == (96, 96, 3)
    assert file.card.names() == modelfile.read(DEFAULT).card.names()
    assert file.card.rejection is not None
    assert file.card.activation
    assert not re.search(rb"/site-packages/|/home/|/root/", file.content)  # no paths of the machine that made it


def test_the_card_survives_writing_and_reading(content: bytes, tmp_path: Path) -> None:
    card = modelfile.parse(content, "it").card
    table = Similarity("cosine", (0.0, 1.0), (0.1, 0.9))
    renamed = replace(card, name="other", similarity=table, rejection=Rejection("energy", -1.25))
    modelfile.write(tmp_path / "a.onnx", content, renamed)
    assert modelfile.read(tmp_path / "a.onnx").card == renamed
    Encoder.load(tmp_path / "a.onnx")


def test_a_table_from_before_there_were_measures_is_of_cosines() -> None:
    old = altered(lambda fields: fields.update(similarity={"scores": [0, 1], "probabilities": [0.1, 0.9]}))
    assert modelfile.parse(old, "it").card.similarity == Similarity("cosine", (0.0, 1.0), (0.1, 0.9))


def test_a_file_of_format_1_is_read_and_answers_as_it_did() -> None:
    old = Encoder.load(FILES / "model-1.onnx")
    assert b'"format_version":1,' in old.content
    assert (old.card.classes, old.card.rejection, old.card.activation) == (CLASSES, None, False)
    assert old.card.to_json()["format_version"] == modelfile.FORMAT_VERSION == 2
    answers = old.run(np.stack([halves(255, 0), halves(0, 102)]))
    assert answers.logits == pytest.approx(np.array([[8, 0], [0, 3.2]]), abs=1e-5)
    assert np.linalg.norm(answers.embeddings, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert old.card.identity == modelfile.identity(old.content, old.card.image) == "dc9d18ebd4aa096a917b6bac2506bf66"


def test_writing_an_old_file_again_makes_it_of_todays_format(tmp_path: Path) -> None:
    old = modelfile.read(FILES / "model-1.onnx")
    modelfile.write(tmp_path / "new.onnx", old.content, old.card)
    assert b'"format_version":2,' in (tmp_path / "new.onnx").read_bytes()
    assert modelfile.read(tmp_path / "new.onnx").card == old.card


def test_a_model_without_classes_survives_writing_and_reading(tmp_path: Path) -> None:
    table = Similarity("cosine", (0.0, 1.0), (0.1, 0.9))
    able = small_model(["embedding"], similarity=table)
    modelfile.write(tmp_path / "a.onnx", able.content, able.card)
    again = Encoder.load(tmp_path / "a.onnx")
    assert again.card == able.card
    assert again.card.names("uk") == ()


def test_an_activation_changes_no_identity() -> None:
    plain, mapped = graph("logits", "embedding"), graph("logits", "embedding", "activation")
    spec = modelfile.read(FILES / "model-1.onnx").card.image
    assert modelfile.identity(plain, spec) == modelfile.identity(mapped, spec)


def test_identity_is_of_the_embedding_graph_and_the_spec_only() -> None:
    """Of `compact`: where the embedding holds the class probabilities, the head belongs to it."""
    encoder = Encoder.load("compact")
    content, card = encoder.content, encoder.card
    assert modelfile.identity(content, card.image) == card.identity
    assert modelfile.identity(content, replace(card.image, ground="light")) != card.identity
    model = onnx.load_from_string(content)
    made_by = {name: node for node in model.graph.node for name in node.output}
    head = next(name for name in made_by["logits"].input if name in {tensor.name for tensor in model.graph.initializer})
    changed = onnx.load_from_string(content)
    _double(changed, head)
    assert modelfile.identity(changed.SerializeToString(), card.image) == card.identity
    convolution = next(node.input[1] for node in model.graph.node if node.op_type == "Conv")
    _double(changed, convolution)
    assert modelfile.identity(changed.SerializeToString(), card.image) != card.identity


def _double(model: onnx.ModelProto, name: str) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 2, name))


def foreign() -> bytes:
    """A good ONNX model of somebody else's."""
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([node], "graph", values[:1], values[1:])
    return bytes(helper.make_model(graph).SerializeToString())


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The shipped file with other metadata."""
    model = onnx.load_from_string(DEFAULT.read_bytes())
    fields = json.loads(model.metadata_props[0].value)
    change(fields)
    model.metadata_props[0].value = json.dumps(fields)
    return bytes(model.SerializeToString())


def rejecting(fields: dict[str, Any], threshold: object) -> None:
    fields.update(rejection={"score": "energy", "threshold": threshold})


def nested() -> bytes:
    """The shipped file with metadata that no JSON reader follows to its end."""
    model = onnx.load_from_string(DEFAULT.read_bytes())
    model.metadata_props[0].value = "[" * 100_000
    return bytes(model.SerializeToString())


def flipped() -> bytes:
    """The shipped file with one bit of a weight flipped."""
    content = bytearray(DEFAULT.read_bytes())
    content[len(content) // 2] ^= 4
    return bytes(content)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "is not an ONNX file"),
        (lambda: b"a text file, not a model", "is not an ONNX file"),
        (lambda: DEFAULT.read_bytes()[:5000], "is not an ONNX file, or it is damaged"),
        (flipped, "damaged"),
        (foreign, "not one of vitrine's"),
        (lambda: altered(lambda fields: fields.update(format_version=99)), "newer than this vitrine knows"),
        (lambda: altered(lambda fields: fields.update(format_version=0)), "there is no format 0"),
        (nested, "metadata of .* is damaged"),
        (lambda: altered(lambda fields: fields.pop("image")), "metadata of .* is damaged"),
        (lambda: altered(lambda fields: fields.update(temperature=0)), "metadata of .* is damaged"),
        (lambda: altered(lambda fields: fields.update(temperature=10**400)), "metadata of .* is damaged"),
        (lambda: altered(lambda fields: fields["classes"].update(uk=[])), "metadata of .* is damaged"),
        (lambda: altered(lambda fields: fields.update(activation="no")), "metadata of .* is damaged"),
        (lambda: altered(lambda fields: fields.update(rejection={"score": "energy"})), "metadata of .* is damaged"),
        (
            lambda: altered(lambda fields: fields.update(rejection={"score": "x", "threshold": 1})),
            "allowed is 'energy'",
        ),
        (lambda: altered(lambda fields: rejecting(fields, float("nan"))), "must be a finite number"),
        (lambda: altered(lambda fields: rejecting(fields, "high")), "metadata of .* is damaged"),
        (lambda: altered(lambda fields: fields.update(classes={"en": []})), "without classes there is no"),
        (lambda: altered(lambda fields: fields["classes"].update(uk=["one"])), "metadata of .* is damaged"),
        (lambda: altered(lambda fields: fields["image"].update(channels=7)), "metadata of .* is damaged"),
        (lambda: altered(lambda fields: fields.update(similarity={"scores": [0, 1]})), "metadata of .* is damaged"),
    ],
)
def test_other_files_are_refused_in_one_sentence(make: Callable[[], bytes], says: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make())
    with pytest.raises(ModelFileError, match=says) as caught:
        Encoder.load(path)
    assert "\n" not in str(caught.value)


def test_truncated_anywhere_and_random_bytes_raise_nothing_else(content: bytes) -> None:
    random = np.random.default_rng(0)
    for cut in random.integers(0, len(content), 60):
        with pytest.raises(ModelFileError):
            modelfile.parse(content[:cut], "it")
    for _ in range(300):
        with pytest.raises(ModelFileError):
            modelfile.parse(random.bytes(int(random.integers(1, 400))), "it")


def test_a_missing_model_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=f"known are {', '.join(encoders.shipped_names())}"):
        Encoder.load("nothing")
    with pytest.raises(ModelFileError, match="cannot be read"):
        Encoder.load(tmp_path / "nothing.onnx")


def test_models_kept_in_the_home_are_found_by_name(content: bytes) -> None:
    storage.write_bytes(storage.data_folder() / "models" / "mine.onnx", content)
    assert encoders.names() == sorted([*encoders.shipped_names(), "mine"])
    assert Encoder.load("mine").card.name == modelfile.parse(content, "it").card.name
