// A page's end of the event stream: through the shared worker, else straight.
import { StreamSource } from "./stream-source.js";

const WORKER_URL = "/static/js/stream-worker.js";

function scriptUrl(url) {
  if (!window.trustedTypes) return url;
  return window.trustedTypes.createPolicy("bedside", { createScriptURL: (asked) => (asked === WORKER_URL ? asked : "") }).createScriptURL(url);
}

export function follow(tell) {
  if (typeof SharedWorker === "undefined") return void new StreamSource(tell);
  let heard = false;
  const hear = (event) => {
    heard = true;
    tell(event.data);
  };
  const worker = new SharedWorker(scriptUrl(WORKER_URL), { type: "module", name: "bedside-stream" });
  const fallBack = () => {
    if (heard) return;
    heard = true;
    new StreamSource(tell);
  };
  worker.onerror = fallBack; // an old browser without module workers
  worker.port.onmessage = hear;
  worker.port.postMessage("hello");
  setInterval(() => worker.port.postMessage("here"), 10000);
  addEventListener("pagehide", () => worker.port.postMessage("bye"));
  addEventListener("pageshow", (event) => {
    if (event.persisted) worker.port.postMessage("hello");
  });
  return undefined;
}
