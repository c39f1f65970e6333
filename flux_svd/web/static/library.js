// The library: a grid that grows while one scrolls, one result at a time or several, the trash. Asks our own routes only.
window.fluxLibrary = (root, tell) => {
  const { say, tell: inWords, figure } = window.fluxWords, tag = window.fluxParts.tag;
  const ask = (address, told) => window.fluxParts.ask(`library/${address}`, told);
  const $ = (what) => root.querySelector(what);
  const grid = $("#lib_grid"), bar = $("#lib_chosen"), sheet = $("#lib_sheet"), note = $("#lib_note"), end = $("#lib_end");
  let items = [], more = true, busy = false, question = 0, inTrash = false, choosing = false;
  const chosen = new Set();

  const own = (text) => tag("bdi", { text });
  const told = (text, bad = false) => { note.textContent = text; note.classList.toggle("bad", bad); };
  const guarded = (action) => async (...given) => {
    try { await action(...given); } catch (error) { told(error.message, true); }
  };
  const day = (made) => {
    const then = new Date(made * 1000), today = new Date();
    const days = Math.round((new Date(today.toDateString()) - new Date(then.toDateString())) / 86400000);
    if (days === 0) return say("Today");
    if (days === 1) return say("Yesterday");
    return then.toLocaleDateString(document.documentElement.lang, { year: "numeric", month: "long", day: "numeric" });
  };
  const length = (item) => (item.seconds ? `${item.seconds} s` : "");

  // What is asked for.
  const filters = () => {
    const value = (name) => $(`[name=${name}]:checked, select[name=${name}], input[name=${name}]:not([type=radio])`);
    const day = (name, plus) => {
      const text = value(name).value;
      return text ? new Date(`${text}T00:00`).getTime() / 1000 + plus : "";
    };
    return {
      words: value("lib_words").value, kind: value("lib_kind").value, order: value("lib_order").value,
      model: value("lib_model").value, score: value("lib_score").value, starred: $("#lib_starred").checked ? "1" : "",
      keyframes: $("#lib_keys").checked ? "1" : "",
      since: day("lib_since", 0), until: day("lib_until", 86400),
    };
  };
  const load = guarded(async (fresh) => {
    if (fresh) { items = []; more = true; question += 1; busy = false; grid.replaceChildren(); chosen.clear(); count(); }
    if (busy || !more) return;
    busy = true;
    const mine = question;
    try {
      const data = inTrash ? { ...(await ask("trash")), more: false }
        : await ask(`items?${new URLSearchParams({ ...filters(), offset: items.length })}`);
      if (mine !== question) return;
      more = data.more;
      if (data.models) models(data.models);
      draw(data.items);
      if (!items.length) empty(data.nameless);
    } finally { if (mine === question) busy = false; }
    if (more && end.getBoundingClientRect().top < innerHeight + 800) load();
  });
  const models = (names) => {
    const list = $("[name=lib_model]");
    if (list.options.length === 1) list.append(...names.map((name) => tag("option", { value: name, text: name })));
  };
  const empty = (nameless) => {
    const asked = Object.entries(filters()).some(([key, value]) => value && key !== "order");
    const words = nameless ? say("Your browser sends this page no cookie, so it cannot tell what is yours: download what you want to keep.")
      : inTrash ? say("The trash is empty.")
      : asked ? say("Nothing matches. Clear the search to see all.") : say("What you make appears here.");
    grid.append(tag("p", { class: "quiet", text: words }));
  };

  // The grid: rows of one height, pictures uncropped, words under them.
  const draw = (found) => {
    for (const item of found) {
      const index = items.push(item) - 1, name = inTrash ? day(item.at) : $("[name=lib_order]").value === "best" ? "" : day(item.made);
      let rows = grid.lastElementChild;
      if (!rows || rows.dataset.day !== name) {
        if (name) grid.append(tag("h3", { class: "day", text: name }));
        rows = tag("div", { class: "rows", "data-day": name, role: "list" });
        grid.append(rows);
      }
      rows.append(cell(item, index));
    }
  };
  const cell = (item, index) => {
    const ratio = Math.min(3, Math.max(0.4, (item.width || 1) / (item.height || 1)));
    const address = inTrash ? `library/trash/${item.id}/thumb` : `library/thumb/${item.id}`;
    const image = tag("img", { src: item.id ? address : null, alt: item.alt || item.prompt, loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(tag("span", { class: "ghost", text: say("Cannot be shown") })));
    if (inTrash) {
      image.addEventListener("load", () => { box.style.setProperty("--r", image.naturalWidth / image.naturalHeight); });
      const box = tag("div", { class: "it", role: "listitem", style: `--r:${ratio}` }, image,
        tag("div", { class: "m" }, own(item.prompt), tag("button", { type: "button", class: "do link", text: say("Restore"),
          "aria-label": `${say("Restore")}: ${item.prompt}`, onclick: guarded(async () => {
            await ask("restore", { ids: [item.id] }); box.remove(); told(say("Restored."));
          }) })));
      return box;
    }
    const star = tag("i", { class: "ic i-star", hidden: !item.starred });
    const label = [item.prompt, item.kind === "video" ? say("film") : "", item.starred ? say("starred") : ""].filter(Boolean).join(", ");
    const button = tag("button", { type: "button", class: "pick", "aria-label": label, "aria-pressed": choosing ? "false" : null,
      onclick: () => (choosing ? choose(index) : open(index)) }, item.id ? image : tag("span", { class: "ghost", text: say("Missing") }));
    return tag("div", { class: "it", role: "listitem", style: `--r:${ratio}`, "data-at": index }, button,
      tag("div", { class: "m" }, own(item.prompt || "–"), tag("span", {}, item.problem ? tag("b", { class: "bad", text: "!", title: item.problem }) : "", star, figure(length(item)))));
  };
  const at = (index) => grid.querySelector(`[data-at="${index}"]`);

  // Several at once.
  const choose = (index) => {
    if (!items[index].id) return;
    if (!chosen.delete(index)) chosen.add(index);
    at(index).querySelector(".pick").setAttribute("aria-pressed", chosen.has(index));
    count();
  };
  const count = () => {
    bar.hidden = !choosing;
    $("#lib_count").textContent = say("{n} selected", { n: chosen.size });
    bar.querySelectorAll("[data-many]").forEach((button) => { button.disabled = !chosen.size; });
    bar.querySelector("[data-many=compare]").disabled = chosen.size !== 2;
  };
  const choosy = (on) => {
    choosing = on; chosen.clear(); count();
    $("#lib_select").setAttribute("aria-pressed", on);
    grid.querySelectorAll(".pick").forEach((button) => {
      if (on) button.setAttribute("aria-pressed", "false"); else button.removeAttribute("aria-pressed");
    });
  };
  const ids = () => [...chosen].map((index) => items[index].id);
  const many = {
    star: async () => { await star([...chosen], true); told(say("Starred.")); },
    zip: async () => { const { url } = await ask("zip", { ids: ids() }); location.assign(url); },
    delete: async () => {
      const n = chosen.size;
      await ask("delete", { ids: ids() });
      choosy(false); await load(true); told(say("{n} moved to the trash.", { n }));
    },
    compare: async () => compare(...[...chosen].sort((one, other) => one - other).map((index) => items[index])),
    done: async () => choosy(false),
  };
  const star = async (indices, starred) => {
    await ask("star", { ids: indices.map((index) => items[index].id), starred });
    for (const index of indices) {
      items[index].starred = starred;
      at(index).querySelector(".i-star").hidden = !starred;
    }
  };

  // One result.
  const match = (item) => (item.score === null ? "" : [say("Match {v}", { v: item.score.toFixed(2) }),
    item.kind === "video" && say("mean of all frames")].filter(Boolean).join(", "));
  const fact = (what, ...value) => tag("li", {}, tag("span", { text: what }), tag("div", {}, ...value.filter(Boolean)));
  const media = (item, fit = "") => {
    if (item.kind === "image") return tag("img", { src: item.address, alt: item.alt, class: fit });
    if (!item.frames) return tag("video", { src: item.address, controls: true, "aria-label": item.alt }); // of another version
    const video = tag("video", { src: item.address, loop: true, playsinline: true, preload: "auto", "aria-label": item.alt,
      "data-fps": item.fps, "data-frames": item.frames });
    video.muted = true;
    return tag("div", { class: "film" }, video, tag("div", { class: "ctl" },
      tag("button", { type: "button", class: "do icb i-play", "data-play": "", "aria-label": say("Play") }),
      tag("input", { type: "range", min: 1, max: item.frames, value: 1, "aria-label": say("Frame") }),
      tag("span", {}, own("1"), ` / ${item.frames}`),
      tag("button", { type: "button", class: "do icb i-full", "data-full": "", "aria-label": say("Full screen") })));
  };
  const show = (title, ...inside) => {
    sheet.replaceChildren(tag("div", { class: "sheet" },
      tag("header", {}, tag("h2", { id: "lib_title", text: title }),
        tag("button", { type: "button", class: "do", text: say("Close"), onclick: () => sheet.close() })), ...inside));
    if (!sheet.open) sheet.showModal();
  };
  const open = (index) => look(items[index], index);
  const look = guarded(async (item, index) => {
    if (!item.id) { told(item.problem, true); return; }
    const all = await ask(`item/${item.id}`);
    const go = (what) => guarded(async () => { sheet.close(); tell({ do: what, id: item.id }); });
    const still = item.kind === "image";
    const button = (words, action, extra = {}) => tag("button", { type: "button", class: "do edge", text: words, onclick: action, ...extra });
    const starred = index !== undefined && button(item.starred ? say("Take star away") : say("Star"), guarded(async () => {
      await star([index], !item.starred);
      starred.textContent = item.starred ? say("Take star away") : say("Star");
    }));
    const scores = all.run.scores || {};
    const time = new Date(item.made * 1000).toLocaleString(document.documentElement.lang);
    show(still ? say("Picture") : say("Film"), tag("div", { class: "one" },
      tag("div", { class: "well big" }, media(item)), tag("div", {},
      tag("p", { class: "words" }, own(item.prompt)),
      tag("div", { class: "acts2" },
        button(say("Use all settings"), go("all")), button(say("Use all but the seed"), go("remix")),
        still && button(say("Use as reference"), go("reference")), still && button(say("Use as keyframe"), go("keyframe")),
        starred, tag("a", { class: "do edge", href: `${item.address}?download`, download: true, text: say("Download") }),
        button(say("Move to trash"), guarded(async () => {
          await ask("delete", { ids: [item.id] }); sheet.close(); await load(true); told(say("{n} moved to the trash.", { n: 1 }));
        }))),
      all.keyframes.length > 0 && tag("div", { class: "keys2", role: "group", "aria-label": say("Keyframes") }, ...all.keyframes.map((key, n) =>
        tag("button", { type: "button", class: "pick", "aria-label": `${say("Keyframe {n}", { n: n + 1 })}: ${key.prompt}`, onclick: () => look(key) },
          tag("img", { src: `library/thumb/${key.id}`, alt: "" })))),
      item.problem && tag("p", { class: "small bad", text: item.problem }),
      tag("ul", { class: "facts" },
        fact(say("Made"), own(time)), fact(say("Model"), own(item.model)),
        fact(say("Size"), own([`${item.width} × ${item.height}`, figure(length(item))].filter(Boolean).join(" · "))),
        item.score !== null && fact(say("Match"), own([figure(item.score.toFixed(2)), item.kind === "video" && say("mean of all frames"),
          scores.scorer].filter(Boolean).join(" · "))),
        all.run.seconds !== undefined && fact(say("Took"), own(`${figure(`${all.run.seconds.toFixed(1)} s`)} · ${all.run.device || ""}`)),
        fact(say("File"), own(`${all.name} · ${figure(`${(all.bytes / 1024).toFixed(0)} KiB`)}`)),
        all.licence && fact(say("Licence"), tag("a", { href: all.licence_url, target: "_blank", rel: "noreferrer noopener", text: all.licence })),
        fact(say("Provenance"), own(`${say("made by a model, and marked so in the file")} · SHA-256 ${all.sha256.slice(0, 16)}…`))),
      all.made_with.length > 0 && tag("details", {}, tag("summary", { text: say("How it was made") }),
        tag("ul", { class: "facts" }, ...all.made_with.map((row) => fact(inWords(row.what), row.own && own(row.own),
          row.said && tag("div", { class: row.own ? "quiet" : "" }, own(inWords(row.said))))))),
      tag("div", { class: "acts2" }, tag("button", { type: "button", class: "do", "data-copy": JSON.stringify(all.request, null, 1),
        text: say("Copy settings") })))));
  });
  const compare = (one, other) => {
    const both = one.kind === "image" && other.kind === "image";
    const slider = tag("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": say("Where the pictures meet") });
    const pair = both
      ? tag("div", { class: "over", style: `--at:50%;--ratio:${one.width}/${one.height}` }, media(one), media(other, "top"))
      : tag("div", { class: "beside" }, media(one), media(other));
    slider.addEventListener("input", () => pair.style.setProperty("--at", `${slider.value}%`));
    show(say("Compare"), tag("div", { class: "well big" }, pair), both && slider,
      tag("div", { class: "beside" }, ...[one, other].map((item) => tag("p", { class: "words" }, own(item.prompt),
        tag("span", { class: "quiet", text: [item.model, item.seed === null ? "" : say("seed {n}", { n: item.seed }), match(item)].filter(Boolean).join(" · ") })))));
    if (!both) pair.querySelectorAll("video").forEach((video, n, all) => video.addEventListener("play", () => all.forEach((each) => each.play())));
  };

  // Wiring.
  let timer;
  root.addEventListener("input", (event) => {
    if (!event.target.closest("#lib_f")) return;
    clearTimeout(timer);
    timer = setTimeout(() => load(true), event.target.matches("[type=search],[type=number]") ? 250 : 0);
  });
  $("#lib_more").addEventListener("click", (event) => {
    const fields = $("#lib_fields");
    fields.hidden = !fields.hidden;
    event.currentTarget.setAttribute("aria-expanded", !fields.hidden);
  });
  $("#lib_select").addEventListener("click", () => choosy(!choosing));
  $("#lib_trash").addEventListener("click", (event) => {
    inTrash = !inTrash;
    event.currentTarget.setAttribute("aria-pressed", inTrash);
    choosy(false); told(inTrash ? say("What is here is removed for good after 30 days.") : ""); load(true);
  });
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) guarded(many[button.dataset.many || "done"])();
  });
  sheet.addEventListener("close", () => sheet.replaceChildren());
  sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); });
  new IntersectionObserver(([seen]) => { if (seen.isIntersecting && items.length) load(); }, { rootMargin: "800px" }).observe(end);
  // Shown again, perhaps after something was made elsewhere: begin anew, unless one is in the middle of something.
  new IntersectionObserver(([seen]) => {
    if (seen.isIntersecting && !choosing && !sheet.open) load(true);
  }).observe(root);
  count();
};
