"""The HTTP API as a client uses it, beside the command line on the same pictures."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pictures import Cli, save_folder
from vitrine import explaining, images
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.server import problems, schemas
from vitrine.server.app import Settings, create_app

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CONTRACT = (Path(__file__).parents[1] / "docs" / "contract.md").read_text(encoding="utf-8")


@pytest.fixture
def shop(drawn: Splits, tmp_path: Path, cli: Cli) -> Path:
    """A folder of pictures of the test's own, and a catalogue "shop" of it."""
    save_folder(drawn.test, tmp_path / "shop")
    assert cli("index", "sync", tmp_path / "shop")[0] == 0
    return tmp_path / "shop"


@pytest.fixture
def client(served: Path) -> Iterator[TestClient]:
    """Of a server of the catalogue that is shared."""
    with TestClient(create_app(Settings("shop", TOKEN)), "http://127.0.0.1") as connected:
        yield connected


@pytest.fixture
def own(shop: Path) -> Iterator[TestClient]:
    """Of a server of the test's own catalogue."""
    with TestClient(create_app(Settings("shop", TOKEN)), "http://127.0.0.1") as connected:
        yield connected


@pytest.fixture
def boot(photo: Path) -> dict[str, tuple[str, bytes]]:
    """The photo as a part of a form."""
    return {"image": (photo.name, photo.read_bytes())}


def answer(response: Any) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def said(cli: Cli, *arguments: object) -> Any:
    """What the command line answers."""
    code, out, err = cli(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def agree(http: Any, command: Any) -> None:
    """The same, numbers to 1e-6. The server may say more, and a picture that was sent has no folder."""
    if isinstance(command, dict):
        for key, value in command.items():
            agree(http[key], value)
    elif isinstance(command, list):
        assert len(http) == len(command)
        for one, other in zip(http, command, strict=True):
            agree(one, other)
    elif isinstance(command, float):
        assert http == pytest.approx(command, abs=1e-6)
    elif isinstance(command, str):
        assert http in (command, Path(command).name)
    else:
        assert http == command


# --- questions


@pytest.mark.parametrize("lang", ["en", "uk"])
def test_classify_answers_as_the_command_does(
    client: TestClient, cli: Cli, photo: Path, boot: dict[str, Any], lang: str
) -> None:
    found = answer(client.post("/api/classify", files=boot, data={"lang": lang}))
    agree(found, said(cli, "classify", photo, "--lang", lang))
    assert found["input"] is None


@pytest.mark.usefixtures("alone")
def test_what_the_model_saw(client: TestClient, encoder: Encoder, photo: Path, boot: dict[str, Any]) -> None:
    for address in ("/api/classify", "/api/search"):
        shown = answer(client.post(address, files=boot, data={"show_input": "true"}))["input"]
        png = base64.b64decode(shown.removeprefix("data:image/png;base64,"))
        assert np.array_equal(images.read(png), encoder.prepare([photo])[0])


@pytest.mark.usefixtures("alone")
def test_where_the_model_looked(
    client: TestClient, cli: Cli, encoder: Encoder, photo: Path, boot: dict[str, Any]
) -> None:
    found = answer(client.post("/api/explain", files=boot, data={"lang": "uk"}))
    agree(found, said(cli, "classify", photo, "--lang", "uk"))
    assert found["way"] == "occlusion"
    heat = Image.open(io.BytesIO(base64.b64decode(found["heat"].removeprefix("data:image/png;base64,"))))
    whole = images.opened(photo)
    assert heat.mode == "RGBA"
    assert heat.width / heat.height == pytest.approx(whole.width / whole.height, rel=0.02)
    seen = images.steps(whole, encoder.card.image)[-1]
    wanted = explaining.overlay(explaining.explain(encoder, seen.image).heat, seen.frame, whole.height, whole.width)
    assert np.abs(np.asarray(heat).astype(int) - wanted)[..., 3].max() <= 1  # one thread, or several
    part = answer(client.post("/api/explain", files=boot, data={"crop": "0,0,100,50"}))
    small = Image.open(io.BytesIO(base64.b64decode(part["heat"].removeprefix("data:image/png;base64,"))))
    assert small.size == (100, 50)
    assert 'vitrine_stage_seconds_count{stage="explain"} 2.0' in client.get("/metrics").text


def test_search_answers_as_the_command_does_and_says_what_it_shows(
    client: TestClient, cli: Cli, photo: Path, boot: dict[str, Any]
) -> None:
    found = answer(client.post("/api/search", files=boot))
    agree(found, said(cli, "search", photo, "--catalogue", "shop"))
    assert [match["id"] for match in found["matches"]] == [
        match["id"] for match in said(cli, "search", photo, "--catalogue", "shop")["matches"]
    ]
    assert len(found["matches"]) == 12
    predicted = said(cli, "classify", photo)
    keys = ("class_index", "label", "probability", "probabilities", "known")
    assert tuple(found["prediction"]) == keys
    agree(found["prediction"], {key: predicted[key] for key in keys})


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ({"like": "3"}, ["--id", 3]),
        ({"like": ["3", "4"], "unlike": "7"}, ["--like", 3, "--like", 4, "--unlike", 7]),
        ({"like": "3", "k": "5", "offset": "4"}, ["--id", 3, "-k", 5, "--offset", 4]),
        ({"like": "3", "threshold": "0.3", "k": "50"}, ["--id", 3, "--threshold", 0.3, "-k", 50]),
        (
            {"like": "3", "where": "price < 20 and label != 'Bag'"},
            ["--id", 3, "--where", "price < 20 and label != 'Bag'"],
        ),
        ({"like": ["3:1", "4:1.0"]}, ["--like", 3, "--like", 4]),
    ],
)
def test_a_search_from_items_answers_as_the_command_does(
    client: TestClient, cli: Cli, form: dict[str, Any], options: list[object]
) -> None:
    found = answer(client.post("/api/search", data=form))
    command = said(cli, "search", *options, "--catalogue", "shop")
    assert [match["id"] for match in found["matches"]] == [match["id"] for match in command["matches"]]
    agree(found, command)
    assert found["prediction"] is None


def test_pictures_and_items_together(client: TestClient, cli: Cli, photo: Path, served: Path) -> None:
    other = next((served / "Dress").glob("*.png"))
    files = [("image", (photo.name, photo.read_bytes())), ("unlike_image", (other.name, other.read_bytes()))]
    found = answer(client.post("/api/search", files=files, data={"like": "5"}))
    command = said(cli, "search", photo, "--like", 5, "--unlike", other, "--catalogue", "shop")
    agree(found, command)
    assert [match["id"] for match in found["matches"]] == [match["id"] for match in command["matches"]]


def test_weights_pull(client: TestClient, served: Path) -> None:
    with LocalCatalogue.open("shop") as opened:
        vectors = {id: opened.item(id).vector for id in (3, 4, 7)}
        for form, examples, query in (
            ({"like": ["3:5", "4:0.5"]}, {3, 4}, 5 * vectors[3] + 0.5 * vectors[4]),
            ({"like": "3", "unlike": "7:0.25"}, {3, 7}, vectors[3] - 0.125 * vectors[7]),
        ):
            ranked = opened.search((query / np.linalg.norm(query))[None], 9)[0]
            wanted = [match for match in ranked if match.id not in examples][:6]
            found = answer(client.post("/api/search", data={**form, "k": 6}))["matches"]
            assert [match["id"] for match in found] == [match.id for match in wanted]
            assert [match["score"] for match in found] == pytest.approx([match.score for match in wanted], abs=1e-6)


def test_a_picture_of_no_weight_does_not_count(client: TestClient, boot: dict[str, Any]) -> None:
    alone = answer(client.post("/api/search", data={"like": "3"}))["matches"]
    both = answer(client.post("/api/search", files=boot, data={"like": "3", "image_weight": "0"}))["matches"]
    assert [match["id"] for match in both] == [match["id"] for match in alone]


def test_compare_answers_as_the_command_does(
    client: TestClient, cli: Cli, photo: Path, served: Path, boot: dict[str, Any]
) -> None:
    other = next((served / "Dress").glob("*.png"))
    command = said(cli, "compare", photo, other)
    files = [("image", (path.name, path.read_bytes())) for path in (photo, other)]
    agree(answer(client.post("/api/compare", files=files)), command)
    with LocalCatalogue.open("shop") as opened:
        id = opened.ids([str(other)])[str(other)]
    agree(answer(client.post("/api/compare", files=boot, data={"id": id})), command)  # by the item's own file


# --- items


def test_an_item_and_its_pictures(client: TestClient, served: Path) -> None:
    found = answer(client.get("/api/items/3"))
    path = Path(found["source"])
    assert found == {
        "id": 3,
        "source": str(path),
        "label": path.parent.name,
        "columns": {"price": int(path.stem)},
        "content": found["content"],
        "original": True,
    }
    small = client.get("/api/items/3/thumbnail")
    assert (small.headers["content-type"], Image.open(io.BytesIO(small.content)).size) == ("image/png", (28, 28))
    whole = client.get("/api/items/3/image")
    assert whole.headers["vitrine-picture"] == "original"
    assert (whole.headers["content-type"], Image.open(io.BytesIO(whole.content)).format) == ("image/jpeg", "JPEG")


def test_a_file_that_was_changed_is_not_shown(own: TestClient) -> None:
    path = answer(own.get("/api/items/3"))["source"]
    Image.new("L", (40, 40)).save(path)
    assert own.get("/api/items/3/image").headers["vitrine-picture"] == "thumbnail"
    assert answer(own.get("/api/items/3"))["original"] is False


def test_an_original_is_made_anew(own: TestClient, cli: Cli, shop: Path) -> None:
    """What is shown is of at most 1,600 pixels, upright, and holds nothing of the file but its pixels."""
    picture, exif = Image.new("RGB", (2000, 1000), "white"), Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret"
    picture.save(shop / "large.jpg", exif=exif, comment=b"a secret")
    assert cli("index", "sync", shop)[0] == 0
    with LocalCatalogue.open("shop") as opened:
        id = opened.ids([str(shop / "large.jpg")])[str(shop / "large.jpg")]
    shown = own.get(f"/api/items/{id}/image")
    assert Image.open(io.BytesIO(shown.content)).size == (800, 1600)
    assert b"secret" not in shown.content


def test_a_picture_is_sent_once(client: TestClient) -> None:
    first = client.get("/api/items/3/thumbnail")
    assert first.headers["cache-control"] == "private, no-cache"
    again = client.get("/api/items/3/thumbnail", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    kept = client.get("/api/items/3/thumbnail?v=1").headers["cache-control"]
    assert kept == "private, max-age=31536000, immutable"


def test_adding_and_removing(client: TestClient, boot: dict[str, Any], photo: Path) -> None:
    added = answer(client.post("/api/items", files=boot, data={"label": "Boots"}, headers=BEARER))
    (one,) = added["added"]
    assert (added["items"], one["id"], one["label"], one["added"]) == (51, 51, "Boots", True)
    assert one["source"].startswith("upload/")
    for _ in range(4):  # whichever thread answers
        (best,) = answer(client.post("/api/search", files=boot, data={"k": 1}))["matches"]
        assert (best["id"], best["label"], best["score"]) == (51, "Boots", pytest.approx(1, abs=1e-5))
    again = answer(client.post("/api/items", files=boot, data={"label": "Shoes"}, headers=BEARER))
    assert again["items"] == 51
    assert again["added"] == [{**one, "added": False}]
    assert client.get("/api/items/51/image").headers["vitrine-picture"] == "thumbnail"
    removed = answer(client.delete("/api/items?id=51&id=50&id=51", headers=BEARER))
    assert removed == {"catalogue": "shop", "removed": 2, "items": 49}
    for _ in range(4):
        assert answer(client.post("/api/search", files=boot, data={"k": 1}))["matches"][0]["id"] < 50
    assert client.delete("/api/items?id=51", headers=BEARER).status_code == 404


def test_all_are_added_or_none(client: TestClient, photo: Path) -> None:
    files = [("image", ("boot.jpg", photo.read_bytes())), ("image", ("note.txt", b"text"))]
    refused = client.post("/api/items", files=files, headers=BEARER)
    assert refused.status_code == 422
    assert "note.txt is not a picture" in refused.json()["detail"]
    assert answer(client.get("/api/catalogue"))["items"] == 50


def test_what_others_add_is_found(own: TestClient, cli: Cli, shop: Path, photo: Path, boot: dict[str, Any]) -> None:
    answer(own.post("/api/search", files=boot))
    (shop / "boot.jpg").write_bytes(photo.read_bytes())
    assert cli("index", "sync", shop)[0] == 0
    found = answer(own.post("/api/search", files=boot, data={"k": 1}))["matches"]
    assert found[0]["source"] == str(shop / "boot.jpg")


def test_a_catalogue_that_moves_to_another_model_meanwhile(client: TestClient, cli: Cli, boot: dict[str, Any]) -> None:
    assert answer(client.post("/api/search", files=boot))["model"] == "siamese"
    assert cli("index", "rebuild", "shop", "--model", "compact")[0] == 0
    for _ in range(4):
        assert answer(client.post("/api/search", files=boot))["model"] == "compact"
    assert answer(client.get("/api/model"))["name"] == "compact"


def test_another_catalogue_by_the_same_name(own: TestClient, cli: Cli, shop: Path, boot: dict[str, Any]) -> None:
    before = answer(own.get("/api/catalogue"))
    assert cli("index", "remove", "shop", "--all")[0] == 0
    assert own.post("/api/search", files=boot).status_code == 503
    for path in list((shop / "Dress").glob("*.png")):
        path.unlink()
    assert cli("index", "sync", shop)[0] == 0
    after = answer(own.get("/api/catalogue"))
    assert after["items"] < before["items"]
    assert after["version"] != before["version"]


# --- about


def test_card_and_catalogue_are_those_of_the_command_line(client: TestClient, cli: Cli) -> None:
    assert answer(client.get("/api/model")) == said(cli, "model", "card")
    about = answer(client.get("/api/catalogue"))
    info = said(cli, "index", "info", "shop")
    assert {key: about[key] for key in info if key != "bytes"} == {key: info[key] for key in info if key != "bytes"}
    assert sum(about["label_counts"].values()) == 50
    assert about["writable"] is True


def test_health_and_metrics(client: TestClient, boot: dict[str, Any]) -> None:
    assert answer(client.get("/healthz")) == {"status": "ok"}
    assert answer(client.get("/readyz")) == {"status": "ready", "items": 50}
    answer(client.post("/api/search", files=boot))
    client.get("/a-secret-address?x=a-secret-address")
    text = client.get("/metrics").text
    assert 'vitrine_requests_total{method="POST",route="/api/search",status="200"} 1.0' in text
    assert 'vitrine_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'vitrine_stage_seconds_count{stage="search"} 1.0' in text
    assert "a-secret-address" not in text
    assert "process_resident_memory_bytes" in text


def test_the_page_and_its_files(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.content == client.get("/index.html").content
    for address in re.findall(r'(?:href|src)="(/[^"]*)"', page.text):
        assert client.get(address).status_code == 200, address
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "http://" not in re.sub(r"http://127\.0\.0\.1:\d+", "", page.text)
    assert "https://" not in page.text


def test_the_contract_lists_routes_and_keys(client: TestClient) -> None:
    schema = answer(client.get("/openapi.json"))
    section = CONTRACT.split("\n## HTTP\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+) (/[^`]*)` \|(.*)\|(.*)\|$", section, re.MULTILINE)
    routes = {(method.upper(), path) for path, methods in schema["paths"].items() for method in methods}
    assert {(method, path) for method, path, _, _ in rows} == routes
    shapes = schema["components"]["schemas"]
    for method, path, takes, answers in rows:
        route = schema["paths"][path][method.lower()]
        content = route["responses"]["200"].get("content", {}).get("application/json")
        if content:
            keys = list(shapes[content["schema"]["$ref"].rpartition("/")[2]]["properties"])
            assert re.findall(r"`(\w+)`", answers) == keys, path
        body = route.get("requestBody", {}).get("content", {}).get("multipart/form-data")
        if body:
            fields = list(shapes[body["schema"]["$ref"].rpartition("/")[2]]["properties"])
            assert re.findall(r"`(\w+)`", takes) == fields, path
    told = section.split("\nA problem ")[1].partition(".")[0]
    assert re.findall(r"`(\w+)`", told) == list(schemas.Problem.model_fields)
    said = {
        code for line in section.splitlines() if line.startswith("| `") for code in re.findall(r"`([a-z-]+)`", line)
    }
    source = "".join(path.read_text(encoding="utf-8") for path in (Path(schemas.__file__).parent).glob("*.py"))
    raised = set(re.findall(r'Refusal\(\s*\d+,\s*"([a-z-]+)"', source)) | {code for _, _, code in problems._STATUS}
    assert raised | {"internal", *problems._CODES.values()} <= said
