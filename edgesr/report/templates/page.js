"use strict";
// Draws the charts in the reader's theme, again when it changes, and in light for paper.
(function () {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const toggle = document.getElementById("theme");
  const PAPER = 680;
  let printing = false;

  edgesr.theme = function () {
    if (printing) return "light";
    return root.dataset.theme || (dark.matches ? "dark" : "light");
  };

  /** Width of the charts: as the screen has it, or what fits A4 and Letter between the margins. */
  edgesr.width = function () {
    return printing ? { autosize: false, width: PAPER } : { autosize: true };
  };

  function remembered(value) {
    try {
      if (value !== undefined) localStorage.setItem("edgesr-theme", value);
      return localStorage.getItem("edgesr-theme");
    } catch (_) {
      return null; // a browser may deny storage to files
    }
  }

  function paint() {
    for (const [id, themes] of Object.entries(edgesr.data.charts)) {
      const place = document.getElementById(id);
      if (!place) continue; // its section is not shown
      const { data, layout } = themes[edgesr.theme()];
      const narrow = !printing && place.clientWidth < 600;
      const traces = data.map((trace) => narrow && trace.meta === "crowded"
        ? { ...trace, mode: "markers" } : trace);
      Plotly.react(place, traces, { ...layout, ...edgesr.width() }, edgesr.config);
    }
    edgesr.onTheme.forEach((redraw) => redraw());
  }

  function refresh() {
    const next = edgesr.theme() === "dark" ? "light" : "dark";
    toggle.setAttribute("aria-label", `Switch to the ${next} theme`);
    toggle.firstElementChild.textContent = next === "dark" ? "Dark" : "Light";
    paint();
  }

  function paper(on) {
    if (printing === on) return;
    printing = on;
    paint();
  }

  const kept = remembered();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    root.dataset.theme = edgesr.theme() === "dark" ? "light" : "dark";
    remembered(root.dataset.theme);
    refresh();
  });
  dark.addEventListener("change", refresh);
  window.addEventListener("beforeprint", () => paper(true));
  window.addEventListener("afterprint", () => paper(false));
  refresh();
  root.dataset.ready = "yes";
})();
