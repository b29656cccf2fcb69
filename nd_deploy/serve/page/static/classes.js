// The classes of an answer as bars.

export function percent(score) {
  if (score > 0 && score < 0.001) return "< 0.1%";
  if (score < 1 && score >= 0.9995) return "> 99.9%";
  return `${(100 * score).toFixed(1)}%`;
}

export function showClasses(list, predictions) {
  list.replaceChildren(...predictions.map(row));
}

function row({ label, score }) {
  const item = document.createElement("li");
  item.append(span("label", label), span("share", percent(score)), bar(score));
  return item;
}

function bar(score) {
  const track = span("bar", ""), filled = document.createElement("span");
  track.setAttribute("aria-hidden", "true");
  // Set through the object model, which the policy on style attributes leaves alone.
  filled.style.width = `${100 * score}%`;
  track.append(filled);
  return track;
}

function span(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}
