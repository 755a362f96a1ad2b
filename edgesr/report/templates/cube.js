"use strict";
// Rebuilds the pictures that the page carries, and measures them; touches no part of the page.
var edgesr = {};

edgesr.data = JSON.parse(document.getElementById("data").textContent);

/** Pictures by name, Uint16Array [B * H * W] in steps of 1 / levels; see edgesr/report/encode.py. */
edgesr.unpack = async function (packed) {
  const images = {};
  for (const name of packed.names) {
    const bytes = Uint8Array.from(atob(packed.images[name]), (c) => c.charCodeAt(0));
    packed.images[name] = null;
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    images[name] = undoDifferences(planes, packed.height * packed.width);
  }
  return images;

  function undoDifferences(planes, pixels) {
    const count = planes.length / 2;
    const image = new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      const code = planes[i] | (planes[count + i] << 8);
      const difference = (code >>> 1) ^ -(code & 1);
      image[i] = difference + (i < pixels ? 0 : image[i - pixels]);
    }
    return image;
  }
};

/** Mean absolute error per pixel over some bands, in [0, 1]. */
edgesr.errorMap = function (image, truth, bands, pixels, levels) {
  const map = new Float32Array(pixels);
  for (const band of bands) {
    for (let i = 0, j = band * pixels; i < pixels; i++, j++) map[i] += Math.abs(image[j] - truth[j]);
  }
  for (let i = 0; i < pixels; i++) map[i] /= levels * bands.length;
  return map;
};

/** Mean over bands of the PSNR in dB, peak 1, on the window that is shown. */
edgesr.psnr = function (image, truth, bands, pixels, levels) {
  let sum = 0;
  for (const band of bands) {
    let squares = 0;
    for (let i = band * pixels; i < (band + 1) * pixels; i++) squares += (image[i] - truth[i]) ** 2;
    sum += 10 * Math.log10((levels * levels * pixels) / squares);
  }
  return sum / bands.length;
};

/** Angle in degrees between two spectra. */
edgesr.angle = function (a, b) {
  let ab = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  const cosine = ab / Math.sqrt(aa * bb);
  return aa && bb ? (180 / Math.PI) * Math.acos(Math.min(1, Math.max(-1, cosine))) : NaN;
};

/** Value below which a share of the values lies. */
edgesr.quantile = function (values, share) {
  const sorted = Float32Array.from(values).sort();
  return sorted[Math.round(share * (sorted.length - 1))];
};

/** What Plotly may do: show values; no toolbar, no zoom, nothing that leaves the page. */
edgesr.config = { responsive: true, displayModeBar: false, scrollZoom: false, doubleClick: false };

/** Redrawn when the theme changes. */
edgesr.onTheme = [];
