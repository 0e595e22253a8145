"""What a model wants to see: the one description shared by training, the model file and the photo path."""

from dataclasses import dataclass
from typing import Any, Literal

from vitrine.errors import InputError

Ground = Literal["dark", "light", "any"]


@dataclass(frozen=True)
class ImageSpec:
    """The pictures that a model was trained on.

    height, width: pixels, 1 to 4096. channels: 1 (grey) or 3 (RGB).
    ground: whether things stand on a dark ground (Fashion-MNIST), on a light one (a product photo), or on any (photos).
    mean, sd: one number per channel, of pixel values divided by 255; the model file applies them inside its graph.
    middle: of a photo (`ground` "any") the middle, this share of each side, 0.5 to 1, is what the model is
    asked about. A net that learnt from parts of photos has seen things larger than a whole photo shows them (Touvron et
    al. 2019, arXiv 1906.06423). A picture that looks like Fashion-MNIST, or has the size already, is seen whole.
    """

    height: int
    width: int
    channels: int
    ground: Ground
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    middle: float = 1.0

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            if not 1 <= side <= 4096:
                raise InputError(f"An image spec has {name} {side}; allowed is 1 to 4096 pixels.")
        if self.channels not in (1, 3):
            raise InputError(f"An image spec has {self.channels} channels; allowed are 1 (grey) and 3 (RGB).")
        if self.ground not in ("dark", "light", "any"):
            raise InputError(f"An image spec has ground {self.ground!r}; allowed are 'dark', 'light' and 'any'.")
        if len(self.mean) != self.channels or len(self.sd) != self.channels:
            raise InputError(
                f"An image spec of {self.channels} channels needs as many means and sds; it has {len(self.mean)} and"
                f" {len(self.sd)}."
            )
        if min(self.sd) <= 0:
            raise InputError(f"An image spec has sd {min(self.sd)}; it must be above 0.")
        if not 0.5 <= self.middle <= 1 or (self.middle < 1 and self.ground != "any"):
            raise InputError(
                f"An image spec of ground {self.ground!r} has middle {self.middle}; allowed is 1, and 0.5 to 1 with"
                " ground 'any'."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one image."""
        return (self.height, self.width, self.channels)

    def to_json(self) -> dict[str, Any]:
        """Without `middle` where that is 1, so that the identity of a model from before there was one stays."""
        middle = {} if self.middle == 1 else {"middle": self.middle}
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "ground": self.ground,
            "mean": list(self.mean),
            "sd": list(self.sd),
            **middle,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "ImageSpec":
        """Raises InputError for impossible values, KeyError or TypeError for a wrong shape of the JSON."""
        return cls(
            height=int(fields["height"]),
            width=int(fields["width"]),
            channels=int(fields["channels"]),
            ground=fields["ground"],
            mean=tuple(float(value) for value in fields["mean"]),
            sd=tuple(float(value) for value in fields["sd"]),
            middle=float(fields.get("middle", 1.0)),
        )
