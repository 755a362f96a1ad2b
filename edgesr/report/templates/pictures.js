"use strict";
// Pictures, error maps and spectra of the test window, for the bands and the pixel of the reader.
(function () {
  const packed = edgesr.data.pictures;
  if (!packed) return;
  const { bands, height, width, levels, wavelengths, names, origin } = packed;
  const pixels = height * width;
  const all = Array.from({ length: bands }, (_, b) => b);
  const find = (id) => document.getElementById(id);
  const state = { view: "colour", band: 0, rgb: [0, 0, 0], row: height >> 1, column: width >> 1 };
  let images, truth, whole;

  if (typeof DecompressionStream === "undefined") {
    find("pictures-note").textContent = "This browser is too old to unpack the pictures.";
    return;
  }
  edgesr.unpack(packed).then((unpacked) => {
    images = unpacked;
    truth = images[names[0]];
    whole = overview(all);
    choose();
    wire();
    draw();
    spectra();
    find("pictures").dataset.ready = "yes";
  });
  edgesr.onTheme.push(() => images && spectra());

  function overview(chosen) {
    const maps = {}, psnr = {};
    for (const name of names.slice(1)) {
      maps[name] = edgesr.errorMap(images[name], truth, chosen, pixels, levels);
      psnr[name] = edgesr.psnr(images[name], truth, chosen, pixels, levels);
    }
    const limit = Math.max(...Object.values(maps).map((m) => edgesr.quantile(m, 0.99)), 1e-6);
    return { maps, psnr, limit };
  }

  function choose() {
    const near = (nm) => all.reduce((a, b) =>
      Math.abs(wavelengths[b] - nm) < Math.abs(wavelengths[a] - nm) ? b : a);
    const known = wavelengths && Math.min(...wavelengths) < 560 && Math.max(...wavelengths) > 620;
    state.rgb = known ? [near(640), near(550), near(460)]
      : [0.75, 0.5, 0.25].map((share) => Math.floor(share * (bands - 1)));
    state.band = state.rgb[0];
  }

  function label(band) {
    return wavelengths ? `${wavelengths[band].toFixed(0)} nm` : `band ${band + 1}`;
  }

  function wire() {
    ["red", "green", "blue"].forEach((id, i) => {
      const select = find(id);
      for (const band of all) select.add(new Option(wavelengths ? `${label(band)} (${band + 1})`
        : label(band), band, false, band === state.rgb[i]));
      select.addEventListener("change", () => { state.rgb[i] = Number(select.value); draw(); });
    });
    const slider = find("band");
    slider.max = bands;
    slider.value = state.band + 1;
    slider.addEventListener("input", () => { state.band = slider.value - 1; draw(); });
    for (const radio of document.querySelectorAll("input[name=view]")) {
      radio.addEventListener("change", () => { state.view = radio.value; draw(); });
    }
    for (const [id, key, first, length] of [["row", "row", origin[0], height],
      ["column", "column", origin[1], width]]) {
      const box = find(id);
      box.min = first;
      box.max = first + length - 1;
      box.addEventListener("change", () => {
        const wish = Math.round(Number(box.value)) - first;
        state[key] = Math.min(length - 1, Math.max(0, wish || 0));
        spectra();
      });
    }
    if (find("units")) find("units").addEventListener("change", spectra);
    const grid = find("grid");
    grid.addEventListener("click", (event) => {
      if (event.target.tagName !== "CANVAS") return;
      const box = event.target.getBoundingClientRect();
      state.column = Math.min(width - 1, Math.floor((event.clientX - box.left) / box.width * width));
      state.row = Math.min(height - 1, Math.floor((event.clientY - box.top) / box.height * height));
      spectra();
    });
    grid.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (!step[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const far = event.shiftKey ? 10 : 1;
      state.row = Math.min(height - 1, Math.max(0, state.row + far * step[event.key][0]));
      state.column = Math.min(width - 1, Math.max(0, state.column + far * step[event.key][1]));
      spectra();
    });
  }

  // Pictures ------------------------------------------------------------------------------------

  function draw() {
    const colour = state.view === "colour";
    const shown = colour ? state.rgb : [state.band, state.band, state.band];
    const stretch = new Map(shown.map((band) => {
      const values = truth.subarray(band * pixels, (band + 1) * pixels);
      return [band, [edgesr.quantile(values, 0.02), edgesr.quantile(values, 0.98)]];
    }));
    const measured = colour ? whole : overview([state.band]);
    find("composite").hidden = !colour;
    find("single").hidden = colour;
    find("band-label").textContent = wavelengths
      ? `${label(state.band)}, band ${state.band + 1} of ${bands}` : `${state.band + 1} of ${bands}`;
    find("band").setAttribute("aria-valuetext", find("band-label").textContent);
    for (const figure of document.querySelectorAll("#grid figure")) {
      const name = figure.dataset.name;
      paint(figure.querySelector(".picture canvas"), (i, out, at) => {
        shown.forEach((band, channel) => {
          const [low, high] = stretch.get(band);
          out[at + channel] = 255 * (images[name][band * pixels + i] - low) / Math.max(high - low, 1);
        });
      });
      if (name === names[0]) continue;
      const map = measured.maps[name];
      paint(figure.querySelector(".error canvas"), (i, out, at) =>
        out.set(heat(map[i] / measured.limit), at));
      const psnr = measured.psnr[name];
      figure.querySelector(".psnr").textContent =
        Number.isFinite(psnr) ? `${psnr.toFixed(2)} dB` : "identical";
    }
    find("limit").textContent = measured.limit.toFixed(3);
    find("error-what").textContent = colour
      ? `mean of ${bands} bands` : label(state.band);
  }

  function paint(canvas, colour) {
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    image.data.fill(255);
    for (let i = 0; i < pixels; i++) colour(i, image.data, 4 * i);
    context.putImageData(image, 0, 0);
  }

  const stops = edgesr.data.map.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));

  function heat(share) {
    const place = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1);
    const below = stops[Math.floor(place)], above = stops[Math.floor(place) + 1];
    return below.map((value, i) => value + (above[i] - value) * (place % 1));
  }

  // Spectra -------------------------------------------------------------------------------------

  function spectrum(name, native) {
    const { lower, upper } = edgesr.data.normalisation;
    const bound = (list, b) => list.length === 1 ? list[0] : list[b];
    return all.map((b) => {
      const value = images[name][b * pixels + state.row * width + state.column] / levels;
      return native ? bound(lower, b) + value * (bound(upper, b) - bound(lower, b)) : value;
    });
  }

  /** Breaks a line where bands are missing: where the step is far larger than usual. */
  function broken(values) {
    if (!wavelengths) return { x: all.map((b) => b + 1), y: values };
    const steps = wavelengths.slice(1).map((w, i) => w - wavelengths[i]);
    const usual = edgesr.quantile(steps, 0.5);
    const x = [], y = [];
    values.forEach((value, b) => {
      if (b && Math.abs(steps[b - 1]) > 3 * Math.abs(usual)) {
        x.push(wavelengths[b]);
        y.push(null);
      }
      x.push(wavelengths[b]);
      y.push(value);
    });
    return { x, y };
  }

  function spectra() {
    const theme = edgesr.data.themes[edgesr.theme()];
    const native = Boolean(find("units")) && find("units").value === "native";
    const dashes = ["solid", "dot", "dash", "solid", "dashdot"];
    const traces = names.map((name, i) => ({
      ...broken(spectrum(name, native)), name: name.replace(/</g, "&lt;"), mode: "lines", type: "scatter",
      connectgaps: false, hovertemplate: "%{y:.4~g}",
      line: { color: theme.series[name] || theme.muted, width: i ? 1.8 : 3, dash: dashes[i % 5] },
    }));
    const axis = (title) => ({
      title: { text: title, font: { color: theme.muted, size: 13 }, standoff: 12 },
      gridcolor: theme.line, zeroline: false, automargin: true, fixedrange: true,
      tickfont: { color: theme.muted, size: 12.5 },
    });
    const frame = edgesr.data.charts.share[edgesr.theme()].layout;
    Plotly.react("spectra", traces, {
      font: frame.font, legend: frame.legend, hoverlabel: frame.hoverlabel, margin: frame.margin,
      paper_bgcolor: frame.paper_bgcolor, plot_bgcolor: frame.plot_bgcolor, showlegend: true,
      dragmode: false, hovermode: "x unified", height: 360, template: {}, ...edgesr.width(),
      xaxis: { ...axis(wavelengths ? "wavelength, nm" : "band"), hoverformat: wavelengths ? ".0f" : "d" },
      yaxis: axis(native ? "value, as in the file" : "normalised value"),
    }, edgesr.config);
    mark();
    tell();
  }

  function mark() {
    for (const cross of document.querySelectorAll("#grid .cross")) {
      cross.style.left = `${(100 * (state.column + 0.5)) / width}%`;
      cross.style.top = `${(100 * (state.row + 0.5)) / height}%`;
    }
  }

  function tell() {
    find("row").value = state.row + origin[0];
    find("column").value = state.column + origin[1];
    const reference = spectrum(names[0], false);
    for (const cell of document.querySelectorAll("#pixel-table [data-name]")) {
      const own = spectrum(cell.dataset.name, false);
      const squares = own.reduce((sum, v, b) => sum + (v - reference[b]) ** 2, 0);
      const angle = edgesr.angle(own, reference);
      cell.children[1].textContent = Number.isFinite(angle) ? angle.toFixed(2) : "–";
      cell.children[2].textContent = Math.sqrt(squares / bands).toFixed(4);
    }
    find("pixel-told").textContent =
      `Spectra at row ${state.row + origin[0]}, column ${state.column + origin[1]}`;
  }
})();
