// What people said of events: confirmed, rejected, reclassified, with a comment; who and when. The newest word counts.
import { ask, tell } from "./api.js";
import { BEAT_TEXT, clockTime, el, put, RHYTHM_TEXT } from "./format.js";
import { attempt, field, select, told } from "./sheet.js";

const VERDICT = { confirmed: "confirmed", rejected: "not so", reclassified: "is", comment: "comment" };
const AGAIN_MS = 6000;

export class ReviewBook {
  constructor(patient) {
    this.patient = patient;
    this.byEvent = new Map(); // event key -> its reviews, oldest first
    this.count = -1;
    this.readAt = -Infinity;
  }

  // True when there is something new.
  async read(now = performance.now()) {
    if (now - this.readAt < AGAIN_MS) return false;
    this.readAt = now;
    const audits = await ask("events", { patient: this.patient, types: "audit", limit: 1000 });
    const reviews = audits.filter((one) => one.action === "review");
    if (reviews.length === this.count) return false;
    this.count = reviews.length;
    this.byEvent.clear();
    for (const one of reviews) {
      const key = String(one.detail.event);
      this.byEvent.set(key, [...(this.byEvent.get(key) ?? []), one]);
    }
    return true;
  }

  of(key) {
    return this.byEvent.get(eventOf(key)) ?? [];
  }

  has(key) {
    return this.of(key).some((one) => one.detail.verdict !== "comment");
  }

  words(key) {
    const last = this.of(key).findLast((one) => one.detail.verdict !== "comment");
    return last === undefined ? "" : `${said(last)} (${last.actor})`;
  }
}

const eventOf = (key) => key.replace(/^alarm /, "");

function said(one) {
  const label = one.detail.label ? ` ${labelText(one.detail.label)}` : "";
  return `${VERDICT[one.detail.verdict] ?? one.detail.verdict}${label}`;
}

function labelText(label) {
  if (label in BEAT_TEXT) return `${label}, ${BEAT_TEXT[label]} beats`;
  return RHYTHM_TEXT[label]?.toLowerCase() ?? label;
}

const LABELS = ["N", "AFIB", "SVTA", "VT", "VFL", "ASYS", "B", "T"].map((label) => [label, RHYTHM_TEXT[label]]);
const CHOICES = [["", "choose…"], ...LABELS, ["S", "Supraventricular beats"], ["V", "Ventricular beats"], ["artefact", "Artefact"]];

// The form under a strip. `again` is called when something was said; `step` moves to the next event.
export function reviewForm(row, book, stream, again, step) {
  const say = told();
  const list = el("ul", { class: "said" });
  const comment = el("input", { type: "text", name: "comment", maxlength: 500, "data-wide": "yes" });
  const label = select(CHOICES, { name: "label" });
  const refresh = () => list.replaceChildren(...book.of(row.key).map((one) => el("li", {}, el("b", {}, one.actor), ` ${clockTime(one.start_us / 1000)}: ${said(one)}${one.detail.comment ? `. ${one.detail.comment}` : ""}`)));
  const button = (verdict, text, key) => {
    const made = el("button", { type: "button", class: "do", "data-verdict": verdict, "aria-keyshortcuts": key, title: `Key ${key}` }, text);
    made.addEventListener("click", () => send(verdict, made));
    return made;
  };
  async function send(verdict, made) {
    const body = { patient: book.patient, event: eventOf(row.key), verdict, onset_us: Math.round(row.onsetMs * 1000) };
    if (stream !== null) body.stream = stream.stream;
    if (comment.value.trim() !== "") body.comment = comment.value.trim();
    if (verdict === "reclassified") body.label = label.value;
    const answer = await attempt(say, made, () => tell("review", body), "Kept, with your name.");
    if (answer === null) return;
    comment.value = "";
    book.readAt = -Infinity;
    book.count = -1;
    await book.read();
    refresh();
    again();
  }
  const form = el(
    "form",
    { class: "review-form", "aria-label": "Review" },
    list,
    el("div", { class: "row" }, button("confirmed", "Confirm", "y"), button("rejected", "Not so", "n"), field("It is", label), button("reclassified", "Reclassify", "r"), field("Comment", comment), button("comment", "Comment only", "m")),
    say,
    el("p", { class: "was" }, "Keys: Y confirms, N rejects, ← earlier, → later, Esc closes."),
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  form.key = (key) => {
    const verdict = { y: "confirmed", n: "rejected" }[key];
    if (verdict === undefined) return false;
    form.querySelector(`[data-verdict="${verdict}"]`).click();
    return true;
  };
  form.next = step;
  refresh();
  put(say, "");
  return form;
}
