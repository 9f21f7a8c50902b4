"""A pipeline's folder stands for the parts of it that a request leaves open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from exporter.errors import SourceError
from exporter.sample.model import Model
from exporter.shipped import shipped_folder

if TYPE_CHECKING:
    from exporter.sample.plan import RecordRequest


def completed(request: RecordRequest, model: Model) -> RecordRequest:
    """Fills in text encoder, VAE and scheduler from the pipeline that a request names.

    A file made from a shipped pipeline, such as ``shapes``, brings that one along.

    Args:
        request: What was asked for; what it names itself is kept.
        model: The file to run.

    Raises:
        SourceError: ``request.pipeline`` is no pipeline's folder.
    """
    folder = request.pipeline
    if folder is None:
        trained = model.weights.get("source") == "checkpoint"
        folder = shipped_folder(model.name) if trained else None
        if folder is None:
            return request
    if not (folder / "model_index.json").is_file():
        raise SourceError(f"no model_index.json in {folder}", "a diffusers pipeline's folder")
    own_text = request.text_encoder or request.embeddings
    return replace(
        request,
        pipeline=folder,
        text_encoder=request.text_encoder if own_text else folder,
        vae=request.vae or (folder if (folder / "vae").is_dir() else None),
        scheduler=request.scheduler or str(folder),
    )
