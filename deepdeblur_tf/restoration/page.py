"""The page on which a network can be tried (Gradio): a picture in, before and after under one slider."""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gradio
import numpy as np
from gradio_client.utils import is_http_url_like

from deepdeblur_tf.data.scenes import Scenes
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images.deep import to_8_bits
from deepdeblur_tf.images.formats import SUFFIXES, TITLES
from deepdeblur_tf.images.jpeg import MOST_SCANS, has_too_many_scans
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.photos import photo_size, read_photo, restore_photo, write_photo
from deepdeblur_tf.images.rgb import write_image
from deepdeblur_tf.restoration.tiling import MAX_SIDE, is_within

SAMPLES = 4
# Results and uploads are removed within an hour: a page that is open for days must not fill the disk.
KEPT_SECONDS = 3000
PURGE_SECONDS = 600

# No fonts from other servers: the page works offline, and they do not learn who uses it.
THEME = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


class TooLarge(UserError):
    """A picture with more pixels than the page takes, or one that would keep it busy."""


def build_page(restore: Callable[..., np.ndarray], max_pixels: int, title: str, results: Path) -> gradio.Blocks:
    """Builds the page.

    Args:
        restore: A `Restorer`, or what is called as one is.
        max_pixels: Pixels that a picture may have.
        title: What the page calls the network.
        results: A folder for the restored files.

    Returns:
        The page, to be launched.
    """
    samples = [
        np.ascontiguousarray(pair[..., :3])
        for pair in map(Scenes(SAMPLES, 0, "blur", "validation").read, range(SAMPLES))
    ]

    def of_file(path: str | None, progress=gradio.Progress()):  # noqa: B008 (Gradio's way of asking for a progress bar)
        if path is None:
            return None, gradio.DownloadButton(interactive=False), ""
        try:
            height, width = photo_size(path)
            if not is_within(height, width, max_pixels):
                raise TooLarge(
                    f"{Path(path).name} has {width}x{height} pixels, {height * width / 1e6:.1f} megapixels; allowed "
                    f"are {max_pixels / 1e6:.1f}, and sides of {MAX_SIDE} pixels. Make it smaller and drop it again."
                )
            if has_too_many_scans(Path(path).read_bytes()):
                raise TooLarge(
                    f"{Path(path).name} is a JPEG of more than {MOST_SCANS} scans, which takes too long to decode. "
                    "Save it anew and drop it again."
                )
            photo = read_photo(path)
        except (ImageError, TooLarge) as error:
            # The uploaded file lies in a folder that means nothing to the reader.
            return None, gradio.DownloadButton(interactive=False), f"⚠️ {str(error).replace(path, Path(path).name)}"
        begin = time.perf_counter()
        try:
            how = functools.partial(restore, progress=lambda fraction: progress(fraction, desc="restoring"))
            restored = restore_photo(photo, how)
        except (UserError, MemoryError) as error:
            return None, gradio.DownloadButton(interactive=False), f"⚠️ {error}"
        target = Path(tempfile.mkdtemp(dir=results), f"{Path(path).stem}_restored{Path(path).suffix}")
        write_photo(target, photo, restored)
        height, width = restored.shape[:2]
        words = f"{width}x{height} pixels in {time.perf_counter() - begin:.1f} s"
        if photo.left_out:
            words += f"; left out: {'; '.join(photo.left_out)}"
        shown = to_8_bits(photo.rgb), to_8_bits(restored)
        return shown, gradio.DownloadButton(value=str(target), interactive=True), words

    def of_sample(chosen: gradio.SelectData):
        path = Path(tempfile.mkdtemp(dir=results), f"sample_{chosen.index + 1}.png")
        write_image(path, samples[chosen.index])
        return str(path)

    with gradio.Blocks(
        title="deepdeblur_tf", analytics_enabled=False, delete_cache=(PURGE_SECONDS, KEPT_SECONDS)
    ) as page:
        gradio.Markdown(f"# Motion deblurring\n{title}")
        with gradio.Row():
            with gradio.Column(scale=1):
                file = gradio.File(label=f"A blurry picture ({TITLES})", file_types=list(SUFFIXES), height=180)
                file.async_move_resource_to_block_cache = functools.partial(
                    _uploaded, file.async_move_resource_to_block_cache
                )
                gallery = gradio.Gallery(
                    samples,
                    label="or one of these",
                    columns=2,
                    height=340,
                    allow_preview=False,
                    format="png",
                    buttons=[],
                )
            with gradio.Column(scale=3):
                slider = gradio.ImageSlider(label="blurry | restored", format="png", interactive=False, max_height=600)
                words = gradio.Markdown()
                download = gradio.DownloadButton("Download the restored picture", interactive=False)
        # One picture at a time: the memory is that of one.
        file.change(of_file, file, [slider, download, words], concurrency_limit=1, show_progress_on=slider)
        gallery.select(of_sample, None, file)
    return page.queue(max_size=32)


def remove_old(results: Path) -> None:
    """Removes results that are older than KEPT_SECONDS."""
    for old in results.iterdir():
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


async def _uploaded(keep, path):
    """What Gradio keeps of a file that a visitor names, unless it is an address, which it would fetch at any size."""
    if is_http_url_like(str(path)):
        raise gradio.Error("Upload the picture itself, not its address.", print_exception=False)
    return await keep(path)
