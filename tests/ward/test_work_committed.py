"""What the ward's models really did is what its statement commits to, and doing it again gives the same bytes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from virtual_hour import run_virtually, virtual_box

from bedside.attestation.work import Piece
from bedside.auditor.rerun import Rerun
from bedside.models import shipped
from bedside.models.inference import Model

pytestmark = pytest.mark.requirement("ATT-005")


def test_the_ward_commits_to_its_real_inferences(tmp_path: Path) -> None:
    async def main() -> list[Piece]:
        async with virtual_box(tmp_path, epoch_s=120) as box:
            await box.until(150.0)
            assert box.gateway.sender is not None
            outbox = box.gateway.sender._outbox
            stated = outbox.newest_statement()
            assert stated is not None
            tree = outbox.work(stated.epoch)
            assert tree is not None
            return [Piece.decode(one.work) for one in tree.openings if one.work]

    pieces = run_virtually(main)
    models = {bytes.fromhex(Model.load(shipped.path(name)).digest): name for name in ("beats", "rhythm")}
    by_model = Counter(models[piece.model] for piece in pieces)
    assert by_model["beats"] > 200  # four patients, two minutes
    assert by_model["rhythm"] >= 4
    rerun = Rerun.of_this_version()
    assert all(rerun(piece.model, piece.inputs) == piece.outputs for piece in pieces)
    assert len({piece.slot for piece in pieces}) > 8  # spread over the epoch
