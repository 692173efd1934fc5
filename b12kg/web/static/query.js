// The editor of queries: completion from the graph's own terms, and a stop button. Without it there is a plain text field.
const area = document.getElementById("query");
const form = document.getElementById("query-form");
const stop = document.getElementById("stop");

form.addEventListener("htmx:beforeRequest", () => { stop.disabled = false; });
form.addEventListener("htmx:afterRequest", () => { stop.disabled = true; });
stop.addEventListener("click", () => {
  htmx.trigger(form, "htmx:abort");
  document.getElementById("said").textContent = "Stopped.";
});
const { createEditor } = await import(area.dataset.editor);
const { prefixes, terms } = await (await fetch(area.dataset.terms)).json();
// A name with a slash is no prefixed name of SPARQL: the whole IRI is put in its place.
const written = (name) => {
  const [, prefix, local] = /^([^:]*):(.*)$/.exec(name);
  return /^[\w.-]*$/.test(local) ? name : `<${prefixes[prefix]}${local}>`;
};
const known = terms.map(([label, detail, info]) => ({ label, detail, info, apply: written(label) }));
const complete = (context) => {
  const variable = context.matchBefore(/[?$]\w*/);
  if (variable) {
    const names = [...new Set(context.state.doc.toString().match(/[?$]\w+/g) ?? [])].filter((name) => name !== variable.text);
    return { from: variable.from, options: names.map((label) => ({ label, type: "variable" })) };
  }
  const word = context.matchBefore(/[\w-]+(?::[\w./-]*)?/);
  if (!word && !context.explicit) return null;
  return { from: word ? word.from : context.pos, options: known, validFor: /^[\w-]*(?::[\w./-]*)?$/ };
};
// What is used and not declared is declared, where its prefix is one that is used here.
const declare = () => {
  const text = editor.state.doc.toString();
  const insert = Object.entries(prefixes)
    .filter(([name]) => new RegExp(`(^|[\\s(^/|{!])${name}:`).test(text) && !new RegExp(`PREFIX\\s+${name}:`, "i").test(text))
    .map(([name, base]) => `PREFIX ${name}: <${base}>\n`)
    .join("");
  if (insert) editor.dispatch({ changes: { from: 0, insert } });
};

const place = document.getElementById("editor");
const editor = createEditor({
  parent: place,
  doc: area.value,
  label: "Query",
  nonce: area.dataset.nonce,
  complete,
  changed: (text) => { area.value = text; },
  run: () => document.getElementById("run").click(),
});
document.getElementById("run").addEventListener("click", declare);
place.hidden = false;
area.hidden = true;
document.getElementById("query-label").removeAttribute("for");
