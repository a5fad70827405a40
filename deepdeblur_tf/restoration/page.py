"""The page on which a network can be tried (Gradio): pictures in, before and after under one slider."""

from __future__ import annotations

import asyncio
import functools
import html
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import gradio
from gradio_client.utils import is_http_url_like

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images.formats import SUFFIXES, TITLES
from deepdeblur_tf.restoration.restorer import Restorer
from deepdeblur_tf.restoration.scale import SCALES
from deepdeblur_tf.restoration.uploads import RestoredUpload, Upload

# Results and uploads are removed within an hour: a page that is open for days must not fill the disk.
KEPT_SECONDS = 3000
PURGE_SECONDS = 600

# No fonts from other servers: the page works offline, and they do not learn who uses it.
THEME = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
CSS = """
#status p { margin: 0 0 4px; overflow-wrap: anywhere; }
#allowed { color: var(--body-text-color-subdued); font-size: var(--text-sm); overflow-wrap: anywhere; }
#examples .grid-container, #several .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)); }
#examples .grid-wrap, #several .grid-wrap { min-height: 0; }
#status progress { width: 100%; height: 12px; accent-color: var(--color-accent); }
"""

EXAMPLES = Path(__file__).parent.parent / "examples"
_LOOKED_SECONDS = 0.3  # between two looks at how far a restoration is
_WHOLE, _PIXELS = "whole picture", "100 %"
_GRID: dict[str, Any] = {"columns": 4, "height": "auto", "allow_preview": False, "buttons": []}  # of small pictures
_TO_THE_TOP = "() => window.scrollTo({top: 0, behavior: 'smooth'})"
# How wide the slider is, in pixels of the page, which only the browser knows.
_WITH_WIDTH = (
    "(view, across, down, width, ...rest) => "
    "[view, across, down, document.querySelector('#pictures').clientWidth, ...rest]"
)


def build_page(
    restorer: Restorer, title: str, command: str, scale: float | str, max_pixels: int, max_upload: int, results: Path
) -> gradio.Blocks:
    """Builds the page.

    Args:
        restorer: What restores, with the scale "auto".
        title: What the page calls the network.
        command: The one that restores what the page does not take.
        scale: "auto" or a number, which is chosen unless the visitor chooses another.
        max_pixels: Pixels that a picture may have.
        max_upload: MB that a picture's file may have, which `launch` is given too.
        results: A folder for the restored files.

    Returns:
        The page, to be launched.
    """
    examples = sorted(EXAMPLES.glob("*.jpg"))
    scales = ["auto", *(f"{known:g}" for known in SCALES)]
    one_at_a_time = anyio.CapacityLimiter(1)  # the memory is that of one picture
    at_work: dict[str | None, list[Upload]] = {}  # by visitor

    def stop(request: gradio.Request) -> None:
        for upload in at_work.pop(request.session_hash, ()):
            upload.stop()

    async def restore(paths: list[str] | None, scale: str, former: list[RestoredUpload], request: gradio.Request):
        stop(request)  # what the same visitor asked for before
        if not paths:
            yield {status: gradio.skip()}
            return
        uploads = [Upload(path, scale) for path in paths]
        known = {result.asked: result for result in former}  # pictures were added to these
        visitor = request.session_hash
        at_work[visitor] = uploads
        done: list[RestoredUpload] = []
        lines: list[str] = []
        yield {
            **dict.fromkeys((pictures, zoom, download, all_files, several), gradio.update(visible=False)),
            **{column: gradio.update(visible=True), stop_button: gradio.update(visible=True)},
            status: _status(lines, "reading"),
        }
        try:
            for number, upload in enumerate(uploads, 1):
                result = known.get(upload.asked)
                if result is None or not result.file.exists():
                    restored = functools.partial(upload.restored, restorer, max_pixels, command, results)
                    task = asyncio.ensure_future(anyio.to_thread.run_sync(restored, limiter=one_at_a_time))
                    while not (await asyncio.wait([task], timeout=_LOOKED_SECONDS))[0]:
                        if at_work.get(visitor, uploads) is not uploads:
                            return
                        for each in (*uploads, *done):
                            each.keep()
                        which = f"{upload.name} ({number} of {len(uploads)})" if len(uploads) > 1 else upload.name
                        yield {status: _status(lines, f"{which}: {upload.stage}", upload.times)}
                    try:
                        result = task.result()
                    except (UserError, MemoryError) as error:
                        lines.append(f"⚠️ {error}")
                        continue
                    except Exception:  # a defect; its traceback goes to the terminal
                        lines.append(f"⚠️ {upload.name}: an error, which the terminal shows where the page was begun")
                        yield {status: _status(lines), stop_button: gradio.update(visible=False)}
                        raise
                if result is None:
                    lines.append("stopped")
                    break
                done.append(result)
                lines.append(f"{result.name}: {result.words}")
                if len(done) == 1 and number < len(uploads):
                    yield {files: done, status: _status(lines), **shown(result, 0)}
            if at_work.get(visitor, uploads) is not uploads:
                return
        finally:
            for upload in uploads:  # as where the visitor has left
                upload.stop()
            if at_work.get(visitor) is uploads:
                del at_work[visitor]
        final = {status: _status(lines), stop_button: gradio.update(visible=False), files: done}
        if len(done) == 1:
            final.update(shown(done[0], 0))
        if len(done) > 1:
            thumbnails = [(str(result.previews[1]), result.name) for result in done]
            final[several] = gradio.update(value=thumbnails, visible=True)
            final[all_files] = gradio.update(value=str(_zipped(done, results)), visible=True)
        yield final

    def shown(result: RestoredUpload, index: int) -> dict:
        return {
            pictures: gradio.update(value=tuple(map(str, result.previews)), visible=True),
            download: gradio.update(value=str(result.file), visible=True),
            zoom: gradio.update(visible=True),
            view: _WHOLE,
            place: gradio.update(visible=False),
            across: round(100 * result.place[0]),
            down: round(100 * result.place[1]),
            index_shown: index,
        }

    def of_several(done: list[RestoredUpload], chosen: gradio.SelectData):
        return shown(done[chosen.index], chosen.index)

    def look(view: str, across: float, down: float, width: float, done: list[RestoredUpload], index: int):
        result = done[index]
        if view == _WHOLE:
            return {pictures: tuple(map(str, result.previews)), place: gradio.update(visible=False)}
        side = int(min(max(width or 0, 100), 2000))
        detail = result.detail(across / 100, down / 100, side, min(side, 600))
        if detail is None:
            raise gradio.Error("It has been removed from this machine meanwhile. Drop the picture again.")
        return {pictures: detail, place: gradio.update(visible=True)}

    def of_sample(chosen: gradio.SelectData):
        results.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=results), examples[chosen.index].name)
        shutil.copyfile(examples[chosen.index], path)
        return [str(path)]

    with gradio.Blocks(
        title="deepdeblur_tf", analytics_enabled=False, delete_cache=(PURGE_SECONDS, KEPT_SECONDS)
    ) as page:
        gradio.Markdown(f"# Motion deblurring\n{title}")
        with gradio.Row():
            # First, so that it is what one sees on a phone, too, where all columns are one.
            with gradio.Column(scale=3, min_width=320, visible=False) as column:
                status = gradio.HTML(elem_id="status")
                stop_button = gradio.Button("Stop", size="sm", visible=False)
                # Its own download would be the preview.
                pictures = gradio.ImageSlider(
                    label="blurry | restored",
                    elem_id="pictures",
                    format="png",
                    interactive=False,
                    max_height=600,
                    buttons=["fullscreen"],
                )
                with gradio.Row():
                    download = gradio.DownloadButton("Download the restored picture", variant="primary")
                    all_files = gradio.DownloadButton("Download all, as a zip", visible=False)
                with gradio.Group(visible=False) as zoom:
                    view = gradio.Radio([_WHOLE, _PIXELS], value=_WHOLE, label="View")
                    with gradio.Row(visible=False) as place:
                        across = gradio.Slider(0, 100, step=1, label="Across", buttons=[])
                        down = gradio.Slider(0, 100, step=1, label="Down", buttons=[])
                several = gradio.Gallery(label="Restored; choose one", elem_id="several", visible=False, **_GRID)
            with gradio.Column(scale=1, min_width=320):
                file = gradio.File(
                    label="Blurry pictures",
                    file_count="multiple",
                    file_types=["image", "video", *SUFFIXES],  # videos, to say where they are restored
                    height=150,
                )
                gradio.HTML(
                    f"{TITLES}; up to {max_pixels / 1e6:g} megapixels and {max_upload} MB each", elem_id="allowed"
                )
                file.async_move_resource_to_block_cache = functools.partial(
                    _uploaded, file.async_move_resource_to_block_cache
                )
                chosen_scale = gradio.Radio(
                    scales,
                    value=scale if scale == "auto" else f"{scale:g}",
                    label="Scale",
                    info="at which it is restored: the longer the blur, the smaller",
                )
        gallery = gradio.Gallery(list(map(str, examples)), label="or one of these", elem_id="examples", **_GRID)
        files, index_shown, width = gradio.State([]), gradio.State(0), gradio.Number(visible="hidden")
        outputs = [
            *(status, download, all_files, pictures, several, column, stop_button, zoom, view, place, across, down),
            *(files, index_shown),
        ]
        restoring = {"inputs": [file, chosen_scale, files], "outputs": outputs}
        restoring |= {"concurrency_limit": None, "trigger_mode": "multiple", "show_progress": "hidden"}
        gradio.on([file.upload, chosen_scale.input], restore, **restoring, api_name="restore")
        sample = gallery.select(of_sample, None, file, api_visibility="private")
        sample.then(restore, **restoring, api_visibility="private")
        gradio.on([file.upload, gallery.select], None, js=_TO_THE_TOP)
        stop_button.click(stop, api_visibility="private")
        page.unload(stop)
        several.select(of_several, files, outputs, api_visibility="private")
        gradio.on(
            [view.input, across.input, down.input],
            look,
            [view, across, down, width, files, index_shown],
            [pictures, place],
            js=_WITH_WIDTH,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
    return page.queue(max_size=32)


def _status(lines: Iterable[str], stage: str = "", times: tuple[float, float] | None = None) -> str:
    """What was done and what is being done, as HTML."""
    paragraphs = [f"<p>{html.escape(line)}</p>" for line in lines]
    if stage:
        bar = "<progress></progress>"
        if times is not None:
            since, seconds = times
            percent = min(99, int(100 * since / seconds))
            stage += f", {percent} %, {_left(seconds - since)}"
            bar = f'<progress max="100" value="{percent}"></progress>'
        paragraphs.append(f"<p>{html.escape(stage)}</p>{bar}")
    return f'<div role="status">{"".join(paragraphs)}</div>'


def _left(seconds: float) -> str:
    if seconds < 0:
        return "longer than expected"
    return f"about {max(1, round(seconds))} s left" if seconds < 100 else f"about {round(seconds / 60)} min left"


def _zipped(done: list[RestoredUpload], results: Path) -> Path:
    """All results in one file; those of equal names are numbered."""
    path = Path(tempfile.mkdtemp(dir=results), "restored.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for number, result in enumerate(done, 1):
            name = result.file.name
            while name in archive.namelist():
                name = f"{number}_{name}"
            archive.write(result.file, name)
    return path


def remove_old(results: Path) -> None:
    """Removes results that are older than KEPT_SECONDS."""
    results.mkdir(parents=True, exist_ok=True)  # systems clear old temporary folders away
    for old in results.iterdir():
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


async def _uploaded(keep, path):
    """What Gradio keeps of a file that a visitor names, unless it is an address, which it would fetch at any size."""
    if is_http_url_like(str(path)):
        raise gradio.Error("Upload the picture itself, not its address.", print_exception=False)
    return await keep(path)
