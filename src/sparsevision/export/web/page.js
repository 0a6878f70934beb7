// Runs the model on images and frames of a camera, in the page, and shows its answer and where it looked.

import * as ort from "./runtime/ort.wasm.bundle.min.mjs";
import { read, draw, options, rows } from "./task.js";
import { stagesOf } from "./looking.js";
import { unflatten } from "./structure.js";
import { viewOf } from "./view.js";

const element = (id) => document.getElementById(id);
const canvas = element("canvas"), context = canvas.getContext("2d");
const LONGEST_DRAWN = 1280;
const state = { run: null, stage: -1, camera: null, chosen: {} };

const model = await (await fetch("model.json")).json();
element("title").textContent = model.model.model;
element("subtitle").textContent = `${model.model.labels.length} classes, told in this browser`;
document.title = `${model.model.model} - sparsevision`;
for (const [name, option] of Object.entries(options(model.model))) addOption(name, option);

ort.env.wasm.wasmPaths = { wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = crossOriginIsolated ? navigator.hardwareConcurrency : 1;
let session;
try {
  session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  element("time").textContent = "The model is ready.";
  document.documentElement.dataset.state = "ready";
} catch (error) {
  element("time").textContent = `The model cannot be loaded: ${error.message}`;
  document.documentElement.dataset.state = "failed";
}

// Returns the pixels of an image, transparent ones over white.
function pixelsOf(source, width, height) {
  const room = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  room.fillStyle = "#fff";
  room.fillRect(0, 0, width, height);
  room.drawImage(source, 0, 0, width, height);
  const { data } = room.getImageData(0, 0, width, height), rgb = new Uint8ClampedArray(width * height * 3);
  for (let at = 0; at < width * height; at++) {
    for (let channel = 0; channel < 3; channel++) rgb[at * 3 + channel] = data[at * 4 + channel];
  }
  return { data: rgb, width, height };
}

async function predict(source, width, height) {
  const start = performance.now();
  const seen = viewOf(model.model.preprocessing, pixelsOf(source, width, height));
  const input = new ort.Tensor("float32", seen.values, [1, 3, seen.height, seen.width]);
  const before = performance.now();
  const found = await session.run({ images: input });
  const after = performance.now();
  const tensors = Object.fromEntries(Object.entries(found).map(([name, { data, dims }]) => [name, { data, dims }]));
  state.run = {
    source, width, height, tensors, box: seen.box, size: [seen.height, seen.width],
    output: unflatten(model.graph.structure, tensors),
    stages: stagesOf(model.graph.observations, tensors),
    milliseconds: { model: after - before, all: after - start },
  };
  show();
  return state.run;
}

function show() {
  const { run } = state;
  if (!run) return;
  run.result = read(run, model.model, state.chosen);
  const scale = Math.min(1, LONGEST_DRAWN / Math.max(run.width, run.height));
  canvas.width = Math.round(run.width * scale);
  canvas.height = Math.round(run.height * scale);
  context.drawImage(run.source, 0, 0, canvas.width, canvas.height);
  element("hint").hidden = true;
  showStages(run.stages);
  const stage = run.stages[state.stage];
  if (stage) drawStage(stage, run.box);
  else draw(context, run.result, canvas.width / run.width, canvas.height / run.height);
  element("result").replaceChildren(tableOf(rows(run.result)));
  const { model: inside, all } = run.milliseconds;
  element("time").textContent = `${inside.toFixed(0)} ms in the model, ${all.toFixed(0)} ms with preparation`;
}

// Stages are in fractions of the part of the image that the model saw.
function drawStage(stage, [x0, y0, x1, y1]) {
  context.save();
  context.fillStyle = "rgb(8 9 12 / 0.5)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.translate(x0 * canvas.width, y0 * canvas.height);
  stage.draw(context, (x1 - x0) * canvas.width, (y1 - y0) * canvas.height);
  context.restore();
}

function showStages(stages) {
  const titles = stages.length ? ["result", ...stages.map((stage) => stage.title)] : [];
  if (element("stages").childElementCount !== titles.length) {
    element("stages").replaceChildren(...titles.map((title, number) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title;
      button.addEventListener("click", () => { state.stage = number - 1; show(); });
      return button;
    }));
  }
  [...element("stages").children].forEach((button, number) => button.setAttribute("aria-pressed", number - 1 === state.stage));
}

function tableOf(lines) {
  const table = document.createElement("table");
  for (const { label, value, color } of lines) {
    const row = table.insertRow(), name = row.insertCell();
    if (color) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = color;
      name.append(swatch);
    }
    name.append(label);
    row.insertCell().textContent = value;
  }
  return table;
}

function addOption(name, { title, least, most, step, value }) {
  const label = document.createElement("label"), input = document.createElement("input"), shown = document.createElement("span");
  Object.assign(input, { type: "range", min: least, max: most, step, value: value ?? least });
  const tell = () => { shown.textContent = state.chosen[name] === undefined ? "as trained" : state.chosen[name]; };
  input.addEventListener("input", () => { state.chosen[name] = Number(input.value); tell(); show(); });
  tell();
  label.append(title, input, shown);
  element("options").append(label);
}

async function openFile(file) {
  stopCamera();
  let image;
  try {
    image = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    element("time").textContent = `${file.name} is not an image that this browser can read.`;
    return;
  }
  await predict(image, image.width, image.height);
}

async function startCamera() {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    const video = element("video");
    video.srcObject = stream;
    await video.play();
    state.camera = stream;
    element("camera").textContent = "Stop the camera";
    while (state.camera === stream) {
      const frame = await createImageBitmap(video);
      await predict(frame, frame.width, frame.height);
      await new Promise(requestAnimationFrame);
    }
  } catch (error) {
    element("time").textContent = `The camera cannot be used: ${error.message}`;
  }
}

function stopCamera() {
  state.camera?.getTracks().forEach((track) => track.stop());
  state.camera = null;
  element("camera").textContent = "Use the camera";
}

element("file").addEventListener("change", ({ target }) => target.files[0] && openFile(target.files[0]));
element("camera").addEventListener("click", () => (state.camera ? stopCamera() : startCamera()));
element("camera").hidden = !navigator.mediaDevices;
for (const name of ["dragover", "dragleave", "drop"]) {
  element("frame").addEventListener(name, (event) => {
    event.preventDefault();
    element("frame").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
  });
}

// For tests, and for the curious at the console.
window.sparsevision = { state, predict };
