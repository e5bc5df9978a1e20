// The one event stream of a browser: opened, reopened, decoded. Used by the shared worker, or by a page where
// the browser has no shared workers. Knows no document.

const STREAM_URL = "/api/v1/stream";
const RETRY_MS = [500, 1000, 2000, 4000];
const SILENT_MS = 7000; // the dashboard itself speaks every 2 s; after this the connection is dead
const MISSING = -32768;

function samplesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  const samples = new Int16Array(bytes.length >> 1);
  for (let i = 0; i < samples.length; i += 1) samples[i] = view.getInt16(2 * i, true);
  return samples;
}

function waveOf(wave) {
  const counts = samplesOf(wave.data);
  const values = new Float32Array(counts.length);
  for (let i = 0; i < counts.length; i += 1) {
    values[i] = counts[i] === MISSING ? NaN : counts[i] * wave.unit_per_count;
  }
  return {
    stream: wave.stream,
    patient: wave.patient,
    kind: wave.kind,
    rateHz: wave.rate_hz,
    firstIndex: wave.first_index,
    startMs: wave.start_us / 1000,
    values,
  };
}

export class StreamSource {
  // `tell(message)` gets {type: "batch" | "state" | "lost" | "signed-out" | "full", ...}.
  constructor(tell) {
    this.tell = tell;
    this.lastId = "";
    this.failures = 0;
    this.heardMs = performance.now();
    this.source = null;
    this.timer = setInterval(() => this.watch(), 1000);
    this.open();
  }

  open() {
    const after = this.lastId ? `?after=${encodeURIComponent(this.lastId)}` : "";
    this.heardMs = performance.now();
    const source = new EventSource(STREAM_URL + after);
    this.source = source;
    source.addEventListener("batch", (event) => this.batch(event));
    source.addEventListener("state", (event) => this.state(event));
    source.onopen = () => {
      this.failures = 0;
    };
    source.onerror = () => {
      this.tell({ type: "lost" });
      if (source.readyState === EventSource.CLOSED) this.refused(source);
    };
  }

  batch(event) {
    this.heardMs = performance.now();
    this.lastId = event.lastEventId;
    const batch = JSON.parse(event.data);
    this.tell({
      type: "batch",
      sequence: batch.sequence,
      timeMs: batch.time_us / 1000,
      waves: batch.waves.map(waveOf),
      ward: batch.ward ?? null,
    });
  }

  state(event) {
    this.heardMs = performance.now();
    const state = JSON.parse(event.data);
    this.tell({ type: "state", answering: state.answering, sinceMs: state.since_us / 1000, text: state.text });
  }

  // The server answered, but with no stream: signed out, or too many screens. Ask why, then try again.
  async refused(source) {
    if (source !== this.source) return;
    this.source = null;
    try {
      const answer = await fetch("/api/v1/session", { credentials: "same-origin", cache: "no-store" });
      if (answer.status === 401) this.tell({ type: "signed-out" });
      else if (answer.ok) this.tell({ type: "full" });
    } catch {
      // the dashboard is away: the retry below finds it again
    }
    this.again();
  }

  again() {
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    setTimeout(() => {
      if (this.source === null) this.open();
    }, wait);
  }

  // A connection that says nothing (a sleeping network) never errs by itself.
  watch() {
    if (this.source === null || performance.now() - this.heardMs < SILENT_MS) return;
    this.source.close();
    this.source = null;
    this.tell({ type: "lost" });
    this.again();
  }
}
