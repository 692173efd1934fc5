// What the pages do beyond what a browser does by itself. Every page works without it, but for copying and links.
"use strict";
(() => {
  document.documentElement.classList.add("js");
  const byId = (id) => document.getElementById(id);
  const say = (words) => { byId("said").textContent = words; };

  // Only the browser knows where it asks: a tunnel or a proxy can make another machine look like this one.
  if (!["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) {
    document.querySelectorAll(".local").forEach((claim) => claim.remove());
  }

  // What is typed or opened while an answer is under way stays as it is.
  Idiomorph.defaults.ignoreActiveValue = true;
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node.nodeName === "DETAILS");

  // An answer to less than what stands in the form by now would take back what was typed since: the next is on its way.
  const asked = new WeakMap();
  const stands = (form) => new URLSearchParams(new FormData(form)).toString();
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id === "patient") asked.set(event.detail.xhr, stands(event.target));
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const before = asked.get(event.detail.xhr);
    if (before !== undefined && before !== stands(byId("patient"))) event.detail.shouldSwap = false;
  });

  // A button that took an entry away did so once, whatever is typed after it.
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.triggeringEvent?.type !== "submit") delete event.detail.parameters["record.drop"];
  });
  // What was typed is there again for who comes back to the page: it is kept with the history of this tab, in no address.
  document.addEventListener("htmx:afterSettle", () => {
    const form = byId("patient");
    if (form) history.replaceState({ typed: stands(form) }, "");
  });
  // Where a part of the page is another, who listens hears what it says of itself, and who reads is led to what is new.
  document.addEventListener("htmx:afterSettle", (event) => {
    const part = byId(event.detail.target.id) ?? event.detail.target;
    if (part.id === "workspace") return; // its own words are taken over, and announced where they stand
    byId("heard").textContent = part.querySelector('[role="status"]')?.textContent ?? "";
    setTimeout(() => { byId("heard").textContent = ""; }, 5000); // it is announced by then, and stands in the page itself
    part.querySelector("[data-new]")?.focus();
  });
  const comeBack = () => {
    if (!byId("patient") || !history.state?.typed || location.hash.startsWith("#record=")) return;
    const values = {};
    for (const [name, value] of new URLSearchParams(history.state.typed)) (values[name] ??= []).push(value);
    htmx.ajax("POST", "/", { source: "#patient", values, target: "#workspace", select: "#workspace", swap: "morph" });
  };

  const told = async (response) => {
    try {
      const problem = await response.json();
      const details = (problem.problems ?? []).map((p) => `${p.path}: ${p.message}`);
      return [problem.title, problem.detail, ...details].filter(Boolean).join(". ");
    } catch {
      return `HTTP ${response.status}`;
    }
  };
  // Nothing stands beside a form that is not the answer to it.
  const withdraw = (event) => {
    if (event.detail.elt.id !== "patient" && event.detail.elt.form?.id !== "patient") return;
    byId("answer").querySelectorAll(":scope > :not(h2, nav, #told)").forEach((part) => part.remove());
    byId("told").textContent = "Not answered.";
  };
  document.addEventListener("htmx:beforeRequest", () => say(""));
  for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(failure, withdraw);
  document.addEventListener("htmx:responseError", async (event) => {
    const { xhr } = event.detail;
    say(`Not answered. ${await told(new Response(xhr.response, { status: xhr.status }))}`);
  });
  document.addEventListener("htmx:sendError", () => say("Not answered. The service cannot be reached."));
  document.addEventListener("htmx:timeout", () => say("Not answered. The service took too long."));

  // A link to a field opens what it lies in, and goes to it.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#f-"]');
    const field = link && byId(decodeURIComponent(link.hash.slice(1)));
    if (!field) return;
    event.preventDefault();
    for (let at = field.parentElement; at; at = at.parentElement) if (at.nodeName === "DETAILS") at.open = true;
    field.scrollIntoView({ block: "center" });
    field.focus({ preventScroll: true });
  });

  // A record in the part of a link that is sent to nobody.
  const encode = (text) =>
    btoa(String.fromCharCode(...new TextEncoder().encode(text))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const decode = (code) =>
    new TextDecoder().decode(Uint8Array.from(atob(code.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0)));
  const takeUp = () => {
    const found = /^#record=([A-Za-z0-9_-]+)$/.exec(location.hash);
    const form = document.querySelector("[data-drop]");
    if (!found || !form) return;
    history.replaceState(null, "", location.pathname);
    try {
      byId("read-record").value = decode(found[1]);
      form.requestSubmit(form.querySelector('button[type="submit"]:not([name])'));
    } catch {
      say("The link holds no record that can be read.");
    }
  };

  const copied = (words) => { byId("copied").textContent = words; };
  const copy = async (text, words) => {
    try {
      await navigator.clipboard.writeText(text);
      copied(words);
    } catch {
      copied("The browser does not let this page copy. Download it instead.");
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    const form = button.closest("[data-take]") ?? document.querySelector("[data-take]");
    if (button.dataset.copy) {
      const body = new URLSearchParams(new FormData(form));
      body.set("as", button.dataset.copy);
      const response = await fetch(form.action, { method: "POST", body });
      if (response.ok) await copy(await response.text(), `Copied: ${button.textContent.replace(/^\s*Copy\s*/, "")}.`);
      else copied(`Not copied. ${await told(response)}`);
    } else if ("link" in button.dataset) {
      const record = new FormData(form).get("record");
      await copy(`${location.origin}/#record=${encode(record)}`, "Copied: a link that holds the record.");
    } else if ("print" in button.dataset) {
      print();
    }
  });

  // A file is not put into the page: it is saved. Where there is none, the page says why.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-away]");
    if (!button) return;
    event.preventDefault();
    if (!button.form.reportValidity()) return;
    const body = new FormData(button.form, button);
    const isPlain = button.form.enctype !== "multipart/form-data";
    const address = button.getAttribute("formaction") ?? button.form.action;
    const response = await fetch(address, { method: "POST", body: isPlain ? new URLSearchParams(body) : body });
    if (!response.ok) return button.form.requestSubmit();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = button.dataset.away;
    link.click();
    URL.revokeObjectURL(link.href);
  });

  // A file that is dropped on a form is its file.
  document.addEventListener("dragover", (event) => {
    const form = document.querySelector("[data-drop]");
    if (!form || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    form.closest("details")?.setAttribute("open", "");
    form.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.querySelector("[data-drop]")?.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    const form = document.querySelector("[data-drop]");
    if (!form || !event.dataTransfer?.files.length) return;
    event.preventDefault();
    form.classList.remove("dropping");
    form.querySelector('input[type="file"]').files = event.dataTransfer.files;
    form.requestSubmit(form.querySelector('button[type="submit"]:not([name])'));
  });

  addEventListener("hashchange", takeUp);
  // Once htmx has taken up the forms.
  document.addEventListener("DOMContentLoaded", () => { comeBack(); takeUp(); });
})();
