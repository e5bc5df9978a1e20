"""Doing the gateways' inferences again: the same models, by digest, on the kernels that are canonical here."""

from __future__ import annotations

import logging

import numpy as np

from bedside.core.errors import SetupError
from bedside.models import shipped
from bedside.models.inference import Model

log = logging.getLogger(__name__)

MODELS = ("beats", "rhythm")


class Rerun:
    """`attestation.audit.Rerun` over the models of this installation."""

    def __init__(self, models: tuple[Model, ...]) -> None:
        self._models = {bytes.fromhex(model.digest): model for model in models}

    @classmethod
    def of_this_version(cls) -> Rerun:
        """The models that this version of Bedside ships. A gateway that runs others fails its audits, rightly."""
        models = []
        for name in MODELS:
            try:
                models.append(Model.load(shipped.path(name)))
            except SetupError as error:
                log.error("model refused", extra={"reason": str(error)})
        return cls(tuple(models))

    def __call__(self, digest: bytes, inputs: bytes) -> bytes | None:
        """The outputs' bytes; None for a model that is not here, inputs of another size, or a failing runtime."""
        model = self._models.get(digest)
        if model is None or len(inputs) != model.n_inputs:
            return None
        try:
            return model.run(np.frombuffer(inputs, dtype=np.int8).reshape(1, -1)).tobytes()
        except RuntimeError as error:
            log.error("model failed", extra={"error": str(error)})
            return None
