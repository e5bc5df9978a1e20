// One event stream for all tabs of a browser. A tab that joins late gets the last twelve seconds at once.
import { StreamSource } from "./stream-source.js";

const KEPT_BATCHES = 120;
const FORGET_MS = 150000; // hidden tabs run their timers once a minute
const ports = new Map(); // port -> when it was last heard of, ms
const kept = []; // the newest batches
let state = null; // the newest of what is no batch
let source = null;

function tell(message) {
  if (message.type === "batch") {
    kept.push(message);
    if (kept.length > KEPT_BATCHES) kept.shift();
    if (state !== null && state.type !== "state") state = null;
  } else {
    state = message;
  }
  for (const port of ports.keys()) port.postMessage(message);
}

function heard(port, message) {
  if (message === "bye") {
    ports.delete(port);
    return;
  }
  if (message === "hello") {
    if (source === null) source = new StreamSource(tell);
    for (const batch of kept) port.postMessage(batch);
    if (state !== null) port.postMessage(state);
  }
  ports.set(port, performance.now());
}

self.addEventListener("connect", (event) => {
  const port = event.ports[0];
  port.onmessage = (incoming) => heard(port, incoming.data);
});

setInterval(() => {
  const now = performance.now();
  for (const [port, at] of ports) if (now - at > FORGET_MS) ports.delete(port);
}, 10000);
