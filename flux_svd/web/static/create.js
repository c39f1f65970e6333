// Create: small menus, the divider between two compared pictures, and the focus where the page redraws what had it.
(() => {
  const close = () => {
    const menu = document.querySelector(".menu[open]");
    if (menu) menu.open = false;
    return menu;
  };
  // Focus what answers to `selector` once it is there anew.
  const focusSoon = (selector) => {
    const old = document.querySelector(selector);
    const look = new MutationObserver(() => {
      const found = document.querySelector(selector);
      if (found && found !== old) { look.disconnect(); found.focus(); }
    });
    look.observe(document.body, { childList: true, subtree: true });
    setTimeout(() => look.disconnect(), 5000);
  };

  document.addEventListener("toggle", (event) => {
    if (!event.target.matches?.(".menu[open]")) return;
    document.querySelectorAll(".menu[open]").forEach((menu) => { if (menu !== event.target) menu.open = false; });
  }, true);
  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    if (!at(".menu summary, .menu [data-copy]")) close();
    if (at("#c_acts [data-do=compare]")) focusSoon("#pic .cmp input");
    else if (at("#c_acts [data-do=leave]")) focusSoon("#c_acts [data-do=compare]");
    else if (at("#c_row [data-do]")) {
      const { do: what, i } = at("#c_row [data-do]").dataset;
      focusSoon(`#c_row [data-do=${what}][data-i="${i}"]`);
    }
  });
  // Escape closes what is open here before it stops any work.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    const menu = close();
    const leave = [...document.querySelectorAll("#c_acts [data-do=leave]")].find((button) => button.offsetParent);
    if (menu) menu.querySelector("summary").focus();
    else if (leave) leave.click();
    else return;
    event.stopImmediatePropagation();
  }, true);
  // A file dropped beside every area for files would take the browser away from the page, and with it what was typed:
  // on Create it goes to where settings come back, elsewhere nothing happens.
  const bring = (file) => {
    const give = () => {
      const field = document.querySelector("#f_file input[type=file]");
      if (!field) return false;
      const files = new DataTransfer();
      files.items.add(file);
      field.files = files.files;
      field.dispatchEvent(new Event("change", { bubbles: true }));
      return true;
    };
    const fold = document.querySelector("#c_fold button.label-wrap:not(.open)");
    if (fold) fold.click(); // what became of it is said there
    if (give()) return;
    const wait = new MutationObserver(() => { if (give()) wait.disconnect(); });
    wait.observe(document.body, { childList: true, subtree: true });
    setTimeout(() => wait.disconnect(), 5000);
  };
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (event.defaultPrevented || !holdsFiles(event) || event.target.matches(".give input:enabled")) return; // that takes it
    event.preventDefault();
    if (event.dataTransfer.files[0] && document.querySelector("#create")?.offsetParent) bring(event.dataTransfer.files[0]);
  });
  document.addEventListener("input", (event) => {
    if (event.target.matches(".cmp input")) event.target.parentElement.style.setProperty("--at", `${event.target.value}%`);
  });
})();
