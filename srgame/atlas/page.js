"use strict";
// The page is drawn from the JSON in #atlas. What is shown is part of the address, so that every view can be linked to.

const atlas = JSON.parse(document.getElementById("atlas").textContent);
const main = document.getElementById("main");
const many = atlas.checkpoints.length > 1;
const DEAD = 0.5 / 255;

// ---- elements: text is always set as text, never as HTML --------------------------------------------------------

function element(space, name, attributes, children) {
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(9).filter(child => child !== null && child !== undefined && child !== false));
  return made;
}
const h = (name, attributes, ...children) => element(null, name, attributes, children);
const s = (name, attributes, ...children) => element("http://www.w3.org/2000/svg", name, attributes, children);

// ---- numbers ----------------------------------------------------------------------------------------------------

const missing = value => value === null || value === undefined;
const minus = text => text.replace("-", "−");
const fixed = (value, digits) => missing(value) ? "–" : minus(value.toFixed(digits));
const signed = (value, digits) => missing(value) ? "–" : (value > 0 ? "+" : "") + fixed(value, digits);
const percent = value => missing(value) ? "–" : `${fixed(100 * value, value > 0 && value < 0.1 ? 1 : 0)}%`;
const short = value => missing(value) ? "–" : minus(value === 0 ? "0" : Math.abs(value) >= 0.001 && Math.abs(value) < 1e5
  ? value.toPrecision(3).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") : value.toExponential(1));
const largest = values => values.reduce((most, value) => missing(value) ? most : Math.max(most, Math.abs(value)), 0);
const plural = (count, one, others) => `${count} ${count === 1 ? one : others || one + "s"}`;

// Digits that show four figures of the largest value.
function digitsOf(values) {
  const most = largest(values);
  return most > 0 ? Math.min(8, Math.max(2, 3 - Math.floor(Math.log10(most)))) : 3;
}
function halfOf(cell, k) {
  const { low, high } = cell.filters;
  return missing(low[k]) ? null : (high[k] - low[k]) / 2;
}
function phiText(cell, k) {
  const digits = digitsOf(cell.filters.shapley), half = halfOf(cell, k);
  if (missing(cell.filters.shapley[k])) return "not measured";
  if (missing(half)) return `${signed(cell.filters.shapley[k], digits)} ± ?`;  // a single replicate has no error
  const error = half > 0 && half < 0.5 * 10 ** -digits ? `<${(10 ** -digits).toFixed(digits)}` : fixed(half, digits);
  return `${signed(cell.filters.shapley[k], digits)} ± ${error}`;
}

// ---- what is shown ----------------------------------------------------------------------------------------------

const DEFAULTS = { view: "overview", checkpoint: "0", degradation: "0", image: "0", layer: "", filter: "0",
  sort: "shapley", order: "down", show: "all", search: "", scale: "own", matched: "" };
let state = { ...DEFAULTS };

const checkpoint = () => atlas.checkpoints[state.checkpoint];
const degradation = () => atlas.degradations[state.degradation];
const image = () => atlas.images[state.image];
const cells = new Map(atlas.cells.map(cell => [JSON.stringify([cell.checkpoint, cell.degradation, cell.layer]), cell]));
const cellOf = (name, setting, layer) => cells.get(JSON.stringify([name, setting, layer]));
const layersOf = name => [...new Set(atlas.cells.filter(cell => cell.checkpoint === name).map(cell => cell.layer))];
const current = () => cellOf(checkpoint(), degradation(), state.layer);

function address(changes) {
  const next = { ...state, ...changes };
  const kept = Object.entries(next).filter(([key, value]) => String(value) !== DEFAULTS[key]);
  return "#" + new URLSearchParams(kept.map(([key, value]) => [key, String(value)]));
}
function read() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  state = { ...DEFAULTS, ...given };
  const within = (value, list) => String(Math.min(list.length - 1, Math.max(0, parseInt(value) || 0)));
  state.checkpoint = within(state.checkpoint, atlas.checkpoints);
  state.degradation = within(state.degradation, atlas.degradations);
  state.image = within(state.image, atlas.images.length ? atlas.images : [""]);
  const layers = layersOf(checkpoint());
  if (!layers.includes(state.layer)) state.layer = layers[layers.length - 1];
  const widest = current() ? current().width : 1;
  state.filter = String(Math.min(widest - 1, Math.max(0, parseInt(state.filter) || 0)));
  if (!SORTS[state.sort]) state.sort = DEFAULTS.sort;
  if (!SHOWN[state.show]) state.show = DEFAULTS.show;
  if (!VIEWS[state.view] || (state.view === "compare" && !many)) state.view = "overview";
}
function change(changes) {  // a control was used: the focus stays where it is
  history.replaceState(null, "", address(changes));
  render();
}

// ---- maps: sprite sheets of grey levels, coloured here ----------------------------------------------------------

const STOPS = {
  light: [[0, 92, 153], [86, 160, 205], [248, 246, 243], [235, 150, 90], [190, 74, 0]],
  dark: [[110, 195, 250], [45, 105, 150], [20, 22, 27], [165, 85, 25], [255, 170, 90]],
  heat: [[4, 4, 12], [80, 18, 123], [182, 54, 121], [251, 136, 97], [252, 253, 191]],
};
function ramp(stops) {
  return Uint8ClampedArray.from({ length: 768 }, (_, place) => {
    const at = Math.floor(place / 3) / 255 * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at));
    return stops[low][place % 3] + (at - low) * (stops[low + 1][place % 3] - stops[low][place % 3]);
  });
}
const RAMPS = Object.fromEntries(Object.entries(STOPS).map(([name, stops]) => [name, ramp(stops)]));
const isDark = () => document.documentElement.dataset.theme === "dark";
const rampOf = isSigned => RAMPS[isSigned ? (isDark() ? "dark" : "light") : "heat"];

const decoded = new Map();
function levelsOf(sheet) {
  if (!decoded.has(sheet)) {
    const picture = new Image();
    picture.src = sheet.src;
    decoded.set(sheet, picture.decode().then(() => {
      const canvas = h("canvas", { width: picture.width, height: picture.height });
      const context = canvas.getContext("2d");
      context.drawImage(picture, 0, 0);
      return context.getImageData(0, 0, picture.width, picture.height);
    }));
  }
  return decoded.get(sheet);
}
function mapOf(sheet, k, label, ownScale = true) {
  const canvas = h("canvas", { width: sheet.width, height: sheet.height, role: "img", "aria-label": label });
  const factor = ownScale ? 1 : (sheet.peaks[k] || 0) / (largest(sheet.peaks) || 1);
  levelsOf(sheet).then(levels => {
    const context = canvas.getContext("2d"), pixels = context.createImageData(sheet.width, sheet.height);
    const top = Math.floor(k / sheet.columns) * sheet.height, left = (k % sheet.columns) * sheet.width;
    const colours = rampOf(sheet.signed);
    for (let row = 0, to = 0; row < sheet.height; row++) {
      for (let column = 0; column < sheet.width; column++, to += 4) {
        const level = levels.data[4 * ((top + row) * levels.width + left + column)];
        const scaled = sheet.signed ? 127.5 + (level - 127.5) * factor : level * factor;
        const from = 3 * Math.round(scaled);
        pixels.data.set([colours[from], colours[from + 1], colours[from + 2], 255], to);
      }
    }
    context.putImageData(pixels, 0, 0);
  });
  return canvas;
}
function keyOf(isSigned, peak, unit = "") {
  const canvas = h("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d"), pixels = context.createImageData(256, 1), colours = rampOf(isSigned);
  for (let at = 0; at < 256; at++) pixels.data.set([...colours.slice(3 * at, 3 * at + 3), 255], 4 * at);
  context.putImageData(pixels, 0, 0);
  return h("div", { class: "key" }, isSigned ? `${short(-peak)}` : "0", canvas, `${short(peak)}${unit}`);
}

// ---- plots: drawn at the width that they have, so that text keeps its size --------------------------------------

function chart(height, label, draw) {
  const frame = h("div", { class: "chart" });
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (!width || frame.dataset.width === String(width)) return;
    frame.dataset.width = width;
    frame.replaceChildren(s("svg", { width, height, role: "img", "aria-label": label }, draw(width, height)));
  }).observe(frame);
  frame.style.height = `${height}px`;
  return frame;
}
const scaleOf = (from, to, start, end) => value => start + (value - from) / ((to - from) || 1) * (end - start);
function ticksOf(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(each => each * power).find(each => each >= rough * 0.7);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-6; tick += step) ticks.push(Math.abs(tick) < step / 1e6 ? 0 : tick);
  return { ticks, text: tick => fixed(tick, Math.max(0, Math.min(8, -Math.floor(Math.log10(step) + 1e-9)))) };
}
function yAxis(low, high, y, left, right, title) {
  const { ticks, text } = ticksOf(low, high, 4);
  return [ticks.map(tick => [s("line", { class: tick === 0 ? "zero" : "axis", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
    s("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, text(tick))]),
    s("text", { x: 0, y: 12, class: "strong" }, title)];
}
const legend = entries => h("div", { class: "legend" }, entries.map(([name, colour]) =>
  h("span", null, h("i", { style: `background:${colour}` }), name)));

// The Shapley values of a layer, sorted, with their intervals.
function phiBars(cell, chosen = null) {
  const { shapley, low, high } = cell.filters;
  if (shapley.every(missing)) return h("p", { class: "note" }, "Shapley values of this layer were not measured.");
  const order = shapley.map((_, k) => k).sort((a, b) => shapley[b] - shapley[a]);
  const ends = [0, ...shapley, ...low, ...high].filter(value => !missing(value));
  const [least, most] = [Math.min(...ends), Math.max(...ends)];
  return chart(220, `Shapley values of the ${cell.width} filters of ${cell.layer}, sorted`, (width, height) => {
    const left = 52, y = scaleOf(least, most, height - 26, 24), step = (width - left) / cell.width;
    const share = (cell.grand - cell.empty) / cell.width;
    return [yAxis(least, most, y, left, width, "φ (dB)"),
      order.map((k, place) => s("a", { href: address({ view: "filter", filter: k }), tabindex: -1 },
        s("title", null, `filter ${k}: φ ${phiText(cell, k)} dB`),
        s("rect", { x: left + place * step + step * 0.08, width: Math.max(1, step * 0.84), y: Math.min(y(0), y(shapley[k])),
          height: Math.max(1, Math.abs(y(shapley[k]) - y(0))), fill: k === chosen ? "var(--text)" : shapley[k] < 0 ? "var(--harm)" : "var(--bar)" }),
        s("rect", { x: left + place * step, width: step, y: 20, height: height - 46, fill: "transparent" }),
        !missing(low[k]) && high[k] > low[k] && s("line", { x1: left + (place + 0.5) * step, x2: left + (place + 0.5) * step, y1: y(low[k]), y2: y(high[k]),
          stroke: "var(--text)", "stroke-width": Math.min(1.5, step / 4) }))),
      share > 0 && [s("line", { x1: left, x2: width, y1: y(share), y2: y(share), stroke: "var(--text)", "stroke-dasharray": "5 4", "stroke-width": 1 }),
        s("text", { x: width, y: y(share) - 5, "text-anchor": "end", class: "strong" }, "equal share")],
      s("text", { x: left, y: height - 6 }, chosen === null ? "filters, sorted by φ" : `filter ${chosen} among the others, sorted by φ`)];
  });
}
function sparkline(cell) {
  const values = cell.filters.shapley.filter(value => !missing(value)).sort((a, b) => b - a);
  if (!values.length) return "–";
  const width = 120, height = 30, y = scaleOf(Math.min(0, ...values), Math.max(0, ...values), height, 0), step = width / values.length;
  return s("svg", { width, height, role: "img", "aria-label": `Shapley values of ${cell.layer}, sorted`, style: "display:inline-block" },
    values.map((value, place) => s("rect", { x: place * step, width: Math.max(0.6, step * 0.8), y: Math.min(y(0), y(value)),
      height: Math.max(0.8, Math.abs(y(value) - y(0))), fill: value < 0 ? "var(--harm)" : "var(--bar)" })));
}
function intervalBar(cell, k) {
  const { shapley, low, high } = cell.filters;
  if (missing(shapley[k])) return null;
  const ends = [0, ...shapley, ...low, ...high].filter(value => !missing(value));
  const x = scaleOf(Math.min(...ends), Math.max(...ends), 1, 99), colour = shapley[k] < 0 ? "var(--harm)" : "var(--bar)";
  return s("svg", { class: "interval", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { x: Math.min(x(0), x(shapley[k])), width: Math.max(0.5, Math.abs(x(shapley[k]) - x(0))), y: 2, height: 8, fill: colour }),
    !missing(low[k]) && s("rect", { x: x(low[k]), width: Math.max(0.4, x(high[k]) - x(low[k])), y: 5, height: 2, fill: "var(--text)" }),
    s("rect", { x: x(0) - 0.2, width: 0.4, y: 0, height: 12, fill: "var(--quiet)" }));
}
// Curves over the rank of a filter, one for each checkpoint, on one scale; bands are intervals.
function curves(title, label, entries) {
  const known = entries.filter(entry => entry.values.length);
  if (!known.length) return h("p", { class: "note" }, `${label}: not measured.`);
  const ends = known.flatMap(entry => [...entry.values, ...(entry.low || []), ...(entry.high || []), 0]).filter(value => !missing(value));
  const [least, most] = [Math.min(...ends), Math.max(...ends)], count = Math.max(...known.map(entry => entry.values.length));
  return chart(230, label, (width, height) => {
    const left = 52, y = scaleOf(least, most, height - 26, 24), x = scaleOf(0, Math.max(1, count - 1), left + 4, width - 4);
    const path = values => values.map((value, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`);
    return [yAxis(least, most, y, left, width, title),
      known.map(entry => [entry.low && !entry.low.some(missing) && s("polygon", { points: [...path(entry.low), ...path(entry.high).reverse()].join(" "), fill: entry.colour, opacity: 0.25 }),
        s("polyline", { points: path(entry.values).join(" "), fill: "none", stroke: entry.colour, "stroke-width": 2.5, "stroke-linejoin": "round" }),
        entry.values.length < 100 && path(entry.values).map(point => s("circle", { cx: point.split(",")[0], cy: point.split(",")[1], r: 2.4, fill: entry.colour }))]),
      s("text", { x: left, y: height - 6 }, "filters of each network, sorted")];
  });
}
function matrix(cell, order) {
  const n = cell.width, place = new Array(n).fill(null);
  order.forEach((k, at) => { place[k] = at; });
  const canvas = h("canvas", { width: n, height: n, role: "img", "aria-label": `Cosines of the ${n} filters of ${cell.layer} in ${cell.checkpoint}` });
  const context = canvas.getContext("2d"), pixels = context.createImageData(n, n), colours = rampOf(true);
  const put = (row, column, value) => {
    const from = 3 * Math.round(127.5 * (1 + Math.max(-1, Math.min(1, value || 0))));
    pixels.data.set([colours[from], colours[from + 1], colours[from + 2], 255], 4 * (row * n + column));
  };
  for (let k = 0; k < n; k++) put(k, k, 1);
  cell.cosine.filter.forEach((k, pair) => {
    const [row, column] = [place[k], place[cell.cosine.partner[pair]]];
    put(row, column, cell.cosine.cosine[pair]);
    put(column, row, cell.cosine.cosine[pair]);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// ---- the header -------------------------------------------------------------------------------------------------

function choice(label, key, names, title) {
  if (names.length < 2) return null;
  const select = h("select", { id: `choose-${key}`, onchange: event => change({ [key]: event.target.value }), title },
    names.map((name, at) => h("option", { value: at }, name)));
  select.value = state[key];
  return h("label", null, label, select);
}
function header() {
  const layer = state.view === "layer" || state.view === "filter" ? state.layer : null;
  const tab = (name, changes, isHere) => h("a", { href: address(changes), "aria-current": isHere ? "page" : null }, name);
  const layers = layersOf(checkpoint());
  const chooser = h("select", { id: "choose-layer", "aria-label": "Layer", onchange: event => { location.hash = address({ view: "layer", layer: event.target.value, filter: 0 }); } },
    h("option", { value: "", disabled: true, selected: !layer }, "Layer …"), layers.map(name => h("option", { value: name, selected: name === layer }, name)));
  document.getElementById("views").replaceChildren(
    tab("Overview", { view: "overview" }, state.view === "overview"),
    ...(layers.length <= 6 ? layers.map(name => tab(name, { view: "layer", layer: name, filter: 0 }, name === layer)) : [chooser]),
    ...(many ? [tab("Compare", { view: "compare" }, state.view === "compare")] : []));
  const form = document.getElementById("choice"), focused = document.activeElement && document.activeElement.id;
  form.replaceChildren(...[
    state.view !== "compare" && choice("Network", "checkpoint", atlas.checkpoints),
    choice("Degradation", "degradation", atlas.degradations),
    choice("Image", "image", atlas.images),
    h("button", { type: "button", id: "theme", "aria-label": `Switch to ${isDark() ? "light" : "dark"} colours`,
      onclick: () => { setTheme(isDark() ? "light" : "dark"); render(); } }, isDark() ? "☀ Light" : "☾ Dark"),
  ].filter(Boolean));
  if (focused && document.getElementById(focused) && form.contains(document.getElementById(focused))) document.getElementById(focused).focus();
}
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("srgame-theme", theme); } catch { /* a file may have no storage */ }
}
function firstTheme() {
  try { if (localStorage.getItem("srgame-theme")) return localStorage.getItem("srgame-theme"); } catch { /* as above */ }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// ---- overview ---------------------------------------------------------------------------------------------------

function overview() {
  const name = checkpoint(), here = layersOf(name).map(layer => cellOf(name, degradation(), layer)).filter(Boolean);
  return [
    h("h1", { tabindex: -1 }, name),
    h("p", { class: "quiet" }, `Super-resolution ×${atlas.scale}, weights ${atlas.weights[name].slice(0, 8)}. `,
      `${plural(here.length, "layer")} with ${plural(here.reduce((sum, cell) => sum + cell.width, 0), "filter")}; worth is PSNR in dB, under ${degradation()}. `,
      "Choose a layer to see its filters."),
    restoredStrip(),
    h("section", null, h("h2", null, "Layers"), layerTable(here), glossary()),
    scores(),
    provenance(),
  ];
}
function restoredStrip() {
  const images = atlas.restored[degradation()], each = images && images[image()];
  if (!each) return null;
  const names = ["lr", "bicubic", ...atlas.checkpoints.map(name => `sr ${name}`), "hr"].filter(key => each.pictures[key]);
  const titles = { lr: "LR image", bicubic: "bicubic upsampling", hr: "HR image" };
  return h("section", null, h("h2", null, `${image()}, ${degradation()}`),
    h("div", { class: "strip" }, names.map(key => h("figure", null,
      h("img", { src: each.pictures[key], alt: titles[key] || `restored by ${key.slice(3)}`, style: `aspect-ratio:${each.width}/${each.height}` }),
      h("figcaption", null, h("b", null, titles[key] || key.slice(3)), missing(each.psnr[key]) ? null : h("div", null, `${fixed(each.psnr[key], 2)} dB`))))));
}
function layerTable(here) {
  const most = largest(here.map(cell => cell.summary.worth));
  const head = ["Layer", "Filters", "Worth (dB)", "φ, sorted", "Effective players", "Gini of φ", "Dead", "Harmful", "Mean |cosine|"];
  const row = cell => {
    const { worth, gini, effective, dead, harmful, alike } = cell.summary;
    const values = [h("a", { href: address({ view: "layer", layer: cell.layer, filter: 0 }) }, cell.layer), String(cell.width),
      h("span", null, fixed(worth, 3), missing(worth) ? null : s("svg", { width: 70, height: 8, style: "display:inline-block;margin-left:8px", "aria-hidden": "true" },
        s("rect", { width: Math.max(1, 70 * Math.abs(worth) / (most || 1)), height: 8, rx: 2, fill: worth < 0 ? "var(--harm)" : "var(--bar)" }))),
      sparkline(cell), missing(effective) ? "–" : `${fixed(effective, 1)} of ${cell.width}`, fixed(gini, 2), percent(dead), percent(harmful), fixed(alike, 2)];
    return h("tr", { "data-layer": cell.layer }, values.map((value, at) => h("td", { "data-label": head[at] }, value)));
  };
  return h("table", { class: "rows stack" }, h("thead", null, h("tr", null, head.map(title => h("th", { scope: "col" }, title)))), h("tbody", null, here.map(row)));
}
function glossary() {
  const entry = (word, text) => [h("dt", null, h("b", null, word)), h("dd", { style: "text-align:left" }, text)];
  return h("details", { class: "quiet" }, h("summary", null, "What these numbers mean"), h("dl", null,
    entry("φ", "The Shapley value of a filter: the PSNR that it adds when it is switched on, averaged over all orders in which the filters of its layer can be switched on. The φ of a layer add up to its worth. ± is half of the 95% interval."),
    entry("Worth", "PSNR with all filters of the layer, minus PSNR when all of them are erased (set to zero)."),
    entry("Effective players", "How many equal filters would share the worth as unequally as this: the exponential of the entropy of |φ|. Gini is 0 for equal shares."),
    entry("Dead", "Without this filter alone, no pixel of the restored images changes by half an 8-bit level."),
    entry("Harmful", "The whole interval of φ lies below zero: on average, the image is better without the filter."),
    entry("Cosine", "How alike two filters respond over the pixels of an image: 1 is the same response up to its strength, −1 its negative."),
    entry("Interaction", "How much more two filters are worth together than each of them alone. Negative: either does the work of both. Positive: each needs the other."),
    entry("CSM", "Channel salience map: where the edges of the restored image depend on the response of the filter, as a share of the layer's largest value.")));
}
function scores() {
  const ROW = 18 + 8 * atlas.checkpoints.length;
  if (!atlas.scores.length) return null;
  const sets = [...new Set(atlas.scores.map(row => row.dataset))];
  const names = [...atlas.checkpoints, "bicubic"], colourOf = name => name === "bicubic" ? atlas.bicubic : atlas.colours[atlas.checkpoints.indexOf(name)];
  return h("section", null, h("h2", null, "PSNR under each degradation, beside bicubic upsampling"),
    legend(names.map(name => [name, colourOf(name)])),
    sets.map(dataset => {
      const rows = atlas.scores.filter(row => row.dataset === dataset), settings = [...new Set(rows.map(row => row.degradation))];
      const known = rows.map(row => row.psnr).filter(value => !missing(value)), count = rows[0].images;
      const of = (setting, name) => (rows.find(row => row.degradation === setting && row.checkpoint === name) || {}).psnr;
      const { ticks, text } = ticksOf(Math.min(...known), Math.max(...known), 5);
      const step = (ticks[1] - ticks[0]) || 1, least = Math.min(...known, ticks[0]) - step * 0.1, most = Math.max(...known, ticks[ticks.length - 1]) + step * 0.1;
      return [sets.length > 1 && h("h3", null, dataset),
        known.length && chart(settings.length * ROW + 44, `PSNR on ${dataset}`, (width, height) => {
          const left = 64, x = scaleOf(least, most, left + 6, width - 12);
          return [ticks.map(tick => [s("line", { class: "axis", x1: x(tick), x2: x(tick), y1: 4, y2: height - 34 }),
            s("text", { x: x(tick), y: height - 18, "text-anchor": "middle" }, text(tick))]),
            s("text", { x: left, y: height - 2, class: "strong" }, "PSNR, RGB (dB)"),
            settings.map((setting, at) => [s("text", { x: 0, y: (at + 0.5) * ROW + 4, class: "strong" }, setting),
              at > 0 && s("line", { class: "axis", x1: 0, x2: width, y1: at * ROW, y2: at * ROW }),
              names.map((name, lane) => missing(of(setting, name)) ? null : s("circle", { cx: x(of(setting, name)), cy: at * ROW + (lane + 1) * ROW / (names.length + 1), r: 5, fill: colourOf(name), stroke: "var(--panel)", "stroke-width": 1.5 },
                s("title", null, `${name}, ${setting}: ${fixed(of(setting, name), 2)} dB`)))])];
        }),
        h("details", null, h("summary", null, "As a table"), h("div", { class: "scroll" }, h("table", null,
          h("thead", null, h("tr", null, h("th", { scope: "col" }, "dB"), settings.map(setting => h("th", { scope: "col" }, setting)))),
          h("tbody", null, names.map(name => h("tr", null, h("td", null, name), settings.map(setting => h("td", null, fixed(of(setting, name), 2))))))))),
        h("p", { class: "note" }, `Means over ${plural(count, "image")} of ${dataset}, as tables of papers compute them: 8 bits, without a border of ${atlas.scale} pixels.`,
          atlas.scoresSource ? ` Measured by ${atlas.scoresSource}.` : "")];
    }));
}
function provenance() {
  const { settings, versions, date, commit } = atlas.made;
  const read = [...new Set(atlas.cells.flatMap(cell => Object.entries(cell.sources).map(([kind, source]) => `${kind} of ${cell.layer} (${cell.checkpoint}): ${source}`)))];
  return h("section", null, h("h2", null, "How this page was made"),
    h("p", { class: "quiet" }, `Measured ${date ? `on ${date.slice(0, 10)} ` : ""}with srgame ${versions ? versions.srgame : ""}. All numbers of filters are in atlas.csv beside this page.`),
    read.length > 0 && h("details", null, h("summary", null, `Read from earlier runs (${read.length})`), h("ul", null, read.map(line => h("li", null, line)))),
    atlas.missing.length > 0 && h("details", null, h("summary", null, `Not measured (${atlas.missing.length})`), h("ul", null, atlas.missing.map(line => h("li", null, line)))),
    settings && h("details", null, h("summary", null, "Settings and versions"), h("dl", null, Object.entries({ ...settings, commit, ...versions }).map(([key, value]) =>
      [h("dt", null, key), h("dd", null, Array.isArray(value) ? value.join(" ") : String(value))]))));
}

// ---- a layer ----------------------------------------------------------------------------------------------------

const SORTS = {
  shapley: ["φ", (f, k) => f.shapley[k]],
  size: ["size of φ", (f, k) => missing(f.shapley[k]) ? null : Math.abs(f.shapley[k])],
  drop: ["PSNR lost without it", (f, k) => f.leave_one_out[k]],
  change: ["change of the image without it", (f, k) => f.change[k]],
  response: ["response", (f, k) => f.mean_abs[k]],
  active: ["share of active pixels", (f, k) => f.active[k]],
  sparsity: ["sparsity of its response", (f, k) => f.sparsity[k]],
  salience: ["salience", (f, k) => f.salience[k]],
  cosine: ["|cosine| to its nearest", (f, k) => missing(f.cosine[k]) ? null : Math.abs(f.cosine[k])],
  interaction: ["strongest interaction", (f, k) => missing(f.interaction[k]) ? null : Math.abs(f.interaction[k])],
  number: ["number", (f, k) => k],
};
const SHOWN = {
  all: ["all", () => true],
  helpful: ["helpful (interval of φ above 0)", (f, k) => f.low[k] > 0],
  harmful: ["harmful (interval of φ below 0)", (f, k) => !missing(f.high[k]) && f.high[k] < 0],
  open: ["undecided (interval of φ includes 0)", (f, k) => !missing(f.low[k]) && f.low[k] <= 0 && f.high[k] >= 0],
  dead: ["dead (erasing it shows nowhere)", (f, k) => !missing(f.change[k]) && f.change[k] < DEAD],
  flagged: ["flagged φ", (f, k) => Boolean(f.flag[k])],
};
function sorted(cell) {
  const value = SORTS[state.sort][1], sign = state.order === "up" ? 1 : -1;
  return cell.filters.shapley.map((_, k) => k).sort((a, b) => {
    const [x, y] = [value(cell.filters, a), value(cell.filters, b)];
    return missing(x) - missing(y) || sign * (x - y) || a - b;  // what was not measured comes last
  });
}
function searched(text) {  // "3, 8-12" as a test of a number; null if it names none
  const parts = text.split(/[\s,;]+/).filter(Boolean).map(part => part.match(/^(\d+)(?:-(\d+))?$/));
  if (!parts.length || parts.some(part => !part)) return text.trim() ? () => false : null;
  return k => parts.some(part => k >= Number(part[1]) && k <= Number(part[2] === undefined ? part[1] : part[2]));
}
function visible(cell) {
  const named = searched(state.search);
  return sorted(cell).filter(k => SHOWN[state.show][1](cell.filters, k) && (!named || named(k)));
}
function absent() {
  return [h("h1", { tabindex: -1 }, state.layer), h("p", null, `Nothing was measured of this layer of ${checkpoint()} under ${degradation()}.`)];
}
function layer() {
  const cell = current();
  if (!cell) return absent();
  const grid = h("ul", { class: "grid", id: "grid" }), count = h("output", { "aria-live": "polite", id: "count" });
  const fill = () => {
    const shown = visible(cell);
    count.textContent = `${shown.length} of ${plural(cell.width, "filter")}`;
    grid.replaceChildren(...shown.map(k => h("li", null, card(cell, k))));
  };
  const set = changes => { history.replaceState(null, "", address(changes)); Object.assign(state, changes); fill(); };
  const select = (label, key, names) => {
    const made = h("select", { id: `choose-${key}`, onchange: event => set({ [key]: event.target.value }) }, Object.entries(names).map(([value, [name]]) => h("option", { value }, name)));
    made.value = state[key];
    return h("label", null, label, made);
  };
  const order = h("button", { type: "button", id: "order", onclick: () => { set({ order: state.order === "up" ? "down" : "up" }); order.textContent = orderText(); } });
  const orderText = () => state.order === "up" ? "↑ smallest first" : "↓ largest first";
  order.textContent = orderText();
  fill();
  return [
    h("h1", { tabindex: -1 }, cell.layer),
    h("p", { class: "quiet" }, summary(cell)),
    h("section", null, h("h2", null, "Shapley values"), phiBars(cell), sources(cell)),
    h("section", null, h("h2", null, "Filters"),
      h("div", { class: "tools" }, select("Sort by", "sort", SORTS), order, select("Show", "show", SHOWN),
        h("label", null, "Numbers", h("input", { id: "search", type: "search", size: 10, placeholder: "3, 8-12", value: state.search, oninput: event => set({ search: event.target.value }) })),
        select("Maps", "scale", { own: ["each on its own scale"], layer: ["all on one scale"] }), count),
      grid,
      h("p", { class: "note" }, "φ and interactions are in dB of PSNR. Nearest: the filter with the largest |cosine| between responses. Interaction: the strongest one, in dB; – was not measured. ",
        `Left: feature map (${isDark() ? "light blue" : "blue"} negative, orange positive). Right: channel salience map (CSM). Both on ${image()}.`)),
  ];
}
function summary(cell) {
  const { worth, effective, dead, harmful } = cell.summary, parts = [];
  if (!missing(worth)) parts.push(`The ${cell.width} filters are worth ${fixed(worth, 3)} dB: PSNR is ${fixed(cell.grand, 2)} dB with all and ${fixed(cell.empty, 2)} dB with none.`);
  if (!missing(effective)) parts.push(`They share it as ${fixed(effective, 1)} equal filters would.`);
  if (!missing(harmful)) parts.push(harmful ? `${plural(Math.round(harmful * cell.width), "filter")} ${Math.round(harmful * cell.width) === 1 ? "makes" : "make"} the image worse.` : "None of them makes the image worse beyond its interval.");
  if (!missing(dead)) parts.push(dead ? `${Math.round(dead * cell.width)} could be erased, one at a time, without a visible change.` : "");
  return `${cell.checkpoint}, ${cell.degradation}. ${parts.join(" ")}`;
}
function sources(cell) {
  const lines = Object.entries(cell.sources);
  return lines.length ? h("p", { class: "note" }, "Read from earlier runs: ", lines.map(([kind, source]) => `${kind} (${source})`).join("; "), ".") : null;
}
function card(cell, k) {
  const f = cell.filters, maps = (cell.maps[image()] || {});
  const line = (name, value) => h("div", { class: "line" }, h("span", null, name), h("span", null, value));
  const digits = digitsOf(f.interaction) - 1;
  return h("a", { class: "card", href: address({ view: "filter", filter: k }), "data-filter": k },
    maps.feature && h("div", { class: "maps" }, mapOf(maps.feature, k, `feature map of filter ${k}`, state.scale === "own"),
      mapOf(maps.salience, k, `salience map of filter ${k}`, state.scale === "own")),
    h("div", { class: "head" }, h("b", null, `#${k}`), f.high[k] < 0 && !missing(f.high[k]) && h("span", { class: "tag bad" }, "harmful"),
      !missing(f.change[k]) && f.change[k] < DEAD && h("span", { class: "tag" }, "dead")),
    line("φ", h("b", { class: "phi" }, phiText(cell, k))),
    intervalBar(cell, k),
    line("response", h("span", { class: "response" }, short(f.mean_abs[k]))),
    line("nearest", missing(f.nearest[k]) ? "–" : `#${f.nearest[k]}: ${fixed(f.cosine[k], 2)}`),
    line("interaction", missing(f.partner[k]) ? "–" : `#${f.partner[k]}: ${signed(f.interaction[k], digits)}`));
}

// ---- a filter ---------------------------------------------------------------------------------------------------

const FLAGS = { "heavy tails": "rare large contributions: ± may be too small", agreed: "all replicates agree" };

function filter() {
  const cell = current();
  if (!cell) return absent();
  const k = Number(state.filter), f = cell.filters, maps = cell.maps[image()] || {}, drops = cell.drops[image()];
  const order = visible(cell).includes(k) ? visible(cell) : sorted(cell), at = order.indexOf(k);
  const turn = (name, place, id) => order[place] === undefined ? null : h("a", { id, href: address({ filter: order[place] }) }, name);
  const picture = (title, sheet, text, unit = "") => sheet && h("figure", null, mapOf(sheet, k, `${title} of filter ${k}`), keyOf(sheet.signed, sheet.peaks[k] || 0, unit), h("figcaption", null, h("b", null, title), h("div", null, text)));
  const fact = (name, value, kind) => [h("dt", null, name), h("dd", { class: kind || null }, value)];
  const digits = digitsOf(f.leave_one_out);
  return [
    h("div", { class: "turn" }, h("a", { id: "back", href: address({ view: "layer" }) }, `↩ ${cell.layer}`), turn("← previous", at - 1, "previous"), turn("next →", at + 1, "next"),
      h("span", { class: "quiet" }, `${at + 1} of ${order.length} by ${SORTS[state.sort][0]}`)),
    h("h1", { tabindex: -1 }, `Filter ${k} of ${cell.layer}`),
    h("p", { class: "quiet" }, `${cell.checkpoint}, ${cell.degradation}${maps.feature ? `, maps on ${image()}` : ""}. ${verdict(cell, k)}`),
    maps.feature || maps.change ? h("section", null, h("div", { class: "maps3" },
      picture("Feature map", maps.feature, "The response of the filter, before any activation."),
      picture("Channel salience map", maps.salience, "Where the edges of the restored image depend on it; 1 is the layer's largest."),
      picture("Lost without it", maps.change, h("span", null, "Restored image minus the image restored without the filter, mean of R, G and B. ",
        drops ? h("b", null, drops[k] >= 0 ? `${fixed(drops[k], digits)} dB of PSNR are lost.` : `${fixed(-drops[k], digits)} dB of PSNR are gained.`) : null)),
      withoutStrip(cell, k))) : null,
    h("div", { class: "columns" },
      h("section", null, h("h2", null, "Numbers"), h("dl", { id: "facts", class: "facts" },
        fact("Shapley value φ (dB)", phiText(cell, k), "phi"), fact("rank by φ", missing(f.rank[k]) ? "–" : `${f.rank[k]} of ${cell.width}`),
        f.flag[k] ? fact("caution", FLAGS[f.flag[k]] || f.flag[k]) : null,
        fact("PSNR lost without it, all images (dB)", signed(f.leave_one_out[k], digits)), fact("largest change of a pixel without it", missing(f.change[k]) ? "–" : `${short(255 * f.change[k])} of 255`),
        fact("mean response", short(f.mean[k])), fact("mean size of its response", short(f.mean_abs[k])), fact("share of active pixels", percent(f.active[k])),
        fact("sparsity", fixed(f.sparsity[k], 2)), fact("share of the layer's salience", percent(f.share[k])))),
      h("section", null, h("h2", null, "Among the filters of its layer"), phiBars(cell, k))),
    h("section", null, h("h2", null, "Partners"), partners(cell, k)),
    elsewhere(cell, k),
  ];
}
function verdict(cell, k) {
  const f = cell.filters, drop = f.leave_one_out[k], phi = f.shapley[k];
  if (missing(phi)) return "";
  if (missing(f.low[k])) return "A single replicate was measured, so φ has no interval: allow more time.";
  if (f.high[k] < 0) return "On average over all coalitions, the image is better without this filter.";
  if (f.low[k] <= 0) return "Its interval includes zero: whether it helps is open.";
  const share = phi / (cell.grand - cell.empty);
  return `It contributes ${percent(share)} of the layer's worth` + (missing(drop) ? "." : drop < 0 ? ", although the whole network is better without it." : drop < phi / 2 ? "; of the whole network, less than half of that is lost without it: others take over." : ".");
}
function withoutStrip(cell, k) {
  const each = (atlas.restored[cell.degradation] || {})[image()], drops = cell.drops[image()];
  if (!each || !drops) return null;
  const whole = each.psnr[`sr ${cell.checkpoint}`];
  return h("figure", null, h("img", { src: each.pictures[`sr ${cell.checkpoint}`], alt: "restored image" }),
    h("figcaption", null, h("b", null, "Restored image"), h("div", null, `${fixed(whole, 3)} dB with all filters, ${fixed(whole - drops[k], 3)} dB without filter ${k}.`)));
}
function related(pairs, value, k) {
  if (!pairs) return [];
  const found = [];
  pairs.filter.forEach((a, at) => {
    const b = pairs.partner[at];
    if (a === k || b === k) found.push({ partner: a === k ? b : a, value: pairs[value][at], low: pairs.low && pairs.low[at], high: pairs.high && pairs.high[at] });
  });
  return found.filter(each => !missing(each.value));
}
function partners(cell, k) {
  const maps = cell.maps[image()] || {};
  const show = (title, text, found, say) => found.length ? h("div", null, h("h3", null, title), h("p", { class: "quiet" }, text),
    h("ul", { class: "partners" }, found.slice(0, 6).map(each => h("li", null, h("a", { href: address({ filter: each.partner }) },
      maps.feature && mapOf(maps.feature, each.partner, `feature map of filter ${each.partner}`), h("b", null, `#${each.partner}`), h("div", null, say(each))))))) : null;
  const alike = related(cell.cosine, "cosine", k).sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const pairs = related(cell.interactions, "interaction", k), digits = digitsOf(cell.filters.interaction) - 1;
  const say = each => h("span", null, `${signed(each.value, digits)} dB`, each.low <= 0 && each.high >= 0 && each.low !== each.high ? h("span", { class: "quiet" }, " (open)") : null);
  const list = [
    show("Alike", "Largest |cosine| between responses.", alike, each => `cosine ${fixed(each.value, 2)}`),
    show("Interchangeable", "Negative interaction: either does the work of both.", pairs.filter(each => each.value < 0).sort((a, b) => a.value - b.value), say),
    show("Needed together", "Positive interaction: each needs the other.", pairs.filter(each => each.value > 0).sort((a, b) => b.value - a.value), say),
  ].filter(Boolean);
  return list.length ? h("div", { class: "columns", style: "margin:0" }, list, pairs.length ? null : h("p", { class: "note" }, cell.interactions ? "Interactions were measured between the filters with the largest |φ| only, and this is none of them." : "Interactions were not measured.")) :
    h("p", { class: "note" }, "Neither cosines nor interactions were measured.");
}
function elsewhere(cell, k) {
  const rows = atlas.matching.filter(each => each.layer === cell.layer && each.degradation === cell.degradation).flatMap(each => {
    const own = cell.checkpoint === atlas.checkpoints[0] ? [each.filter, each.partner, each.second] : cell.checkpoint === each.second ? [each.partner, each.filter, atlas.checkpoints[0]] : null;
    const at = own ? own[0].indexOf(k) : -1;
    return at < 0 ? [] : [{ name: own[2], filter: own[1][at], correlation: each.correlation[at], chance: each.chance }];
  });
  if (!rows.length) return null;
  return h("section", null, h("h2", null, "In the other network"), rows.map(row => {
    const other = cellOf(row.name, cell.degradation, cell.layer), maps = other && other.maps[image()];
    return h("div", { class: "partners" }, h("a", { href: address({ checkpoint: atlas.checkpoints.indexOf(row.name), filter: row.filter }) },
      maps && maps.feature && mapOf(maps.feature, row.filter, `feature map of filter ${row.filter} of ${row.name}`), h("b", null, `${row.name} #${row.filter}`),
      h("div", null, `correlation ${fixed(row.correlation, 2)}`)));
  }), h("p", { class: "note" }, "The partner in a one-to-one matching by the correlation of responses. ", INDICES));
}

// ---- networks side by side --------------------------------------------------------------------------------------

const INDICES = "Filters of separately trained networks do not correspond by their numbers: filter 5 of one network is not filter 5 of another.";

function compare() {
  const shared = layersOf(atlas.checkpoints[0]).filter(name => atlas.checkpoints.some((other, at) => at && layersOf(other).includes(name)));
  const name = shared.includes(state.layer) ? state.layer : shared[shared.length - 1];
  if (!name) return [h("h1", { tabindex: -1 }, "Compare"), h("p", null, "These networks share no layer: name layers that both have.")];
  const here = atlas.checkpoints.map(each => cellOf(each, degradation(), name)).filter(Boolean);
  const colour = cell => atlas.colours[atlas.checkpoints.indexOf(cell.checkpoint)];
  const sortedBy = (cell, values) => values.map((_, k) => k).filter(k => !missing(values[k])).sort((a, b) => values[b] - values[a]);
  const curve = (cell, values, low, high) => {
    const order = sortedBy(cell, values), of = list => list && order.map(k => list[k]);
    return { values: of(values), low: of(low), high: of(high), colour: colour(cell) };
  };
  const select = h("select", { id: "choose-compared", onchange: event => change({ layer: event.target.value }) }, shared.map(each => h("option", { value: each }, each)));
  select.value = name;
  return [
    h("h1", { tabindex: -1 }, "Networks side by side"),
    h("p", null, INDICES, " So distributions are compared here, not filters with equal numbers."),
    h("div", { class: "tools" }, h("label", null, "Layer", select)),
    legend(here.map(cell => [cell.checkpoint, colour(cell)])),
    h("div", { class: "columns" },
      h("section", null, h("h2", null, "Shapley values"), curves("φ (dB)", "Sorted Shapley values of each network", here.map(cell => curve(cell, cell.filters.shapley, cell.filters.low, cell.filters.high))),
        h("p", { class: "note" }, "Bands are 95% intervals.")),
      h("section", null, h("h2", null, "Responses"), curves("mean |response|", "Sorted mean sizes of responses of each network", here.map(cell => curve(cell, cell.filters.mean_abs))))),
    h("section", null, h("h2", null, "In numbers"), comparisonTable(here, name)),
    matrices(here, name),
    matching(here, name),
    scores(),
  ];
}
function comparisonTable(here, name) {
  const rows = [["PSNR with all filters (dB)", cell => fixed(cell.grand, 2)], ["worth of the layer (dB)", cell => fixed(cell.summary.worth, 3)],
    ["effective players", cell => missing(cell.summary.effective) ? "–" : `${fixed(cell.summary.effective, 1)} of ${cell.width}`], ["Gini of φ", cell => fixed(cell.summary.gini, 2)],
    ["dead filters", cell => percent(cell.summary.dead)], ["harmful filters", cell => percent(cell.summary.harmful)], ["mean |cosine|", cell => fixed(cell.summary.alike, 3)]];
  return h("div", { class: "scroll" }, h("table", { class: "rows" }, h("thead", null, h("tr", null, h("th", { scope: "col" }, name), here.map(cell => h("th", { scope: "col" }, cell.checkpoint)))),
    h("tbody", null, rows.map(([title, value]) => h("tr", null, h("td", null, title), here.map(cell => h("td", null, value(cell))))))));
}
const matchOf = (cell, name) => atlas.matching.find(each => each.layer === name && each.degradation === degradation() && each.second === cell.checkpoint);
function orderOf(cell, name) {  // the first network by φ; others as the first, if they are matched
  const by = (values, count) => Array.from({ length: count }, (_, k) => k).sort((a, b) => (missing(values[a]) - missing(values[b])) || values[b] - values[a] || a - b);
  const first = cellOf(atlas.checkpoints[0], degradation(), name), match = matchOf(cell, name);
  if (!state.matched || !match || !first) return by(cell.filters.shapley, cell.width);
  const partner = new Map(match.filter.map((k, at) => [k, match.partner[at]]));
  const order = by(first.filters.shapley, first.width).map(k => partner.get(k)).filter(k => k !== undefined);
  return [...order, ...by(cell.filters.shapley, cell.width).filter(k => !order.includes(k))];
}
function matrices(here, name) {
  const known = here.filter(cell => cell.cosine);
  if (!known.length) return null;
  const toggle = atlas.matching.length ? h("button", { type: "button", id: "matched", "aria-pressed": String(Boolean(state.matched)), onclick: () => { change({ matched: state.matched ? "" : "1" }); document.getElementById("matched").focus(); } },
    "Order the filters of the others as their matched partners") : null;
  return h("section", null, h("h2", null, "Cosines between responses"), toggle && h("div", { class: "tools" }, toggle),
    h("div", { class: "strip", style: "grid-template-columns:repeat(auto-fit,minmax(min(100%,230px),1fr));max-width:900px" }, known.map(cell => h("figure", null, matrix(cell, orderOf(cell, name)), h("figcaption", null, h("b", null, cell.checkpoint), h("div", null, `mean |cosine| ${fixed(cell.summary.alike, 3)}`))))),
    h("div", { style: "max-width:320px" }, keyOf(true, 1)),
    h("p", { class: "note" }, state.matched ? "Filters of the first network are sorted by φ, those of the others follow their partners." : "Filters of each network are sorted by its own φ."));
}
function matching(here, name) {
  const first = here[0], found = here.slice(1).map(cell => [cell, matchOf(cell, name)]).filter(([, match]) => match);
  if (!found.length || first.checkpoint !== atlas.checkpoints[0]) return null;
  return found.map(([cell, match]) => {
    const strong = match.correlation.filter(value => value > 0.5).length, order = match.filter.map((_, at) => at).sort((a, b) => match.correlation[b] - match.correlation[a]);
    const mapsOf = each => (each.maps[image()] || {}).feature;
    return h("section", null, h("h2", null, `Filters of ${cell.checkpoint} matched with those of ${first.checkpoint}`),
      h("p", null, `Each filter gets one partner, so that the sum of the correlations of responses is largest (Hungarian algorithm). Their mean correlation is `, h("b", null, fixed(match.mean, 2)),
        missing(match.chance) ? "" : `; by chance, when the second network sees other images, it is ${fixed(match.chance, 2)}`, `. ${plural(strong, "pair")} of ${match.filter.length} ${strong === 1 ? "exceeds" : "exceed"} 0.5. `,
        !missing(match.chance) && match.mean < match.chance + 0.1 ? "So the match is hardly better than chance." : ""),
      h("div", { class: "columns", style: "margin:0" }, h("div", null, h("h3", null, "φ of matched filters"), scatter(first, cell, match)),
        h("div", null, h("h3", null, "The closest pairs"), h("ul", { class: "pairs" }, order.slice(0, 6).map(at => h("li", null,
          [[first, match.filter[at]], [cell, match.partner[at]]].map(([each, k]) => h("a", { href: address({ view: "filter", layer: name, checkpoint: atlas.checkpoints.indexOf(each.checkpoint), filter: k }) },
            mapsOf(each) ? mapOf(mapsOf(each), k, `feature map of filter ${k} of ${each.checkpoint}`) : null, `#${k}`)),
          h("span", null, `correlation ${fixed(match.correlation[at], 2)}`)))))));
  });
}
function scatter(first, second, match) {
  const points = match.filter.map((k, at) => ({ x: first.filters.shapley[k], y: second.filters.shapley[match.partner[at]], k, partner: match.partner[at], correlation: match.correlation[at] })).filter(each => !missing(each.x) && !missing(each.y));
  if (!points.length) return h("p", { class: "note" }, "Shapley values were not measured.");
  return chart(300, `φ of matched filters in ${first.checkpoint} and ${second.checkpoint}`, (width, height) => {
    const ends = list => [Math.min(0, ...list), Math.max(0, ...list)], [left, bottom] = [52, height - 40];
    const [[x0, x1], [y0, y1]] = [ends(points.map(each => each.x)), ends(points.map(each => each.y))];
    const x = scaleOf(x0, x1, left + 8, width - 8), y = scaleOf(y0, y1, bottom - 6, 26), { ticks, text } = ticksOf(x0, x1, Math.max(2, Math.floor(width / 120)));
    return [yAxis(y0, y1, y, left, width, `φ (dB) in ${second.checkpoint}`),
      ticks.map(tick => [s("line", { class: tick === 0 ? "zero" : "axis", x1: x(tick), x2: x(tick), y1: 20, y2: bottom }), s("text", { x: x(tick), y: bottom + 16, "text-anchor": "middle" }, text(tick))]),
      s("text", { x: width, y: height - 6, "text-anchor": "end", class: "strong" }, `φ (dB) in ${first.checkpoint}`),
      points.map(each => s("circle", { cx: x(each.x), cy: y(each.y), r: 2.5 + 3.5 * Math.max(0, each.correlation), fill: "var(--bar)", opacity: 0.3 + 0.7 * Math.max(0, Math.min(1, each.correlation)) },
        s("title", null, `#${each.k} and #${each.partner}, correlation ${fixed(each.correlation, 2)}`)))];
  });
}

// ---- together ---------------------------------------------------------------------------------------------------

const VIEWS = { overview, layer, filter, compare };
let place = null;
function render() {
  read();
  header();
  main.replaceChildren(...VIEWS[state.view]().flat(9).filter(Boolean));
  const now = [state.view, state.layer, state.filter].join("\n");
  if (place !== null && place !== now) {  // another page: start at its top, also for screen readers
    scrollTo(0, 0);
    const title = main.querySelector("h1");
    if (title) title.focus({ preventScroll: true });
  }
  place = now;
}
addEventListener("hashchange", render);
addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const target = { ArrowLeft: "previous", ArrowRight: "next", Escape: "back" }[event.key];
  const link = target && state.view === "filter" && document.getElementById(target);
  if (link) { event.preventDefault(); link.click(); }
});
document.documentElement.dataset.theme = firstTheme();
render();
