"""The notebook: it runs from top to bottom on small data, and what is saved in it is whole.

Its cells are run as a kernel would, in one namespace and in order, but without Jupyter: nothing else here needs its
many packages.
"""

import base64
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vitrine import images
from vitrine.catalogue import folders
from vitrine.datasets import Splits, drawn_garments, fashion_mnist
from vitrine.encoder import Encoder
from vitrine.errors import DownloadError
from vitrine.training import recipe

NOTEBOOK = Path(__file__).parents[1] / "examples" / "fashion_mnist.ipynb"
CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
PICTURES = [
    "first-25.png", "curves.png", "answers.png", "wrong.png", "steps.png", "photo.png", "pairs.png", "found.png",
    "neighbours-right.png", "neighbours-wrong.png", "map.png", "map-classes.png",
]  # fmt: skip


@dataclass(frozen=True)
class Image:
    """In place of IPython's."""

    filename: str
    alt: str


@dataclass(frozen=True)
class Markdown:
    """In place of IPython's."""

    data: str


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Image | Markdown]:
    """What is displayed by whoever imports IPython.display."""
    found: list[Image | Markdown] = []
    module = ModuleType("IPython.display")
    vars(module).update(Image=Image, Markdown=Markdown, display=found.append)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return found


@pytest.fixture
def small_data(drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fashion-MNIST is not to be had, there are few drawn garments, and temporary folders go when the test is over."""

    def refuse(*_: object) -> None:
        raise DownloadError("Fashion-MNIST is not here and cannot be downloaded.")

    monkeypatch.setattr(fashion_mnist, "_download_missing", refuse)
    monkeypatch.setattr(drawn_garments, "load", lambda: drawn)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def run(changes: dict[str, Any], last: str | None = None) -> dict[str, Any]:
    """Run the code cells, up to the one with the id `last`, and give their names and values. changes: to the first
    cell's.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(CODE):
        exec(compile("".join(cell["source"]), f"cell {cell['id']}", "exec"), namespace)
        if number == 0:
            assert changes.keys() <= namespace.keys()
            namespace.update(changes)
        if cell["id"] == last:
            break
    return namespace


@pytest.mark.slow
@pytest.mark.usefixtures("small_data")
def test_it_runs_from_top_to_bottom_on_small_data(
    shown: list[Image | Markdown], capsys: pytest.CaptureFixture[str]
) -> None:
    namespace = run({"EPOCHS": 2, "IMAGES": 150, "LANGUAGE": "uk"})
    pictures = [Path(each.filename) for each in shown if isinstance(each, Image)]
    assert [picture.name for picture in pictures] == PICTURES
    assert all(picture.parent == namespace["FOLDER"] for picture in pictures)
    assert all(np.ptp(images.read(picture)) == 255 for picture in pictures)
    assert all(each.alt for each in shown if isinstance(each, Image))
    texts = "\n".join(each.data for each in shown if isinstance(each, Markdown))
    assert "| Ankle boot | Черевики | Ботинки |" in texts
    assert "| **235\u202f146** |" in texts
    out = capsys.readouterr().out
    assert "Going on with drawn garments." in out
    assert "epoch   2: " in out
    assert "siamese : Ankle boot / Черевики / Ботинки" in out
    assert 0.5 < namespace["measured_a"].accuracy <= 1
    assert 0.5 < namespace["trust"] <= 1
    assert namespace["added"] == 150
    assert namespace["matches"][0].label == "Ankle boot"
    assert folders.names() == ["notebook"]


@pytest.mark.slow
@pytest.mark.usefixtures("small_data", "shown")
def test_the_networks_of_report_a_train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    load = recipe.load
    short = {"report-b-mlp": {"epochs": "1"}, "report-a-resnet50": {"epochs": "1"}}
    short["report-a-siamese"] = {"epochs": "1", "steps": "3"}
    monkeypatch.setattr(recipe, "load", lambda name, overrides=None: load(name, short[name]))
    namespace = run({"EPOCHS": 1, "TRAIN_RESNET": True}, last="report-a-code")
    assert capsys.readouterr().out.count("epoch   1: ") == 3
    folder = namespace["FOLDER"] / "report-a-siamese"
    similarity = Encoder.load(folder / "model.onnx").card.similarity
    assert similarity is not None
    assert similarity.measure == "class-distance"


def test_what_is_saved_in_it_is_whole() -> None:
    assert NOTEBOOK.stat().st_size < 2_000_000
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"display_data", "stream"}
    assert {output["name"] for output in outputs if "name" in output} == {"stdout"}
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == len(PICTURES)
    assert all(np.ptp(images.read(base64.b64decode(picture))) == 255 for picture in pictures)


def test_nothing_saved_in_it_tells_of_a_machine() -> None:
    texts = [
        "".join(text)
        for cell in CODE
        for output in cell["outputs"]
        for kind, text in {**output.get("data", {}), "stream": output.get("text", "")}.items()
        if kind != "image/png"
    ]
    assert len(texts) > len(CODE)
    for text in texts:
        assert not re.search(r"(?:^|[\s'\"(=])(?:/|[A-Z]:\\)\w", text, re.MULTILINE), text


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", "".join("".join(cell["source"]) for cell in CELLS))
    assert len(links) > 3
    for target in links:
        assert (NOTEBOOK.parent / target).exists(), target
