"""What the HTTP API takes and answers, as its OpenAPI schema says it. Answers have the keys of the command line's JSON.

Routes answer with plain dicts of these shapes: to check each answer again would take longer than to search. Tests hold
them to it.
"""

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Language = Literal["en", "uk", "ru"]
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Weighted = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,18}(:[0-9]{1,4}(\.[0-9]{1,6})?)?$")]
"""An item by its id, and how much it counts: 12, or 12:0.5."""

PICTURES = 16  # in one request
EXAMPLES = 64  # items to be like, or unlike
ADDED = 64  # pictures that are added at a time
REMOVED = 500  # ids in one address
OFFSET = 100_000  # matches that are passed over: all of them are found, and thrown away

Pictures = Annotated[list[UploadFile], Field(max_length=PICTURES, description="A picture; may be repeated.")]
Examples = Annotated[
    list[Weighted],
    Field(max_length=EXAMPLES, description="An item's id, or ID:WEIGHT; may be repeated.", examples=[["12", "40:0.5"]]),
]
Crop = Annotated[
    str,
    Field(
        pattern=r"^([0-9]{1,9}(,[0-9]{1,9}){3})?$",
        description="The part of the picture that is meant: x,y,width,height in pixels of the upright picture.",
        examples=["40,60,200,300"],
    ),
]
Lang = Annotated[Language, Field(description="Language of the class names.")]
ShowInput = Annotated[bool, Field(description="Also answer with what the model saw, as a PNG in a data: address.")]


class Form(BaseModel):
    """A form in which nothing is passed over."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class ClassifyForm(Form):
    image: Annotated[UploadFile, Field(description="The picture.")]
    lang: Lang = "en"
    show_input: ShowInput = False
    crop: Crop = ""


class ExplainForm(Form):
    image: Annotated[UploadFile, Field(description="The picture.")]
    lang: Lang = "en"
    crop: Crop = ""


class SearchForm(Form):
    """Several examples become one query: the mean of the like less half the mean of the unlike, each times its
    weight.
    """

    image: Pictures = []
    image_weight: Annotated[
        list[Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]],
        Field(max_length=PICTURES, description="How much each picture counts, in their order; 1 where there is none."),
    ] = []
    unlike_image: Pictures = []
    like: Examples = []
    unlike: Examples = []
    k: Annotated[int, Field(ge=1, le=1000, description="How many look-alikes.")] = 12
    offset: Annotated[int, Field(ge=0, le=OFFSET, description="Pass over so many of the best.")] = 0
    threshold: Annotated[
        float | None, Field(ge=-1, le=1, allow_inf_nan=False, description="Leave out what scores less.")
    ] = None
    where: Annotated[
        str | None,
        Field(
            max_length=10_000,
            description="Only items that meet this.",
            examples=["label = 'Dress' and added > 2026-01-01"],
        ),
    ] = None
    lang: Lang = "en"
    show_input: ShowInput = False
    crop: Annotated[
        list[Crop],
        Field(max_length=PICTURES, description="A crop of each picture, in their order; empty for all of one."),
    ] = []


class CompareForm(Form):
    """Two in all: pictures come before items."""

    image: Annotated[list[UploadFile], Field(max_length=2, description="A picture; may be repeated.")] = []
    id: Annotated[list[Id], Field(max_length=2, description="An item; may be repeated.", examples=[[12]])] = []
    lang: Lang = "en"


class AddForm(Form):
    image: Annotated[
        list[UploadFile], Field(min_length=1, max_length=ADDED, description="A picture to add; may be repeated.")
    ]
    label: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            pattern="^[^\\x00-\\x1f\\x7f]+$",
            description="The class of all of them.",
            examples=["Dress"],
        ),
    ] = None


class Prediction(BaseModel):
    """What a picture shows. probabilities: one per class, in the order of the model card's classes, those learnt
    later behind them, summing to 1 unless there are only such.
    known: whether it looks like any of them at all, null where the model cannot tell.
    """

    class_index: int
    label: str
    probability: float
    probabilities: list[float]
    known: bool | None


class ClassifyAnswer(Prediction):
    """The keys of `vitrine classify --json`, and input: what the model saw, as a PNG in a data: address, or null.
    model: the one that answers: the catalogue's, or for a photo perhaps the photo model.
    """

    source: str
    model: str
    input: str | None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "boot.jpg",
                    "model": "siamese",
                    "class_index": 9,
                    "label": "Ankle boot",
                    "probability": 0.91,
                    "probabilities": [0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.91],
                    "known": None,
                    "input": None,
                }
            ]
        }
    )


class ExplainAnswer(Prediction):
    """The keys of `vitrine classify --json`, and where the model looked when it took the picture for `label`. way: by
    the model's own activation maps, or by occlusion. heat: a PNG (RGBA) in a data: address, to be laid over the whole
    picture, or its crop, and stretched to its size; the opacity of a pixel, 0 to 255, is how much that place counted,
    255 for most.
    """

    source: str
    model: str
    way: Literal["activation", "occlusion"]
    heat: str


class Match(BaseModel):
    """score: cosine similarity, 1 for the same. columns: the item's cells in the CSV, null where there are none."""

    id: int
    score: float
    label: str | None
    source: str
    columns: dict[str, str | int | float] | None


class SearchAnswer(BaseModel):
    """The keys of `vitrine search --json`, and of the first picture in `image` what it shows (null where there is none,
    or where the model has no classes) and what the model saw (null unless it was asked for). bridge: the photo model
    that said of which class the photos are, null where none was asked; prediction and input are of that, too, where the
    first picture is a photo. learnt: the classes that were taught to the model that made the prediction; their
    probabilities come last.
    """

    source: str | None
    model: str
    bridge: str | None
    like: list[str]
    unlike: list[str]
    matches: list[Match]
    prediction: Prediction | None
    input: str | None
    learnt: list[str]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "fashion-mnist/train/00011",
                    "model": "siamese",
                    "bridge": None,
                    "like": ["fashion-mnist/train/00011"],
                    "unlike": [],
                    "matches": [
                        {
                            "id": 40,
                            "score": 0.98,
                            "label": "Sandal",
                            "source": "fashion-mnist/train/00039",
                            "columns": None,
                        }
                    ],
                    "prediction": None,
                    "input": None,
                    "learnt": [],
                }
            ]
        }
    )


class Compared(BaseModel):
    """label, probability: null where the model has no classes. known: as of `Prediction`."""

    source: str
    label: str | None
    probability: float | None
    known: bool | None


class CompareAnswer(BaseModel):
    """The keys of `vitrine compare --json`."""

    same_probability: float
    score: float
    model: str
    measure: Literal["cosine", "class-product", "class-distance"]
    distance: float
    a: Compared
    b: Compared


class ItemAnswer(BaseModel):
    """content: hash of the picture's bytes. original: whether the file it came from is there and unchanged."""

    id: int
    source: str
    label: str | None
    columns: dict[str, str | int | float] | None
    content: str
    original: bool


class Added(BaseModel):
    """added: false where the same picture was there already, by the same name."""

    id: int
    source: str
    label: str | None
    added: bool


class AddAnswer(BaseModel):
    """items: how many the catalogue holds now."""

    catalogue: str
    added: list[Added]
    items: int


class RemoveAnswer(BaseModel):
    """The keys of `vitrine index remove --json`."""

    catalogue: str
    removed: int
    items: int


class CatalogueAnswer(BaseModel):
    """The keys of `vitrine index info --json`, the classes that items have (the 200 that most have), whether items can
    be added and removed (with the token), and `version`: a word that is another one for another catalogue, to be put
    behind the address of a thumbnail (`?v=`), which may then be kept.
    """

    catalogue: str
    items: int
    labels: int
    model: str
    identity: str
    dimensions: int
    index: str
    bytes: int
    format_version: int
    columns: dict[str, int]
    label_counts: dict[str, int]
    writable: bool
    version: str


class ModelAnswer(BaseModel):
    """As `vitrine model card --json`. learnt: the classes that came after the training; they follow the others."""

    format_version: int
    name: str
    identity: str
    image: dict[str, Any]
    classes: dict[str, list[str]]
    embedding: int
    temperature: float
    rejection: dict[str, Any] | None
    similarity: dict[str, Any] | None
    recipe: dict[str, Any]
    seed: int
    data: dict[str, Any]
    metrics: dict[str, float]
    activation: bool
    learnt: list[str]


class PlaceForm(Form):
    image: Annotated[UploadFile, Field(description="The picture.")]


class PlaceAnswer(BaseModel):
    """On the scale of the map's points."""

    x: float
    y: float


class Computing(BaseModel):
    """progress: 0 to 1."""

    status: Literal["computing"]
    progress: float


class Health(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    status: Literal["ready"]
    items: int


class Problem(BaseModel):
    """RFC 9457. detail: a sentence for people, in the command line's words. code: the same for programs."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "detail": "note.txt is empty (0 bytes); give a picture.",
                    "code": "image",
                }
            ]
        }
    )
