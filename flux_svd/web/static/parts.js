// What all pages build with: an element with what is in it, and a question to our own routes.
window.fluxParts = (() => {
  // An attribute of false or nothing is left out, "text" is its text, "on…" listens.
  const tag = (name, attributes = {}, ...inside) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === false || value === null || value === undefined) continue;
      if (key === "text") element.textContent = value;
      else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...inside.filter(Boolean));
    return element;
  };
  // Asks with GET, or posts what is told; a refusal is thrown with the words of the server.
  const ask = async (address, told) => {
    const answer = await fetch(address, told === undefined ? { cache: "no-store" } : {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(told),
    });
    const data = await answer.json();
    if (!answer.ok) throw new Error(data.detail);
    return data;
  };
  // Returns whether a finger is down on the element: what changes under it would swallow its press.
  const watchPress = (element) => {
    let down = false;
    element.addEventListener("pointerdown", () => { down = true; });
    for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { down = false; });
    return () => down;
  };
  return { tag, ask, watchPress };
})();
