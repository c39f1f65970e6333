// The page in the browser's language. The table comes with Gradio's own configuration; English is its key.
window.fluxWords = (() => {
  const table = () => window.gradio_config?.i18n_translations || {};
  const pick = () => {
    const known = Object.keys(table());
    for (const wanted of navigator.languages || [navigator.language]) {
      const found = known.find((one) => one.split("-")[0] === wanted.toLowerCase().split("-")[0]);
      if (found) return found;
    }
    return "en";
  };
  let language, column, patterns;
  const load = () => {
    language = pick();
    column = table()[language] || {};
    const escaped = (text) => text.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
    patterns = Object.keys(column).filter((key) => key.includes("{"))
      .sort((one, other) => other.replace(/\{\w+\}/g, "").length - one.replace(/\{\w+\}/g, "").length)
      .map((key) => ({
        key, names: [...key.matchAll(/\{(\w+)\}/g)].map((hit) => hit[1]),
        test: new RegExp("^" + escaped(key).replace(/\{[nm]\}/g, "([\\d.,]+?)").replace(/\{\w+\}/g, "(.+?)") + "$", "s"),
      }));
  };
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  // Say a text of the table.
  const say = (english, values = {}) => {
    if (!column) load();
    return fill(column[english] ?? english, values);
  };
  // Say what stands in the page already: a text of the table, one with values in it, or several joined by " · " or "; ".
  const find = (english) => {
    if (column[english] !== undefined) return column[english];
    for (const { key, names, test } of patterns) {
      const hit = test.exec(english);
      if (hit) return fill(column[key], Object.fromEntries(names.map((name, n) => [name, find(hit[n + 1]) ?? hit[n + 1]])));
    }
    if (english.includes(" · ")) return english.split(" · ").map((part) => find(part) ?? part).join(" · ");
    if (english.includes("; ")) return english.split("; ").map((part) => find(part) ?? part).join("; ");
    if (english.includes("\n")) return english.split("\n").map((part) => find(part) ?? part).join("\n");
    return null;
  };
  const OWN = "bdi:not([data-said]),code,script,style,textarea,[data-words]"; // words of users, names and figures
  const NAMES = ["aria-label", "placeholder", "title"];
  const turned = new WeakMap(); // what was written here, by place: a translation may look like English ("Étapes :") and grow forever
  const isOurs = (node, place, words) => turned.get(node)?.[place] === words;
  const write = (node, place, words) => turned.set(node, { ...turned.get(node), [place]: words });
  const turnText = (node) => {
    const english = node.nodeValue.trim();
    if (!english || isOurs(node, "text", node.nodeValue) || node.parentElement?.closest(OWN)) return;
    const found = find(english);
    if (found === null || found === english) return;
    node.nodeValue = node.nodeValue.replace(english, () => found);
    write(node, "text", node.nodeValue);
  };
  const turnNames = (element) => {
    for (const name of NAMES) {
      const english = element.getAttribute(name);
      const found = english && !isOurs(element, name, english) && find(english);
      if (!found || found === english) continue;
      element.setAttribute(name, found);
      write(element, name, found);
    }
  };
  const turn = (root) => {
    if (root.nodeType === Node.TEXT_NODE) return turnText(root);
    if (root.nodeType !== Node.ELEMENT_NODE) return;
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    for (let node = root; node; node = walk.nextNode()) {
      if (node.nodeType === Node.TEXT_NODE) turnText(node); else turnNames(node);
    }
  };
  const begin = () => {
    load();
    document.documentElement.lang = language;
    if (language === "en") return;
    turn(document.body);
    // Before the browser draws: what Gradio puts into the page is turned in the same moment.
    new MutationObserver((changes) => changes.forEach((change) => {
      if (change.type === "childList") change.addedNodes.forEach(turn);
      else if (change.type === "characterData") turnText(change.target);
      else turnNames(change.target);
    })).observe(document.body, { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: NAMES });
  };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", begin); else begin();
  return { say };
})();
