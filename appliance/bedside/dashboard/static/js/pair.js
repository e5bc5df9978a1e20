// Pairing: what is near, one attempt with its questions, and what is hers already. The box decides; this page shows.

import { ask, main, make, Refused, say } from './simple.js';

const api = main.dataset.api;
const staff = main.dataset.staff;
const near = document.getElementById('near');
const listening = document.getElementById('listening');
const place = document.getElementById('attempt');
const choose = document.getElementById('choose');
const guide = document.getElementById('guide');
const mine = document.getElementById('mine');
const mistyped = document.getElementById('mistyped');
const field = document.getElementById('label');
const spaced = (label) => `${label.slice(0, 3)} ${label.slice(3)}`;

let attempt = null; // the id of the one that is shown
let shown = ''; // what stands in `place`: drawn anew only when it changed, so that nobody's typing is lost
let busy = false;

function replace(element, key, ...children) {
  if (shown === key) return;
  shown = key;
  element.replaceChildren(...children);
  const first = element.querySelector('input, button');
  if (first) first.focus({ preventScroll: false });
}

async function look() {
  try {
    const found = await ask(`${api}heard`);
    listening.textContent = say(found.length ? 'listening' : 'none_heard');
    const key = JSON.stringify(found);
    if (near.dataset.key !== key) {
      near.dataset.key = key;
      near.replaceChildren(...found.map(choice));
    }
  } catch (error) {
    listening.textContent = say('failed');
  }
}

function choice(one) {
  const hints = [one.name, say(one.near ? 'near' : 'far')];
  if (one.taken) hints.push(say('taken'));
  const button = make('button', { type: 'button', class: 'choice', disabled: (one.taken && !staff) || one.mine },
    make('span', { class: 'kind', textContent: say(one.kind) }),
    make('span', { class: 'hint', textContent: hints.join(' · ') }),
    make('span', { class: 'tag', textContent: spaced(one.label), title: say('label') }));
  button.addEventListener('click', () => begin(one.label, false));
  return make('li', {}, button);
}

async function begin(label, typed) {
  if (busy) return;
  busy = true;
  mistyped.hidden = true;
  try {
    show(await ask(`${api}begin`, { label, typed }));
  } catch (error) {
    mistyped.textContent = error instanceof Refused && /mistyped|expected 6/.test(error.message) ? say('mistyped')
      : error instanceof Refused && staff ? error.message
        : error instanceof Refused && /somebody else/.test(error.message) ? say('taken') : say('failed');
    mistyped.hidden = false;
  } finally {
    busy = false;
  }
}

function show(view) {
  attempt = view.attempt;
  const over = ['paired', 'refused', 'undone'].includes(view.stage);
  place.hidden = false;
  choose.hidden = guide.hidden = true;
  if (view.stage === 'paired') showPaired(view);
  else if (view.stage === 'refused') {
    const why = staff && view.reason ? [make('p', { class: 'hint', textContent: view.reason })] : [];
    replace(place, 'refused', make('p', { textContent: say('failed') }), ...why, button('try_again', anew));
  } else if (view.stage === 'undone') replace(place, 'undone', make('p', { textContent: say('undone') }), button('another', anew));
  else if (view.question) showQuestion(view.question);
  else if (view.type_on_wearable) {
    replace(place, `type ${view.type_on_wearable}`, make('p', { textContent: say('ask_show', view.type_on_wearable) }));
  } else {
    const word = view.stage === 'proving' || view.stage === 'dropping' ? 'again' : 'working_on_it';
    replace(place, word, make('p', { class: 'working', textContent: say(word) }), button('undo', takeBack, 'quiet'));
  }
  if (!over || view.stage === 'paired') setTimeout(follow, view.stage === 'paired' ? 1500 : 400, view.attempt);
}

function showQuestion(question) {
  const key = `${question.ask} ${question.number}`;
  const number = question.ask === 'numbers' ? `${question.number.slice(0, 3)} ${question.number.slice(3)}` : question.number;
  const text = make('p', { textContent: say(`ask_${question.ask}`, number) });
  if (question.ask === 'passkey') {
    const digits = make('input', { inputMode: 'numeric', maxLength: 6, size: 7, ariaLabel: text.textContent });
    const form = make('form', { class: 'row' }, digits, make('button', { type: 'submit', textContent: say('go') }));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (/^\d{6}$/.test(digits.value)) answer(Number(digits.value));
    });
    replace(place, key, text, form, button('no', () => answer(false), 'quiet'));
    return;
  }
  replace(place, key, text, make('div', { class: 'row' }, button('yes', () => answer(true)), button('no', () => answer(false), 'quiet')));
}

// It is hers; "working" is said only when its data arrive.
async function showPaired(view) {
  const hers = await showMine();
  const one = hers.find((wearable) => wearable.wearable === view.wearable);
  const link = one?.link;
  const words = [say('yours')];
  if (link === 'up') words.push(say('works'));
  if (link === 'resting') words.push(say('rests'));
  const charge = one?.battery_pct ?? view.battery_pct;
  if (charge !== null && charge !== undefined) words.push(`${Math.round(charge)} % ${say('battery')}`);
  const sentence = link === 'up' || link === 'resting' ? words.join(', ') : `${words[0]}. ${say('not_yet')}`;
  replace(place, sentence, make('p', { class: link === 'up' ? 'done' : '', textContent: sentence }),
    make('div', { class: 'row' }, button('undo', takeBack, 'quiet'), button('another', anew, 'quiet')));
}

async function follow(id) {
  if (attempt !== id) return;
  try {
    const view = await ask(`${api}state?attempt=${encodeURIComponent(id)}`);
    if (attempt === id) show(view);
  } catch (error) {
    if (attempt === id) setTimeout(follow, 1500, id);
  }
}

async function answer(value) {
  try {
    const view = await ask(`${api}answer`, { attempt, answer: value });
    shown = '';
    show(view);
  } catch (error) {
    await follow(attempt);
  }
}

async function takeBack() {
  try {
    show(await ask(`${api}undo`, { attempt }));
    await showMine();
  } catch (error) {
    await follow(attempt);
  }
}

function anew() {
  attempt = null;
  shown = '';
  place.hidden = true;
  choose.hidden = guide.hidden = false;
  near.dataset.key = '';
  look();
}

function button(word, act, look = '') {
  const made = make('button', { type: 'button', class: look, textContent: say(word) });
  made.addEventListener('click', act);
  return made;
}

async function showMine() {
  try {
    const hers = await ask(`${api}mine`);
    const key = JSON.stringify(hers);
    if (mine.dataset.key !== key) {
      mine.dataset.key = key;
      mine.hidden = hers.length === 0;
      mine.replaceChildren(...hers.map(ofHers));
    }
    return hers;
  } catch (error) {
    return [];
  }
}

function ofHers(one) {
  const state = one.link === 'up' ? say('works') : one.link === 'resting' ? say('rests') : say('not_yet');
  const charge = one.battery_pct === null || one.battery_pct === undefined ? '' : ` · ${Math.round(one.battery_pct)} % ${say('battery')}`;
  const row = make('div', { class: `one ${one.link === 'up' ? 'up' : ''}` }, make('b', { textContent: one.name }),
    make('span', { textContent: `${staff && one.doubt ? one.doubt : state}${charge}` }));
  if (staff) {
    const away = button('undo', async () => {
      await ask(`${api}unpair`, { wearable: one.wearable });
      await showMine();
    }, 'quiet');
    away.setAttribute('aria-label', `${say('undo')}: ${one.name}`);
    row.append(away);
  }
  return row;
}

document.getElementById('typed').addEventListener('submit', (event) => {
  event.preventDefault();
  if (field.value.trim()) begin(field.value.trim(), true);
});

// A QR code: black on white whatever the page's colours are.
function drawn(code) {
  const svg = (tag, attributes) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const picture = svg('svg', { class: 'qr', viewBox: `0 0 ${code.side} ${code.side}`, role: 'img', 'aria-label': 'QR code', 'shape-rendering': 'crispEdges' });
  picture.append(svg('rect', { width: code.side, height: code.side, fill: '#fff' }), svg('path', { d: code.path, fill: '#000' }));
  return picture;
}

if (staff) {
  const shownCode = document.getElementById('code-place');
  document.getElementById('code').addEventListener('click', async () => {
    const code = await ask(`${api}code`, {});
    shownCode.replaceChildren(drawn(code), make('p', { textContent: code.link }));
  });
  document.getElementById('end').addEventListener('click', async () => {
    await ask(`${api}end`, {});
    shownCode.replaceChildren();
  });
}

// A label that a camera read stands behind the `#`.
const scanned = window.location.hash.slice(1);
if (scanned) {
  window.history.replaceState(null, '', window.location.pathname);
  field.value = scanned;
}
setInterval(() => { if (!choose.hidden) look(); }, 2000);
setInterval(showMine, 3000);
look();
showMine();
if (scanned) setTimeout(() => begin(scanned, true), 3500); // the box must have heard it first
