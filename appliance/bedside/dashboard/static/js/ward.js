// The ward page: all patients, the most urgent first.
import { el, put, show, timerText } from "./format.js";
import { Live } from "./live.js";
import { Frame } from "./page.js";
import { Tile, urgency } from "./tile.js";

const byId = (id) => document.getElementById(id);
const RESORT_MS = 3000; // a tile must not jump away under a pointer at each change
const stage = byId("main");
const tiles = new Map();
const live = new Live();
const frame = new Frame(live, "Ward · Bedside");
let sorted = kept("bedside-sort", "urgency") === "urgency";
let scriptShown = kept("bedside-script", "shown") === "shown";
let sortedAt = -Infinity;

function kept(key, fallback) {
  try {
    return localStorage.getItem(key) ?? fallback;
  } catch {
    return fallback;
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // storage refused: the choice lasts for this page
  }
}

live.onWard = (ward) => {
  frame.update(ward);
  for (const patient of ward.patients) {
    let tile = tiles.get(patient.id);
    if (tile === undefined) {
      tile = new Tile(patient.id);
      tiles.set(patient.id, tile);
      stage.append(tile.element);
      layOut();
    }
    tile.update(patient, live);
  }
  const known = new Set(ward.patients.map((patient) => patient.id));
  for (const [id, tile] of tiles) {
    if (known.has(id)) continue;
    tile.close();
    tiles.delete(id);
    layOut();
  }
  show(byId("empty"), ward.patients.length === 0);
  put(byId("empty"), "No patient is monitored yet. Pair a wearable, or start the demonstration with make run.");
  order(ward.patients);
  showScript(ward);
};

function order(patients) {
  const now = performance.now();
  if (now - sortedAt < RESORT_MS) return;
  const byBed = (a, b) => a.bed.localeCompare(b.bed, undefined, { numeric: true });
  const wanted = [...patients].sort(sorted ? (a, b) => urgency(b) - urgency(a) || byBed(a, b) : byBed);
  const elements = wanted.map((patient) => tiles.get(patient.id).element);
  const shown = [...stage.querySelectorAll(":scope > .tile")];
  if (shown.every((element, place) => element === elements[place])) return;
  sortedAt = now;
  const focused = document.activeElement;
  for (const element of elements) stage.append(element);
  if (focused !== document.activeElement && stage.contains(focused)) focused.focus({ preventScroll: true });
  layOut();
}

// As many columns as make the tiles biggest at a readable shape; below a least size the page scrolls.
function layOut() {
  const count = tiles.size;
  const box = stage.getBoundingClientRect();
  const room = Math.max(window.innerHeight - box.top - 12, 200);
  const gap = 8;
  const shapes = box.width < 700 ? [] : [{ width: 300, height: 168 }, { width: 225, height: 108 }];
  for (const least of shapes) {
    const best = bestColumns(count, box.width, room, gap, least);
    if (best === null) continue;
    stage.style.setProperty("--columns", String(best.columns));
    stage.style.setProperty("--row", `${Math.floor(Math.min(best.height, 620))}px`);
    return;
  }
  stage.style.setProperty("--columns", String(Math.max(1, Math.floor(box.width / 330))));
  stage.style.setProperty("--row", "212px");
}

function bestColumns(count, width, room, gap, least) {
  let best = null;
  for (let columns = 1; columns <= Math.max(count, 1); columns += 1) {
    const rows = Math.max(Math.ceil(count / columns), 1);
    const tileWidth = (width - gap * (columns - 1)) / columns;
    const height = (room - gap * (rows - 1)) / rows;
    if (tileWidth < least.width && columns > 1) break;
    if (height < least.height) continue;
    const score = Math.min(tileWidth / 2.1, height) - 0.01 * (rows * columns - count);
    if (best === null || score > best.score) best = { columns, height, score };
  }
  return best;
}

function showScript(ward) {
  const panel = byId("script");
  const any = ward.demonstration && ward.script.length > 0;
  show(byId("script-toggle"), any);
  const visible = any && scriptShown;
  if (panel.hidden === visible) {
    show(panel, visible);
    layOut();
  }
  if (!visible) return;
  const elapsed = (live.newestBoxMs - ward.started_us / 1000) / 1000;
  const beds = new Map(ward.patients.map((patient) => [patient.id, patient.bed]));
  if (panel.childElementCount === 0) {
    panel.append(
      el("h2", {}, "Demonstration"),
      el("p", { class: "script-lead" }, "Virtual wearables play this timetable. Simulated patients say so; one replays a recording."),
      el("p", { class: "script-clock" }, el("b", {}), el("span", {}, " since the start")),
      el("ol", {}),
    );
  }
  put(panel.querySelector(".script-clock b"), timerText(elapsed));
  const list = panel.querySelector("ol");
  while (list.childElementCount > ward.script.length) list.lastChild.remove();
  const next = ward.script.findIndex((step) => !step.done);
  ward.script.forEach((step, place) => {
    if (list.childElementCount <= place) {
      list.append(el("li", {}, el("span", { class: "script-mark", "aria-hidden": "true" }), el("time", {}), el("span", { class: "script-text" }), el("span", { class: "script-bed" })));
    }
    const [, time, text, bed] = list.children[place].children;
    list.children[place].className = step.done ? "done" : place === next ? "next" : "";
    put(time, timerText(step.at_s));
    put(text, step.text);
    put(bed, [beds.get(step.patient) ?? "", place === next && step.at_s > elapsed ? `in ${Math.ceil(step.at_s - elapsed)} s` : step.done ? "done" : ""].filter(Boolean).join(" · "));
  });
}

function drawAll(now) {
  for (const tile of tiles.values()) tile.draw(live, now);
  requestAnimationFrame(drawAll);
}

function restyle() {
  for (const tile of tiles.values()) for (const wave of tile.waves) wave.trace?.restyle();
}

const sortToggle = byId("sort-toggle");
function showSort() {
  sortToggle.setAttribute("aria-pressed", String(sorted));
  put(sortToggle, sorted ? "Sorted: most urgent first" : "Sorted: by bed");
}
sortToggle.addEventListener("click", () => {
  sorted = !sorted;
  keep("bedside-sort", sorted ? "urgency" : "bed");
  sortedAt = -Infinity;
  showSort();
  if (live.ward !== null) order(live.ward.patients);
});
byId("script-toggle").addEventListener("click", () => {
  scriptShown = !scriptShown;
  keep("bedside-script", scriptShown ? "shown" : "hidden");
  put(byId("script-toggle"), scriptShown ? "Hide the timetable" : "Show the timetable");
  if (live.ward !== null) showScript(live.ward);
});
showSort();
put(byId("script-toggle"), scriptShown ? "Hide the timetable" : "Show the timetable");
addEventListener("resize", layOut);
new ResizeObserver(layOut).observe(byId("notice")); // it takes room from the tiles while it shows
addEventListener("bedside-restyle", restyle);
live.start();
requestAnimationFrame(drawAll);
