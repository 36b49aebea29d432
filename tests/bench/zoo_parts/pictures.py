"""Photographs, and crops and text made from them: one part for calibration, another for evaluation.

The photographs come with the packages scikit-image, scikit-learn and matplotlib. With the folder
../shared/data/imagenet_sample beside the repository, its pictures take their place. No photograph belongs to both
parts.
"""

import functools
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from . import packages

SHARED = Path(__file__).resolve().parents[4] / "shared/data/imagenet_sample/calib"
SKIMAGE, SKLEARN, MATPLOTLIB = "scikit-image==0.25.2", "scikit-learn==1.7.2", "matplotlib==3.10.7"
# Part, package, end of the member's name.
SAMPLES = [
    ("calib", SKIMAGE, "skimage/data/astronaut.png"),
    ("calib", SKIMAGE, "skimage/data/coffee.png"),
    ("calib", SKIMAGE, "skimage/data/motorcycle_left.png"),
    ("calib", SKIMAGE, "skimage/data/retina.jpg"),
    ("calib", SKIMAGE, "skimage/data/gravel.png"),
    ("calib", SKIMAGE, "skimage/data/page.png"),
    ("calib", SKLEARN, "sklearn/datasets/images/china.jpg"),
    ("eval", SKIMAGE, "skimage/data/chelsea.png"),
    ("eval", SKIMAGE, "skimage/data/rocket.jpg"),
    ("eval", SKIMAGE, "skimage/data/camera.png"),
    ("eval", SKIMAGE, "skimage/data/coins.png"),
    ("eval", SKIMAGE, "skimage/data/grass.png"),
    ("eval", SKLEARN, "sklearn/datasets/images/flower.jpg"),
    ("eval", MATPLOTLIB, "sample_data/grace_hopper.jpg"),
]
WORDS = (
    "the cheapest model that stays near the original street north exit coffee open closed welcome harbour platform "
    "market 2018 0471 1984 TOTAL PRICE Sunday library museum station bridge garden office school summer winter No. 7"
).split()


def source():
    """The origin of the photographs, in words."""
    if SHARED.is_dir():
        return "ImageNet photographs (../shared/data/imagenet_sample)"
    return f"sample photographs of {SKIMAGE}, {SKLEARN} and {MATPLOTLIB}"


@functools.cache
def photographs(part):
    """The photographs of a part, as RGB pictures."""
    if SHARED.is_dir():
        paths = sorted(SHARED.glob("*.jpg"))
        # Every other one: neighbours in the order of names are of different classes.
        return [rgb(path) for path in paths[0 if part == "calib" else 1 :: 2]]
    folder = packages.cache() / "photographs"
    for package in (SKIMAGE, SKLEARN, MATPLOTLIB):
        packages.bring(package, {Path(end).name: end for _, p, end in SAMPLES if p == package}, folder)
    return [rgb(folder / Path(end).name) for p, _, end in SAMPLES if p == part]


def rgb(path):
    with Image.open(path) as picture:
        return picture.convert("RGB")


def crops(part, count, width, height):
    """`count` pictures of one size: a random part of a photograph, at a random scale, mirrored or not."""
    pictures = photographs(part)
    draws = np.random.default_rng(["calib", "eval"].index(part))
    # Photographs take turns, so that a small count sees all of them.
    return [crop(pictures[i % len(pictures)], draws, width, height) for i in range(count)]


def write(part, count, folder):
    """Writes `count` pictures of 400 x 400 as JPEG files; says so."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(crops(part, count, 400, 400)):
        picture.save(folder / f"{i:03}.jpg", quality=92)
    return f"{folder}: {count} pictures from {source()}"


def crop(picture, draws, width, height):
    share = draws.uniform(0.5, 1.0)
    size = int(min(picture.width, picture.height * width / height) * share)
    high = max(1, size * height // width)
    left, top = draws.integers(picture.width - size + 1), draws.integers(picture.height - high + 1)
    cut = picture.resize((width, height), Image.Resampling.BILINEAR, (left, top, left + size, top + high))
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draws.random() < 0.5 else cut


def signs(part, count, width, height):
    """Crops of photographs with words on them, of several sizes and colours."""
    draws = np.random.default_rng(["calib", "eval"].index(part) + 100)
    return [with_words(picture, draws) for picture in crops(part, count, width, height)]


def with_words(picture, draws):
    canvas = ImageDraw.Draw(picture)
    for _ in range(draws.integers(2, 7)):
        text = " ".join(draws.choice(WORDS, draws.integers(1, 4)))
        font = ImageFont.load_default(size=int(draws.integers(14, 48)))
        place = (int(draws.integers(picture.width * 3 // 4)), int(draws.integers(picture.height * 7 // 8)))
        if draws.random() < 0.5:
            canvas.rectangle(canvas.textbbox(place, text, font), fill=colour(draws, 160, 256))
            canvas.text(place, text, colour(draws, 0, 90), font)
        else:
            canvas.text(place, text, colour(draws, 0, 256), font, stroke_width=1, stroke_fill=colour(draws, 0, 256))
    return picture


def colour(draws, low, high):
    return tuple(int(v) for v in draws.integers(low, high, 3))


def glyphs(part, count, width, height):
    """Crops of photographs with single large characters on them, as captchas show them."""
    draws = np.random.default_rng(["calib", "eval"].index(part) + 200)
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghkmnpqrstuvwxyz23456789"
    made = []
    for picture in crops(part, count, width, height):
        for _ in range(draws.integers(3, 7)):
            size = int(draws.integers(height // 10, height // 4))
            glyph = Image.new("L", (size * 2, size * 2))
            pen = ImageDraw.Draw(glyph)
            pen.text((size, size), str(draws.choice(list(letters))), 255, ImageFont.load_default(size=size), anchor="mm")
            glyph = glyph.rotate(draws.uniform(-35, 35))
            place = (int(draws.integers(-size // 2, width - size)), int(draws.integers(-size // 2, height - size)))
            picture.paste(colour(draws, 0, 256), place, glyph)
        made.append(picture)
    return made


def planes(pictures):
    """Channels first, 0 to 255, in single precision."""
    return np.stack([np.asarray(p, np.float32).transpose(2, 0, 1) for p in pictures])
