// An image is chosen, dropped or pasted, and its classes are shown.

import { percent, showClasses } from "./classes.js";
import { classify, classifyUrl, listModels, Problem, useToken } from "./server.js";
import { copy, curlLine } from "./terminal.js";

const at = (id) => document.getElementById(id);
const UNAUTHORIZED = 401;
// Images up to this size are shown pixel by pixel.
const SMALL = 96;

let file = null;
let limits = null;
let needsToken = false;
let asking = null;

async function start() {
  try {
    limits = await listModels();
  } catch (problem) {
    tell(problem);
    return;
  }
  at("token-form").hidden = true;
  tell(null);
  offer(limits.models);
  if (!limits.models.length) tell(new Problem(noModels(limits.not_ready)));
  await ask();
}

function noModels(notReady) {
  if (notReady.length) return `Not ready yet: ${notReady.join(", ")}. Load the page again later.`;
  return "No model of this server classifies images. Send tensors to /v2/models instead.";
}

function offer(models) {
  const chosen = at("model").value;
  at("model").replaceChildren(...models.map((model) => new Option(model.name)));
  if (models.some((model) => model.name === chosen)) at("model").value = chosen;
  at("model").disabled = models.length < 2;
  showLine();
}

function take(chosen) {
  if (!chosen) return;
  file = chosen;
  const preview = at("preview");
  URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.alt = `The image ${file.name}`;
  fill(true);
  at("chosen").hidden = false;
  at("file-note").textContent = `${file.name}, ${size(file.size)}`;
  showLine();
  ask();
}

function fill(isShown) {
  at("preview").hidden = !isShown;
  at("invitation").hidden = isShown;
  at("drop").classList.toggle("filled", isShown);
}

async function ask() {
  asking?.abort();
  if (!file || !at("model").value) return;
  if (file.size > limits.image_bytes) {
    clear();
    tell(new Problem(`${file.name} has ${size(file.size)}; this server takes images of up to ` +
      `${size(limits.image_bytes)}.`));
    return;
  }
  const mine = asking = new AbortController();
  at("classes").setAttribute("aria-busy", "true");
  say("Looking at the image …");
  const began = performance.now();
  try {
    const answer = await classify(at("model").value, at("top-k").value, file, mine.signal);
    if (mine.signal.aborted) return;
    show(answer.predictions, performance.now() - began);
  } catch (problem) {
    if (mine.signal.aborted) return;
    clear();
    tell(problem);
  }
}

function show(predictions, milliseconds) {
  tell(null);
  showClasses(at("classes"), predictions);
  at("classes").setAttribute("aria-busy", "false");
  const [{ label, score }] = predictions;
  say(`Answered in ${Math.max(1, Math.round(milliseconds))} ms`, `${label}, ${percent(score)}.`);
}

function clear() {
  at("classes").replaceChildren();
  at("classes").setAttribute("aria-busy", "false");
  say("");
}

// What is seen, and what only a screen reader says, for which the bars come later.
function say(seen, unseen = "") {
  at("first").textContent = unseen;
  at("status").textContent = seen;
}

function tell(problem) {
  if (problem?.status === UNAUTHORIZED) {
    askForToken();
    return;
  }
  at("problem").hidden = !problem;
  at("problem").textContent = problem ? problem.message : "";
}

function askForToken() {
  tell(needsToken ? new Problem("The server does not take this token.") : null);
  needsToken = true;
  at("token-form").hidden = false;
  at("token").value = "";
  at("token").focus();
  showLine();
}

function showLine() {
  const url = classifyUrl(at("model").value || "NAME", at("top-k").value);
  at("curl").textContent = curlLine(url, file ? file.name : "image.jpg", needsToken);
  at("copied").textContent = "";
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function fromTransfer(transfer) {
  const [image] = transfer.files;
  if (image) take(image);
  else if (transfer.types.length) tell(new Problem("That is no file: save the image first."));
}

at("file").addEventListener("change", () => take(at("file").files[0]));
at("model").addEventListener("change", () => { showLine(); ask(); });
at("top-k").addEventListener("change", () => { showLine(); ask(); });
at("copy").addEventListener("click", async () => {
  at("copied").textContent = await copy(at("curl"));
});
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(at("token").value.trim());
  start();
});
at("preview").addEventListener("load", ({ target }) => {
  target.classList.toggle("small", Math.max(target.naturalWidth, target.naturalHeight) <= SMALL);
  at("file-note").textContent =
    `${file.name}, ${target.naturalWidth} × ${target.naturalHeight}, ${size(file.size)}`;
});
at("preview").addEventListener("error", () => fill(false));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  fromTransfer(event.dataTransfer);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) fromTransfer(event.clipboardData);
});

showLine();
start();
