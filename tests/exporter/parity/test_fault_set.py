"""Every fault of the set fails the exporter's own short check; no benign rewrite does."""

import os
from collections.abc import Callable

import pytest

from exporter.parity.locate import locate
from exporter.types import Dtype
from tests.exporter.parity.benign_set import BENIGN
from tests.exporter.parity.fault_set import FAULTS, Fault
from tests.exporter.parity.fault_table import Proven

Prove = Callable[..., Proven]

LONG = pytest.mark.skipif(
    not os.environ.get("UNET_ATLAS_LONG"), reason="an hour: set UNET_ATLAS_LONG=1 to run it"
)


@pytest.fixture(scope="session")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Prove:
    folder, made = tmp_path_factory.mktemp("faults"), {}

    def prove(model: str, dtype: Dtype = "fp32") -> Proven:
        return made.setdefault((model, dtype), Proven(folder, model, dtype))

    return prove


def test_there_are_sixty_faults_and_twenty_rewrites() -> None:
    assert len(FAULTS) >= 60
    assert len(BENIGN) >= 20


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_caught(fault: Fault, proven: Prove) -> None:
    assert proven(fault.model).judged(fault.edit).failed


@LONG
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_caught_in_a_flat_file(fault: Fault, proven: Prove) -> None:
    assert proven(fault.model).judged(fault.edit, flat=True).failed


@LONG
@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS.values() if fault.halves],
    ids=[name for name, fault in FAULTS.items() if fault.halves],
)
def test_a_fault_is_caught_in_half_precision(fault: Fault, proven: Prove) -> None:
    assert proven(fault.model, "fp16").judged(fault.edit).failed


@LONG
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_its_module_is_named(fault: Fault, proven: Prove) -> None:
    right = proven(fault.model)
    report = right.judged(fault.edit)
    finding = locate(right.edited(fault.edit), right.subject, report.to_search).finding
    if fault.module:
        assert finding is not None
        assert fault.module in (finding.module, finding.block)


@pytest.mark.parametrize("edit", BENIGN.values(), ids=BENIGN)
def test_a_benign_rewrite_passes(edit: object, proven: Prove) -> None:
    assert proven("tiny").judged(edit).passed
