"""Captioned scenes of one or two coloured shapes, with the exact mask of every word."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 48  # pixels of an image, both ways
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 70),
    "blue": (50, 80, 220),
    "yellow": (240, 200, 40),
}
BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "gray": (128, 128, 128)}
SHAPES = ("circle", "square", "triangle")
SIZES = {"small": (5.0, 6.5), "big": (8.5, 10.0)}  # pixels of radius, lowest and highest
RELATIONS = ("left of", "right of", "above", "below")
WORDS = sorted(
    {"a", "on", *COLOURS, *BACKGROUNDS, *SHAPES, *SIZES, *" ".join(RELATIONS).split()}
)
_FINE = 4  # drawn this many times larger, then averaged
_HELD_OUT = 6  # one combination in this many is kept out of training


@dataclass(frozen=True)
class Thing:
    """One shape: where it lies in pixels, and whether its caption tells its size."""

    colour: str
    shape: str
    size: str
    size_told: bool
    x: float
    y: float
    radius: float

    @property
    def words(self) -> tuple[str, ...]:
        """Its part of the caption, the article aside."""
        return (*((self.size,) if self.size_told else ()), self.colour, self.shape)


@dataclass(frozen=True)
class Scene:
    """One thing, or two and how the first lies to the second."""

    things: tuple[Thing, ...]
    relation: str
    background: str

    @property
    def words(self) -> tuple[tuple[str, int | None], ...]:
        """The caption word by word, each with the index of the thing that it describes."""
        said: list[tuple[str, int | None]] = []
        for index, thing in enumerate(self.things):
            said += [(word, None) for word in self.relation.split()] if index else []
            said += [("a", None), *((word, index) for word in thing.words)]
        return (*said, ("on", None), (self.background, None))

    @property
    def caption(self) -> str:
        """Such as `a red circle left of a small blue square on white`."""
        return " ".join(word for word, _ in self.words)

    @property
    def held_out(self) -> bool:
        """Whether its combination of things, relation and background is kept for measuring."""
        key = [f"{thing.colour} {thing.shape}" for thing in self.things]
        return zlib.crc32(f"{key} {self.relation} {self.background}".encode()) % _HELD_OUT == 0


def make_scene(random: Random) -> Scene:
    """A scene drawn at random: two times in three of two things."""
    background = random.choice(list(BACKGROUNDS))
    if random.random() < 1 / 3:
        return Scene((_thing(random, (0, SIDE), (0, SIDE)),), "", background)
    relation = random.choice(RELATIONS)
    near, far, whole = (0, SIDE / 2), (SIDE / 2, SIDE), (0, SIDE)
    first, second = (near, far) if relation in ("left of", "above") else (far, near)
    if relation in ("left of", "right of"):
        things = _thing(random, first, whole), _thing(random, second, whole)
    else:
        things = _thing(random, whole, first), _thing(random, whole, second)
    return Scene(things, relation, background)


def scenes(seed: int, count: int, *, held_out: bool) -> list[Scene]:
    """So many scenes of combinations that are, or are not, kept out of training."""
    random = Random(seed)
    found: list[Scene] = []
    while len(found) < count:
        scene = make_scene(random)
        if scene.held_out == held_out:
            found.append(scene)
    return found


def draw(scene: Scene) -> NDArray[np.uint8]:
    """The image, (48, 48, 3)."""
    image = Image.new("RGB", (SIDE * _FINE,) * 2, BACKGROUNDS[scene.background])
    for thing in scene.things:
        draw_shape(image, thing.shape, thing.x, thing.y, thing.radius, COLOURS[thing.colour])
    return np.asarray(image.reduce(_FINE))


def masks(scene: Scene) -> NDArray[np.bool_]:
    """The pixels of each thing, (things, 48, 48)."""
    return np.stack([shape_mask(t.shape, t.x, t.y, t.radius) for t in scene.things])


def shape_mask(shape: str, x: float, y: float, radius: float) -> NDArray[np.bool_]:
    """The pixels of which a shape covers at least half, (48, 48)."""
    image = Image.new("L", (SIDE * _FINE,) * 2)
    draw_shape(image, shape, x, y, radius, 255)
    return np.asarray(image.reduce(_FINE)) >= 128


def draw_shape(
    image: Image.Image,
    shape: str,
    x: float,
    y: float,
    radius: float,
    colour: tuple[int, int, int] | int,
) -> None:
    """Draws one shape, of about equal area at equal radius; places in pixels of the scene."""
    pen, (x, y, r) = ImageDraw.Draw(image), (_FINE * x, _FINE * y, _FINE * radius)
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "square":
        pen.rectangle((x - 0.88 * r, y - 0.88 * r, x + 0.88 * r, y + 0.88 * r), fill=colour)
    else:
        pen.polygon(
            [(x, y - r), (x - 1.1 * r, y + 0.9 * r), (x + 1.1 * r, y + 0.9 * r)], colour
        )


def _thing(random: Random, across: tuple[float, float], down: tuple[float, float]) -> Thing:
    """A thing that lies within a span of x and one of y."""
    size = random.choice(list(SIZES))
    radius = random.uniform(*SIZES[size])
    x, y = (random.uniform(a + 1.1 * radius, b - 1.1 * radius) for a, b in (across, down))
    colour, shape = random.choice(list(COLOURS)), random.choice(SHAPES)
    return Thing(colour, shape, size, random.random() < 0.4, x, y, radius)
