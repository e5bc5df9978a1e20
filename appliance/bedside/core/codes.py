"""Codes of the field: what a number or a stream is, in IEEE 11073-10101 (MDC), LOINC and UCUM.

Sources: ISO/IEEE 11073-10101 nomenclature (reference ids and codes as listed by the NIST RTMMS),
LOINC 2.7x, UCUM 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Reference ids of the numerics that Bedside keeps."""

    HEART_RATE = "MDC_ECG_HEART_RATE"  # from the ECG, by our own beats
    HEART_RATE_DEVICE = "MDC_ECG_HEART_RATE_DEVICE"  # the wearable's own count; ours, not of the standard
    PULSE_RATE = "MDC_PULS_OXIM_PULS_RATE"
    SPO2 = "MDC_PULS_OXIM_SAT_O2"
    PERFUSION_INDEX = "MDC_PULS_OXIM_PERF_REL"
    PULSE_ARRIVAL = "MDC_PULS_ARRIVAL_TIME"  # from an R peak to the foot of its pulse; ours, not of the standard
    RESPIRATION_RATE = "MDC_RESP_RATE"
    TEMPERATURE = "MDC_TEMP_BODY"
    NIBP_SYSTOLIC = "MDC_PRESS_BLD_NONINV_SYS"
    NIBP_DIASTOLIC = "MDC_PRESS_BLD_NONINV_DIA"
    NIBP_MEAN = "MDC_PRESS_BLD_NONINV_MEAN"
    GLUCOSE = "MDC_CONC_GLU_GEN"
    WEIGHT = "MDC_MASS_BODY_ACTUAL"
    ACTIVITY = "MDC_ACTIVITY_MAD"  # mean amplitude deviation of a chest's acceleration; ours, not of the standard
    STEP_RATE = "MDC_STEP_RATE"  # steps in the last minute; ours
    BATTERY = "MDC_ATTR_VAL_BATT_CHARGE"
    VENTRICULAR_RATE = "MDC_ECG_V_P_C_RATE"  # ventricular beats a minute
    PR_INTERVAL = "MDC_ECG_TIME_PD_PR"
    QRS_DURATION = "MDC_ECG_TIME_PD_QRS"
    QT_INTERVAL = "MDC_ECG_TIME_PD_QT"
    QTC_FRIDERICIA = "MDC_ECG_TIME_PD_QTcF"
    ST_LEVEL = "MDC_ECG_AMPL_ST"  # of the stream's own lead, 80 ms after J; 60 ms above 120/min
    ST_CHANGE = "MDC_ECG_AMPL_ST_CHANGE"  # against the patient's first minute; ours, not of the standard


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """How a numeric is shown and exported. `max_age_s`: past it the number is `---`, never a stale value."""

    label: str
    unit: str  # UCUM
    loinc: str | None
    max_age_s: float
    decimals: int


FACTS: dict[Code, CodeFacts] = {
    Code.HEART_RATE: CodeFacts("HR", "/min", "8867-4", 10.0, 0),
    Code.HEART_RATE_DEVICE: CodeFacts("HR (strap)", "/min", "8867-4", 10.0, 0),
    Code.PULSE_RATE: CodeFacts("PR", "/min", "8889-8", 10.0, 0),
    Code.SPO2: CodeFacts("SpO₂", "%", "59408-5", 10.0, 0),
    Code.PERFUSION_INDEX: CodeFacts("PI", "%", "61006-3", 10.0, 1),
    Code.PULSE_ARRIVAL: CodeFacts("PAT", "ms", None, 30.0, 0),
    Code.RESPIRATION_RATE: CodeFacts("RR", "/min", "9279-1", 30.0, 0),
    Code.TEMPERATURE: CodeFacts("Temp", "Cel", "8310-5", 3600.0, 1),
    Code.NIBP_SYSTOLIC: CodeFacts("NIBP sys", "mm[Hg]", "8480-6", 4 * 3600.0, 0),
    Code.NIBP_DIASTOLIC: CodeFacts("NIBP dia", "mm[Hg]", "8462-4", 4 * 3600.0, 0),
    Code.NIBP_MEAN: CodeFacts("NIBP mean", "mm[Hg]", "8478-0", 4 * 3600.0, 0),
    Code.GLUCOSE: CodeFacts("Glucose", "mmol/L", "15074-8", 4 * 3600.0, 1),
    Code.WEIGHT: CodeFacts("Weight", "kg", "29463-7", 24 * 3600.0, 1),
    Code.ACTIVITY: CodeFacts("Activity", "m[g]", None, 30.0, 0),
    Code.STEP_RATE: CodeFacts("Steps", "/min", None, 30.0, 0),
    Code.BATTERY: CodeFacts("Battery", "%", None, 3600.0, 0),
    Code.VENTRICULAR_RATE: CodeFacts("PVC", "/min", None, 60.0, 0),
    Code.PR_INTERVAL: CodeFacts("PR int", "ms", "8625-6", 45.0, 0),
    Code.QRS_DURATION: CodeFacts("QRS", "ms", "8633-0", 45.0, 0),
    Code.QT_INTERVAL: CodeFacts("QT", "ms", "8634-8", 45.0, 0),
    Code.QTC_FRIDERICIA: CodeFacts("QTcF", "ms", "8636-3", 45.0, 0),
    Code.ST_LEVEL: CodeFacts("ST", "mV", None, 45.0, 2),
    Code.ST_CHANGE: CodeFacts("ST change", "mV", None, 45.0, 2),
}


class StreamKind(StrEnum):
    """What a stream of samples measures."""

    ECG = "ecg"  # mV
    PLETH = "pleth"  # arbitrary units
    ACCELERATION = "acceleration"  # mg
    RESPIRATION = "respiration"  # arbitrary units
    PRESSURE = "pressure"  # mmHg
