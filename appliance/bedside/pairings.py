"""Pairings and the ward: what a wearable that is paired, moved or taken back means for a patient who is watched.

The desk (`ble.desk`) pairs; here a pairing becomes a source of her session, without a restart, and is noted in the
records. Between the gateway, which makes this, and the rooms that it joins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence

from bedside.ble.bonds import BondStore
from bedside.ble.desk import Effects, PairingDesk, PairingRadio
from bedside.ble.pairing import Pairing
from bedside.ble.radio import Radio
from bedside.ble.session import WearableConfig, WearableSession
from bedside.core.codes import StreamKind
from bedside.core.events import Finding
from bedside.core.ports import Patient, Store
from bedside.core.samples import Item
from bedside.edges import Edges
from bedside.records.keys import BOX
from bedside.records.store import RecordStore
from bedside.settings import Home
from bedside.ward.ward import WardMonitor

RESUME_LOOK_BACK_US = 600 * 1_000_000
STORED_LOOK_BACK_US = 14 * 86_400 * 1_000_000
STORED_LOOK_MAX = 50_000


def open_bonds(home: Home, store: RecordStore) -> BondStore:
    return BondStore(home.path / "pairings.sealed", store.keys.data_key(BOX, "pairings").raw)


class Pairings:
    """What a pairing means for the ward: a session that begins, one that ends, what the records note."""

    def __init__(
        self, store: RecordStore, radio: PairingRadio, edges: Edges, ward: WardMonitor, bonds: BondStore
    ) -> None:
        self._store = store
        self._radio = radio
        self._edges = edges
        self._ward = ward
        self._bonds = bonds
        self._patients: dict[str, Patient] = {}
        self._fixed: dict[str, str] = {}
        effects = Effects(
            attach=self._attach, detach=self._detach, audit=self._audit, known=self._patients.__contains__,
            bed=ward.bed, fixed=self._fixed,
        )  # fmt: skip
        self.desk = PairingDesk(
            radio, bonds, store.keys.derive("wearable labels"), effects,
            clock=edges.clock, ids=edges.ids, worker=edges.records_worker,
        )  # fmt: skip

    def admitted(self, patient: Patient, fixed: Sequence[str]) -> None:
        """She is on this ward; wearables at the addresses `fixed` are hers by the settings."""
        self._patients[patient.id] = patient
        self._fixed.update(dict.fromkeys(fixed, patient.id))

    async def resume(self) -> None:
        """Follow what was paired before the start."""
        await self.desk.restore()
        for pairing in self._bonds.register.pairings:
            if pairing.patient in self._patients:
                await self._attach(pairing)

    async def _attach(self, pairing: Pairing) -> None:
        patient = self._patients[pairing.patient]
        if pairing.wearable not in patient.wearables:
            await self._put(dataclasses.replace(patient, wearables=(*patient.wearables, pairing.wearable)))
        stream = None
        if not pairing.spot:
            stream = await self._edges.records_worker.run(
                lambda: ecg_stream_of(self._store, pairing.patient, pairing.wearable)
            )
        config = WearableConfig(
            id=pairing.wearable, patient=pairing.patient, name=pairing.identity.name,
            address=pairing.identity.address, simulated=patient.simulated, spot=pairing.spot,
            zone_s=self._edges.zone_s, user_index=pairing.user_index,
            ecg_stream=None if pairing.spot else stream or self._edges.ids.thing(),
            durable=self._ward.recorder.flush,
            prove=lambda client: self.desk.prove(pairing.wearable, client),
        )  # fmt: skip
        self._ward.attach(
            pairing.patient, pairing.wearable, pairing.identity.name,
            lambda: Resuming(config, self._radio, self._edges, self._store),
        )  # fmt: skip

    async def _detach(self, pairing: Pairing) -> None:
        await self._ward.detach(pairing.patient, pairing.wearable)

    async def _put(self, patient: Patient) -> None:
        await self._edges.records_worker.run(lambda: self._store.put_patient(patient))
        self._patients[patient.id] = patient

    def _audit(self, actor: str, action: str, patient: str, detail: dict[str, str]) -> None:
        self._ward.audit(actor, action, patient=patient or None, **detail)


def ecg_stream_of(store: Store, patient: str, wearable: str) -> str | None:
    """The stream that a wearable's ECG goes on in; None: it never had one."""
    found = (info for info in store.streams(patient) if info.wearable == wearable and info.kind is StreamKind.ECG)
    return next((info.id for info in found), None)


class Resuming:
    """A wearable's session that goes on counting samples where its stored stream ended."""

    def __init__(self, config: WearableConfig, radio: Radio, edges: Edges, store: Store) -> None:
        self._config = config
        self._radio = radio
        self._edges = edges
        self._store = store
        self._session: WearableSession | None = None
        self._closed = False

    async def items(self) -> AsyncIterator[Item]:
        config = await self._edges.records_worker.run(self._going_on)
        if self._closed:
            return
        self._session = WearableSession(config, self._radio, self._edges.clock, self._edges.randomness)
        async for item in self._session.items():
            yield item

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _going_on(self) -> WearableConfig:
        first, ended_us = self._where_it_ended()
        after = self._what_is_kept() if self._config.spot else {}
        return dataclasses.replace(self._config, ecg_first_index=first, ecg_resumed_us=ended_us, stored_after=after)

    def _what_is_kept(self) -> dict[str, int]:
        """Of each memory of the wearable: the number of the newest record that is on disk."""
        patient, newest_us = self._config.patient, self._store.newest_us(self._config.patient)
        if newest_us is None:
            return {}
        said = self._store.events(patient, newest_us - STORED_LOOK_BACK_US, 2**62, ("finding",), STORED_LOOK_MAX)
        after: dict[str, int] = {}
        for one in said:
            if isinstance(one, Finding) and one.kind == "back_fill" and one.evidence.get("wearable") == self._config.id:
                name, last = one.evidence.get("characteristic"), one.evidence.get("last")
                if isinstance(name, str) and isinstance(last, int):
                    after[name] = last
        return after

    def _where_it_ended(self) -> tuple[int, int | None]:
        """The index with which the stored stream goes on, and when its last sample ended."""
        stream, newest_us = self._config.ecg_stream, self._store.newest_us(self._config.patient)
        if stream is None or newest_us is None:
            return 0, None
        blocks = list(self._store.blocks(stream, newest_us - RESUME_LOOK_BACK_US, newest_us + 1))
        return self._store.next_index(stream), blocks[-1].end_us if blocks else None
