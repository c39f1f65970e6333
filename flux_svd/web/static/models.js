// The models: what fits and why, licences, downloads with rate and time left. Asks our own routes only.
window.fluxModels = (root) => {
  const { say, tell, figure } = window.fluxWords;
  const { tag, ask, watchPress } = window.fluxParts;
  const list = root.querySelector("#mod_list"), note = root.querySelector("#mod_note"), unload = root.querySelector("#mod_unload");
  const isPressed = watchPress(list);
  let timer, asked = 0, drawn = "", asking = ""; // the model whose licence is being asked about
  const became = new Map(); // what became of the last wish, by model: [words, whether it is bad]
  const gib = (bytes) => (bytes >= 2 ** 30 / 10 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`);
  const time = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min`
    : `${(seconds / 3600).toFixed(1)} h`);
  const own = (text) => tag("bdi", { text });
  const act = (what, model) => async () => {
    try {
      const data = await ask(`models/${what}`, model ? { model } : {});
      told(model, data.said ? say(data.said) : "", false);
    } catch (error) { told(model, tell(error.message), true); }
    asking = "";
    drawn = "";
    load();
  };
  const told = (model, words, bad) => {
    if (model) became.set(model, [words, bad]);
    else { note.textContent = words; note.classList.toggle("bad", bad); }
  };
  const ask_about = (model) => () => {
    asking = model;
    drawn = "";
    load().then(() => list.querySelector(`[data-model="${model || ""}"] .sure button`)?.focus());
  };
  const button = (words, action, name) => tag("button", { type: "button", class: "do edge", text: words, "aria-label": `${words}: ${name}`, onclick: action });
  const row = (model, manages) => {
    const gets = model.download || {};
    const actions = [];
    if (manages && model.state !== "ready" && !gets.running) {
      if (model.needs_consent && !model.accepted && asking === model.name) {
        actions.push(tag("div", { class: "sure", role: "group", "aria-label": say("Accept the licence") },
          tag("p", { class: "small", text: say("You agree to the {licence} as it stands.", { licence: model.licence }) }),
          button(say("Accept"), act("accept", model.name), model.title), button(say("Cancel"), ask_about(""), model.title)));
      } else if (model.needs_consent && !model.accepted) actions.push(button(say("Accept the licence"), ask_about(model.name), model.title));
      else if (model.state === "absent") actions.push(button(gets.bytes ? say("Go on downloading") : say("Download"), act("download", model.name), model.title));
    }
    if (gets.running) actions.push(button(say("Stop"), act("stop", model.name), model.title));
    const share = gets.running && gets.total ? Math.min(100, Math.round(100 * gets.bytes / gets.total)) : null;
    const progress = gets.running && tag("div", { class: "gets" },
      tag("span", {}, own(figure(`${gib(gets.bytes)} / ${gib(gets.total)}`)), gets.rate ? own(` · ${figure(`${(gets.rate / 2 ** 20).toFixed(1)} MiB/s`)}`) : "",
        gets.seconds_left ? tag("span", { text: ` · ${say("{t} left", { t: time(gets.seconds_left) })}` }) : ""),
      tag("div", { class: "meter", role: "progressbar", "aria-label": `${say("Download")}: ${model.title}`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": share },
        tag("i", { style: `width:${share}%` })));
    const states = { ready: say("Ready"), absent: say("Not on this disk"), consent: say("On this disk; its licence is not accepted yet") };
    return tag("li", { class: `model ${model.fits ? "" : "toobig"}`, "data-model": model.name },
      tag("div", { class: "who" }, tag("h3", {}, own(model.title)), tag("span", { class: "quiet" }, own([figure(gib(model.bytes)), figure(model.parameters)].join(" · ")))),
      tag("div", { class: "state" }, tag("b", { text: states[model.state] }),
        tag("span", { class: model.fits ? "quiet" : "bad" }, model.fits ? say("Fits this machine: {how}", { how: tell(model.how) }) : tell(model.how))),
      tag("div", { class: "licence" }, tag("a", { href: model.licence_url, target: "_blank", rel: "noreferrer noopener", text: model.licence }),
        tag("span", { class: "quiet", text: say(model.allows) })),
      tag("div", { class: "go" }, ...actions,
        became.get(model.name)?.[0] && tag("p", { class: became.get(model.name)[1] ? "small bad" : "small", role: "status", text: became.get(model.name)[0] }),
        model.access && tag("p", { class: "small bad", role: "alert" }, tag("span", { text: say(model.access) }), " ",
          model.access_url && tag("a", { href: model.access_url, target: "_blank", rel: "noreferrer noopener", text: model.access_url })),
        gets.problem && tag("p", { class: "small bad", role: "alert" }, own(gets.problem)),
        model.disk_problem && tag("p", { class: "small bad", text: say("Needs {need} of disk; {free} are free.", { need: gib(model.bytes), free: gib(model.disk_free) }) }),
        progress));
  };
  const load = async () => {
    clearTimeout(timer);
    const mine = ++asked;
    let data;
    try { data = await ask("models/list"); } catch (error) {
      if (mine === asked) { note.textContent = error.message; note.classList.add("bad"); }
      return;
    }
    if (mine !== asked) return; // a newer answer is on its way, or there
    const words = JSON.stringify(data);
    if (words !== drawn && isPressed()) { timer = setTimeout(load, 300); return; }
    if (words !== drawn) {
      drawn = words;
      const at = document.activeElement?.closest?.("#mod_list button")?.getAttribute("aria-label");
      list.replaceChildren(...data.models.map((model) => row(model, data.manages)));
      if (at) [...list.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === at)?.focus();
      unload.hidden = !data.loaded || !data.manages;
      root.querySelector("#mod_disk").textContent = say("{free} of disk are free.", { free: gib(data.disk_free) });
    }
    if (data.models.some((model) => model.download?.running) && root.offsetParent !== null) timer = setTimeout(load, 1000);
  };
  unload.addEventListener("click", act("unload"));
  root.querySelector("#mod_out").hidden = !document.cookie.includes("flux_svd_logged_in=1");
  new IntersectionObserver(([seen]) => { if (seen.isIntersecting) load(); }).observe(root);
};
