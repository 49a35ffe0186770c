// Making and finding nodes. Text only ever becomes text: nothing here parses markup.

const SVG = 'http://www.w3.org/2000/svg';

/** The element with this id; the page has it, or the page is wrong. */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * Makes an element. `props` are properties (`className`, `hidden`, `onclick`), except that names
 * with a hyphen, `role` and `for` are attributes. Children are nodes or texts; null is skipped.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes('-') || name === 'role' || name === 'for') node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An icon of the page's sprite. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'i');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Sets a text, without touching the document when it is the same. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows a message in a node that is hidden while there is none. */
export function say(node, text) {
  setText(node, text ?? '');
  node.hidden = !text;
}

/** The colour and letter that stand for a name. */
export function dress(node, name) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 997;
  node.dataset.hue = String(hash % 8);
  setText(node, (name.match(/[a-z0-9]/i)?.[0] ?? '?').toUpperCase());
  return node;
}

/** Opens a dialog; a press on its backdrop or on a `data-close` button closes it. */
export function openDialog(dialog) {
  if (dialog.open) return;
  dialog.onclick = ({ target }) => {
    if (target === dialog || target.closest('[data-close]')) dialog.close();
  };
  dialog.showModal();
}

/** Runs `work` once in the next frame, however often it is asked for before that. */
export function oncePerFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}
