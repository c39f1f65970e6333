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
  let language, column, patterns, decimal;
  const load = () => {
    language = pick();
    column = table()[language] || {};
    const country = (navigator.languages || [navigator.language]).find((one) => one.startsWith(language.slice(0, 2)));
    decimal = new Intl.NumberFormat(country || "en").format(1.5).charAt(1);
    const escaped = (text) => text.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
    patterns = Object.keys(column).filter((key) => key.includes("{"))
      .sort((one, other) => other.replace(/\{\w+\}/g, "").length - one.replace(/\{\w+\}/g, "").length)
      .map((key) => ({
        key, names: [...key.matchAll(/\{(\w+)\}/g)].map((hit) => hit[1]),
        test: new RegExp("^" + escaped(key).replace(/\{[nm]\}/g, "([\\d.,]+?)").replace(/\{\w+\}/g, "(.+?)") + "$", "s"),
      }));
  };
  // A figure alone, with its unit or without, as the reader's country writes it.
  const FIGURE = /^(?!\d{4}\.\d{5}$)[-–]?\d[\d., ×·/→]*(min \d+ )?(%|s|ms|min|h|fps|dB|B|M|[KMG]iB(\/s)?)?$/; // a paper's number is none
  const figure = (text) => {
    if (!column) load();
    if (!FIGURE.test(text)) return text;
    const said = text.replace(/(\d)\.(?=\d)/g, `$1${decimal}`);
    return language === "fr" ? said.replace(/([KMG])iB/g, "$1io") : said;
  };
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => figure(String(values[name] ?? "")));
  // Say a text of the table.
  const say = (english, values = {}) => {
    if (!column) load();
    return fill(column[english] ?? english, values);
  };
  // Say what stands in the page already: a figure, a text of the table, one with values in it, or several of them joined.
  const find = (english) => {
    if (FIGURE.test(english)) return figure(english);
    if (column[english] !== undefined) return column[english];
    for (const { key, names, test } of patterns) {
      const hit = test.exec(english);
      if (hit) return fill(column[key], Object.fromEntries(names.map((name, n) => [name, find(hit[n + 1]) ?? hit[n + 1]])));
    }
    const sentences = english.split(/(?<=[.!?]) (?=[A-Z])/);
    if (sentences.length > 1) return sentences.map((part) => find(part) ?? part).join(" ");
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
    document.documentElement.style.setProperty("--say-drop", JSON.stringify(say("Drop a file, or click to choose one")));
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
  // What the server said in English, as far as the table has it.
  const tell = (english) => {
    if (!column) load();
    return find(english) ?? english;
  };
  return { say, tell, figure };
})();
