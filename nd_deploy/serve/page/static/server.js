// What the page asks its server, with every failure in words.

const NO_ANSWER = "The server does not answer. Is it still running?";

// Of this page in this tab, and never stored.
let token = "";

export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export function useToken(text) {
  token = text;
}

export function classifyUrl(model, topK) {
  const path = `v1/models/${encodeURIComponent(model)}/classify?top_k=${topK}`;
  return new URL(path, document.baseURI).href;
}

export function listModels() {
  return ask(new URL("v1/models", document.baseURI).href, {});
}

export function classify(model, topK, file, signal) {
  return ask(classifyUrl(model, topK), { method: "POST", body: file, signal });
}

async function ask(url, request) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response, text;
  try {
    response = await fetch(url, { ...request, headers, cache: "no-store" });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(NO_ANSWER);
  }
  const answer = parsed(text);
  if (response.ok && answer) return answer;
  throw new Problem(words(answer, response.status), response.status);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function words(answer, status) {
  const said = answer && typeof answer.error === "string" ? answer.error : "";
  if (!said) return `The server answers with status ${status} and says no more.`;
  const sentence = said[0].toUpperCase() + said.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}
