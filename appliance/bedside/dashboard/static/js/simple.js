// What the patient's pages share: words, small DOM helpers, questions to the box. Text is set as text, never markup.

export const main = document.getElementById('main');
export const words = JSON.parse(main.dataset.words);

export function say(key, number = '') {
  return (words[key] || key).replace('{number}', number);
}

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'class') element.className = value;
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// The answer of one route; a box that is silent for `patienceMs` counts as gone.
export async function ask(path, body, patienceMs = 8000) {
  const csrf = document.querySelector('meta[name="bedside-csrf"]');
  const headers = { 'X-Bedside-My': '1' };
  if (csrf) headers['X-Bedside-CSRF'] = csrf.content;
  const options = { headers, signal: AbortSignal.timeout(patienceMs), credentials: 'same-origin' };
  if (body !== undefined) {
    options.method = 'POST';
    options.body = JSON.stringify(body);
    headers['Content-Type'] = 'application/json';
  }
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Refused(answer.error?.code || 'failed', answer.error?.message || 'failed');
  return answer;
}
