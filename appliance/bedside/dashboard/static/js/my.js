// Her page: what the box says of her, drawn; and its own timer, which says so when the box is not heard.

import { ask, say } from './simple.js';

const SILENT_MS = 5000; // the box speaks at least once a second
const SWEEP_S = 6;
const me = document.getElementById('me');
const text = document.getElementById('me-text');
const more = document.getElementById('me-more');
const pictures = document.getElementById('me-pictures');
const unwell = document.getElementById('unwell');
const call = document.getElementById('call');
const speak = document.getElementById('speak');
const canvas = document.getElementById('beat');
const mark = document.getElementById('mark');
const MORE = { lost: 'lost_how', off: 'lost_how' };

let heardMs = 0;
let state = 'away';
let calledBefore = false;
let pressing = false;

function show(next, batteryLow) {
  state = next;
  me.dataset.state = next;
  const words = say(next);
  if (text.textContent !== words) text.textContent = words;
  more.textContent = MORE[next] ? say(MORE[next]) : batteryLow ? say('battery_low') : '';
  pictures.hidden = !MORE[next];
}

function showCall(now) {
  if (pressing) return;
  if (now === 'called') {
    calledBefore = true;
    tell('called', true);
  } else if (calledBefore) {
    calledBefore = false;
    tell('seen', false); // it is no open alarm any more: somebody of the team has acknowledged it
  }
}

function tell(word, sent, failed = false) {
  call.hidden = false;
  call.className = failed ? 'call failed' : 'call';
  if (call.textContent !== say(word)) call.textContent = say(word);
  unwell.classList.toggle('sent', sent);
}

unwell.addEventListener('click', async () => {
  if (pressing) return;
  pressing = true;
  tell('calling', true);
  try {
    await ask('/my/api/call', {});
    calledBefore = true;
    tell('called', true);
  } catch (error) {
    tell('call_failed', false, true);
  } finally {
    pressing = false;
  }
});

// ---------------------------------------------------------------- the heartbeat

const pen = canvas.getContext('2d');
let stream = null;
let column = 0; // where the next sample is drawn, in samples of the sweep
let last = null;
let middle = 0;
let spread = 0.5;
let height = 0.5;
let colour = '';

function ink() {
  const scale = Math.min(window.devicePixelRatio || 1, 2);
  const wide = Math.round(canvas.clientWidth * scale);
  const high = Math.round(canvas.clientHeight * scale);
  if (wide && (canvas.width !== wide || canvas.height !== high)) {
    canvas.width = wide;
    canvas.height = high;
    last = null;
  }
  if (!colour) colour = window.getComputedStyle(document.documentElement).getPropertyValue('--ecg').trim();
  pen.strokeStyle = colour;
  pen.lineWidth = 2.5 * scale;
  pen.lineJoin = 'round';
}

function draw(wave) {
  if (stream === null) stream = wave.stream;
  if (wave.stream !== stream) return; // one lead is enough for a heart to be seen
  const bytes = Uint8Array.from(atob(wave.data), (c) => c.charCodeAt(0));
  const counts = new DataView(bytes.buffer);
  ink();
  const perSweep = SWEEP_S * wave.rate_hz;
  const step = canvas.width / perSweep;
  pen.clearRect(column * step, 0, (bytes.length / 2 + 0.25 * wave.rate_hz) * step, canvas.height);
  pen.beginPath();
  for (let at = 0; at < bytes.length; at += 2) {
    const count = counts.getInt16(at, true);
    if (count === -32768) {
      last = null;
    } else {
      const value = count * wave.unit_per_count;
      middle += 0.002 * (value - middle);
      spread = Math.max(spread * 0.9995, Math.abs(value - middle), 0.2);
      height += 0.01 * (spread - height);
      if (value - middle > 0.6 * spread) beat();
      const y = canvas.height * (0.55 - 0.4 * (value - middle) / Math.max(height, 0.2));
      if (last === null) pen.moveTo(column * step, y);
      else {
        pen.moveTo(last[0], last[1]);
        pen.lineTo(column * step, y);
      }
      last = [column * step, y];
    }
    column += 1;
    if (column >= perSweep) {
      column = 0;
      last = null;
    }
  }
  pen.stroke();
}

function beat() {
  if (mark.classList.contains('beats')) return;
  mark.classList.add('beats');
  setTimeout(() => mark.classList.remove('beats'), 220);
}

// ---------------------------------------------------------------- what the box says

function listen() {
  const events = new EventSource('/my/api/stream');
  events.addEventListener('me', (event) => {
    const said = JSON.parse(event.data);
    if (said.state !== 'away') heardMs = performance.now();
    show(said.state, said.battery_low);
    if (said.call !== undefined) showCall(said.call);
  });
  events.addEventListener('wave', (event) => {
    if (state === 'watched' || state === 'poor') for (const wave of JSON.parse(event.data)) draw(wave);
  });
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

setInterval(() => {
  if (performance.now() - heardMs > SILENT_MS) show('away', false);
}, 500);

if (window.speechSynthesis) {
  const offer = () => {
    const tongue = document.getElementById('main').lang;
    const voice = window.speechSynthesis.getVoices().find((one) => one.lang.startsWith(tongue) && one.localService);
    speak.hidden = !voice; // never a voice that speaks through somebody's server
    speak.onclick = () => {
      const said = new SpeechSynthesisUtterance(`${text.textContent} ${more.textContent} ${call.hidden ? '' : call.textContent}`);
      said.voice = voice;
      said.lang = voice.lang;
      window.speechSynthesis.cancel();
      window.speechSynthesis.speak(said);
    };
  };
  window.speechSynthesis.addEventListener('voiceschanged', offer);
  offer();
}
heardMs = performance.now();
listen();
