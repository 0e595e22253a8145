"""The part of a photo that is meant: over Python, the command line and HTTP."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from pictures import Cli, one_sentence, shop_photo, written
from vitrine import images
from vitrine.datasets import drawn_garments
from vitrine.errors import ImageError, InputError
from vitrine.images import Crop
from vitrine.spec import ImageSpec

PHOTO = ImageSpec(32, 32, 3, "any", (0.0,) * 3, (1.0,) * 3)
RED, BLUE = (200, 30, 40), (30, 40, 200)


def marked(size: tuple[int, int] = (1200, 1600)) -> Image.Image:
    """Blue, with a red rectangle from a quarter to a half of each side."""
    picture = Image.new("RGB", size, BLUE)
    picture.paste(RED, (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
    return picture


def all_red(image: np.ndarray) -> bool:
    inner = image[8:-8, 8:-8]  # a JPEG mixes colours at edges
    return bool(inner.size) and bool(np.abs(inner.astype(int) - RED).max() < 16)


@pytest.mark.parametrize("text", ["40,60,200,300", " 40, 60 ,200,300 ", "040,60,200,300"])
def test_a_crop_is_read_from_words(text: str) -> None:
    assert Crop.parse(text) == Crop(40, 60, 200, 300)
    assert str(Crop.parse(text)) == "40,60,200,300"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no crop"),
        ("1,2,3", "is no crop"),
        ("1,2,3,4,5", "is no crop"),
        ("a,b,c,d", "is no crop"),
        ("-1,0,5,5", "is no crop"),
        ("1.5,0,5,5", "is no crop"),
        ("१,2,3,4", "is no crop"),
        ("1,2,0,4", "is empty"),
        ("1,2,3,0", "is empty"),
        ("1,2,3," + "9" * 5000, "reaches beyond any picture"),
    ],
)
def test_what_is_no_crop_is_one_sentence(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Crop.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("spec", [None, PHOTO])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_it_counts_pixels_of_the_whole_picture_however_it_is_decoded(kind: str, spec: ImageSpec | None) -> None:
    """A JPEG is decoded at a reduced scale, as far as the part allows."""
    content = written(marked(), kind)
    inside = images.read(content, spec=spec, crop=Crop(300, 400, 300, 400))
    assert all_red(inside)
    assert inside.shape[:2] == (400, 300)
    beside = images.read(content, spec=spec, crop=Crop(150, 400, 300, 400))
    across = beside.shape[1]
    assert all_red(beside[:, across // 2 + 2 :])
    assert not all_red(beside[:, : across // 2 - 2])


def test_the_scale_follows_the_part() -> None:
    content = written(marked((4000, 3000)), "JPEG")
    assert images.read(content, spec=PHOTO).shape == (375, 500, 3)
    assert images.read(content, spec=PHOTO, crop=Crop(1000, 750, 1000, 750)).shape == (375, 500, 3)
    assert images.read(content, spec=PHOTO, crop=Crop(1000, 750, 200, 100)).shape == (100, 200, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_it_counts_in_the_upright_picture(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = written(marked((1200, 800)), kind, exif=exif)
    upright = images.read(content)
    width = upright.shape[1]
    reds = np.argwhere(np.abs(upright.astype(int) - RED).max(axis=2) < 40)
    (top, left), (bottom, right) = reds.min(axis=0), reds.max(axis=0) + 1
    times = (1200 if orientation < 5 else 800) / width
    where = (round(left * times), round(top * times), round((right - left) * times), round((bottom - top) * times))
    assert all_red(images.read(content, crop=Crop(*where)))
    full = (1200, 800) if orientation < 5 else (800, 1200)
    images.read(content, crop=Crop(0, 0, *full))
    with pytest.raises(ImageError, match=f"has {full[0]}x{full[1]} pixels"):
        images.read(content, crop=Crop(0, 0, full[0], full[1] + 1))


def test_arrays_and_pil_images_are_cropped_alike() -> None:
    part = Crop(300, 400, 300, 400)
    expected = np.asarray(marked())[400:800, 300:600]
    assert (images.read(marked(), crop=part) == expected).all()
    assert (images.read(np.asarray(marked()), crop=part) == expected).all()
    for picture in (marked(), np.asarray(marked())):
        with pytest.raises(ImageError, match="reaches beyond"):
            images.read(picture, crop=Crop(1000, 0, 201, 5))


def two_garments(folder: Path) -> Path:
    """Two clean product shots side by side, a trouser and a bag."""
    sheet = Image.new("RGB", (1200, 800))
    for left, label in ((0, 1), (600, 8)):
        sheet.paste(Image.open(io.BytesIO(shop_photo(drawn_garments.draw(label, 3), light=False))), (left, 0))
    sheet.save(folder / "two.png")
    return folder / "two.png"


def test_classify_and_search_take_the_part(cli: Cli, served: Path, tmp_path: Path) -> None:
    two = str(two_garments(tmp_path))
    answers = []
    for crop in ("0,0,600,800", "600,0,600,800"):
        code, out, _ = cli("classify", two, "--crop", crop, "--json", "--show-input", str(tmp_path / "seen.png"))
        assert code == 0
        alone = images.read(two, crop=Crop.parse(crop))
        images.to_pil(alone).save(tmp_path / "alone.png")
        found, expected = json.loads(out), json.loads(cli("classify", str(tmp_path / "alone.png"), "--json")[1])
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)
        answers.append(found["label"])
        matches = json.loads(cli("search", two, "--crop", crop, "--catalogue", "shop", "--json")[1])["matches"]
        same = json.loads(cli("search", str(tmp_path / "alone.png"), "--catalogue", "shop", "--json")[1])["matches"]
        assert [match["id"] for match in matches] == [match["id"] for match in same]
    assert answers[0] != answers[1]
    assert (tmp_path / "seen.png").exists()


@pytest.mark.parametrize("crop", ["0,0,1300,5", "0,0,0,5", "all of it"])
def test_a_crop_that_cannot_be_is_one_sentence(cli: Cli, served: Path, tmp_path: Path, crop: str) -> None:
    two = str(two_garments(tmp_path))
    for command in (("classify", two), ("search", two, "--catalogue", "shop")):
        code, _, error = cli(*command, "--crop", crop)
        assert code == 2
        assert one_sentence(error)
    assert cli("search", "--like", "1", "--crop", "0,0,5,5", "--catalogue", "shop")[0] == 2


def test_over_http(client: TestClient, tmp_path: Path) -> None:
    content = two_garments(tmp_path).read_bytes()
    picture = {"image": ("two.png", content)}
    for crop in ("0,0,600,800", "600,0,600,800"):
        alone = written(images.to_pil(images.read(content, crop=Crop.parse(crop))))
        expected = client.post("/api/classify", files={"image": ("a.png", alone)}).json()
        found = client.post("/api/classify", files=picture, data={"crop": crop}).json()
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)
        searched = client.post("/api/search", files=picture, data={"crop": [crop]}).json()
        assert searched["prediction"]["label"] == expected["label"]
    for address, crop in (("classify", "0,0,1300,5"), ("classify", "no"), ("search", "5,5,0,5")):
        assert client.post(f"/api/{address}", files=picture, data={"crop": crop}).status_code == 422
    both = client.post("/api/search", files=picture, data={"crop": ["", "0,0,5,5"]})
    assert both.status_code == 422
    assert both.json()["detail"] == "2 crop came with 1 image; send at most one for each."
