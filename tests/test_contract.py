"""The program is held to docs/contract.md."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import typer.main

from pictures import Cli, save_folder
from vitrine import encoder as encoders
from vitrine import modelfile
from vitrine.catalogue import folders
from vitrine.cli import app
from vitrine.datasets import Splits, drawn_garments

CONTRACT = (Path(__file__).parents[1] / "docs" / "contract.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return CONTRACT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def promised(row: str) -> list[str]:
    """The keys of that row of the table in the section JSON."""
    line = next(line for line in section("JSON").splitlines() if line.startswith(f"| {row} |"))
    return re.findall(r"`(\w+)`", line.split("|")[2])


def test_the_commands_are_those_listed() -> None:
    found = []
    for name, command in typer.main.get_group(app).commands.items():
        parts = getattr(command, "commands", None)
        found += [f"vitrine {name} {part}" for part in parts] if parts else [f"vitrine {name}"]
    listed = re.findall(r"^- `(vitrine [^`]+)`", section("Commands"), re.MULTILINE)
    assert sorted(found) == sorted(listed)


def test_the_metadata_fields_are_those_listed(tmp_path: Path) -> None:
    shipped = modelfile.read(encoders.find("default"))
    file = tmp_path / "today.onnx"  # the shipped one may be of an older format
    modelfile.write(file, shipped.content, replace(shipped.card, rejection=modelfile.Rejection("energy", 1.5)))
    entries = dict(
        modelfile._metadata(value) for number, value, _ in modelfile._fields(file.read_bytes()) if number == 14
    )
    fields = json.loads(entries["vitrine"])
    listed = re.findall(r"^\| `(\w+)` \|", section("Metadata of a model file"), re.MULTILINE)
    assert list(fields) == listed
    assert fields["format_version"] == modelfile.FORMAT_VERSION
    assert list(fields["rejection"]) == ["score", "threshold"]
    assert list(fields["image"]) == ["height", "width", "channels", "ground", "mean", "sd"]
    assert list(fields["data"]) == ["name", "images", "checksum"]


@pytest.mark.slow
def test_json_keys_are_those_listed(cli: Cli, drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_garments, "load", lambda: drawn)
    save_folder(drawn.test[:10], tmp_path / "shop")
    picture = next((tmp_path / "shop").rglob("*.png"))

    def keys(*arguments: object, line: int = -1) -> list[str]:
        return list(json.loads(cli(*arguments, "--json")[1].splitlines()[line]))

    filled = promised("`index add`, `index sync` (one line a look that changed something)")
    assert keys("index", "add", tmp_path / "shop") == filled
    assert keys("index", "sync", tmp_path / "shop") == filled
    assert keys("index", "verify", "shop") == promised("`index verify`")
    assert keys("index", "list") == promised("`index list` (one line a catalogue), `index info`")
    assert keys("index", "info", "shop") == promised("`index list` (one line a catalogue), `index info`")
    two = sorted((tmp_path / "shop").rglob("*.png"))[:2]
    assert keys("model", "learn", "new", *two) == promised("`model learn`")
    assert keys("model", "forget", "new") == promised("`model forget`")
    assert keys("classify", picture) == promised("`classify` (one line a picture)")
    assert keys("search", picture, "--catalogue", "shop") == promised("`search`")
    matches = json.loads(cli("search", picture, "--catalogue", "shop", "--json")[1])["matches"]
    assert list(matches[0]) == promised("`search`, each of `matches`")
    assert keys("evaluate", "--data", "drawn") == promised("`evaluate` (one line a model)")
    (tmp_path / "shop" / "copy.png").write_bytes(picture.read_bytes())
    assert keys("index", "sync", tmp_path / "shop") == filled
    found = [json.loads(line) for line in cli("index", "duplicates", "shop", "--json")[1].splitlines()]
    assert list(found[0]) == promised("`index duplicates` (one line a group)")
    assert list(found[0]["items"][0]) == promised("`index duplicates`, each of `items`")
    assert list(found[-1]) == promised("`index duplicates` (last line)")
    assert keys("index", "backup", "shop", "backup") == promised("`index export`, `index backup`")
    assert keys("index", "restore", "backup", "--catalogue", "restored") == promised("`index restore`")
    assert keys("index", "rebuild", "restored", "--model", "compact") == promised("`index rebuild`")
    assert keys("index", "copy", "shop", "copied") == promised("`index copy`")
    assert keys("index", "plan") == promised("`index plan` (one line a number of items)")
    choices = json.loads(cli("index", "plan", "--items", 5, "--json")[1])["choices"]
    assert list(choices[0]) == promised("`index plan`, each of `choices`")
    assert keys("index", "export", "shop", "shop.parquet") == promised("`index export`, `index backup`")
    assert keys("index", "import", "shop.parquet", "--catalogue", "imported") == promised("`index import`")
    assert keys("map", "--catalogue", "shop") == promised("`map`")
    assert keys("index", "remove", "shop", 1) == promised("`index remove`")
    assert keys("data", "show", "drawn") == promised("`data show`")
    assert keys("data", "verify") == promised("`data verify` (one line a file)")
    trained = ["train", "report-b-mlp", "--data.name", "drawn", "--epochs", 1]
    assert keys(*trained, "--out", "a", line=0) == promised("`train` (one line an epoch)")
    assert keys(*trained, "--out", "b") == promised("`train` (last line)")
    searched = (*trained, "--tune", 1, "--tune-epochs", 1, "--out")
    assert keys(*searched, "c", line=0) == promised("`train --tune` (one line a trial)")
    assert keys(*searched, "d") == promised("`train --tune` (last line)")
    assert keys("report", "b", "--no-map", "--out", "page") == promised("`report` (one line a run)")
    pair = ["compare", picture, picture, "--model", "b/model.onnx"]
    assert keys(*pair) == promised("`compare`")
    assert list(json.loads(cli(*pair, "--json")[1])["b"]) == promised("`compare`, each of `a` and `b`")
    assert {path.name for path in Path("a").iterdir()} == set(
        re.findall(r"[\w.]+\.(?:onnx|jsonl?|safetensors)", _row("runs/RECIPE/"))
    )


def test_paths_are_those_listed(cli: Cli, drawn: Splits, tmp_path: Path) -> None:
    save_folder(drawn.test[:10], tmp_path / "shop")
    assert cli("index", "add", tmp_path / "shop")[0] == 0
    names = {re.sub(r"\d+", "N", path.name) for path in folders.folder("shop").iterdir()}
    assert {name for name in names if not name.endswith(("-wal", "-shm"))} == set(
        re.findall(r"(?<=[/`])[\w-]+\.(?:sqlite|onnx|faiss|lock)", _row("data/catalogues/"))
    )


def test_a_map_lies_where_it_says(cli: Cli, drawn: Splits, tmp_path: Path) -> None:
    save_folder(drawn.test[:10], tmp_path / "shop")
    assert cli("index", "add", tmp_path / "shop")[0] == 0
    assert cli("map", "--catalogue", "shop")[0] == 0
    assert [re.sub(r"\d+", "N", path.name) for path in folders.folder("shop").glob("map*")] == ["map-N.points"]
    assert "`data/catalogues/NAME/map-N.points`" in section("Paths")


def _row(start: str) -> str:
    return next(line for line in section("Paths").splitlines() if line.startswith(f"| `{start}"))


def test_what_the_docs_show_in_python_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every Python block of README.md and docs/, in a folder that holds what they name."""
    root = Path(__file__).parents[1]
    (tmp_path / "model.onnx").write_bytes(encoders.find("default").read_bytes())
    from PIL import Image

    for kind, name in ((9, "boot.jpg"), (7, "shoe.jpg")):
        Image.fromarray(255 - drawn_garments.draw(kind, 3, size=300)[..., 0]).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    blocks = [
        block
        for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, "docs", "exec"), {})


def test_every_make_verb_and_command_that_the_docs_name_exists() -> None:
    root = Path(__file__).parents[1]
    verbs = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    commands = set(re.findall(r"^- `(vitrine [^`]+)`", section("Commands"), re.MULTILINE))
    for page in [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= verbs, page
        found = re.findall(r"^ {4}(vitrine .*)$", text, re.MULTILINE)
        for line in found:
            assert any(line.startswith(command) for command in commands), (page, line)
        assert page.name != "README.md" or len(found) > 5 or page.parent.name == "decisions"


def test_every_link_in_the_docs_leads_somewhere() -> None:
    root = Path(__file__).parents[1]
    for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "benchmarks").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), (page, target)
