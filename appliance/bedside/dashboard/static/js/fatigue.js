// How many alarms there are, whose, of which kind, and how soon they are answered: what to change so that fewer cry wolf.
import { ask } from "./api.js";
import { el, put } from "./format.js";
import { kindText, openSheet } from "./sheet.js";

const place = document.getElementById("cards");
const since = document.getElementById("since");
const HOUR_US = 3600e6;
const lower = (kind) => kindText(kind).replace(/^[A-Z](?![A-Z]|p)/, (letter) => letter.toLowerCase());
const LIMITED = { tachycardia: "HR", bradycardia: "HR", extreme_tachycardia: "HR", extreme_bradycardia: "HR", spo2_low: "SpO₂", desaturation: "SpO₂" };
let nowUs = 0;
let asked = false;

await openSheet("Alarm load · Bedside", (ward) => {
  nowUs = ward.time_us;
  if (!asked) {
    asked = true;
    read();
  }
});

async function read() {
  const hours = Number(since.value);
  try {
    const load = await ask("fatigue", { start_us: Math.max(0, Math.round(nowUs - hours * HOUR_US)) });
    const patients = [...load.patients].sort((a, b) => b.alarms - a.alarms);
    const total = patients.reduce((sum, one) => sum + one.alarms, 0);
    const quick = patients.reduce((sum, one) => sum + one.quick, 0);
    const held = patients.reduce((sum, one) => sum + one.suppressed, 0);
    const days = Math.max(1, patients.length) * (hours / 24);
    const kinds = new Map();
    for (const one of patients) for (const [kind, count] of Object.entries(one.kinds)) kinds.set(kind, (kinds.get(kind) ?? 0) + count);
    const sorted = [...kinds].sort((a, b) => b[1] - a[1]);
    const most = sorted[0]?.[1] ?? 1;
    const facts = el("dl", { class: "facts" }, ...[["Alarms", String(total)], ["per patient and day", (total / days).toFixed(1)], ["answered within 30 s", total === 0 ? "none" : `${Math.round((100 * quick) / total)} %`], ["held back, with a reason", String(held)]].map(([text, value]) => el("div", {}, el("dt", {}, text), el("dd", {}, value))));
    place.replaceChildren(
      el("section", { class: "card", "aria-label": "The ward" }, el("h2", {}, "The ward"), facts, el("p", { class: "lead" }, "Published wards have found 9 of 10 alarms not actionable, and that response slows with each of them. Every alarm here that nobody needed is one to look at.")),
      el("div", { class: "columns" }, el("section", { class: "card", "aria-label": "By condition" }, el("h2", {}, "By condition"), bars(sorted, most)), el("section", { class: "card", "aria-label": "By patient" }, el("h2", {}, "By patient"), people(patients))),
    );
    if (total === 0) place.append(el("p", { class: "empty" }, "No alarm in this time."));
  } catch (error) {
    place.replaceChildren(el("p", { class: "empty" }, `The alarm load could not be read: ${error.message}`));
  }
  put(document.getElementById("span"), `${hours} h until now`);
}

function bars(sorted, most) {
  return el("div", { class: "bars" }, ...sorted.map(([kind, count]) => el("div", { class: "bar" }, el("span", {}, kindText(kind)), el("meter", { min: 0, max: most, value: count, "aria-label": kindText(kind) }), el("b", {}, String(count)))));
}

function people(patients) {
  const rows = patients.map((one) => {
    const [top] = Object.entries(one.kinds).sort((a, b) => b[1] - a[1]);
    const share = top === undefined ? 0 : top[1] / Math.max(1, one.alarms);
    const worth = top !== undefined && top[0] in LIMITED && top[1] >= 5 && share >= 0.5;
    const proposal = worth
      ? el("a", { href: `/patient/${encodeURIComponent(one.id)}/limits` }, `${Math.round(100 * share)} % are ${lower(top[0])}: try other ${LIMITED[top[0]]} limits or a delay on her stored data`)
      : el("span", { class: "was" }, top === undefined ? "" : `most: ${lower(top[0])} (${top[1]})`);
    return el("tr", {}, el("td", {}, el("a", { href: `/patient/${encodeURIComponent(one.id)}` }, one.bed)), el("td", { class: "number" }, String(one.alarms)), el("td", { class: "number" }, String(one.per_day)), el("td", { class: "number" }, one.alarms === 0 ? "" : `${Math.round((100 * one.quick) / one.alarms)} %`), el("td", {}, proposal));
  });
  return el("div", { class: "table-scroll" }, el("table", { class: "table" }, el("thead", {}, el("tr", {}, ...["Bed", "Alarms", "a day", "in 30 s", "Proposal"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...rows)));
}

since.addEventListener("change", read);
