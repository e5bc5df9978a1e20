// One patient's limits: now, preset and bounds; what others would have done; alarms off; standby.
import { ask, tell } from "./api.js";
import { el, put, show } from "./format.js";
import { attempt, field, kindText, moment, openSheet, select, told } from "./sheet.js";

const main = document.getElementById("main");
const id = main.dataset.patient;
const HOURS = [["1", "the last hour"], ["8", "the last 8 hours"], ["24", "the last 24 hours"]];
const FOR = [["1800", "30 minutes"], ["3600", "1 hour"], ["14400", "4 hours"], ["28800", "8 hours"], ["43200", "12 hours"]];
const STANDBY_FOR = [["600", "10 minutes"], ["1800", "30 minutes"], ["3600", "1 hour"], ["7200", "2 hours"], ["14400", "4 hours"]];
const WHY = ["X-ray or another examination", "Toilet or bath", "Wearable is being changed", "Care at the bed"];
let nowMs = Date.now();

function number(name, value, range, label) {
  const input = el("input", { type: "number", inputmode: "numeric", name, "aria-label": label, step: 1, value: value ?? "", min: range?.[0], max: range?.[1], disabled: range === null });
  return range === null ? null : field(label, input, `${range[0]} to ${range[1]}`);
}

class LimitCard {
  constructor(limit, may) {
    this.limit = limit;
    this.may = may;
    this.say = told();
    this.result = el("div", { class: "bars" });
    this.current = el("p", { class: "lead" });
    this.inputs = { low: number("low", limit.low, limit.low_range, "Lower limit"), high: number("high", limit.high, limit.high_range, "Upper limit"), severe_low: number("severe_low", limit.severe_low, limit.severe_low_range, "Desaturation below") };
    const delay = el("input", { type: "number", min: 0, max: 30, step: 1, name: "delay", placeholder: "as it is" });
    this.delay = delay;
    this.hours = select(HOURS, { name: "hours" });
    this.hours.value = "8";
    const set = el("button", { type: "submit", class: "do main", disabled: !may.has("limits") }, "Set the limits");
    const reset = el("button", { type: "button", class: "do", disabled: !may.has("limits"), onclick: () => this.preset(reset) }, "Back to the preset");
    const test = el("button", { type: "button", class: "do", onclick: () => this.whatIf(test) }, "What would these have done?");
    this.element = el(
      "form",
      { class: "card limit", "data-code": limit.code },
      el("h2", {}, `${limit.label} `, el("span", { class: "tag" }, limit.unit)),
      this.current,
      el("div", { class: "row" }, ...Object.values(this.inputs).filter(Boolean), set, reset),
      el("h3", {}, "Try before you change"),
      el("div", { class: "row" }, field("Over", this.hours), field("with a delay of", delay, "s, only tried"), test),
      this.say,
      this.result,
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(set, this.values());
    });
    this.show(limit);
  }

  show(limit) {
    this.limit = limit;
    const parts = [];
    if (limit.low !== null) parts.push(`alarms below ${limit.low}${limit.low === limit.preset_low ? "" : ` (preset ${limit.preset_low})`}`);
    if (limit.high !== null) parts.push(`alarms above ${limit.high}${limit.high === limit.preset_high ? "" : ` (preset ${limit.preset_high})`}`);
    const severe = [limit.severe_low === null ? "" : `below ${limit.severe_low}`, limit.severe_high === null ? "" : `above ${limit.severe_high}`].filter(Boolean);
    put(this.current, `Now: ${parts.join(", ")}; high priority ${severe.join(" and ")}. ${limit.changed ? "These are this patient's own limits." : `These are the limits of the ${limit.preset} preset.`}`);
  }

  values() {
    const values = { patient: id, code: this.limit.code, low: null, high: null };
    for (const [name, place] of Object.entries(this.inputs)) {
      const text = place?.querySelector("input").value ?? "";
      if (place !== null) values[name] = text === "" ? null : Number(text);
    }
    return values;
  }

  async send(button, values) {
    const before = this.limit;
    const was = (value, old) => (value === null ? "" : `${value}${value === old ? "" : ` (was ${old})`}`);
    const answer = await attempt(this.say, button, () => tell("limits", values), (now) => `In force: ${[now.low === null ? "" : `below ${was(now.low, before.low)}`, now.high === null ? "" : `above ${was(now.high, before.high)}`].filter(Boolean).join(", ")}. The change stands in the audit trail.`);
    if (answer !== null) {
      this.show(answer);
      document.getElementById("history-of-limits")?.dispatchEvent(new Event("again"));
    }
  }

  preset(button) {
    const { limit } = this;
    const values = { patient: id, code: limit.code, low: limit.preset_low, high: limit.preset_high };
    for (const name of ["low", "high"]) {
      const input = this.inputs[name]?.querySelector("input");
      if (input) input.value = values[name];
    }
    if (this.inputs.severe_low !== null) values.severe_low = Number(this.inputs.severe_low.querySelector("input").value);
    this.send(button, values);
  }

  async whatIf(button) {
    const body = { ...this.values(), hours: Number(this.hours.value) };
    const kinds = this.limit.code.includes("SAT_O2") ? ["spo2_low", "desaturation"] : ["tachycardia", "bradycardia"];
    if (this.delay.value !== "") body.delay_s = Object.fromEntries(kinds.filter((kind) => kind !== "desaturation").map((kind) => [kind, Number(this.delay.value)]));
    this.result.replaceChildren();
    const answer = await attempt(this.say, button, () => tell("what-if", body, 120000), (found) => (found.events === 0 ? "Nothing is stored of that time." : `Replayed ${found.events} stored numbers and beats. Nothing was changed. Rhythms and technical alarms are not replayed.`));
    if (answer === null || answer.events === 0) return;
    const most = Math.max(answer.now.total, answer.then.total, 1);
    const bar = (text, side) => el("div", { class: "bar" }, el("span", {}, text), el("meter", { min: 0, max: most, value: side.total, "aria-label": text }), el("b", {}, String(side.total)));
    const rows = Object.keys(answer.now.counts).filter((kind) => answer.now.counts[kind] || answer.then.counts[kind]);
    this.result.replaceChildren(
      bar("As it is now", answer.now),
      bar("With these", answer.then),
      ...rows.map((kind) => el("p", { class: "was" }, `${kindText(kind)}: ${answer.now.counts[kind] ?? 0} → ${answer.then.counts[kind] ?? 0}`)),
    );
  }
}

async function quietCard(may) {
  const say = told();
  const list = el("ul", {});
  const kind = select([], { name: "kind" });
  const reason = el("input", { type: "text", name: "reason", maxlength: 120, required: true, "data-wide": "yes" });
  const seconds = select(FOR, { name: "seconds" });
  const off = el("button", { type: "submit", class: "do main", disabled: !may.has("switch_off") }, "Turn it off");
  const form = el("form", { class: "row" }, field("Alarm", kind), field("Why", reason), field("For", seconds), off);
  const never = el("p", { class: "was" });

  async function refresh() {
    const quiet = await ask("quiet", { patient: id });
    const offable = quiet.conditions.filter((one) => one.can_be_off);
    const order = { high: 0, medium: 1, low: 2 };
    offable.sort((a, b) => order[a.priority] - order[b.priority] || a.kind.localeCompare(b.kind));
    if (kind.childElementCount === 0) kind.append(...offable.map((one) => el("option", { value: one.kind }, `${kindText(one.kind)} (${one.priority})`)));
    put(never, `Nobody can turn off: ${quiet.conditions.filter((one) => !one.can_be_off && one.alarm_class === "physiological").map((one) => kindText(one.kind)).join(", ")}.`);
    const rows = Object.entries(quiet.off).map(([name, act]) => {
      const on = el("button", { type: "button", class: "do", disabled: !may.has("answer") }, "Turn it on");
      on.addEventListener("click", async () => {
        await attempt(say, on, () => tell("alarm-on", { patient: id, kind: name }), `${kindText(name)} alarms again.`);
        refresh();
      });
      return el("li", { class: "row" }, el("b", {}, kindText(name)), el("span", {}, `off since ${moment(act.since_us, nowMs)} by ${act.by}: ${act.reason}; on again by itself at ${moment(act.until_us, nowMs)}`), on);
    });
    list.replaceChildren(...(rows.length > 0 ? rows : [el("li", { class: "was" }, "All alarms are on.")]));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await attempt(say, off, () => tell("alarm-off", { patient: id, kind: kind.value, reason: reason.value, seconds: Number(seconds.value) }), `${kindText(kind.value)} is off. The tile shows it, and what it would have said is in the event list.`);
    refresh();
  });
  await refresh();
  return el("section", { class: "card", "aria-label": "Alarms off" }, el("h2", {}, "Alarms off"), el("p", { class: "lead" }, "An alarm that is off is shown on the tile, comes on again by itself, and what it would have said stands in the event list with your name and reason. Turning one off needs a clinician."), list, form, say, never);
}

async function standbyCard(may) {
  const say = told();
  const state = el("p", { class: "lead" });
  const reason = el("input", { type: "text", name: "standby-reason", maxlength: 120, required: true, list: "standby-why", "data-wide": "yes" });
  const seconds = select(STANDBY_FOR, { name: "standby-seconds" });
  const begin = el("button", { type: "submit", class: "do main", disabled: !may.has("answer") }, "Begin standby");
  const end = el("button", { type: "button", class: "do", hidden: true, disabled: !may.has("answer") }, "Monitor again now");
  const form = el("form", { class: "row" }, field("Why", reason), field("For", seconds), begin, el("datalist", { id: "standby-why" }, ...WHY.map((text) => el("option", { value: text }))));
  async function refresh() {
    const { standby } = await ask("quiet", { patient: id });
    put(state, standby === null ? "Not in standby." : `In standby since ${moment(standby.since_us, nowMs)}, by ${standby.by}: ${standby.reason}. It ends by itself, loudly, at ${moment(standby.until_us, nowMs)}.`);
    show(end, standby !== null);
    show(form, standby === null);
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await attempt(say, begin, () => tell("standby", { patient: id, reason: reason.value, seconds: Number(seconds.value) }), "In standby.");
    refresh();
  });
  end.addEventListener("click", async () => {
    await attempt(say, end, () => tell("standby/end", { patient: id }), "Monitored again.");
    refresh();
  });
  await refresh();
  return el("section", { class: "card", "aria-label": "Standby" }, el("h2", {}, "Standby"), el("p", { class: "lead" }, "While the patient is elsewhere, lost links, bad signals and lesser alarms are held back, not lost. Asystole, VF, VT, apnoea and desaturation alarm all the same, and end the standby."), state, form, end, say);
}

async function changesCard() {
  const body = el("tbody", {});
  const section = el("section", { class: "card", id: "history-of-limits", "aria-label": "Changes" }, el("h2", {}, "Changes"), el("div", { class: "table-scroll" }, el("table", { class: "table" }, el("thead", {}, el("tr", {}, ...["When", "Who", "What", "Before", "After"].map((text) => el("th", { scope: "col" }, text)))), body)));
  const words = (limits) => (limits ? `HR ${limits.rate_low} to ${limits.rate_high}, SpO₂ ${limits.spo2_low}, desaturation ${limits.desaturation}` : "");
  const WHAT = { set_limit: "Limits", set_limit_refused: "Limits refused", quiet: "Standby or alarm off", quiet_over: "Over by itself", alarm_off_refused: "Refused" };
  async function refresh() {
    const audits = await ask("events", { patient: id, types: "audit", limit: 200 });
    const rows = audits.filter((one) => one.action in WHAT).reverse().slice(0, 40);
    body.replaceChildren(
      ...rows.map((one) => el("tr", {}, el("td", {}, moment(one.start_us, nowMs)), el("td", {}, one.actor), el("td", {}, `${WHAT[one.action]}${one.detail.what ? `: ${kindText(String(one.detail.what))}` : ""}`), el("td", {}, words(one.detail.before)), el("td", {}, words(one.detail.limits) || one.detail.why || ""))),
      ...(rows.length === 0 ? [el("tr", {}, el("td", { colspan: 5 }, "Nothing was changed yet."))] : []),
    );
  }
  section.addEventListener("again", refresh);
  await refresh();
  return section;
}

const { may } = await openSheet("Limits · Bedside", (ward, live) => {
  nowMs = live.newestBoxMs;
  const patient = ward.patients.find((one) => one.id === id);
  put(document.getElementById("bed"), patient?.bed ?? "");
  put(document.getElementById("name"), patient?.name ?? "");
});
const place = document.getElementById("cards");
try {
  const limits = await ask("limits", { patient: id });
  place.replaceChildren(el("div", { class: "columns" }, ...limits.map((limit) => new LimitCard(limit, may).element), await standbyCard(may), await quietCard(may)), await changesCard());
} catch (error) {
  place.replaceChildren(el("p", { class: "empty" }, `The limits could not be read: ${error.message}`));
}
