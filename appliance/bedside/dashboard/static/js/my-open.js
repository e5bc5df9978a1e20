// The code stands behind the `#`, so that no log and no preview has it; a button exchanges it.
const code = document.getElementById('code');
if (code) {
  code.value = window.location.hash.slice(1);
  window.history.replaceState(null, '', window.location.pathname);
  document.getElementById('enter').disabled = !code.value;
  document.getElementById('no-code').hidden = Boolean(code.value);
}
