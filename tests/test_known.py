"""A model that can tell what it does not know, and one without classes: what every edge says of their answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from starlette.testclient import TestClient

from page_fixtures import Open, Server, start
from pictures import Cli, one_sentence
from server_fixtures import problem
from small_models import halves, small_model
from vitrine import metrics, modelfile
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.indexing.folder import FolderSync
from vitrine.modelfile import Rejection
from vitrine.server.app import Settings, create_app
from vitrine.similarity import Similarity

TABLE = Similarity("cosine", (0.0, 1.0), (0.1, 0.9))
BRIGHT, DIM = (0, 255), (0, 40)
"""Left and right half of a picture of something that the model knows, and of something that it does not."""


@pytest.fixture(scope="module")
def careful() -> Encoder:
    """Knows what has an energy of at least 4."""
    return small_model(rejection=Rejection("energy", 4.0), similarity=TABLE)


@pytest.fixture(scope="module")
def classless() -> Encoder:
    return small_model(["embedding"], similarity=TABLE)


@pytest.fixture
def pictures() -> list[str]:
    """Two files: one that is known and one that is not."""
    for name, brightness in (("bright.png", BRIGHT), ("dim.png", DIM)):
        Image.fromarray(halves(*brightness)[..., 0]).save(name)
    return ["bright.png", "dim.png"]


def kept(encoder: Encoder) -> str:
    modelfile.write(Path("small.onnx"), encoder.content, encoder.card)
    return "small.onnx"


def fill(encoder: Encoder) -> None:
    """A catalogue "shop" of eight pictures."""
    Path("shop").mkdir()
    for number in range(8):
        Image.fromarray(halves(30 * number, 250 - 30 * number)[..., 0]).save(f"shop/{number}.png")
    with LocalCatalogue.create("shop", encoder) as catalogue:
        FolderSync(encoder, Path("shop")).run(catalogue)
        catalogue.save_index()


# --- in Python


def test_known_is_what_has_at_least_the_energy(careful: Encoder) -> None:
    batch = np.stack([halves(*pair) for pair in (BRIGHT, DIM, (0, 120), (130, 130), (0, 0))])
    outputs = careful.run(batch)
    energies = metrics.energy(outputs.logits)
    found = [prediction.known for prediction in careful.predictions(outputs)]
    assert found == [True, False, False, True, False] == [bool(energy >= 4) for energy in energies]
    assert careful.predictions(outputs[1:2])[0].label == "right"  # still what it is most like
    exactly = small_model(rejection=Rejection("energy", float(energies[1])))
    assert [prediction.known for prediction in exactly.predictions(outputs[:3])] == [True, True, True]


def test_a_model_without_a_rejection_cannot_tell() -> None:
    assert [prediction.known for prediction in small_model().classify([halves(*BRIGHT), halves(*DIM)])] == [None, None]


# --- on the command line


def test_classify_says_so_in_words_and_in_json(cli: Cli, careful: Encoder, pictures: list[str]) -> None:
    code, out, err = cli("classify", *pictures, "--model", kept(careful), "--lang", "uk", "--show-input", "seen.png")
    assert code == 0, err
    assert out.count("does not look like any of its two classes; most like\n  праворуч  77") == 1
    assert out.splitlines()[1].startswith("  праворуч 100")
    found = [json.loads(line) for line in cli("classify", *pictures, "--model", "small.onnx", "--json")[1].splitlines()]
    assert [(one["label"], one["known"]) for one in found] == [("right", True), ("right", False)]
    plain = json.loads(cli("classify", pictures[0], "--model", kept(small_model()), "--json")[1])
    assert plain["known"] is None


def test_compare_says_so_of_each(cli: Cli, careful: Encoder, pictures: list[str]) -> None:
    out = cli("compare", *pictures, "--model", kept(careful), "--out", "both.png")[1]
    assert "dim.png\n  none of its two classes, most like right  77" in out
    assert out.count("none of") == 1
    answer = json.loads(cli("compare", *pictures, "--model", "small.onnx", "--json")[1])
    assert [answer[side]["known"] for side in "ab"] == [True, False]


def test_a_model_card_prints_the_rejection(cli: Cli, careful: Encoder) -> None:
    assert "has an energy below 4\n" in cli("model", "card", kept(careful))[1]
    assert json.loads(cli("model", "card", "small.onnx", "--json")[1])["rejection"] == {
        "score": "energy",
        "threshold": 4.0,
    }


def test_without_classes_there_is_a_sentence_or_no_class(cli: Cli, classless: Encoder, pictures: list[str]) -> None:
    model = kept(classless)
    code, out, err = cli("classify", *pictures, "--model", model)
    assert (code, out) == (2, "")
    assert one_sentence(err)
    assert "small knows no classes, it can only search" in err
    assert err.count("knows no classes") == 1
    text = cli("compare", *pictures, "--model", model)[1]
    assert text.endswith("bright.png\ndim.png\n")
    answer = json.loads(cli("compare", *pictures, "--model", model, "--json", "--out", "both.png")[1])
    assert answer["a"] == {"source": "bright.png", "label": None, "probability": None, "known": None}
    assert answer["same_probability"] > 0.8
    assert "gives      no classes, but an embedding of 16 numbers\n" in cli("model", "card", model)[1]
    code, _, err = cli("compare", *pictures, "--model", kept(small_model(["embedding"])))
    assert code == 2
    assert "cannot compare: it knows no classes" in err


@pytest.mark.slow
def test_without_classes_evaluate_measures_searches_only(cli: Cli, classless: Encoder) -> None:
    model = kept(small_model(["embedding"]))
    code, out, err = cli("evaluate", model, "--data", "drawn", "--protocol", "leave-one-out", "--json")
    assert code == 0, err
    assert "No accuracy for small.onnx, which knows no classes." in err
    assert json.loads(out)["accuracy"] is None
    assert json.loads(out)["map_at_r"] > 0.1
    code, _, err = cli("evaluate", model, "--data", "drawn", "--protocol", "pairs")
    assert code == 2
    assert "gives no probability for a pair: it knows no classes" in err
    assert cli("evaluate", kept(classless), "--data", "drawn", "--protocol", "pairs")[0] == 0


# --- over HTTP


def ask(address: str, *names: str) -> Any:
    """The server's answer about these pictures, of the catalogue "shop"."""
    files = [("image", (name, Path(name).read_bytes())) for name in names]
    with TestClient(create_app(Settings("shop")), "http://127.0.0.1") as client:
        return client.post(address, files=files)


def test_the_server_says_so(careful: Encoder, pictures: list[str]) -> None:
    fill(careful)
    assert [ask("/api/classify", name).json()["known"] for name in pictures] == [True, False]
    assert [ask("/api/search", name).json()["prediction"]["known"] for name in pictures] == [True, False]
    compared = ask("/api/compare", *pictures).json()
    assert [compared[side]["known"] for side in "ab"] == [True, False]


def test_the_server_of_a_model_without_classes_searches(classless: Encoder, pictures: list[str]) -> None:
    fill(classless)
    found = ask("/api/search", pictures[0]).json()
    assert found["prediction"] is None
    assert found["matches"][0]["source"].endswith("0.png")
    compared = ask("/api/compare", *pictures).json()
    assert (compared["a"]["label"], compared["a"]["probability"], compared["a"]["known"]) == (None, None, None)
    status, code, detail = problem(ask("/api/classify", pictures[0]))
    assert (status, code) == (422, "input")
    assert "knows no classes" in detail


# --- on the page


@pytest.fixture
def serving(home: Path) -> Iterator[list[Server]]:
    """Room for a server of the catalogue "shop" in this test's home."""
    running: list[Server] = []
    yield running
    for server in running:
        server.stop()


def test_the_page_says_so(
    open_page: Open, serving: list[Server], careful: Encoder, home: Path, pictures: list[str]
) -> None:
    fill(careful)
    serving.append(start(home))
    page = open_page(address=serving[0].address)
    page.set_input_files("#chosen", pictures[1])
    expect(page.locator(".unknown")).to_have_text("It does not look like any of the 2 classes that the model knows.")
    expect(page.get_by_role("heading", name="What comes nearest")).to_be_visible()
    expect(page.locator(".names.doubtful li")).to_have_count(2)
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".why [role=status]")).to_contain_text("looks like none of the classes; what reminded")
    page.set_input_files("#chosen", pictures[0])
    expect(page.get_by_role("heading", name="What it is", exact=True)).to_be_visible()
    expect(page.locator(".unknown")).to_have_count(0)
    page.goto(f"{serving[0].address}#compare?b=5")
    page.set_input_files("#chosen", pictures[1])
    expect(page.locator(".slot").first.locator(".unknown")).to_contain_text("does not look like any of the 2 classes")
    other = open_page(address=serving[0].address, locale="uk")
    other.set_input_files("#chosen", pictures[1])
    expect(other.locator(".unknown")).to_have_text("Не схоже на жоден із 2 класів, які знає нейромережа.")
    other.get_by_role("button", name="Чому?").click()
    expect(other.locator(".why [role=status]")).to_contain_text("Це не схоже на жоден із класів; те, що нагадало")


@pytest.mark.slow
def test_the_page_of_a_model_without_classes_searches(
    open_page: Open, serving: list[Server], classless: Encoder, home: Path, pictures: list[str]
) -> None:
    fill(classless)
    serving.append(start(home))
    page = open_page(address=serving[0].address)
    page.set_input_files("#chosen", pictures[0])
    expect(page.locator(".grid .card")).to_have_count(8)
    expect(page.locator(".saw img")).to_be_visible()
    expect(page.locator(".names")).to_have_count(0)
    page.goto(f"{serving[0].address}#compare?a=2&b=5")
    expect(page.locator(".verdict strong")).to_contain_text("%")
