"""The frames of the rotation demo, drawn from what ``radgal.demo.turning`` computed, and the files made of them."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radgal.demo import formats
from radgal.demo.turning import Demo
from radgal.figures.style import load_matplotlib
from utils import UserError, atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.quiver import Quiver
    from matplotlib.text import Text
    from PIL.Image import Image

MAX_GIF_BYTES = 2_000_000
PALETTES = (128, 96, 64, 48, 32)  # numbers of colors; the largest with which a GIF stays small is taken

SKY = "#0b0d12"
TEXT = "#e8eaf0"
FAINT = "#8a90a0"
STEERABLE, CONVENTIONAL = "#56b4e9", "#e69f00"  # of Okabe & Ito: told apart with any kind of color vision
ARROW_LOOK = {"color": "#7fe7ff", "edgecolor": SKY, "linewidth": 0.35, "pivot": "mid", "angles": "uv", "zorder": 3}
ARROW_SIZE = {"units": "width", "width": 0.0085, "scale_units": "width", "scale": 8.5, "minlength": 0, "minshaft": 1.5}
ARROW_HEAD = {"headwidth": 3.6, "headlength": 4, "headaxislength": 3.6}
ARROWS_ACROSS = 19
SMALLEST_ARROW = 0.05  # of the longest; below it there is nothing to see


class Panel:
    """A disc with a map in color, arrows if it shows fields, and a mark on its rim that turns with the source."""

    def __init__(self, axes: Axes, title: str, side: int, cmap: str, top: float, arrow_unit: float | None = None):
        from matplotlib.patches import Circle

        self.axes, self.arrow_unit = axes, arrow_unit
        axes.set(xlim=(-1.12, 1.12), ylim=(-1.12, 1.12), aspect="equal")
        axes.axis("off")
        axes.set_title(title, color=TEXT, fontsize=11, pad=3)
        self.image = axes.imshow(
            np.zeros((side, side)), cmap=cmap, vmin=0, vmax=top, extent=(-1, 1, -1, 1), interpolation="bilinear"
        )
        self.image.set_clip_path(Circle((0, 0), 1, transform=axes.transData))
        axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=FAINT, linewidth=0.8))
        (self.mark,) = axes.plot([], [], marker="o", markersize=5, color=TEXT, clip_on=False)
        self.arrows: Quiver | None = None

    def draw(self, values: np.ndarray, angle_deg: float) -> None:
        """Shows (s, s) or (3, s, s) values; the mark and the places of the arrows are turned by ``angle_deg``."""
        scalar = values if values.ndim == 2 else values[0]
        self.image.set_data(scalar)
        angle = np.deg2rad(angle_deg)
        self.mark.set_data([-np.sin(angle) * 1.06], [np.cos(angle) * 1.06])
        if values.ndim == 3:
            self._draw_arrows(values[1:], angle)

    def _draw_arrows(self, vector: np.ndarray, angle: float) -> None:
        from scipy.ndimage import map_coordinates

        spacing = 2 / ARROWS_ACROSS
        line = (np.arange(ARROWS_ACROSS) - (ARROWS_ACROSS - 1) / 2) * spacing
        x, y = (a.ravel() for a in np.meshgrid(line, line))
        near = np.hypot(x, y) < 1 - spacing / 2
        x, y = x[near] * np.cos(angle) - y[near] * np.sin(angle), x[near] * np.sin(angle) + y[near] * np.cos(angle)
        side = vector.shape[-1]
        places = [(1 - y) * side / 2 - 0.5, (1 + x) * side / 2 - 0.5]  # row and column of each arrow
        u, v = (map_coordinates(part, places, order=1, mode="nearest") for part in vector / self.arrow_unit)
        seen = np.hypot(u, v) > SMALLEST_ARROW
        if self.arrows is not None:
            self.arrows.remove()
        self.arrows = self.axes.quiver(x[seen], y[seen], u[seen], v[seen], **ARROW_LOOK, **ARROW_SIZE, **ARROW_HEAD)


@dataclass(frozen=True)
class Frames:
    """The frames of an animation, drawn one at a time.

    Args:
        draw: gives the i-th as RGB, (H, W, 3) uint8.
        angles_deg: of the frames.
        once: texts that are the same in all frames, which a strip of them writes into the first only.
        head: share of the height that these take at the top, and nothing else.
    """

    draw: Callable[[int], np.ndarray]
    angles_deg: np.ndarray
    once: Sequence[Text] = ()
    head: float = 0.0

    def strip(self, chosen: Sequence[int]) -> np.ndarray:
        """Returns frames one below the other, RGB."""
        first = self.draw(chosen[0])
        for text in self.once:
            text.set_visible(False)
        others = [self.draw(i)[round(self.head * len(first)) :] for i in chosen[1:]]
        for text in self.once:
            text.set_visible(True)
        return np.concatenate([first, *others])


def make_frames(demos: Sequence[Demo], *, width_px: int, cmap: str) -> Frames:
    """Returns the frames for one network (three panels in a row) or two (side by side, with a curve underneath)."""
    return _one_network(demos[0], width_px, cmap) if len(demos) == 1 else _two_networks(demos, width_px, cmap)


def new_figure(width_px: int, height_over_width: float) -> Figure:
    """Returns a dark figure of even width and height, pixels (video needs that); fonts grow with it."""
    load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = (round(side / 2) * 2 for side in (width_px, width_px * height_over_width))
    dpi = width / 8.4
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor=SKY)
    FigureCanvasAgg(figure)
    return figure


def field_panels(demo: Demo, features: Axes, stabilized: Axes, cmap: str) -> tuple[Panel, Panel]:
    """Returns the panels of the turning and of the stabilized fields, with one scale of color and arrows for both."""
    kind = "equivariant" if demo.equivariant else "conventional"
    top = np.quantile(demo.features[:, 0].max(axis=(1, 2)), 0.5)
    norms = np.hypot(demo.features[:, 1], demo.features[:, 2])
    unit = float(np.median(norms.max(axis=(1, 2))))
    titles = (f"features ({kind})", "stabilized view")
    side = demo.features.shape[-1]
    first, second = (
        Panel(axes, title, side, cmap, top, unit) for axes, title in zip((features, stabilized), titles, strict=True)
    )
    return first, second


def percent(value: float) -> str:
    """Returns a relative change as text: in per cent, or as a power of ten where that would read as zero."""
    if value < 5e-4:
        return f"{value:.0e}" if value else "0"
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.2g} %"


def exact_text(demo: Demo) -> str:
    """Returns the relative changes at the angles where the pixel grid is exact."""
    return ", ".join(f"{percent(change)} at {angle:.0f}°" for angle, change in demo.exact_change.items())


def _rgb(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def _one_network(demo: Demo, width_px: int, cmap: str) -> Frames:
    figure = new_figure(width_px, 0.405)
    axes = [figure.add_axes((0.005 + k * 0.332, 0.145, 0.326, 0.775)) for k in range(3)]
    source = Panel(axes[0], "input", demo.inputs.shape[-1], cmap, demo.inputs[0].max())
    fields = field_panels(demo, axes[1], axes[2], cmap)
    angle_text = figure.text(0.168, 0.1, "", color=TEXT, fontsize=12, ha="center", va="center")
    label = figure.text(0.5, 0.1, demo.label, color=FAINT, fontsize=9.5, ha="center", va="center", parse_math=False)
    now = figure.text(0.832, 0.1, "", color=TEXT, fontsize=9.5, ha="center", va="center")
    exact = figure.text(0.832, 0.04, exact_text(demo), color=FAINT, fontsize=9, ha="center", va="center")

    def draw(i: int) -> np.ndarray:
        angle = float(demo.angles_deg[i])
        source.draw(demo.inputs[i], angle)
        fields[0].draw(demo.features[i], angle)
        fields[1].draw(demo.stabilized[i], 0.0)
        angle_text.set_text(f"{angle:.0f}°")
        now.set_text(f"relative change {percent(demo.change[i])}")
        return _rgb(figure)

    return Frames(draw, demo.angles_deg, once=[*(one.title for one in axes), label, exact], head=0.075)


def _two_networks(demos: Sequence[Demo], width_px: int, cmap: str) -> Frames:
    figure = new_figure(width_px, 0.98)
    panel, rows, columns = (0.318, 0.318 / 0.98), (0.612, 0.262), (0.345, 0.675)
    middle = (0.008, (rows[0] + rows[1]) / 2, *panel)
    source = Panel(figure.add_axes(middle), "input", demos[0].inputs.shape[-1], cmap, demos[0].inputs[0].max())
    panels, once = [], [source.axes.title]
    for demo, left in zip(demos, columns, strict=True):
        panels.append(field_panels(demo, *(figure.add_axes((left, low, *panel)) for low in rows), cmap))
        center = left + panel[0] / 2
        look = {"color": FAINT, "fontsize": 9.5, "ha": "center", "va": "top", "parse_math": False}
        once.append(figure.text(center, 0.988, demo.label, **look))
        once += [one.axes.title for one in panels[-1]]
    angle_text = figure.text(0.167, middle[1] - 0.02, "", color=TEXT, fontsize=12, ha="center", va="center")
    curve = figure.add_axes((0.085, 0.062, 0.895, 0.125))
    dots = _draw_curves(curve, demos)

    def draw(i: int) -> np.ndarray:
        angle = float(demos[0].angles_deg[i])
        source.draw(demos[0].inputs[i], angle)
        for demo, (features, stabilized), dot in zip(demos, panels, dots, strict=True):
            features.draw(demo.features[i], angle)
            stabilized.draw(demo.stabilized[i], 0.0)
            dot.set_data([angle], [max(demo.change[i], FLOOR)])
        angle_text.set_text(f"{angle:.0f}°")
        return _rgb(figure)

    return Frames(draw, demos[0].angles_deg, once=once)


FLOOR = 1e-8  # where a change of exactly 0 is drawn on the logarithmic axis


def _draw_curves(axes: Axes, demos: Sequence[Demo]) -> list:
    """Draws the relative change against angle of every network, and returns the dots that run along the curves."""
    axes.set_facecolor(SKY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelsize=8.5)
    axes.set(xlim=(0, 360), ylim=(FLOOR / 2, 8), yscale="log", xticks=range(0, 361, 45))
    axes.set_yticks([1e-8, 1e-6, 1e-4, 1e-2, 1], ["0", "$10^{-6}$", "$10^{-4}$", "1 %", "100 %"])
    axes.minorticks_off()
    axes.set_xlabel("angle (degrees)", color=FAINT, fontsize=9, labelpad=1)
    axes.set_title("relative change of the stabilized view", color=TEXT, fontsize=10, loc="left", pad=3)
    dots = []
    for k, demo in enumerate(demos):
        color = STEERABLE if demo.equivariant else CONVENTIONAL
        seen = dict(zip(demo.angles_deg.tolist(), demo.change.tolist(), strict=True)) | demo.exact_change
        seen[360.0] = seen.get(0.0, np.nan)
        angles = sorted(seen)
        style = "-" if demo.equivariant else (0, (4, 1.5))
        axes.plot(angles, [max(seen[a], FLOOR) for a in angles], color=color, linewidth=1.2, linestyle=style)
        height, said = 1.06 + 0.15 * (len(demos) - 1 - k), f"{demo.label}: {exact_text(demo)}"
        place = {"transform": axes.transAxes, "ha": "right", "va": "bottom"}
        axes.text(1, height, said, color=color, fontsize=8.5, parse_math=False, **place)
        dots += axes.plot([], [], marker="o", markersize=6, color=color, clip_on=False)
    return dots


def write_demo(
    frames: Frames,
    path: Path,
    *,
    duration_s: float,
    shown_deg: Sequence[float],
    progress: Callable[[Iterable], Iterable] = iter,
) -> None:
    """Writes an animation, or, as .png, the frames at the angles ``shown_deg`` one below the other."""
    from PIL import Image

    if path.suffix.lower() == ".png":
        chosen = [int(np.abs(frames.angles_deg - angle).argmin()) for angle in shown_deg]
        strip = Image.fromarray(frames.strip(chosen))
        with atomic_write(path) as temporary:
            strip.save(temporary, format="PNG", optimize=True)
        return
    images = [Image.fromarray(frames.draw(i)) for i in progress(range(len(frames.angles_deg)))]
    if path.suffix.lower() == ".gif":
        write_gif(images, path, duration_s)
    else:
        write_video(images, path, duration_s)


def write_gif(images: Sequence[Image], path: Path, duration_s: float) -> None:
    """Writes a GIF that runs for ever, with one palette for all frames: as many colors as keep it small, or 32."""
    from PIL import Image

    some = images[:: max(1, len(images) // 12)]
    mosaic = Image.new("RGB", (images[0].width, images[0].height * len(some)))
    for k, image in enumerate(some):
        mosaic.paste(image, (0, k * image.height))
    frame_ms = max(20, round(1000 * duration_s / len(images) / 10) * 10)  # a GIF counts in hundredths of a second
    for n_colors in PALETTES:
        palette = mosaic.quantize(n_colors, method=Image.Quantize.MEDIANCUT, kmeans=1)
        first, *rest = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
        file = io.BytesIO()
        # Optimized, Pillow writes only the pixels that change from frame to frame: half the size.
        first.save(file, "GIF", save_all=True, append_images=rest, duration=frame_ms, loop=0, optimize=True)
        if file.tell() <= MAX_GIF_BYTES:
            break
    with atomic_write(path) as temporary:
        temporary.write_bytes(file.getvalue())


def write_video(images: Sequence[Image], path: Path, duration_s: float) -> None:
    """Writes a video with ffmpeg; see :func:`check_output`."""
    codec, container = formats.VIDEO[path.suffix.lower()]
    size = f"{images[0].width}x{images[0].height}"
    rate = f"{len(images) / duration_s:.4f}"
    with atomic_write(path) as temporary:
        command = [
            formats.find_encoder(),
            "-loglevel",
            "error",
            "-y",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            size,
        ]
        command += ["-r", rate, "-i", "-", "-c:v", codec, "-pix_fmt", "yuv420p", "-f", container, str(temporary)]
        done = subprocess.run(command, input=b"".join(image.tobytes() for image in images), capture_output=True)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()
            raise UserError(f"{path}: ffmpeg failed ({reason[-1] if reason else done.returncode}); use .gif instead")
