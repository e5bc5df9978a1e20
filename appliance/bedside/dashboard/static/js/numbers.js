// A vital sign on screen: value, limits, age, and --- with its reason where there is none.
import { ageText, el, numberText, put, reasonText, sentence, show, unitText } from "./format.js";

const SYSTOLIC = "MDC_PRESS_BLD_NONINV_SYS";
const DIASTOLIC = "MDC_PRESS_BLD_NONINV_DIA";
const OLD_S = 4; // continuous numbers come each second: past this the age is shown

export class NumberView {
  constructor(code, name, shape = "") {
    this.code = code;
    this.label = el("span", { class: "num-label" }, name);
    this.high = el("span", { class: "num-high" });
    this.low = el("span", { class: "num-low" });
    this.limits = el("span", { class: "num-limits", "aria-hidden": "true" }, this.high, this.low);
    this.value = el("span", { class: "num-value" }, "---");
    this.unit = el("span", { class: "num-unit" });
    this.note = el("span", { class: "num-note" });
    this.element = el(
      "div",
      { class: `num ${name.toLowerCase().replace(/[^a-z0-9]/g, "")} ${shape}`, "data-code": code },
      el("div", { class: "num-head" }, this.label, this.unit, this.limits),
      el("div", { class: "num-body" }, this.value),
      this.note,
    );
  }

  update(numeric) {
    show(this.element, numeric !== null || this.code === "MDC_ECG_HEART_RATE");
    if (numeric === null) {
      put(this.value, "---");
      put(this.note, "");
      this.element.classList.add("none");
      return;
    }
    const none = numeric.value === null || numeric.validity === "rejected";
    put(this.label, numeric.label);
    put(this.value, numberText(numeric));
    put(this.unit, unitText(numeric.unit));
    this.element.classList.toggle("none", none);
    this.element.classList.toggle("questionable", numeric.validity === "questionable");
    put(this.high, numeric.limit_high === null ? "" : numeric.limit_high.toFixed(numeric.decimals));
    put(this.low, numeric.limit_low === null ? "" : numeric.limit_low.toFixed(numeric.decimals));
    this.limits.classList.toggle("own", numeric.limit_changed === true);
    put(this.note, note(numeric, none));
    this.element.title = numeric.reason ?? "";
  }
}

// Blood pressure is one value of two numbers, with the time at which it was taken.
export class PressureView {
  constructor(shape = "") {
    this.value = el("span", { class: "num-value" }, "---");
    this.note = el("span", { class: "num-note" });
    this.element = el(
      "div",
      { class: `num nibp ${shape}`, "data-code": SYSTOLIC, hidden: true },
      el("div", { class: "num-head" }, el("span", { class: "num-label" }, "NIBP"), el("span", { class: "num-unit" }, "mmHg")),
      el("div", { class: "num-body" }, this.value),
      this.note,
    );
  }

  update(patient) {
    const systolic = numeric(patient, SYSTOLIC);
    const diastolic = numeric(patient, DIASTOLIC);
    show(this.element, systolic !== null);
    if (systolic === null) return;
    const none = [systolic, diastolic].some((one) => one === null || one.value === null || one.validity === "rejected");
    put(this.value, none ? "---" : `${numberText(systolic)}/${numberText(diastolic)}`);
    this.element.classList.toggle("none", none);
    this.element.classList.toggle("questionable", systolic.validity === "questionable");
    const doubt = none || systolic.validity === "questionable" ? sentence(reasonText(systolic.reason))[0] : "";
    put(this.note, [systolic.age_s === null ? "" : `${ageText(systolic.age_s)} ago`, systolic.stored ? "from the wearable's memory" : "", doubt].filter(Boolean).join(" · "));
    this.element.title = systolic.reason ?? "";
  }
}

function note(numeric, none) {
  if (none && numeric.time_us === null) return "none yet";
  const age = numeric.age_s === null ? "" : `${ageText(numeric.age_s)} ago`;
  if (none) {
    const last = numeric.value === null && numeric.age_s !== null && numeric.age_s > OLD_S ? `last ${age}` : "";
    return [sentence(reasonText(numeric.reason))[0], last].filter(Boolean).join(" · ");
  }
  if (numeric.validity === "questionable") return ["uncertain", reasonText(numeric.reason)].filter(Boolean).join(": ");
  if (numeric.stored) return [age, "from the wearable's memory"].filter(Boolean).join(", ");
  return numeric.age_s !== null && numeric.age_s > OLD_S ? age : "";
}

export function numeric(patient, code) {
  return patient.numerics.find((candidate) => candidate.code === code) ?? null;
}
