"use strict";
// Pictures are sent one a request, a few at a time; the server makes batches of them.
const AT_A_TIME = 4;
const PATIENT = 60; // times that a picture is sent again where the server has no room for it
const WIDTH = 300, HEIGHT = 70, FLOOR = 54; // of a chart, in its own units

const one = id => document.getElementById(id);
const waiting = [];
let model = null, token = "", sending = 0, sent = 0, done = 0;

// The token comes after the #, which no server and no log gets to see, and goes from the address at once.
function takeToken() {
  if (location.hash.length > 1) {
    sessionStorage.setItem("token", decodeURIComponent(location.hash.slice(1)));
    history.replaceState(null, "", location.pathname);
  }
  token = sessionStorage.getItem("token") || "";
}

function asked(address, how = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  return fetch(address, { ...how, headers });
}

function say(text) {
  one("problem").textContent = text;
  one("problem").hidden = !text;
}

async function learn() {
  const answer = await asked("v1/model");
  const needed = answer.status === 401;
  one("ask").hidden = !needed;
  one("drop").hidden = needed;
  if (!answer.ok) {
    say(needed ? (token ? "That is not the server's token." : "") : (await answer.json()).detail);
    return;
  }
  say("");
  model = await answer.json();
  one("table").textContent = model.reason || `The grey columns are the human scores of ${model.table}: `
    + `${model.pictures.toLocaleString("en")} pictures. The line is where a picture's score stands among them.`;
}

function put(parent, kind, text = "", name = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  if (name) element.className = name;
  parent.append(element);
  return element;
}

function drawn(chart, kind, facts, text = "") {
  const shape = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(facts)) shape.setAttribute(name, value);
  shape.textContent = text;
  chart.append(shape);
  return shape;
}

// How the table's human scores lie, with the interval and the score of one picture.
function chart(parent, found) {
  const [low, high] = model.scale;
  const across = mos => Math.max(0, Math.min(1, (mos - low) / (high - low))) * WIDTH;
  const svg = drawn(parent, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  svg.setAttribute("aria-label", `${found.score.toFixed(1)} on a scale of ${low} to ${high}`);
  const most = Math.max(1, ...model.counts), width = WIDTH / Math.max(1, model.counts.length);
  model.counts.forEach((count, n) => {
    const height = count / most * FLOOR;
    drawn(svg, "rect", { x: n * width, y: FLOOR - height, width: width * 0.9, height, class: "bin" });
  });
  if (found.low !== null && found.high !== null) {
    const left = across(found.low);
    drawn(svg, "rect", { x: left, y: 0, width: across(found.high) - left, height: FLOOR, class: "range" });
  }
  const x = across(found.score);
  drawn(svg, "line", { x1: x, x2: x, y1: 0, y2: FLOOR, class: "here" });
  drawn(svg, "text", { x: 0, y: HEIGHT - 3, class: "axis" }, low);
  drawn(svg, "text", { x: WIDTH, y: HEIGHT - 3, class: "axis", "text-anchor": "end" }, high);
}

function show(item, found) {
  item.dataset.score = found.score === null ? "-Infinity" : found.score;
  if (found.score === null) {
    put(item, "div", `no score: ${found.status.replace("_", " ")}`, "mos");
    put(item, "div", found.reason, "faint reason");
  } else {
    put(item, "div", found.score.toFixed(1), "mos");
    if (found.low !== null && found.high !== null) {
      const share = Math.round(model.level * 100);
      put(item, "div", `${share} % interval: ${found.low.toFixed(1)} to ${found.high.toFixed(1)}`, "interval");
    }
    if (found.stands.percentile !== null) {
      put(item, "div", `above ${found.stands.percentile.toFixed(0)} % of ${found.stands.table}`, "stands");
    }
    if (found.reason) put(item, "div", found.reason, "faint reason");
    chart(item, found);
  }
}

const pause = seconds => new Promise(end => setTimeout(end, 1000 * seconds));

async function score(file) {
  for (let again = 0; again < PATIENT; again++) {
    const form = new FormData();
    form.append("files", file, file.name);
    const answer = await asked("v1/score", { method: "POST", body: form });
    if (answer.status === 429) {
      await pause(Number(answer.headers.get("Retry-After")) || 1);
      continue;
    }
    const said = await answer.json();
    return said.pictures && said.pictures[0] || { score: null, status: "refused", reason: said.detail };
  }
  return { score: null, status: "refused", reason: "the server had no room for it" };
}

function begun(file) {
  const item = put(one("scored"), "li");
  const frame = put(item, "div", "", "thumbnail"), image = put(frame, "img");
  image.alt = file.name;
  image.onload = () => URL.revokeObjectURL(image.src);
  image.onerror = () => { image.remove(); put(frame, "span", "no preview here", "faint"); };
  image.src = URL.createObjectURL(file);
  put(item, "bdi", file.name, "name");
  return item;
}

async function next() {
  if (!waiting.length || sending >= AT_A_TIME) return;
  sending++;
  const file = waiting.shift(), item = begun(file);
  try {
    show(item, await score(file));
  } catch (error) { // the server is gone
    show(item, { score: null, status: "not sent", reason: String(error) });
  }
  sending--;
  done++;
  one("progress").textContent = `${done} of ${sent}`;
  one("sorting").hidden = done < 2;
  next();
}

function add(files) {
  if (!model) return;
  waiting.push(...files);
  sent += files.length;
  for (let n = 0; n < AT_A_TIME; n++) next();
}

function sort() {
  const items = [...one("scored").children].filter(item => item.dataset.score);
  items.sort((a, b) => b.dataset.score - a.dataset.score);
  one("scored").append(...items);
}

function over(event) {
  event.preventDefault();
  one("drop").classList.toggle("over", event.type === "dragover");
}

for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, over);
document.addEventListener("drop", event => add(event.dataTransfer.files));
one("files").addEventListener("change", event => { add([...event.target.files]); event.target.value = ""; });
one("sort").addEventListener("click", sort);
one("enter").addEventListener("click", () => {
  sessionStorage.setItem("token", one("token").value.trim());
  takeToken();
  learn();
});
takeToken();
learn().catch(error => say(`The server does not answer: ${error}`));
