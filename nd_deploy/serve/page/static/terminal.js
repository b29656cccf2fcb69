// The line that does the same from a terminal.

export function curlLine(url, name, needsToken) {
  const shown = needsToken ? '-H "Authorization: Bearer $TOKEN" ' : "";
  return `curl ${shown}--data-binary ${quoted(`@${name}`)} ${quoted(url)}`;
}

export async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return "Copied.";
  } catch {
    // Browsers give the clipboard to pages of https and of this machine only.
    getSelection().selectAllChildren(element);
    return "The line is selected: copy it with the keyboard or the menu.";
  }
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
