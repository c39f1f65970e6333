// The page Video: buttons on cards and strip, pictures dropped on a card, arrow keys, and the form that exports a film.
(() => {
  const say = window.fluxWords.say;

  // Tell the page which button was pressed and where; runs once for each of the page's two listeners.
  window.fluxFilm = (root, kinds, tell) => {
    const card = (index) => [...root.querySelectorAll(".card")].filter((one) => one.offsetParent)[index];
    let wanted = null; // the button that is to have the focus when its card has been drawn anew
    let until = 0; // one change after the other: the next begins with the cards as the last one left them
    const OTHER = { lock: "unlock", unlock: "lock", options: "fewer", fewer: "options", left: "right", right: "left" };
    const focus = () => {
      const all = [...root.querySelectorAll(`[data-i="${wanted.i}"]`)].filter((one) => !one.disabled && one.offsetParent);
      const find = (what) => all.find((one) => one.dataset.do === what);
      (find(wanted.what) || find(OTHER[wanted.what]))?.focus({ preventScroll: true });
    };
    const press = (button) => {
      const { do: what, i, n } = button.dataset;
      if (!kinds.includes(what) || Date.now() < until) return;
      const step = { left: -1, right: 1 }[what] || 0;
      wanted = { what, i: +i + step };
      until = Date.now() + 3000;
      tell({ do: what, i: +i, n: +(n || 0) });
      if (step) focus(); // the card is now another; its button goes with it
    };
    const send = async (file, index) => {
      const answer = await (await fetch("pictures/upload", { method: "POST", body: file })).json();
      if (answer.id) tell({ do: "give", i: index, id: answer.id });
      else card(index).querySelector(".figs").textContent = answer.error || answer.detail;
    };
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (!button || button.closest("#v_acts")) return;
      if (button.dataset.do !== "choose") press(button);
      else if (kinds.includes("give")) button.parentElement.querySelector("input[type=file]").click();
    });
    root.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
      const button = way && event.target.closest("[data-do=left],[data-do=right]");
      const other = button && button.parentElement.querySelector(`[data-do=${way}]`);
      if (!other || !kinds.includes(way)) return;
      event.preventDefault();
      if (!other.disabled) press(other);
    });
    if (kinds.includes("give")) {
      root.addEventListener("change", (event) => {
        const field = event.target;
        if (field.matches(".card input[type=file]") && field.files[0]) send(field.files[0], +field.dataset.i);
      });
      root.addEventListener("dragover", (event) => { if (event.target.closest(".card")) event.preventDefault(); });
      root.addEventListener("drop", (event) => {
        const on = event.target.closest(".card"), file = event.dataTransfer.files[0];
        if (!on || !file) return;
        event.preventDefault();
        send(file, +on.querySelector("input[type=file]").dataset.i);
      });
    }
    new MutationObserver((changes) => {
      if (changes.some((change) => change.target.closest?.("#v_film"))) until = 0; // the plan of the new cards is told
      if (wanted && document.activeElement === document.body) focus();
    }).observe(root, { childList: true, subtree: true });
    root.addEventListener("focusin", (event) => {
      if (wanted && event.target.dataset.i !== String(wanted.i)) wanted = null; // the user went on
    });
  };

  // The export form: what the chosen kind of file cannot hold is switched off.
  const fit = (form) => {
    const { crf, fps, sound } = form.format.selectedOptions[0].dataset;
    const [usual, most] = crf.split("/");
    form.crf.disabled = !crf;
    form.crf.placeholder = usual || "–";
    form.crf.max = most || "";
    form.fps.max = fps;
    form.sound.disabled = !sound;
  };
  // The area for sound: the native field lies over it unseen, so that a dropped file lands in it.
  const given = (field) => {
    const area = field.parentElement, file = field.files[0], words = area.querySelector("span");
    words.toggleAttribute("data-words", Boolean(file)); // a file's name is not ours to translate
    words.textContent = file ? file.name : say("Drop a file, or click to choose one");
    area.querySelector("button").hidden = !file;
  };
  document.addEventListener("click", (event) => {
    const field = event.target.closest("[data-ungive]")?.parentElement.querySelector("input");
    if (!field) return;
    field.value = "";
    given(field);
    field.focus();
  });
  const size = (bytes) => (bytes < 2 ** 20 ? `${(bytes / 1024).toFixed(0)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`);
  document.addEventListener("toggle", (event) => {
    const form = event.target.querySelector?.("form[data-export]");
    if (form) fit(form);
  }, true);
  document.addEventListener("change", (event) => {
    if (event.target.matches("form[data-export] select")) fit(event.target.form);
    if (event.target.matches(".give input")) given(event.target);
  });
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form[data-export]")) return;
    event.preventDefault();
    const told = form.querySelector("[role=status]"), button = form.querySelector("[type=submit]");
    const wish = new URLSearchParams({ format: form.format.value, fps: form.fps.value, densify: form.densify.checked ? "1" : "" });
    if (!form.crf.disabled) wish.set("crf", form.crf.value);
    const sound = form.sound.disabled ? undefined : form.sound.files[0];
    told.className = "small";
    told.textContent = say("Writing the film");
    button.disabled = true;
    try {
      const asked = await fetch(`exports/${form.dataset.export}/upload?${wish}`, { method: "POST", body: sound });
      const answer = await asked.json();
      if (!answer.url) throw new Error(answer.error || answer.detail || asked.statusText);
      told.textContent = `${answer.name} · ${say("{n} frames", { n: answer.frames })} · ${window.fluxWords.figure(size(answer.bytes))}`;
      location.assign(answer.url);
    } catch (error) {
      told.className = "small bad";
      told.textContent = error.message;
    } finally { button.disabled = false; }
  });
})();
