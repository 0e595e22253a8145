"""Other people's models become ours: what they answer is told by hand; what does not fit is refused."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import foreign_models as foreign
from foreign_models import CLIP_MEAN, CLIP_SD, SIDE, WIDTH, by_hand, save, unit
from pictures import Cli, one_sentence, save_folder
from vitrine import encoder as encoders
from vitrine import modelfile, wrapping
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.errors import InputError, ModelFileError
from vitrine.wrapping import Wish

HIDDEN = Wish(output="last_hidden_state")


@pytest.fixture
def pictures() -> foreign.Array:
    return np.random.default_rng(3).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


def wrapped(made: onnx.ModelProto, folder: Path, wish: Wish = HIDDEN) -> Encoder:
    path = save(made, folder / "theirs.onnx")
    wrapping.wrap(path, "mine", folder / "mine.onnx", wish)
    return Encoder.load(folder / "mine.onnx")


# --- what comes out


@pytest.mark.parametrize(("opset", "side"), [(11, SIDE), (17, SIDE), (17, "height")])
def test_tokens_are_averaged(opset: int, side: int | str, tmp_path: Path, pictures: foreign.Array) -> None:
    wish = Wish(output="last_hidden_state", mean=CLIP_MEAN, sd=CLIP_SD, size=(SIDE, SIDE))
    encoder = wrapped(foreign.tokens(side=side, opset=opset), tmp_path, wish)
    places = by_hand(pictures, CLIP_MEAN, CLIP_SD)
    every = np.concatenate([places.mean(axis=1, keepdims=True) ** 2, places], axis=1)
    assert np.allclose(encoder.run(pictures).embeddings, unit(every.mean(axis=1)), atol=1e-5)
    assert encoder.card.classes == {"en": ()}
    assert encoder.card.image.shape == (SIDE, SIDE, 3)


def test_the_first_token_by_imagenets_numbers(tmp_path: Path, pictures: foreign.Array) -> None:
    encoder = wrapped(foreign.tokens(), tmp_path, Wish(output="last_hidden_state", pool="first"))
    places = by_hand(pictures, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert np.allclose(encoder.run(pictures).embeddings, unit(places.mean(axis=1) ** 2), atol=1e-5)


def test_float16_goes_in_and_float32_comes_out(tmp_path: Path, pictures: foreign.Array) -> None:
    half = wrapped(foreign.tokens(kind=TensorProto.FLOAT16), tmp_path / "half", Wish(output="pooler_output"))
    whole = wrapped(foreign.tokens(), tmp_path / "whole", Wish(output="pooler_output"))
    found = half.run(pictures).embeddings
    assert found.dtype == np.float32
    assert np.allclose(found, whole.run(pictures).embeddings, atol=0.01)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_channels_last_a_map_of_features_and_class_outputs(tmp_path: Path, pictures: foreign.Array) -> None:
    """The embedding is a value inside; the class outputs are taken from before the softmax."""
    names = ("a", "b", "c", "d", "e")
    wish = Wish(output="features", logits="probabilities", classes=names, mean=(0.5,), sd=(0.5,))
    encoder = wrapped(foreign.classifier(), tmp_path, wish)
    rows = np.maximum(by_hand(pictures, [0.5] * 3, [0.5] * 3), 0).mean(axis=1)
    outputs = encoder.run(pictures)
    assert np.allclose(outputs.embeddings, unit(rows), atol=1e-5)
    head = np.random.default_rng(2).normal(size=(WIDTH, 5))
    assert np.allclose(outputs.logits, rows @ head, atol=1e-4)
    assert encoder.predictions(outputs)[0].label == names[(rows @ head)[0].argmax()]


def test_a_model_for_one_picture_at_a_time_answers_about_many(tmp_path: Path, pictures: foreign.Array) -> None:
    """Its Reshape holds the batch size: it cannot take two."""
    one = wrapped(foreign.tokens(batch=1), tmp_path / "one", Wish(output="pooler_output"))
    many = wrapped(foreign.tokens(), tmp_path / "many", Wish(output="pooler_output"))
    assert one.card.recipe["wrapped"]["one_by_one"]
    assert not many.card.recipe["wrapped"]["one_by_one"]
    assert np.allclose(one.run(pictures).embeddings, many.run(pictures).embeddings, atol=1e-5)
    onnx.checker.check_model(onnx.load_from_string(one.content), full_check=True)
    onnx.checker.check_model(onnx.load_from_string(many.content), full_check=True)


def test_a_fixed_batch_that_is_in_the_input_only_is_opened(tmp_path: Path) -> None:
    made = foreign.one("Flatten", [1, 3, SIDE, SIDE], out=[1, 3 * SIDE * SIDE])
    assert not wrapped(made, tmp_path, Wish()).card.recipe["wrapped"]["one_by_one"]


def test_a_batch_that_mixes_its_pictures_is_taken_apart(tmp_path: Path, pictures: foreign.Array) -> None:
    made = foreign.one("Flatten", ["n", 3, SIDE, SIDE])
    made.graph.node.append(helper.make_node("ReduceMean", ["y"], ["mean"], axes=[0], keepdims=1))
    made.graph.node.append(helper.make_node("Sub", ["y", "mean"], ["apart"]))
    made.graph.node.append(helper.make_node("Add", ["apart", "one"], ["z"]))
    made.graph.node.append(helper.make_node("Concat", ["z", "y"], ["both"], axis=1))
    made.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
    made.graph.output[0].name = "both"
    encoder = wrapped(made, tmp_path, Wish())
    alone = np.concatenate([encoder.run(picture[None]).embeddings for picture in pictures])
    assert np.allclose(encoder.run(pictures).embeddings, alone, atol=1e-6)


def test_of_both_towers_in_one_file_only_the_one_for_pictures_is_kept(tmp_path: Path) -> None:
    encoder = wrapped(foreign.clip(), tmp_path, Wish(output="image_embeds"))
    kept = onnx.load_from_string(encoder.content).graph
    assert [value.name for value in kept.input] == ["image"]
    assert not any("words" in tensor.name for tensor in kept.initializer)


def test_weights_in_another_file_come_along(tmp_path: Path, pictures: foreign.Array) -> None:
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / "theirs.onnx"
    onnx.save_model(foreign.tokens(), str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "there" / "weights.bin").exists()
    wrapping.wrap(path, "mine", tmp_path / "here" / "mine.onnx", HIDDEN)
    inside = wrapped(foreign.tokens(), tmp_path)
    outside = Encoder.load(tmp_path / "here" / "mine.onnx")
    assert np.array_equal(outside.run(pictures).embeddings, inside.run(pictures).embeddings)
    (tmp_path / "there" / "weights.bin").unlink()
    with pytest.raises(ModelFileError, match="weights in another file"):
        wrapping.wrap(path, "mine", tmp_path / "again.onnx", HIDDEN)


@pytest.mark.parametrize(
    ("names", "layout"), [(("c", "num_channels", "h", "w"), "nchw"), (("n", "h", "w", "Channels"), "nhwc")]
)
def test_where_the_channels_are_may_be_said_by_name_only(names: Sequence[str], layout: str, tmp_path: Path) -> None:
    encoder = wrapped(foreign.one("Flatten", names), tmp_path, Wish(size=(4, 6)))
    assert encoder.card.recipe["wrapped"]["layout"] == layout
    assert encoder.card.image.shape == (4, 6, 3)
    assert encoder.card.embedding == 72


def test_functions_are_unfolded(tmp_path: Path, pictures: foreign.Array) -> None:
    made = foreign.one("Flatten", ["n", 3, SIDE, SIDE])
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    imports = [helper.make_opsetid("", 17)]
    made.functions.append(helper.make_function("own", "Double", ["a"], ["b"], body, imports))
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.graph.node.append(helper.make_node("Double", ["y"], ["z"], domain="own"))
    made.graph.output[0].name = "z"
    encoder = wrapped(made, tmp_path, Wish())
    assert not onnx.load_from_string(encoder.content).functions
    assert encoder.run(pictures).embeddings.shape == (5, 3 * SIDE * SIDE)


def test_identity_is_of_weights_and_numbers_not_of_names(tmp_path: Path) -> None:
    def identity(folder: str, made: onnx.ModelProto, wish: Wish = HIDDEN) -> str:
        return wrapped(made, tmp_path / folder, wish).card.identity

    first = identity("a", foreign.tokens(batch=1))
    assert identity("b", foreign.tokens(batch=1)) == first
    assert identity("c", foreign.tokens(batch=1), Wish(output="last_hidden_state", mean=CLIP_MEAN)) != first
    other = foreign.tokens(batch=1)  # in the body of a Scan the weights come from outside
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(foreign.filters() * 2, "patches"))
    assert identity("d", other) != first


def test_a_deep_graph_has_an_identity(tmp_path: Path) -> None:
    made = foreign.one("Flatten", ["n", 3, SIDE, SIDE])
    made.graph.output[0].name = "z3000"
    made.graph.node[0].output[0] = "z0"
    made.graph.node.extend(helper.make_node("Identity", [f"z{i}"], [f"z{i + 1}"]) for i in range(3000))
    assert len(wrapped(made, tmp_path, Wish()).card.identity) == 32


# --- what is refused


def constant() -> onnx.ModelProto:
    """Its answer is the same whatever it sees."""
    made = foreign.one("Flatten", ["n", 3, SIDE, SIDE])
    made.graph.node.append(helper.make_node("Mul", ["y", "none"], ["zeros"]))
    made.graph.node.append(helper.make_node("Add", ["zeros", "one"], ["z"]))
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "none"))
    made.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
    made.graph.output[0].name = "z"
    return made


def after_flatten(operator: str) -> onnx.ModelProto:
    made = foreign.one("Flatten", ["n", 3, SIDE, SIDE])
    made.graph.node.append(helper.make_node(operator, ["y"], ["z"]))
    made.graph.output[0].name = "z"
    return made


def with_zeros() -> onnx.ModelProto:
    made = constant()
    made.graph.output[0].name = "zeros"
    return made


@pytest.mark.parametrize(
    ("make", "wish", "says"),
    [
        (foreign.tokens, Wish(), "has 2 outputs; say with --output .*: last_hidden_state, pooler_output"),
        (foreign.tokens, Wish(output="nothing"), "has no output 'nothing'; it has last_hidden_state"),
        (
            lambda: foreign.one("Cast", ["n", 77], TensorProto.INT64, attributes={"to": 1}),
            Wish(),
            r"takes x int64 \(\?, 77\); vitrine",
        ),
        (foreign.clip, Wish(output="similarity"), "made of 2 inputs"),
        (
            lambda: foreign.one("Flatten", ["n", 3, 8, SIDE, SIDE]),
            Wish(),
            "takes x float .*; vitrine wraps models that",
        ),
        (lambda: foreign.one("Relu", ["n", 3, SIDE]), Wish(), "vitrine wraps models that"),
        (lambda: foreign.one("Flatten", [4, 3, SIDE, SIDE]), Wish(), "exactly 4 pictures at a time"),
        (lambda: foreign.one("Flatten", ["n", 4, SIDE, SIDE]), Wish(), "does not say where the channels are"),
        (lambda: foreign.one("Flatten", ["n", 4, SIDE, SIDE]), Wish(layout="nchw"), "4 channels as nchw"),
        (foreign.tokens, Wish(output="pooler_output", size=(64, 32)), "of height 32, not 64"),
        (foreign.tokens, Wish(output="pooler_output", mean=(0.5, 0.5)), "3 channels: give as many"),
        (foreign.tokens, Wish(output="pooler_output", sd=(0.5, 0.0, 0.5)), "--sd has .*; allowed is above 0"),
        (foreign.tokens, Wish(output="pooler_output", mean=(123.675, 116.28, 103.53)), "--mean 0.485,0.456,0.406"),
        (foreign.tokens, Wish(output="pooler_output", sd=(58.395, 57.12, 57.375)), "--sd 0.229,0.224,0.225"),
        (foreign.tokens, Wish(output="pooler_output", mean=(-1.0,)), "allowed is 0 to 1, .* divided by 255[.]$"),
        (foreign.tokens, Wish(output="pooler_output", sd=(1e-300,)), "allowed is above 0"),
        (lambda: foreign.tokens(side="side"), Wish(output="last_hidden_state", size=(4, 4)), "of 4x4; say another"),
        (foreign.tokens, Wish(output="pooler_output", sd=(0.5, float("nan"), 0.5)), "finite numbers"),
        (foreign.tokens, Wish(output="pooler_output", pool="first"), "--pool first is for"),
        (foreign.tokens, Wish(output="pooler_output", logits="pooler_output"), "need both"),
        (foreign.classifier, Wish(output="features", logits="probabilities", classes=("a",)), "1 names of classes"),
        (constant, Wish(), "the same for pictures"),
        (with_zeros, Wish(), "zeros only"),
        (lambda: after_flatten("Log"), Wish(), "not finite"),
        (lambda: foreign.one("Shape", ["n", 3, SIDE, SIDE], out=[4]), Wish(), "no floating point"),
        (
            lambda: foreign.one("ReduceMean", ["n", 3, SIDE, SIDE], out=[], attributes={"keepdims": 0}),
            Wish(),
            r"is \(\) for one picture",
        ),
        (lambda: foreign.one("NoSuchThing", ["n", 3, SIDE, SIDE]), Wish(), "ONNX Runtime cannot run"),
        (lambda: foreign.tokens(opset=6), HIDDEN, "opset 6"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    make: Callable[[], onnx.ModelProto], wish: Wish, says: str, tmp_path: Path
) -> None:
    path = save(make(), tmp_path / "theirs.onnx")
    with pytest.raises((InputError, ModelFileError), match=says) as caught:
        wrapping.wrap(path, "mine", tmp_path / "mine.onnx", wish)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["theirs.onnx"]


@pytest.mark.parametrize("content", [b"", b"a text file, not a model", bytes(range(256)) * 4])
def test_files_that_are_no_models_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="is not an ONNX file"):
        wrapping.wrap(path, "mine", tmp_path / "mine.onnx", Wish())
    with pytest.raises(ModelFileError, match="cannot be read"):
        wrapping.wrap(tmp_path / "nothing.onnx", "mine", tmp_path / "mine.onnx", Wish())
    with pytest.raises(ModelFileError, match="cannot be read"):
        wrapping.wrap(tmp_path, "mine", tmp_path / "mine.onnx", Wish())
    with pytest.raises(ModelFileError, match="one of vitrine's"):
        wrapping.wrap(encoders.find("default"), "mine", tmp_path / "mine.onnx", Wish())


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    content = foreign.tokens().SerializeToString()
    for cut in range(10, len(content), 997):
        path = tmp_path / "theirs.onnx"
        path.write_bytes(content[:cut])
        with pytest.raises((ModelFileError, InputError)):
            wrapping.wrap(path, "mine", tmp_path / "mine.onnx", HIDDEN)


# --- the command


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return save(foreign.clip(), tmp_path / "clip.onnx")


def test_wrap_then_everything_takes_it(cli: Cli, clip: Path, drawn: Splits, tmp_path: Path, photo: Path) -> None:
    numbers = ("--mean", "0.481,0.458,0.408", "--sd", "0.269,0.261,0.276", "--name", "mine")
    code, out, err = cli("model", "wrap", clip, "--output", "image_embeds", *numbers)
    assert code == 0
    assert "an embedding of 12 numbers" in out
    assert "--model mine" in err
    assert "no classes" in cli("model", "card", "mine")[1]
    save_folder(drawn.test[:20], tmp_path / "shop")
    assert cli("index", "add", tmp_path / "shop", "--model", "mine")[0] == 0
    picture = next((tmp_path / "shop").rglob("*.png"))
    found = json.loads(cli("search", picture, "--catalogue", "shop", "--json")[1])
    assert (found["model"], found["matches"][0]["source"]) == ("mine", str(picture))
    assert found["matches"][0]["score"] > 0.9999
    assert cli("map", "--catalogue", "shop")[0] == 0
    assert cli("index", "rebuild", "shop", "--model", "default")[0] == 0
    for command, why in (
        (["classify", photo, "--model"], "knows no classes"),
        (["compare", photo, photo, "--model"], "cannot compare: it was not trained here"),
        (["evaluate", "--protocol", "pairs"], "no probability for a pair: it was not trained here"),
    ):
        code, _, err = cli(*command, "mine")
        assert code == 2
        assert one_sentence(err)
        assert why in err


def test_wrap_as_json_to_a_path_with_classes(cli: Cli, photo: Path, tmp_path: Path) -> None:
    path = save(foreign.classifier(), tmp_path / "theirs.onnx")
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\nfour\nfünf\n", encoding="utf-8")
    named = ("--logits", "probabilities", "--classes", tmp_path / "names.txt")
    code, out, _ = cli(
        "model", "wrap", path, "--output", "features", *named, "--out", "x.onnx", "--json", "--size", "32"
    )
    assert code == 0
    assert json.loads(out) == {
        "model": "theirs",
        "file": "x.onnx",
        "identity": modelfile.read(Path("x.onnx")).card.identity,
        "dimensions": WIDTH,
        "classes": 5,
    }
    answer = json.loads(cli("classify", photo, "--model", "x.onnx", "--json", "--lang", "uk")[1])
    assert answer["label"] in ("one", "two", "three", "four", "fünf")
    assert abs(sum(answer["probabilities"]) - 1) < 1e-5
    assert "cannot compare: it was not trained here" in cli("compare", photo, photo, "--model", "x.onnx")[2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--size", "big"], "--size big is no size"),
        (["--size", "0"], "--size 0 is no size"),
        (["--size", "1x2x3"], "is no size"),
        (["--mean", "a,b"], "--mean a,b are no numbers"),
        (["--sd", "1,,2"], "are no numbers"),
        (["--name", "a/b"], "is no name for a model"),
        (["--name", "mine.onnx"], "is no name for a model"),
        (["--name", "default"], "comes with a model called default"),
        (["--out", "model.bin"], "does not end in .onnx"),
        (["--out", "clip.onnx"], "exists already"),
        (["--classes", "nothing.txt"], "nothing.txt cannot be read"),
        (["--classes", "twice.txt"], "a different name on each line"),
        (["--classes", "latin.txt"], "it is not UTF-8"),
        (["--classes", "coloured.txt"], "characters that cannot be shown"),
        (["--logits", "similarity"], "need both --logits"),
    ],
)
def test_wrong_options_are_refused(options: list[str], says: str, cli: Cli, clip: Path) -> None:
    Path("clip.onnx").write_bytes(clip.read_bytes())
    Path("twice.txt").write_text("a\na\n")
    Path("latin.txt").write_bytes(b"caf\xe9\n")
    Path("coloured.txt").write_text("\x1b[31ma\nb\n")
    code, _, err = cli("model", "wrap", "clip.onnx", "--output", "image_embeds", *options)
    assert code == 2
    assert one_sentence(err)
    assert says in err
    assert encoders.names() == encoders.shipped_names()


def test_a_name_that_is_taken_is_not_overwritten(cli: Cli, clip: Path) -> None:
    command = ("model", "wrap", clip, "--output", "image_embeds")
    assert cli(*command)[0] == 0
    before = encoders.find("clip").read_bytes()
    code, _, err = cli(*command, "--pool", "mean")
    assert code == 2
    assert "exists already; delete it first" in err
    assert encoders.find("clip").read_bytes() == before


def test_without_the_onnx_package_it_says_what_to_install(
    cli: Cli, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = cli("model", "wrap", clip)
    assert code == 2
    assert "pip install onnx" in err


def test_wrapping_imports_no_torch(clip: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom vitrine import wrapping\n"
        f"wrapping.wrap(Path({str(clip)!r}), 'mine', Path('mine.onnx'), wrapping.Wish(output='image_embeds'))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
