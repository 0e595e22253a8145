"""Catalogues on Milvus by their addresses: what names them, what the configuration says, and use as anybody would."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pymilvus import MilvusClient

from milvus_fixtures import Milvus
from pictures import Cli, save_folder
from vitrine import storage
from vitrine.catalogue import by_name
from vitrine.catalogue.milvus import address as milvus_address
from vitrine.catalogue.milvus.address import Address, Settings, Tls
from vitrine.datasets import Splits
from vitrine.errors import InputError
from vitrine.server.app import Settings as Served
from vitrine.server.app import create_app

# --- names


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("milvus+http://host/shop", Address("http://host:19530", "shop")),
        ("MILVUS+HTTPS://Host.Example:443/Shop_2", Address("https://host.example:443", "Shop_2")),
        ("milvus+http://[::1]:7/a", Address("http://[::1]:7", "a")),
    ],
)
def test_addresses(name: str, address: Address) -> None:
    assert milvus_address.is_address(name)
    assert milvus_address.parse(name) == address
    assert milvus_address.parse(address.text) == address


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("milvus+http://host", "after the address comes a name"),
        ("milvus+http://host/", "after the address comes a name"),
        ("milvus+http://host/a__b", "after the address comes a name"),
        ("milvus+http://host/a/b", "after the address comes a name"),
        ("milvus+http://host/1a", "after the address comes a name"),
        ("milvus+http://host/" + "x" * 61, "after the address comes a name"),
        ("milvus+http://root:secret@host/shop", "An address holds no user and no password"),
        ("milvus+ftp://host/shop", "is no address of a catalogue"),
        ("http://host:19530/shop", "is no address of a catalogue"),
        ("milvus+http://host:99999/shop", "is no address of a catalogue"),
        ("milvus+http://host:0/shop", "is no address of a catalogue"),
        ("milvus+http:///shop", "is no address of a catalogue"),
    ],
)
def test_what_is_no_address(cli: Cli, name: str, sentence: str) -> None:
    for command in (
        ["index", "info", name],
        ["search", "--id", "1", "--catalogue", name],
        ["map", "--catalogue", name],
    ):
        code, _, err = cli(*command)
        assert code == 2
        assert sentence in err
        assert "secret" not in err
    with pytest.raises(InputError):
        by_name.check(name)


def test_a_server_is_no_catalogue(cli: Cli) -> None:
    for name, sentence in (("milvus+http://h/shop", "name a server"), ("shop", "is no server")):
        code, _, err = cli("index", "list", name)
        assert (code, sentence in err) == (2, True)


# --- configuration

_WHOLE = """
[[server]]
address = "milvus+http://other"
token = "x"
[[server]]
address = "milvus+https://host:19530"
token = "root:Milvus"
database = "shop"
seconds = 5
consistency = "Bounded"
index = "HNSW"
build = { M = 32 }
search = { ef = 200 }
replicas = 2
shards = 3
tls = { name = "milvus" }
"""

_METHODS = ("create_collection", "create_index", "load_collection", "search")
_SMALL = """
[[server]]
address = "SERVER"
index = "HNSW"
build = { M = 7 }
search = { ef = 99 }
shards = 2
replicas = 3
consistency = "Bounded"
"""


def configured(text: str) -> Settings:
    path = storage.data_folder() / "milvus.toml"
    storage.write_text(path, text)
    return milvus_address.settings("https://host:19530")


def test_the_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert milvus_address.settings("https://host:19530") == Settings()
    whole = Settings("root:Milvus", "shop", 5, "HNSW", {"M": 32}, {"ef": 200}, 2, 3, "Bounded", Tls(name="milvus"))
    assert configured(_WHOLE) == whole
    assert milvus_address.settings("http://other:19530").token == "x"
    assert milvus_address.settings("http://third:19530") == Settings()
    monkeypatch.setenv("VITRINE_MILVUS_TOKEN", "key")
    assert milvus_address.settings("https://host:19530") == replace(whole, token="key")
    other = tmp_path / "other.toml"
    other.write_text('[[server]]\naddress = "milvus+https://host"\nseconds = 7.5\n')
    monkeypatch.setenv("VITRINE_MILVUS", str(other))
    assert milvus_address.settings("https://host:19530") == Settings(token="key", seconds=7.5)
    monkeypatch.setenv("VITRINE_MILVUS", str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match="cannot be read as TOML"):
        milvus_address.settings("https://host:19530")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[server", "cannot be read as TOML"),
        ("[server]\naddress = 'milvus+http://h'", "holds more than tables"),
        ("[other]", "holds more than tables"),
        ("[[server]]\ntoken = 'x'", "without an address"),
        ("[[server]]\naddress = 'h'", "is no address"),
        ("[[server]]\naddress = 'milvus+http://h/shop'", "name a server"),
        ("[[server]]\naddress = 'milvus+https://host'\ntokn = 'x'", "unknown key 'tokn'; there are token, database"),
        ("[[server]]\naddress = 'milvus+https://host'\nreplicas = 'two'", "says replicas = 'two'"),
        ("[[server]]\naddress = 'milvus+https://host'\nreplicas = 0", "a number that cannot be"),
        ("[[server]]\naddress = 'milvus+https://host'\nseconds = true", "says seconds = True"),
        ("[[server]]\naddress = 'milvus+https://host'\nconsistency = 'strong'", "allowed are Strong"),
        ("[[server]]\naddress = 'milvus+https://host'\ntls = 'ca.pem'", "has no table there"),
        ("[[server]]\naddress = 'milvus+https://host'\ntls = { cert = 'x' }", "unknown key 'cert'"),
        (f"[[server]]\naddress = 'milvus+https://host'\ntls = {{ key = '{__file__}' }}", "name all three"),
    ],
)
def test_configurations_that_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        configured(text)


def test_what_is_configured_is_passed_on(
    milvus: Milvus, cli: Cli, drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """milvus-lite takes no notice of most of it."""
    passed: dict[str, list[dict[str, Any]]] = {}
    whole = {name: getattr(MilvusClient, name) for name in _METHODS}
    for method in _METHODS:

        def told(client: Any, *given: Any, method: str = method, **named: Any) -> Any:
            index = [one.get_index_configs() for one in given[1]] if method == "create_index" else []
            passed.setdefault(method, []).extend(index or [named])
            return whole[method](client, *given, **named)

        monkeypatch.setattr(MilvusClient, method, told)
    save_folder(drawn.test[:3], tmp_path / "shop")
    storage.write_text(storage.data_folder() / "milvus.toml", _SMALL.replace("SERVER", milvus.server))
    name = milvus.name()
    assert cli("index", "add", tmp_path / "shop", "--catalogue", name)[0] == 0
    assert json.loads(cli("index", "info", name, "--json")[1])["index"] == "hnsw"
    assert len(json.loads(cli("search", "--id", 1, "--catalogue", name, "--json")[1])["matches"]) == 2
    assert {"index_type": "HNSW", "metric_type": "IP", "M": 7} in passed["create_index"]
    assert all(one["num_shards"] == 2 for one in passed["create_collection"])
    assert all(one["replica_number"] == 3 for one in passed["load_collection"])
    assert passed["search"][-1]["search_params"] == {"params": {"ef": 99}}
    assert passed["search"][-1]["consistency_level"] == "Bounded"


# --- use


@pytest.fixture
def shop(milvus: Milvus, cli: Cli, drawn: Splits, tmp_path: Path) -> Iterator[str]:
    """A catalogue of the 50 pictures in the folder "shop", with prices."""
    folder = tmp_path / "shop"
    save_folder(drawn.test, folder)
    lines = [f"{path.relative_to(folder)},{int(path.stem)}" for path in folder.rglob("*.png")]
    (folder / "items.csv").write_text("\n".join(["file,price", *lines]))
    name = milvus.name()
    code, out, _ = cli("index", "add", folder, "--catalogue", name)
    assert (code, out) == (0, f"{name}: 50 added, 0 replaced, 0 unchanged; 50 items.\n")
    yield name
    assert cli("index", "remove", name, "--all")[:2] == (0, f"{name}: 50 removed, 0 left.\n")


def test_commands(shop: str, cli: Cli, milvus: Milvus, tmp_path: Path) -> None:
    picture = next((tmp_path / "shop").rglob("*.png"))
    found = json.loads(cli("search", picture, "--catalogue", shop, "-k", 3, "--where", "price < 30", "--json")[1])
    assert found["matches"][0]["source"] == str(picture) or int(picture.stem) >= 30
    assert all(match["columns"]["price"] < 30 for match in found["matches"])
    synced = json.loads(cli("index", "sync", tmp_path / "shop", "--catalogue", shop, "--json")[1])
    assert (synced["unchanged"], synced["items"], synced["lost"]) == (50, 50, [])
    assert json.loads(cli("index", "list", milvus.server, "--json")[1].splitlines()[-1])["catalogue"].startswith(
        "milvus+"
    )
    facts = json.loads(cli("index", "info", shop, "--json")[1])
    assert (facts["catalogue"], facts["items"], facts["columns"]) == (shop, 50, {"price": 50})
    assert cli("index", "verify", shop)[:2] == (0, f"{shop}: 50 items, all sound.\n")
    assert json.loads(cli("index", "duplicates", shop, "--json")[1].splitlines()[-1])["items"] == 50
    made = json.loads(cli("map", "--catalogue", shop, "--html", tmp_path / "map.html", "--json")[1])
    assert (made["items"], made["made"]) == (50, "computed")
    assert json.loads(cli("map", "--catalogue", shop, "--json")[1])["made"] == "kept"
    exported = cli("index", "export", shop, "shop.parquet", "--json")
    assert (exported[0], json.loads(exported[1])["items"]) == (0, 50)
    there = f"{shop}_again"
    again = json.loads(cli("search", "--id", 3, "--catalogue", shop, "-k", 9, "--json")[1])["matches"]
    for copy in (there, "here"):
        imported = cli("index", "import", "shop.parquet", "--catalogue", copy, "--json")
        assert (imported[0], json.loads(imported[1])["items"]) == (0, 50)
        found = json.loads(cli("search", "--id", 3, "--catalogue", copy, "-k", 9, "--json")[1])["matches"]
        assert [(match["id"], match["columns"]) for match in found] == [(one["id"], one["columns"]) for one in again]
        assert [match["score"] for match in found] == pytest.approx([one["score"] for one in again], abs=1e-6)
    code, _, err = cli("index", "import", "shop.parquet", "--catalogue", there)
    assert (code, "There is a catalogue" in err) == (2, True)
    cli("index", "remove", there, "--all")
    for command in (["backup", shop, "x.vitrine"], ["restore", "x.vitrine", "--catalogue", shop]):
        code, _, err = cli("index", *command)
        assert (code, "is on Milvus, and cannot be backed up" in err) == (2, True)
    moved = json.loads(cli("index", "rebuild", shop, "--model", "compact", "--json")[1])
    assert (moved["items"], moved["moved"]) == (50, True)
    assert json.loads(cli("index", "info", shop, "--json")[1])["model"] == "compact"


def test_the_server_and_its_page(shop: str, tmp_path: Path) -> None:
    picture = next((tmp_path / "shop").rglob("*.png")).read_bytes()
    bearer = {"Authorization": "Bearer secret-token-secret-token-secret"}
    app = create_app(Served(shop, "secret-token-secret-token-secret"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/readyz").json() == {"status": "ready", "items": 50}
        about = client.get("/api/catalogue").json()
        assert (about["catalogue"], about["items"], about["writable"]) == (shop, 50, True)
        assert sum(about["label_counts"].values()) == 50
        found = client.post("/api/search", files={"image": picture}, data={"where": "price >= 0", "k": "5"}).json()
        assert len(found["matches"]) == 5
        first = found["matches"][0]["id"]
        assert client.get(f"/api/items/{first}").json()["columns"]["price"] >= 0
        assert client.get(f"/api/items/{first}/thumbnail").headers["content-type"].startswith("image/")
        sent = client.post("/api/items", files={"image": ("new.png", picture)}, data={"label": "x"}, headers=bearer)
        (added,) = sent.json()["added"]
        assert (added["id"], added["added"], sent.json()["items"]) == (51, True, 51)
        assert client.get(f"/api/items/{added['id']}").json()["label"] == "x"
        gone = client.delete("/api/items", params={"id": added["id"]}, headers=bearer)
        assert (gone.json()["removed"], gone.json()["items"]) == (1, 50)
        assert client.get(f"/api/items/{added['id']}").status_code == 404
        wrong = client.post("/api/search", data={"like": str(first), "where": "prize > 1"})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "input")
        assert client.get("/").status_code == 200
