// Runs before the first paint: names day or night. A stored choice wins over the system's.
"use strict";
(() => {
  const light = matchMedia("(prefers-color-scheme: light)");
  function chosen() {
    try {
      const kept = localStorage.getItem("bedside-theme");
      return kept === "day" || kept === "night" ? kept : null;
    } catch {
      return null; // storage may be refused; the system's choice then holds
    }
  }
  function apply() {
    document.documentElement.dataset.theme = chosen() ?? (light.matches ? "day" : "night");
  }
  light.addEventListener("change", () => {
    apply();
    dispatchEvent(new Event("bedside-restyle"));
  });
  apply();
})();
