// What happened since the last shift, in one page: alarms by urgency, what was held back, what was changed.
import { ask } from "./api.js";
import { el, put, timerText } from "./format.js";
import { kindText, moment, openSheet } from "./sheet.js";

const place = document.getElementById("cards");
const since = document.getElementById("since");
const HOUR_US = 3600e6;
const ACTION = { set_limit: "changed a limit", quiet: "standby or alarm off", quiet_over: "over by itself", review: "reviewed an event", observe: "entered", admit: "admitted", discharge: "discharged", break_glass: "broke the glass" };
const STATE = { active: "still open", acknowledged: "still there, acknowledged", latched: "ended, nobody has seen it", ended: "ended" };
let nowUs = 0;
let asked = false;

const { live } = await openSheet("Handover · Bedside", (ward) => {
  nowUs = ward.time_us;
  if (!asked) {
    asked = true;
    read();
  }
});

async function read() {
  const hours = Number(since.value);
  put(document.getElementById("span"), `${moment(nowUs - hours * HOUR_US, live.newestBoxMs)} to now`);
  try {
    const shift = await ask("handover", { start_us: Math.max(0, Math.round(nowUs - hours * HOUR_US)) });
    const order = (one) => -(one.counts.high * 1000 + one.counts.medium * 10 + one.counts.low);
    const patients = [...shift.patients].sort((a, b) => order(a) - order(b));
    place.replaceChildren(...patients.map(card), ...(patients.length === 0 ? [el("p", { class: "empty" }, "No patient is monitored.")] : []));
  } catch (error) {
    place.replaceChildren(el("p", { class: "empty" }, `The handover could not be read: ${error.message}`));
  }
}

function card(one) {
  const when = (us) => moment(us, live.newestBoxMs);
  const head = el("h2", {}, `${one.bed} · ${one.name}`);
  const counts = el("p", { class: "lead" }, `${one.counts.high} of high, ${one.counts.medium} of medium, ${one.counts.low} of low priority${one.unanswered > 0 ? `; ${one.unanswered} nobody has answered` : ""}.`);
  const alarms = one.alarms.map((alarm) =>
    el("tr", {}, el("td", {}, when(alarm.raised_us)), el("td", {}, el("span", { class: `stars ${alarm.priority}`, "aria-label": `${alarm.priority} priority` }, { high: "***", medium: "**", low: "*" }[alarm.priority]), alarm.text), el("td", {}, [STATE[alarm.state], alarm.end_us === null ? "" : `lasted ${timerText((alarm.end_us - alarm.start_us) / 1e6)}`].filter(Boolean).join(", ")), el("td", {}, alarm.heard_s === null ? "nobody" : `${alarm.by} after ${timerText(alarm.heard_s)}`)),
  );
  const table = el("div", { class: "table-scroll" }, el("table", { class: "table" }, el("thead", {}, el("tr", {}, ...["Raised", "Alarm", "Now", "Answered"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...alarms)));
  const held = one.suppressed.map((item) => el("li", {}, `${item.count} × ${kindText(item.kind)} not raised: ${item.reason.replaceAll("_", " ")}`));
  const acts = one.acts.map((act) => el("li", {}, `${when(act.at_us)} ${act.by} ${ACTION[act.action] ?? act.action}${act.what ? `: ${kindText(act.what)}` : ""}`));
  return el(
    "section",
    { class: "card", "aria-label": one.bed },
    head,
    counts,
    one.alarms.length > 0 ? table : null,
    one.more > 0 ? el("p", { class: "was" }, `and ${one.more} more: see the patient's events`) : null,
    held.length > 0 ? el("h3", {}, "Held back, and why") : null,
    held.length > 0 ? el("ul", {}, ...held) : null,
    acts.length > 0 ? el("h3", {}, "Done") : null,
    acts.length > 0 ? el("ul", {}, ...acts) : null,
    el("p", { class: "row" }, el("a", { class: "back", href: `/patient/${encodeURIComponent(one.id)}` }, "Open the patient")),
  );
}

since.addEventListener("change", read);
document.getElementById("print").addEventListener("click", () => print());
