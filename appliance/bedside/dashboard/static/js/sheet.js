// What the pages with forms share: the top bar and its alarms stay live; a form says what came of it.
import { ask } from "./api.js";
import { clockTime, dayText, el, put } from "./format.js";
import { Live } from "./live.js";
import { Frame } from "./page.js";

// `onWard(ward, live)` is called with each newest ward. Gives what this session may do.
export async function openSheet(title, onWard = () => {}) {
  const live = new Live();
  const frame = new Frame(live, title);
  live.onWard = (ward) => {
    frame.update(ward);
    onWard(ward, live);
  };
  live.start();
  let may = new Set();
  try {
    may = new Set((await ask("session")).may);
  } catch {
    // the notice on top tells when the box is away; every deed is refused there all the same
  }
  return { live, frame, may };
}

// Runs `deed`, and says in `place` what came of it.
export async function attempt(place, button, deed, done) {
  button.disabled = true;
  put(place, "…");
  place.className = "told";
  try {
    const answer = await deed();
    put(place, typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (error) {
    place.classList.add("bad");
    put(place, error.message);
    return null;
  } finally {
    button.disabled = false;
  }
}

export function told() {
  return el("p", { class: "told", role: "status" });
}

export function field(label, input, hint = "") {
  const wide = input.tagName === "TEXTAREA" || input.dataset.wide === "yes";
  return el("label", { class: wide ? "field wide" : "field" }, el("span", {}, label, hint ? el("small", {}, ` ${hint}`) : null), input);
}

export function select(options, attributes = {}) {
  return el("select", attributes, ...options.map(([value, text]) => el("option", { value }, text)));
}

export function moment(us, nowMs) {
  const ms = us / 1000;
  const today = new Date(ms).toDateString() === new Date(nowMs).toDateString();
  return today ? clockTime(ms) : `${dayText(ms)} ${clockTime(ms)}`;
}

export const kindText = (kind) => kind.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase()).replace(/spo2/i, "SpO₂");
