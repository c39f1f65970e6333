// The queue: what waits, runs and has ended. Opened from the bar; asks our own routes, and only while it is open.
window.fluxQueue = (root) => {
  const say = window.fluxWords.say, tag = window.fluxParts.tag;
  const panel = root.querySelector("#jobs"), list = panel.querySelector("ul"), note = panel.querySelector("[role=alert]");
  const isPressed = window.fluxParts.watchPress(list);
  let timer, drawn = "";
  const opener = () => document.querySelector("[data-queue]");
  const ask = async (address, method = "GET") => {
    const answer = await fetch(`api/v1/jobs${address}`, { method, cache: "no-store" });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error?.message || told.detail);
    return told;
  };
  const act = (job, action) => async () => {
    try { await ask(`/${job.id}/${action}`, "POST"); note.textContent = ""; } catch (error) { note.textContent = error.message; }
    load();
  };
  const time = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`);
  const states = {
    queued: "Waiting", running: "Running", paused: "Paused", done: "Done", failed: "Failed", cancelled: "Stopped", quarantined: "Set apart",
  };
  const actions = {
    queued: ["up", "pause", "cancel"], running: ["pause", "cancel"], paused: ["resume", "cancel"], failed: ["retry"], cancelled: ["retry"],
    quarantined: ["retry"], done: [],
  };
  const doing = {
    wait: "Waiting", load: "Loading the model", draw: "Drawing", animate: "Animating", decode: "Decoding", encode: "Writing the film",
    score: "Scoring", save: "Saving",
  };
  const words = { up: "Move up", pause: "Pause", cancel: "Cancel", resume: "Resume", retry: "Retry" };
  const standing = (job) => {
    const at = job.progress;
    if (!at) return "";
    const parts = [];
    if (job.state === "queued") parts.push(at.note ? say(at.note) : at.item ? say("{n} ahead of you", { n: at.item }) : say("next in line"));
    const counted = at.phase === "decode" ? "Decoding frame {n} of {m}" : "Step {n} of {m}";
    if (job.state === "running") parts.push(at.steps ? say(counted, { n: at.step, m: at.steps }) : say(doing[at.phase]));
    if (job.state === "running" && at.note) parts.push(say(at.note));
    if (at.seconds_left) parts.push(say(job.state === "running" ? "{t} left" : "about {t}", { t: time(at.seconds_left) }));
    return parts.join(" · ");
  };
  const row = (job) => tag("li", { "data-id": job.id, class: job.state },
    job.results[0]?.kind === "image" && tag("img", { src: job.results[0].url, alt: "", loading: "lazy" }),
    job.results[0]?.kind === "video" && tag("video", { src: job.results[0].url, muted: true, preload: "metadata", "aria-hidden": "true" }),
    tag("div", {}, tag("b", { text: say(states[job.state]) }), " ",
      tag("span", { class: "quiet", text: job.ended ? ago(job) : standing(job) })),
    tag("bdi", { text: job.prompt + (job.prompt.length >= 80 ? "…" : "") }), // the first words of a long one
    job.reason && tag("div", { class: "small bad" }, tag("bdi", { text: job.reason })),
    job.next && job.state !== "cancelled" && job.next !== "Resume it." && tag("div", { class: "small", text: say(job.next) }),
    tag("div", { class: "acts" }, tag("a", { class: "do", href: `?job=${job.id}`, text: say("Show"), "aria-label": `${say("Show")}: ${job.prompt}` }),
      ...actions[job.state].map((action) => tag("button", {
        type: "button", class: "do", "data-act": action, text: say(words[action]), "aria-label": `${say(words[action])}: ${job.prompt}`,
        onclick: act(job, action),
      }))));
  const SHOWN = 5; // of those that have ended
  const ago = (job) => {
    const minutes = Math.max(0, Math.round((Date.now() / 1000 - job.ended) / 60));
    const format = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { style: "short" });
    return minutes < 60 ? format.format(-minutes, "minute") : minutes < 1440 ? format.format(-Math.round(minutes / 60), "hour")
      : format.format(-Math.round(minutes / 1440), "day");
  };
  // What runs, then what waits or rests, then the last that ended.
  const sorted = (jobs) => {
    const rank = (job) => (job.state === "running" ? 0 : job.ended ? 2 : 1);
    const all = [0, 1, 2].map((which) => jobs.filter((job) => rank(job) === which));
    return [...all[0], ...all[1], ...all[2].slice(0, SHOWN)];
  };
  const load = async () => {
    clearTimeout(timer);
    if (panel.hidden) return;
    try {
      const told = await ask("?limit=30"), now = JSON.stringify(told);
      if (now !== drawn && !isPressed()) {
        drawn = now;
        const at = document.activeElement?.closest?.("#jobs [data-act],#jobs a");
        const where = at && [at.closest("li")?.dataset.id, at.dataset.act || ""];
        list.replaceChildren(...sorted(told.jobs).map(row));
        if (!told.jobs.length) list.append(tag("li", { class: "quiet", text: say("No jobs yet.") }));
        if (where) list.querySelector(`[data-id="${where[0]}"] ${where[1] ? `[data-act="${where[1]}"]` : "a"}`)?.focus();
      }
    } catch { /* the server is being restarted: keep what is shown */ }
    timer = setTimeout(load, 2000);
  };
  const open = (is) => {
    panel.hidden = !is;
    opener()?.setAttribute("aria-expanded", is);
    if (is) { load(); panel.focus(); } else { clearTimeout(timer); note.textContent = ""; opener()?.focus(); }
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-queue]")) open(panel.hidden);
    else if (event.target.closest("#jobs [data-close]")) open(false);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || panel.hidden) return;
    event.stopImmediatePropagation(); // it closes the queue and does not stop the work as well
    open(false);
  }, true);
};
