"""A UNet on the Hugging Face hub, fetched into the shared cache."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.errors import SourceError
from exporter.types import OnProgress, Progress, quiet
from exporter.weights.checkpoint import STEM, weight_names


def fetch(
    repo: str,
    subfolder: str,
    revision: str | None,
    variant: str | None,
    progress: OnProgress,
) -> Path:
    """Downloads what one UNet needs and nothing else; offline, takes it from the cache.

    Token, endpoint, cache and offline mode are huggingface_hub's, set as everywhere.

    Args:
        repo: ``organisation/name``.
        subfolder: Where a pipeline repository keeps its UNet; a repository that is a UNet
            itself has none.
        revision: Branch, tag or commit; None for the default branch.
        variant: As in ``from_pretrained``.
        progress: Told the bytes downloaded.

    Returns:
        The snapshot folder, named by its commit. Files in it are links into the cache.

    Raises:
        SourceError: Absent, private, gated, or neither cached nor reachable.
    """
    about = [f"{folder}config.json" for folder in (f"{subfolder}/", "", "text_encoder_2/")]
    root = _snapshot(repo, revision, about, quiet)
    prefix = f"{subfolder}/" if (root / subfolder / "config.json").is_file() else ""
    single, index = weight_names(variant)
    dotted = f".{variant}" if variant else ""
    number = "?????-of-?????"
    shards = (f"{STEM}{dotted}-{number}.safetensors", f"{STEM}-{number}{dotted}.safetensors")
    wanted = [prefix + name for name in (single, index, *shards)]
    return _snapshot(repo, root.name, wanted, progress)


def _snapshot(
    repo: str, revision: str | None, patterns: Sequence[str], progress: OnProgress
) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # OSError, and the base error of whichever HTTP library this huggingface_hub uses.
    transport: tuple[Any, ...] = (OSError, *HfHubHTTPError.__bases__)
    what = f"{repo}@{revision}" if revision else repo
    try:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                allow_patterns=list(patterns),
                tqdm_class=_reporting_bar(progress),
            )
        )
    except GatedRepoError as error:
        raise SourceError(
            f"{repo} is gated", do="accept its terms on its page, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise SourceError(
            f"{repo} is neither on the hub for you, nor a folder here, nor a preset",
            do="check the name; `hf auth login` if it is private",
        ) from error
    except RevisionNotFoundError as error:
        raise SourceError(f"{repo} has no revision {revision}") from error
    except LocalEntryNotFoundError as error:
        raise SourceError(
            f"{what} is not complete in the cache and the hub cannot be reached",
            do="go online, or name a local folder",
        ) from error
    except (*transport, ValueError) as error:  # ValueError: no repository can have that name
        reason = " ".join(str(error).split())[:200]
        raise SourceError(f"{what}: {type(error).__name__}: {reason}") from error


def _reporting_bar(progress: OnProgress) -> type[Any]:
    """A tqdm that reports bytes instead of drawing.

    huggingface_hub counts bytes received and bytes written in two bars; the one ahead speaks.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        furthest = 0.0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)  # only huggingface_hub's own bars take it
            super().__init__(*args, **kwargs | {"file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            drawn: bool | None = super().update(n)
            if self.unit == "B" and self.n > Bar.furthest:
                Bar.furthest = self.n
                progress(Progress("source", self.n, self.total or None, "B"))
            return drawn

    return Bar
