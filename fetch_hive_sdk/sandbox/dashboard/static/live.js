// Keeps a page up to date: told by /live that something has changed, it fetches itself again and takes over what
// differs, so that focus, scrolling, open details and half-typed fields stay. Without it every page works as well.
"use strict";

(() => {
  const path = location.pathname + location.search;
  const note = document.getElementById("live");
  const filters = document.getElementById("filters");

  // Empty fields have no place in an address.
  if (filters) {
    filters.addEventListener("formdata", (event) => {
      const entries = [...event.formData];
      for (const [name] of entries) event.formData.delete(name);
      entries.forEach(([name, value], index) => {
        const keyless = name === "value" && entries[index - 1][1] === "";
        if (value !== "" && !keyless) event.formData.append(name, value);
        // A value without its key is sent as it is, so that the page can say what is missing.
        if (value !== "" && keyless) for (const pair of [["key", ""], [name, value]]) event.formData.append(...pair);
      });
    });
  }

  if (!("live" in document.body.dataset) || !note) return;
  let source = null;
  let timer = 0;
  let retry = 0;
  let busy = false;
  let again = false;
  let last = 0;
  let took = 0;

  function say(text, state) {
    note.hidden = false;
    note.dataset.state = state;
    if (note.textContent !== text) note.textContent = text;
  }

  function connect() {
    source = new EventSource("/live");
    source.onopen = () => {
      say("Live", "on");
      refresh(); // what changed before now was not told
    };
    source.onmessage = soon;
    source.onerror = () => {
      say("Not connected", "off");
      if (source.readyState === EventSource.CLOSED) retry = window.setTimeout(connect, 2000);
    };
  }

  // However much happens, the page is fetched three times a second at most, and seldomer where that takes long.
  function soon() {
    if (timer) return;
    timer = window.setTimeout(refresh, Math.max(60, Math.max(330, 3 * took) - (performance.now() - last)));
  }

  function disconnect() {
    window.clearTimeout(timer);
    window.clearTimeout(retry);
    timer = 0;
    if (source) source.close();
    source = null;
  }

  async function refresh() {
    timer = 0;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    const begun = performance.now();
    try {
      const answer = await fetch(path, { headers: { Accept: "text/html" }, redirect: "error" });
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok) {
        const before = count();
        for (const id of ["nav", "main"]) {
          const [from, to] = [document.getElementById(id), next.getElementById(id)];
          if (from && to) update(from, to);
        }
        const more = count() - before;
        if (more > 0) {
          say(more === 1 ? "Live: 1 new" : `Live: ${more} new`, "on");
        }
      }
    } catch {
      say("Not connected", "off");
    } finally {
      busy = false;
      last = performance.now();
      took = Math.min(last - begun, 3000);
      if (again) {
        again = false;
        soon();
      }
    }
  }

  function count() {
    const shown = document.getElementById("count");
    return shown ? Number(shown.dataset.count) : 0;
  }

  // Make one element like another, touching only what differs.
  function update(from, to) {
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && !isKept(from, name)) from.removeAttribute(name);
    }
    for (const { name, value } of [...to.attributes]) {
      if (from.getAttribute(name) !== value && !isKept(from, name)) from.setAttribute(name, value);
    }
    const named = new Map();
    for (const child of from.children) if (child.id) named.set(child.id, child);
    let here = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      const known = wanted.id ? named.get(wanted.id) : null;
      if (known) {
        // What stands between is gone, or comes later.
        while (here && here !== known && !(here.id && to.querySelector(`:scope > #${CSS.escape(here.id)}`))) {
          here = drop(here);
        }
        if (here === known) here = here.nextSibling;
        else from.insertBefore(known, here);
        update(known, wanted);
      } else if (here && !here.id && !wanted.id && here.nodeName === wanted.nodeName) {
        if (here.nodeType === Node.ELEMENT_NODE) update(here, wanted);
        else if (here.data !== wanted.data) here.data = wanted.data;
        here = here.nextSibling;
      } else {
        from.insertBefore(document.importNode(wanted, true), here);
      }
    }
    while (here) here = drop(here);
  }

  function drop(node) {
    const next = node.nextSibling;
    node.remove();
    return next;
  }

  function isKept(element, name) {
    return name === "open" && element.nodeName === "DETAILS";
  }

  // A browser keeps few connections to one host: a page that nobody looks at gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) disconnect();
    else if (!source) connect();
  });
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted && !source) connect();
  });
  connect();
})();
