"""The table: plan, images as they are, parts off one at a time, write."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from exporter.runtime.memory import give_back, peak_memory
from exporter.runtime.session import open_session
from exporter.sample.experiments.plan import Ground, plan_experiment
from exporter.sample.importance.ledger import Ledger
from exporter.sample.importance.measure import baseline, measure
from exporter.sample.importance.plan import ImportancePlan, plan_importance
from exporter.sample.importance.table import Table, make_table, write
from exporter.sample.instrument import instrument
from exporter.sample.plan import RecordRequest
from exporter.types import OnProgress, Progress, StageRecord, quiet


@dataclass(frozen=True)
class ImportanceReport:
    """What one table took.

    Attributes:
        files: What was written.
        table: What is in them.
        resumed: How many losses an earlier run had measured.
        seconds: Wall time in all.
        peak_memory: Largest resident size of the process in bytes.
    """

    files: tuple[Path, ...]
    table: Table
    resumed: int
    seconds: float
    peak_memory: int


def importance(
    request: RecordRequest, prompts: Path, on_progress: OnProgress = quiet
) -> ImportanceReport:
    """Switches off every skip, attention and block in turn, and writes what each one is for.

    One session holds all edits; what is off is an input of it. The images of one prompt are
    in memory at a time, and every number is on disk as soon as it is known.

    Raises:
        UsageError: Arguments that do not fit; see ``plan_importance``.
        TargetError: The table cannot be written.
    """
    start = time.perf_counter()
    plan = plan_importance(request, prompts)
    ledger = Ledger(request.target, plan.to_json())
    resumed = len(ledger.found)
    try:
        _measure(plan, ledger, on_progress)
    finally:
        if not ledger.found:  # nothing to go on with
            ledger.close()
    table = make_table(plan, ledger.found)
    files = write(table, request.target)
    ledger.close()
    seconds = time.perf_counter() - start
    return ImportanceReport(files, table, resumed, seconds, peak_memory())


def _measure(plan: ImportancePlan, ledger: Ledger, on_progress: OnProgress) -> None:
    total, start = len(plan.prompts) * len(plan.wishes), time.perf_counter()
    first = plan.image(0)
    ground = Ground(first.prompt, first.rows, first.loop.evaluations)
    planned = partial(plan_experiment, plan.wishes, ground)
    edited = instrument(plan.model.path, measured="maps", planned=planned)
    session = open_session(
        edited.content, plan.request.provider, weights_folder=edited.folder, in_order=True
    )
    for index in range(len(plan.prompts)):
        missing = [wish for wish in plan.wishes if (index, str(wish)) not in ledger.found]
        if not missing:
            continue
        image = plan.image(index)
        before = baseline(session, edited, image)
        for wish in missing:
            loss = measure(session, edited.experiment, wish, before, image)
            ledger.add(index, str(wish), loss)
            on_progress(Progress("parts off", len(ledger.found), total, "images"))
    del session
    give_back()
    taken = time.perf_counter() - start
    on_progress(Progress("parts off", record=StageRecord("parts off", taken)))
