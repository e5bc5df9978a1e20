// Questions to the JSON API. An error carries the sentence that the box gave.

const csrf = () => document.querySelector('meta[name="bedside-csrf"]')?.content ?? "";

async function answered(response) {
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  const error = new Error(body?.error?.message ?? `The box answered with error ${response.status}`);
  error.status = response.status;
  throw error;
}

export async function ask(path, query = {}) {
  const search = new URLSearchParams(query).toString();
  const url = `/api/v1/${path}${search ? `?${search}` : ""}`;
  return answered(await fetch(url, { credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(8000) }));
}

export async function tell(path, body, patienceMs = 8000) {
  return answered(
    await fetch(`/api/v1/${path}`, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "X-Bedside-CSRF": csrf() },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(patienceMs),
    }),
  );
}
