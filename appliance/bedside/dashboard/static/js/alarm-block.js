// One alarm as a filled block: colour, stars, shape, words and time; it flashes by the style sheet.
import { tell } from "./api.js";
import { el, icon, PRIORITY_STARS, put, show, timerText } from "./format.js";

// A triangle, a diamond, a disc: told apart without any colour.
const SHAPES = {
  high: "M10 1.500L19.500 18.500H.5z",
  medium: "M10 .8L19.200 10 10 19.200 .8 10z",
  low: "M10 1.500a8.500 8.500 0 1 0 0 17 8.500 8.500 0 0 0 0-17z",
};

export function alarmBlock({ acknowledge = true, extra = null } = {}) {
  const shape = el("span", { class: "alarm-shape" });
  const stars = el("b", { class: "alarm-stars" });
  const text = el("span", { class: "alarm-text" });
  const more = el("span", { class: "alarm-more", hidden: true });
  const time = el("span", { class: "alarm-time" });
  const button = el("button", { type: "button", class: "alarm-ack", hidden: true }, el("span", {}, "Acknowledge"), icon("M3.500 10.500l4.500 4.500 8.500-10"));
  const element = el("div", { class: "alarm" }, shape, stars, text, more, time, acknowledge ? button : null, extra);
  let shown = null;
  button.addEventListener("click", () => send(button, shown));

  function update(alarm, others, boxMs) {
    const style = `${alarm.priority} ${alarm.alarm_class} ${alarm.state}`;
    if (element.dataset.style !== style) {
      element.dataset.style = style;
      element.className = `alarm ${style}`;
      shape.replaceChildren(icon(SHAPES[alarm.priority] ?? SHAPES.low));
      put(stars, PRIORITY_STARS[alarm.priority] ?? "");
      requestAnimationFrame(() => {
        for (const flash of element.getAnimations()) flash.startTime = 0; // all blocks flash together
      });
    }
    shown = alarm;
    put(text, alarm.state === "latched" ? `Ended: ${alarm.text}` : alarm.text);
    element.title = alarm.text;
    put(more, `+${others}`);
    more.title = `${others} more`;
    show(more, others > 0);
    put(time, stateText(alarm, boxMs));
    show(button, alarm.state !== "acknowledged");
    button.setAttribute("aria-label", `Acknowledge: ${alarm.text}`);
  }
  return { element, update, button };
}

export function stateText(alarm, boxMs) {
  const since = timerText((boxMs - alarm.raised_us / 1000) / 1000);
  if (alarm.state === "acknowledged") return `seen by ${alarm.by ?? "someone"} · ${since}`;
  if (alarm.state === "latched") return `not seen yet · ${since}`;
  return since;
}

async function send(button, alarm) {
  if (alarm === null || button.disabled) return;
  button.disabled = true;
  try {
    await tell("acknowledge", { alarm: alarm.alarm });
    button.title = "";
  } catch (error) {
    dispatchEvent(new CustomEvent("bedside-failed", { detail: `Not acknowledged: ${error.message}` }));
  } finally {
    button.disabled = false;
  }
}
