// Keyboard, arrow keys in choice rows, the clipboard, and the words of the bar. No request leaves this server.
(() => {
  const say = window.fluxWords.say;
  const shown = (id) => [...document.querySelectorAll(id)].find((e) => e.offsetParent !== null && !e.disabled);
  const press = (...ids) => ids.map(shown).find(Boolean);

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
      const start = press("#gen", "#anim");
      if (start) { event.preventDefault(); start.click(); }
    } else if (event.key === "Escape") {
      const stop = press("#stop", "#v_stop");
      if (stop) stop.click();
    }
    // Gradio gives each radio of a row its own name, so the browser does not move between them.
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && event.target.matches(".seg input")) {
      const all = [...event.target.closest(".seg").querySelectorAll("input")];
      const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
      event.preventDefault(); next.focus(); next.click();
    }
  });

  // Where work ends with its page, the browser asks before it leaves one that works.
  addEventListener("beforeunload", (event) => {
    if (document.querySelector("[data-keep]") && document.querySelector("#stop, #v_stop")) event.preventDefault();
  });

  // What stands in the two forms lies in this browser's storage (drafts.py) until the next visit, or until its user logs out.
  const DRAFTS = ["create", "video"], slot = (name) => `flux_svd ${name}`;
  const stored = (act) => { try { return act(); } catch { return null; } }; // a browser may keep nothing
  window.fluxDrafts = { read: () => DRAFTS.map((name) => stored(() => localStorage.getItem(slot(name)))) };
  const keep = () => document.querySelectorAll("[data-draft]:not([data-told])").forEach((mark) => {
    mark.dataset.told = 1;
    stored(() => localStorage.setItem(slot(mark.dataset.draft), mark.dataset.kept));
  });
  document.addEventListener("submit", (event) => {
    if (event.target.matches("#mod_out")) DRAFTS.forEach((name) => stored(() => localStorage.removeItem(slot(name))));
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const words = button.innerHTML;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: button.dataset.copy });
      document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
    }
    button.textContent = say("Copied");
    setTimeout(() => { button.innerHTML = words; }, 1500);
  });

  // The film, here or in the library: its controls stand under the picture.
  const FILM = "#v_mon, .film", PLAYED = "#v_mon video, .film video";
  const filmOf = (control) => control.closest(FILM).querySelector("video");
  const follow = (video) => {
    const row = video.closest(FILM).querySelector(".ctl"), play = row.querySelector("[data-play]");
    const frame = Math.min(+video.dataset.frames, Math.floor(video.currentTime * video.dataset.fps + 0.01) + 1);
    row.querySelector("input").value = frame;
    row.querySelector("b,bdi").textContent = frame;
    play.classList.toggle("i-play", video.paused);
    play.classList.toggle("i-pause", !video.paused);
    play.setAttribute("aria-label", say(video.paused ? "Play" : "Pause"));
  };
  const turn = (video) => (video.paused ? video.play() : video.pause());
  document.addEventListener("click", (event) => {
    const at = (what) => event.target.closest(what);
    if (at("[data-play]")) turn(filmOf(at("[data-play]")));
    else if (at("video")?.matches(PLAYED)) turn(at("video"));
    else if (at("[data-full]")) filmOf(at("[data-full]")).requestFullscreen();
  });
  document.addEventListener("input", (event) => {
    if (!event.target.matches(".ctl input")) return;
    const video = filmOf(event.target);
    video.pause();
    video.currentTime = (event.target.value - 0.5) / video.dataset.fps;
  });
  for (const kind of ["timeupdate", "play", "pause", "seeked"]) {
    document.addEventListener(kind, (event) => { if (event.target.matches(PLAYED)) follow(event.target); }, true);
  }

  // A refused value is marked at its field, also for those who do not see the ring.
  const mark = () => {
    const bad = new Set([...document.querySelectorAll("[data-bad]")].filter((e) => e.offsetParent).map((e) => e.dataset.bad));
    document.querySelectorAll("[id^=f_]").forEach((box) => box.querySelectorAll("input,textarea").forEach((field) => {
      const is = bad.has(box.id.slice(2));
      if (is !== (field.getAttribute("aria-invalid") === "true")) {
        if (is) field.setAttribute("aria-invalid", "true"); else field.removeAttribute("aria-invalid");
      }
    }));
  };
  // Buttons and fields that are called the same in every card get a name that says which.
  const name = () => document.querySelectorAll(".card").forEach((card, index) => {
    for (const [which, words] of [["[id$=-seed] input", "Seed of stage {n}"], ["[id$=-length] input", "Frames from stage {n} to the next"]]) {
      const found = card.querySelector(which), full = say(words, { n: index + 1 });
      if (found && found.getAttribute("aria-label") !== full) found.setAttribute("aria-label", full);
    }
  });
  // A choice is called "name", then its figures on lines of their own: they get an element, however many lines the name takes.
  // The name stays in Gradio's own text node, which it writes anew.
  const part = () => document.querySelectorAll(".seg label span").forEach((span) => {
    const words = span.firstChild;
    if (!words?.nodeValue?.includes("\n")) return;
    const [name, ...figures] = words.nodeValue.split("\n");
    words.nodeValue = name;
    (span.querySelector("small") || span.appendChild(document.createElement("small"))).textContent = figures.join("\n");
  });
  // One lasting live region: a status line that is redrawn with every step would be read out with every step, or never.
  const region = Object.assign(document.createElement("div"), { id: "say", role: "status" });
  region.setAttribute("aria-live", "polite");
  const tell = () => {
    const line = [...document.querySelectorAll("#stat .line, #v_stat .line")].find((e) => e.offsetParent !== null);
    if (!line) return;
    const words = line.parentElement.querySelector(".meter") ? say("Working") : line.innerText.replaceAll("\n", ", ");
    if (region.textContent !== words) region.textContent = words;
  };
  const ask = async () => {
    if (document.hidden) return;
    try {
      const words = (await (await fetch("status", { cache: "no-store" })).json()).queue;
      const place = document.querySelector("#bar .queue");
      if (place && place.textContent !== words) place.textContent = words;
    } catch { /* the server is being restarted: keep the last words */ }
  };
  // Until the server has answered, a page whose address names a job says what it is about to show.
  let isToOpen = new URL(location.href).searchParams.has("job");
  const open = () => {
    const line = isToOpen && document.querySelector("#stat .line");
    if (!line) return;
    isToOpen = false;
    line.querySelector("b").textContent = say("Opening the job");
    line.querySelector(".quiet").textContent = "";
  };
  const begin = () => {
    part();
    new MutationObserver(() => { mark(); name(); tell(); keep(); open(); }).observe(document.body, { childList: true, subtree: true });
    new MutationObserver(part).observe(document.body, { childList: true, subtree: true, characterData: true });
    document.body.append(region);
    document.addEventListener("visibilitychange", ask);
    setInterval(ask, 3000);
  };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", begin); else begin();
})();
