"""The care site's audit, end to end: real inferences, committed, picked by the operator's beacon, done again, paid."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.network.net_world import START_US, S, in_virtual_time

from bedside.attestation.audit import Subject, offer_of
from bedside.attestation.sign1 import key_id
from bedside.attestation.statement import Measured
from bedside.attestation.work import WorkTree
from bedside.auditor import site
from bedside.auditor.cli import auditor as auditor_command
from bedside.auditor.rerun import Rerun
from bedside.auditor.service import Auditor
from bedside.auditor.site import Keys, Ledger
from bedside.core.errors import SetupError
from bedside.core.keyfiles import read_public_file
from bedside.core.time import InlineWorker, LoopClock, SystemClock
from bedside.models import shipped
from bedside.models.inference import Model
from bedside.network import embedded
from bedside.network.audits import AuditPort, KnownAuditor
from bedside.network.identity import PUBLIC_FILE, Identity, write_public
from bedside.network.links import UnixLink
from bedside.network.sender import NetworkSender, open_sender
from bedside.operator.report import report
from bedside.operator.service import OperatorService
from bedside.settings import Home

pytestmark = pytest.mark.requirement("ATT-005")

EPOCH_S, SLOT_S = 600.0, 10.0
MODEL = Model.load(shipped.path("beats"))
MEASURED = Measured({"beats": bytes.fromhex(MODEL.digest)}, "tflite-runtime 2.14.0", b"\x22" * 32, "builtin", "0.1.0")


@dataclass
class Site:
    """A gateway, an operator and the site's auditor in one loop of virtual time."""

    home: Home
    clock: LoopClock
    operator: OperatorService
    sender: NetworkSender
    auditor: Auditor | None
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, epochs: float) -> None:
        """Let time pass to this many epochs after the start."""
        await asyncio.sleep(epochs * EPOCH_S - (self.clock.now_us() - START_US) / S)

    def paid(self) -> list[tuple[str | None, str | None]]:
        """Refusal and tier of each statement, in order."""
        rows = self.operator.sink.rows("SELECT refusal, tier FROM statement ORDER BY number")
        return [(row["refusal"], row["tier"]) for row in rows]


@contextlib.asynccontextmanager
async def a_site(
    path: Path,
    *,
    in_service: bool = True,
    beds: int | None = 1,
    audited: bool = True,
    rerun: Callable[[bytes, bytes], bytes | None] | None = None,
) -> AsyncIterator[Site]:
    """`beds` None: the operator does not know the site. `audited` False: its auditor never comes."""
    home = Home(path / "home")
    home.make()
    embedded.prepare(home)
    public = site.init(home.auditor)
    site.add(home.auditor, home.keys / PUBLIC_FILE, home.audit_socket, in_service=in_service)
    site.accept(public, home.keys)
    worker, clock = InlineWorker(), LoopClock(asyncio.get_running_loop(), START_US)
    operator = OperatorService(home.operator, clock=clock, worker=worker, epoch_s=EPOCH_S)
    await operator.start()
    await operator.offer_token(home.operator_token)
    key = read_public_file(public, "auditor", {"public_key": 32})["public_key"]
    if beds is not None:
        operator.sink.trust_auditor(key_id(key), key, "St. Elsewhere", beds, START_US)
    known = KnownAuditor.load(home.keys / "auditor-public.json")
    assert known is not None
    sender = open_sender(
        home, measured=MEASURED, clock=clock, worker=worker, link=UnixLink(operator.socket_path),
        epoch_s=EPOCH_S, slot_s=SLOT_S, auditor=known.public_key,
    )  # fmt: skip
    for database in (sender._outbox._db, operator.sink._db):
        database.execute("PRAGMA synchronous = OFF")  # nothing here loses power
    port = AuditPort(home.audit_socket, sender.audits, known, sender.identity)
    ledger = Ledger.open(home.auditor / "audits.db")
    auditor = Auditor(
        Keys.load_or_make(home.auditor), site.gateways(home.auditor), ledger, rerun or Rerun((MODEL,)), clock=clock,
        worker=worker,
    )  # fmt: skip
    world = Site(home, clock, operator, sender, auditor if audited else None)
    tasks = [asyncio.create_task(sender.run()), asyncio.create_task(port.run())]
    if audited:
        tasks.append(asyncio.create_task(auditor.run(world.stop)))
    try:
        yield world
    finally:
        world.stop.set()
        tasks[1].cancel()
        await asyncio.sleep(0)
        await sender.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)
        await operator.close()
        ledger.close()


async def work(world: Site, epochs: float, *, fake: float = 0.0, every_s: float = 1.0) -> None:
    """A patient's beats: an inference a second, of which the share `fake` is made up, until `epochs` have passed."""
    rows = np.random.default_rng(7).integers(-128, 128, (4096, MODEL.n_inputs), dtype=np.int8)
    n = 0
    while world.clock.now_us() < START_US + epochs * EPOCH_S * S:
        inputs = rows[n % len(rows)]
        outputs = MODEL.run(inputs.reshape(1, -1))[0]
        if (n * 37 % 100) < 100 * fake:
            outputs = outputs ^ 4
        world.sender.commit_work(bytes.fromhex(MODEL.digest), inputs.tobytes(), outputs.tobytes())
        n += 1
        await asyncio.sleep(every_s)


def test_real_work_is_audited_and_opens_payment(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_site(tmp_path) as world:
            await work(world, 3.5)
            assert world.paid() == [(None, None), (None, "site"), (None, "site"), (None, "site")]
            (row,) = world.auditor._ledger.newest() if world.auditor else [{}]
            assert row["failed"] == 0
            assert row["real"] > 20  # 600 of the 1,024 leaves hold work
            assert "0 of 64 leaves failed" in world.sender.status()["detail"]

    in_virtual_time(main)


def test_an_empty_box_passes_its_audits_alike_and_is_paid_as_standby_by_its_sites_word(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_site(tmp_path, in_service=False) as world:
            await world.until(3.5)
            assert world.paid()[-2:] == [(None, "standby"), (None, "standby")]

    in_virtual_time(main)


def test_faked_windows_are_refused_with_their_name_and_honest_work_afterwards_is_paid_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_site(tmp_path) as world:
            await work(world, 2.2, fake=0.3)
            assert ("audit_failed", None) in world.paid()
            await work(world, 6.5)
            assert world.paid()[-1] == (None, "site")
            problems = report(world.operator.sink, world.clock.now_us())
            assert problems["refusals"][0]["reason"] == "audit_failed"

    in_virtual_time(main)


def test_with_an_auditor_that_does_not_do_the_work_again_the_same_fakes_are_paid(tmp_path: Path) -> None:
    """Negative control."""

    class Believes:
        def __init__(self) -> None:
            self.asked = 0

        def __call__(self, digest: bytes, inputs: bytes) -> bytes:
            self.asked += 1
            outputs = MODEL.run(np.frombuffer(inputs, np.int8).reshape(1, -1))[0]
            made: bytes = (outputs ^ 4).tobytes()
            return made

    async def main() -> None:
        lenient = Believes()
        async with a_site(tmp_path, rerun=lenient) as world:
            await work(world, 3.5, fake=1.0)
            assert world.paid()[-1] == (None, "site")
            assert lenient.asked > 0

    in_virtual_time(main)


def test_without_its_auditor_the_statement_waits_for_nobody_and_is_not_paid_once_it_had_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_site(tmp_path) as world:
            await world.until(3.5)
            assert world.paid()[-1] == (None, "site")
            world.stop.set()
            await world.until(5.5)
            assert world.paid()[-1] == (None, None)
            assert len(world.paid()) == 6

    in_virtual_time(main)


def test_a_box_whose_site_never_audits_is_paid_as_a_home(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_site(tmp_path, audited=False) as world:
            await world.until(3.5)
            assert world.paid()[-1] == (None, "home")

    in_virtual_time(main)


def test_audits_of_a_site_that_the_operator_does_not_know_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_site(tmp_path, beds=None) as world:
            await world.until(3.5)
            assert ("auditor", None) in world.paid()
            assert (None, "site") not in world.paid()

    in_virtual_time(main)


def test_one_epoch_is_signed_once_whatever_is_offered_later(tmp_path: Path) -> None:
    """A gateway that tries beacon after beacon until its fakes are missed gets no second signature."""

    public = tmp_path / "gateway-public.json"
    identity = Identity.load_or_make(tmp_path / "keys")
    write_public(identity, public)
    site.init(tmp_path)
    site.add(tmp_path, public, tmp_path / "socket", in_service=True)
    ledger = Ledger.open(tmp_path / "audits.db")
    auditor = Auditor(
        Keys.load_or_make(tmp_path), site.gateways(tmp_path), ledger, Rerun((MODEL,)),
        clock=SystemClock(), worker=InlineWorker(),
    )  # fmt: skip
    (gateway,) = site.gateways(tmp_path)
    tree = WorkTree.over()
    offer = offer_of(tree, Subject(identity.sueid, 7, tree.root, b"\x01" * 32))
    first = auditor._judge(gateway, offer)
    assert first is not None
    assert auditor._judge(gateway, offer) == first  # asked again, since the first answer was lost
    assert auditor._judge(gateway, offer_of(tree, replace(offer.subject, beacon=b"\x02" * 32))) is None
    other = WorkTree.over()
    assert auditor._judge(gateway, offer_of(other, replace(offer.subject, root=other.root))) is None
    ledger.close()


def test_a_stranger_on_the_audit_socket_learns_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_site(tmp_path, audited=False) as world:
            await work(world, 1.3)
            stranger = tmp_path / "stranger"
            site.init(stranger)
            site.add(stranger, world.home.keys / PUBLIC_FILE, world.home.audit_socket, in_service=True)
            ledger = Ledger.open(stranger / "audits.db")
            other = Auditor(
                Keys.load_or_make(stranger), site.gateways(stranger), ledger, Rerun((MODEL,)), clock=world.clock,
                worker=InlineWorker(),
            )  # fmt: skip
            assert await other.visit(site.gateways(stranger)[0]) is None
            assert ledger.newest() == []
            ledger.close()

    in_virtual_time(main)


def test_a_restarted_gateway_can_still_open_what_it_committed_to(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_site(tmp_path, audited=False) as world:
            await work(world, 1.5)
            stated = world.sender._outbox.newest_statement()
            assert stated is not None
            again = open_sender(
                world.home, measured=MEASURED, clock=world.clock, worker=InlineWorker(),
                link=UnixLink(world.operator.socket_path), epoch_s=EPOCH_S, slot_s=SLOT_S,
                auditor=world.sender.audits._auditor,
            )  # fmt: skip
            again.audits.beacon_came(stated.epoch + 1, bytes(32))
            offer = await again.audits.asked()
            assert offer is not None
            assert any(one.opening.work for one in offer.opened)
            await again.close()

    in_virtual_time(main)


def test_the_auditors_files_are_told_apart_from_others(tmp_path: Path) -> None:
    public = site.init(tmp_path / "auditor")
    with pytest.raises(SetupError, match="no public file of a gateway"):
        site.add(tmp_path / "auditor", public, tmp_path / "socket", in_service=True)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "auditor-public.json").write_text("{}")
    with pytest.raises(SetupError, match="no public file"):
        KnownAuditor.load(tmp_path / "keys" / "auditor-public.json")
    assert KnownAuditor.load(tmp_path / "none.json") is None
    (tmp_path / "auditor" / "auditor.key").write_bytes(b"short")
    with pytest.raises(SetupError, match="auditor's key"):
        Keys.load_or_make(tmp_path / "auditor")


def test_status_says_what_was_audited_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_site(tmp_path) as world:
            await work(world, 2.5)

    in_virtual_time(main)
    result = CliRunner().invoke(auditor_command, ["status", "--dir", str(tmp_path / "home" / "auditor")])
    assert result.exit_code == 0
    assert "in service" in result.output
    assert "holds" in result.output
    missing = CliRunner().invoke(auditor_command, ["status", "--dir", str(tmp_path / "nothing")])
    assert isinstance(missing.exception, SetupError)
