// NEWS2 on the patient's page: what it is, of how many inputs, and the form for what only a nurse can see.
import { ask, tell } from "./api.js";
import { el, put, show } from "./format.js";
import { attempt, field, select, told } from "./sheet.js";

const EVERY_MS = 10000;
const YES_NO = [["", "as it was"], ["yes", "yes"], ["no", "no"]];

export class ScoreCard {
  constructor(patient) {
    this.patient = patient;
    this.askedAt = -Infinity;
    this.total = el("p", { class: "score-total" });
    this.list = el("ul", { class: "score" });
    this.say = told();
    this.oxygen = select(YES_NO);
    this.alert = select(YES_NO);
    this.scale = select([["", "as it was"], ["1", "1 (usual)"], ["2", "2 (hypercapnic)"]]);
    const number = (least, most, step) => el("input", { type: "number", inputmode: "decimal", min: least, max: most, step });
    this.temperature = number(25, 45, 0.1);
    this.pressure = number(40, 300, 1);
    const send = el("button", { type: "submit", class: "do main" }, "Enter");
    this.form = el("form", { class: "observe" }, el("div", { class: "row" }, field("Oxygen given", this.oxygen), field("Alert", this.alert), field("SpO₂ scale", this.scale), field("Temperature", this.temperature, "°C"), field("Systolic", this.pressure, "mmHg"), send));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(send);
    });
    this.element = el("section", { class: "news card", "aria-label": "Early warning score" }, el("h2", {}, "NEWS2"), this.total, this.list, el("details", {}, el("summary", {}, "Enter what you see at the bed"), this.form, this.say));
  }

  async update() {
    const now = performance.now();
    if (now - this.askedAt < EVERY_MS || document.hidden) return;
    this.askedAt = now;
    try {
      this.show(await ask("early-warning", { patient: this.patient }));
    } catch {
      put(this.total, "The score cannot be read now.");
      this.list.replaceChildren();
    }
  }

  show(score) {
    put(this.total, score.told.replace(/^./, (letter) => letter.toUpperCase()));
    const signature = JSON.stringify(score.inputs);
    if (this.list.dataset.signature === signature) return;
    this.list.dataset.signature = signature;
    this.list.replaceChildren(...score.inputs.map((one) => el("li", { class: one.points === null ? "missing" : one.points === 3 ? "three" : "" }, el("b", {}, one.points === null ? "–" : String(one.points)), one.label)));
    show(this.element, true);
  }

  async send(button) {
    const body = { patient: this.patient };
    if (this.oxygen.value) body.oxygen = this.oxygen.value === "yes";
    if (this.alert.value) body.alert = this.alert.value === "yes";
    if (this.scale.value) body.spo2_scale = Number(this.scale.value);
    if (this.temperature.value !== "") body.MDC_TEMP_BODY = Number(this.temperature.value);
    if (this.pressure.value !== "") body.MDC_PRESS_BLD_NONINV_SYS = Number(this.pressure.value);
    const answer = await attempt(this.say, button, () => tell("observe", body), "Entered, with your name.");
    if (answer !== null && answer.inputs) this.show(answer);
    if (answer !== null) this.form.reset();
  }
}
