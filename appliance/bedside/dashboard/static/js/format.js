// Words, numbers and times as they stand on screen. Everything becomes text, never markup.

export const PRIORITY_STARS = { high: "***", medium: "**", low: "*" };
export const PRIORITY_RANK = { high: 3, medium: 2, low: 1 };
export const RHYTHM_TEXT = {
  N: "Regular rhythm",
  AFIB: "Atrial fibrillation",
  SVTA: "Supraventricular tachycardia",
  VT: "Ventricular tachycardia",
  VFL: "Ventricular fibrillation",
  ASYS: "Asystole",
  P: "Paced rhythm",
  B: "Bigeminy",
  T: "Trigeminy",
  NOISE: "Not analysed: noise",
  UNK: "Rhythm not known",
};
export const REASON_TEXT = {
  lead_off: "Lead off",
  flat: "Flat line",
  saturated: "Amplifier saturated",
  motion: "Movement",
  muscle: "Muscle noise",
  mains: "Mains hum",
  missing: "Samples missing",
  rejected: "Poor signal",
  too_few_beats: "Too few beats",
  learning: "Learning",
  unlike: "Beats differ",
  noisy: "Too noisy",
  low: "QRS too small",
  wide: "Wide QRS",
  no_p_wave: "No P wave",
  no_t_end: "T end not seen",
  cannot_judge: "Cannot judge",
  two_clocks: "Two wearables' clocks",
  no_pulse: "No pulse found",
  irregular: "Irregular",
};
export const BEAT_TEXT = { N: "normal", S: "supraventricular", V: "ventricular", F: "fusion", Q: "not judged" };
const UNIT_TEXT = { "/min": "/min", "%": "%", Cel: "°C", mV: "mV", "mm[Hg]": "mmHg" };
const EVIDENCE_UNITS = [
  ["_bpm", "/min"],
  ["_per_min", "/min"],
  ["_pct", "%"],
  ["_mv", "mV"],
  ["_ms", "ms"],
  ["_s", "s"],
  ["_hz", "Hz"],
];

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(path, label = null) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  if (label === null) svg.setAttribute("aria-hidden", "true");
  else {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  }
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

// Writes only what changed: no layout work, and screen readers hear nothing twice.
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

const pad = (number) => String(number).padStart(2, "0");

export function clockTime(ms) {
  const at = new Date(ms);
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

export function dayText(ms) {
  return new Date(ms).toLocaleDateString(undefined, { weekday: "short", day: "numeric", month: "short" });
}

export function ageText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}

export function timerText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const rest = `${pad(Math.floor((whole % 3600) / 60))}:${pad(whole % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

export function numberText(numeric) {
  if (numeric === null || numeric === undefined || numeric.value === null || numeric.validity === "rejected") return "---";
  return numeric.value.toFixed(numeric.decimals);
}

export function unitText(unit) {
  return UNIT_TEXT[unit] ?? unit;
}

export function reasonText(reason) {
  return reason === null || reason === undefined ? "" : (REASON_TEXT[reason] ?? String(reason).replaceAll("_", " "));
}

// "Lead off: an electrode does not touch the skin" becomes its two halves.
export function sentence(text) {
  const at = text.indexOf(": ");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 2)];
}

// "mean_rate_bpm: 148.2" becomes ["mean rate", "148 /min"]; null where a value is no plain one.
export function evidenceRow(name, value) {
  if (value === null || typeof value === "object") {
    if (!Array.isArray(value) || value.length > 12 || value.some((item) => typeof item === "object")) return null;
  }
  let label = name;
  let unit = "";
  for (const [ending, word] of EVIDENCE_UNITS) {
    if (name.endsWith(ending)) {
      label = name.slice(0, -ending.length);
      unit = ` ${word}`;
      break;
    }
  }
  if (name.endsWith("_us") && typeof value === "number") return [name.slice(0, -3).replaceAll("_", " "), clockTime(value / 1000)];
  const one = (item) => (typeof item === "number" && !Number.isInteger(item) ? item.toFixed(Math.abs(item) < 10 ? 2 : 0) : String(item));
  const long = (text) => (text.length > 60 ? `${text.slice(0, 16)}…` : text);
  const text = Array.isArray(value) ? value.map(one).join(", ") : typeof value === "boolean" ? (value ? "yes" : "no") : one(value);
  return [label.replaceAll("_", " "), long(text.replaceAll("_", " ")) + unit];
}
