// Runs before the first paint: a stored choice of day or night wins over the system's.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("bedside-theme");
  } catch {
    chosen = null; // storage may be refused; the system's choice then holds
  }
  if (chosen === "day" || chosen === "night") document.documentElement.dataset.theme = chosen;
})();
