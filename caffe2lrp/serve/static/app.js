"use strict";

const $ = (id) => document.getElementById(id);
const state = {
  model: null, // what the server says of the network
  file: null, // the picture's bytes, to give it again if the server holds it no more
  image: null, // what the server says of the picture
  target: null,
  panels: [],
  zoom: { factor: 1, x: 0, y: 0 }, // x and y: part of the picture left and above of the window
};

// -- talking to the server ----------------------------------------------------------------------------

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is 'caffe2lrp serve' still running?");
  }
  if (response.ok) return response;
  let text = `the server answers ${response.status}`;
  try {
    text = (await response.json()).error;
  } catch { /* it is no answer of ours */ }
  const problem = new Error(text);
  problem.status = response.status;
  throw problem;
}

const askJson = async (path, options) => (await ask(path, options)).json();

function upload(file) {
  if (file.size > state.model.max_bytes) {
    throw new Error(`the file has more than ${state.model.max_bytes / 2 ** 20} MB; make the picture smaller first`);
  }
  const headers = { "Content-Type": "application/octet-stream" };
  const name = encodeURIComponent(file.name || "pasted.png");
  return askJson(`/api/images?name=${name}`, { method: "POST", body: file, headers });
}

function say(text, wrong = false) {
  $("problem").textContent = wrong ? text : "";
  if (!wrong) $("status").textContent = text;
}

const complain = (problem) => say(problem.message, true);

// -- the picture and its classes ----------------------------------------------------------------------

async function take(file) {
  $("drop").classList.add("busy");
  say("The network looks at the picture…");
  try {
    const image = await upload(file);
    state.file = file;
    state.image = image;
    state.zoom = { factor: 1, x: 0, y: 0 };
    $("view").src = `/api/images/${image.id}/view.png`;
    $("view").alt = `${image.name} as the network sees it`;
    $("view").hidden = false;
    $("invitation").hidden = true;
    $("choose").textContent = "Another photo";
    $("drop").classList.add("filled");
    $("intro").hidden = true;
    $("classes").hidden = $("shown").hidden = false;
    showClasses();
    choose(image.classes[0].index);
    moved();
  } catch (problem) {
    complain(problem);
  } finally {
    $("drop").classList.remove("busy");
  }
}

function showClasses() {
  const classes = state.image.classes.slice(0, 6);
  const value = (c) => (c.probability === null ? c.score : c.probability);
  const highest = Math.max(...classes.map(value), 0);
  $("list").replaceChildren(...classes.map((c) => {
    const button = make("button", { type: "button" });
    button.dataset.index = c.index;
    const bar = make("span", { className: "bar" }, make("i"));
    bar.firstChild.style.width = `${highest > 0 ? (100 * Math.max(value(c), 0)) / highest : 0}%`;
    const text = c.probability === null ? number(c.score) : percent(c.probability);
    button.append(make("span", { className: "name" }, c.label), make("span", { className: "value" }, text), bar);
    button.addEventListener("click", () => choose(c.index));
    return button;
  }));
}

function choose(index) {
  state.target = index;
  for (const button of $("list").children) button.setAttribute("aria-pressed", button.dataset.index === String(index));
  for (const panel of state.panels) panel.refresh();
}

function otherClass(event) {
  event.preventDefault();
  const text = $("class").value.trim();
  const labels = state.model.labels;
  const wanted = text.toLowerCase();
  let index = /^\d+$/.test(text) ? Number(text) : -1;
  if (index < 0 && labels && text) {
    const names = labels.map((label) => label.toLowerCase());
    index = names.indexOf(wanted);
    if (index < 0) index = names.findIndex((name) => name.split(",").some((part) => part.trim() === wanted));
    if (index < 0) index = names.findIndex((name) => name.includes(wanted));
  }
  if (index < 0 || index >= state.model.count) {
    say(`There is no class '${text}'; give a number from 0 to ${state.model.count - 1}${labels ? " or a name" : ""}.`, true);
    return;
  }
  choose(index);
}

// -- one setting and its map --------------------------------------------------------------------------

// How far sliders go; what lies beyond can be typed. Epsilon moves in powers of ten.
const SLIDERS = {
  epsilon: { min: -9, max: 2, step: 0.1, value: (x) => Number((10 ** x).toPrecision(2)), place: (v) => (v > 0 ? Math.log10(v) : -9) },
  beta: { min: 0, max: 5, step: 0.05 },
  gamma: { min: 0, max: 2, step: 0.05 },
  noise: { min: 0, max: 1, step: 0.01 },
  depth: { min: 0, max: 20, step: 1 },
  samples: { min: 1, max: 50, step: 1 },
  steps: { min: 1, max: 50, step: 1 },
};

let panelCount = 0;

class Panel {
  constructor(name, from) {
    this.root = $("panel").content.firstElementChild.cloneNode(true);
    this.name = name;
    this.number = panelCount++;
    this.values = from ? structuredClone(from.values) : {}; // by rule
    this.busy = this.again = false;
    this.url = null;
    const part = (selector) => this.root.querySelector(selector);
    this.window = part(".window");
    this.picture = part(".window img");
    this.what = part("[name=what]");
    this.lrn = part("[name=lrn]");
    this.what.append(...state.model.groups.map((group) => {
      const options = group.items.map((item) => make("option", { value: `${item.kind}:${item.name}` }, item.name));
      return make("optgroup", { label: group.title }, ...options);
    }));
    this.lrn.append(...state.model.lrn.map((way) => make("option", {}, way)));
    part(".lrn").hidden = !state.model.has_lrn;
    this.what.value = from ? from.what.value : `composite:${state.model.default}`;
    this.lrn.value = from ? from.lrn.value : state.model.lrn[0];
    part("form").addEventListener("submit", (event) => event.preventDefault());
    this.what.addEventListener("change", () => { this.showParameters(); this.refresh(); });
    this.lrn.addEventListener("change", () => this.refresh());
    part(".command button").addEventListener("click", () => copy(part(".command pre")));
    part(".command pre").setAttribute("aria-label", "Command line that makes the same picture");
    navigate(this.window);
    this.showParameters();
  }

  item() {
    const [kind, name] = this.what.value.split(":");
    return state.model.groups.flatMap((group) => group.items).find((i) => i.kind === kind && i.name === name);
  }

  showParameters() {
    const item = this.item();
    this.root.querySelector(".hint").textContent = item.text;
    this.values[item.name] ??= { ...item.parameters };
    const values = this.values[item.name];
    this.root.querySelector(".parameters").replaceChildren(...Object.keys(item.parameters).filter((key) => key !== "seed").map((key) => {
      const row = $("parameter").content.firstElementChild.cloneNode(true);
      const [label, range, field] = row.children;
      const slider = SLIDERS[key] ?? { min: 0, max: 10, step: 0.1 };
      const value = slider.value ?? Number;
      const place = slider.place ?? Number;
      label.textContent = key === "beta" ? "beta (alpha = 1 + beta)" : key;
      label.htmlFor = field.id = `p${this.number}-${key}`;
      range.setAttribute("aria-label", `${key}, slider`);
      Object.assign(range, { min: slider.min, max: slider.max, step: slider.step, name: key });
      field.name = `${key}-value`;
      if (item.parameters[key] === null) { // a bound of the pixels, which the preparation tells
        range.style.visibility = "hidden";
        field.placeholder = "auto";
        field.value = values[key] ?? "";
        field.addEventListener("input", () => {
          if (field.validity.badInput) return;
          values[key] = field.value === "" ? null : field.valueAsNumber;
          this.refresh();
        });
        return row;
      }
      range.value = place(values[key]);
      const write = () => {
        field.value = brief(values[key]);
        range.setAttribute("aria-valuetext", field.value);
      };
      write();
      range.addEventListener("input", () => {
        values[key] = value(Number(range.value));
        write();
        this.refresh();
      });
      field.addEventListener("input", () => {
        if (field.value === "" || !Number.isFinite(field.valueAsNumber)) return;
        values[key] = field.valueAsNumber;
        range.value = place(values[key]);
        this.refresh();
      });
      return row;
    }));
  }

  query(more = {}) {
    const item = this.item();
    const query = new URLSearchParams({ target: state.target, [item.kind]: item.name, lrn: this.lrn.value });
    const values = Object.entries(this.values[item.name]);
    const open = values.some(([, value]) => value === null); // one bound without the other says nothing
    for (const [key, value] of values) if (!open || item.parameters[key] !== null) query.set(key, value);
    query.set("cmap", $("cmap").value);
    for (const [key, value] of Object.entries(more)) query.set(key, value);
    return query;
  }

  // One question at a time; while a slider moves, only its latest place is asked for next.
  async refresh() {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    this.root.classList.add("busy");
    try {
      do {
        this.again = false;
        await this.update();
      } while (this.again);
    } catch (problem) {
      complain(problem);
    } finally {
      this.busy = false;
      this.root.classList.remove("busy");
      if (this.again) this.refresh();
    }
  }

  async update(retry = true) {
    const started = performance.now();
    const mode = document.querySelector("[name=mode]:checked").value;
    const base = `/api/images/${state.image.id}`;
    const query = this.query();
    const drawn = mode === "view" ? `${base}/view.png` : `${base}/map.png?${this.query({ overlay: Number(mode === "overlay") })}`;
    let facts, picture;
    try {
      facts = await askJson(`${base}/explanation?${query}`);
      picture = await (await ask(drawn)).blob();
    } catch (problem) {
      if (problem.status !== 404 || !retry) throw problem;
      state.image = await upload(state.file); // it was displaced by others
      return this.update(false);
    }
    const url = URL.createObjectURL(picture);
    this.picture.src = url;
    await this.picture.decode().catch(() => {});
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = url;
    this.show(facts, base);
    const seconds = ((performance.now() - started) / 1000).toFixed(2);
    if (!this.again) say(`${this.name}${facts.label} by ${facts.rule}: score ${number(facts.score)}, ${seconds} s`);
  }

  show(facts, base) {
    const part = (selector) => this.root.querySelector(selector);
    part("h2").textContent = `${this.name}${facts.label}`;
    const words = `relevance of ${state.image.name} for ${facts.label} by ${facts.rule}`;
    this.picture.alt = words;
    this.window.setAttribute("aria-label", `${words}; arrow keys move, plus and minus zoom`);
    const numbers = { score: facts.score, "sum of the map": facts.sum, for: facts.positive, against: facts.negative };
    part(".numbers").replaceChildren(...Object.entries(numbers).map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, number(value)))));
    link(part(".heatmap"), `${base}/map.png?${this.query({ download: 1 })}`, `${facts.files}.heatmap.png`);
    link(part(".over"), `${base}/map.png?${this.query({ download: 1, overlay: 1 })}`, `${facts.files}.overlay.png`);
    link(part(".array"), `${base}/map.npy?${this.query()}`, `${facts.files}.npy`);
    part(".command pre").textContent = facts.command;
    this.root.dataset.rule = facts.rule;
  }
}

function link(anchor, href, name) {
  anchor.href = href;
  anchor.download = name;
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    say("Copied. Run it in the folder of the photo.");
  } catch { // not allowed here: select it, so that one key copies it
    getSelection().selectAllChildren(element);
    say("Press Ctrl-C to copy the command.");
  }
}

function compare() {
  const two = state.panels.length === 1;
  if (two) {
    state.panels[0].name = "A: ";
    state.panels.push(new Panel("B: ", state.panels[0]));
    $("panels").append(state.panels[1].root);
  } else {
    state.panels.pop().root.remove();
    state.panels[0].name = "";
  }
  $("panels").classList.toggle("two", two);
  $("compare").setAttribute("aria-pressed", two);
  for (const panel of state.panels) panel.refresh();
  moved();
}

function recolour() {
  const ramp = `/api/colours.png?cmap=${encodeURIComponent($("cmap").value)}`;
  ask(ramp).then(async (response) => {
    $("low").textContent = response.headers.get("X-Signed") === "1" ? "against" : "0";
    const old = $("ramp").src;
    $("ramp").src = URL.createObjectURL(await response.blob());
    if (old) URL.revokeObjectURL(old);
  }).catch(complain);
  if (state.image) for (const panel of state.panels) panel.refresh();
}

// -- zoom: all pictures show the same part --------------------------------------------------------------

function moved() {
  const zoom = state.zoom;
  const room = 1 - 1 / zoom.factor;
  zoom.x = Math.min(Math.max(zoom.x, 0), room);
  zoom.y = Math.min(Math.max(zoom.y, 0), room);
  for (const { picture } of state.panels) {
    picture.style.transform = `scale(${zoom.factor}) translate(${-100 * zoom.x}%, ${-100 * zoom.y}%)`;
  }
  $("panels").classList.toggle("zoomed", zoom.factor > 1);
  $("zoom-reset").textContent = `${Number(zoom.factor.toFixed(1))}×`;
}

// The point at (u, v) of the window, each from 0 to 1, stays where it is.
function zoomBy(factor, u = 0.5, v = 0.5) {
  const zoom = state.zoom;
  const next = Math.min(Math.max(zoom.factor * factor, 1), 16);
  zoom.x += u / zoom.factor - u / next;
  zoom.y += v / zoom.factor - v / next;
  zoom.factor = next;
  moved();
}

function pan(dx, dy) {
  state.zoom.x += dx / state.zoom.factor;
  state.zoom.y += dy / state.zoom.factor;
  moved();
}

function navigate(element) {
  const fingers = new Map();
  const place = (event) => {
    const box = element.getBoundingClientRect();
    return { u: (event.clientX - box.left) / box.width, v: (event.clientY - box.top) / box.height };
  };
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { size: Math.hypot(a.u - b.u, a.v - b.v), u: (a.u + b.u) / 2, v: (a.v + b.v) / 2 };
  };
  element.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && state.zoom.factor === 1 && event.deltaY > 0) return; // nothing to zoom out of: the page scrolls
    event.preventDefault();
    const { u, v } = place(event);
    zoomBy(event.deltaY < 0 ? 1.25 : 0.8, u, v);
  }, { passive: false });
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
  });
  element.addEventListener("pointermove", (event) => {
    const old = fingers.get(event.pointerId);
    if (!old) return;
    const before = fingers.size === 2 ? spread() : null;
    const now = place(event);
    fingers.set(event.pointerId, now);
    if (before) {
      const after = spread();
      if (before.size > 0) zoomBy(after.size / before.size, after.u, after.v);
    } else {
      pan(old.u - now.u, old.v - now.v);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    element.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  element.addEventListener("dblclick", (event) => {
    const { u, v } = place(event);
    zoomBy(2, u, v);
  });
  const keys = {
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => zoomBy(0),
    ArrowLeft: () => pan(-0.15, 0), ArrowRight: () => pan(0.15, 0), ArrowUp: () => pan(0, -0.15), ArrowDown: () => pan(0, 0.15),
  };
  element.addEventListener("keydown", (event) => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
    if (!action || (event.key.startsWith("Arrow") && state.zoom.factor === 1)) return; // the page scrolls
    event.preventDefault();
    action();
  });
}

// -- small things -----------------------------------------------------------------------------------

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function number(value) {
  if (value === null) return "no number";
  const size = Math.abs(value);
  return size !== 0 && (size < 0.001 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

const brief = (value) => (value !== 0 && Math.abs(value) < 0.001 ? value.toExponential() : String(value));

const percent = (value) => (value < 0.0001 ? "< 0.01 %" : `${(100 * value).toFixed(value < 0.1 ? 2 : 1)} %`);

function firstFile(list) {
  return [...list].find((file) => file.type.startsWith("image/")) ?? list[0];
}

async function start() {
  const model = state.model = await askJson("/api/model");
  const kind = model.input[0] === 1 ? "grey" : "colour";
  $("network").textContent = model.name;
  document.title = `${model.name} - caffe2lrp`;
  $("facts").textContent = `sees ${model.input[2]} × ${model.input[1]} pixels, ${kind}; ` +
    `${model.parameters.toLocaleString("en")} weights; pictures: ${model.preparation}`;
  const options = (names) => names.map((name) => make("option", {}, name));
  $("cmap").append(...options(model.colours), make("optgroup", { label: "matplotlib" }, ...options(model.matplotlib)));
  $("cmap").value = model.colour;
  if (model.labels) $("labels").append(...model.labels.map((label) => make("option", { value: label })));
  if (model.examples.length) {
    $("examples").hidden = false;
    $("examples").lastElementChild.append(...model.examples.map((name) => {
      const picture = make("img", { src: `/examples/${encodeURIComponent(name)}`, alt: name });
      const button = make("button", { type: "button" }, picture);
      button.addEventListener("click", async () => {
        try {
          const blob = await (await ask(picture.src)).blob();
          take(new File([blob], name, { type: "image/png" }));
        } catch (problem) {
          complain(problem);
        }
      });
      return button;
    }));
  }
  state.panels.push(new Panel("", null));
  $("panels").append(state.panels[0].root);
  recolour();

  $("file").addEventListener("change", () => {
    if ($("file").files.length) take($("file").files[0]);
    $("file").value = "";
  });
  addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    if (event.dataTransfer.files.length) take(firstFile(event.dataTransfer.files));
    else say("Drop a picture file; a picture of another page has to be saved first.", true);
  });
  addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(firstFile(event.clipboardData.files)); });
  $("other").addEventListener("submit", otherClass);
  $("cmap").addEventListener("change", recolour);
  for (const radio of document.querySelectorAll("[name=mode]")) {
    radio.addEventListener("change", () => state.panels.forEach((panel) => panel.refresh()));
  }
  $("compare").addEventListener("click", compare);
  $("zoom-in").addEventListener("click", () => zoomBy(1.5));
  $("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
  $("zoom-reset").addEventListener("click", () => zoomBy(0));
}

start().catch(complain);
