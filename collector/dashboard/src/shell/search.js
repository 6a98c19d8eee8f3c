/** Search: services, routes, statements, metrics, hosts, rules and pages by name; `/` opens it. */

import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { follow } from "../address.js";
import { ask } from "../api.js";
import { PAGES, titleOf } from "./pages.js";
import { Dialog } from "../parts/dialog.js";
import { isAdmin } from "../session.js";
import { named, t } from "../words.js";

const WAIT_MS = 120;

/** Return the pages whose title has the text. */
function pagesFor(text) {
  const wanted = text.toLocaleLowerCase();
  return PAGES.filter((each) => each.group && (!each.admin || isAdmin.value))
    .map((each) => ({ kind: "page", text: t(titleOf(each.name)), detail: "", link: { page: each.name || "overview", params: {} } }))
    .filter((each) => each.text.toLocaleLowerCase().includes(wanted));
}

export function Search({ close }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState([]);
  const [at, setAt] = useState(0);
  const [failed, setFailed] = useState(false);
  const list = useRef(null);
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      const pages = pagesFor(text);
      if (!text) return setFound(pages);
      try {
        const answer = await ask("/search", { q: text }, { signal: stop.signal });
        setFailed(false);
        setFound([...answer.results, ...pages]);
      } catch (error) {
        if (error.name === "AbortError") return;
        setFailed(true);
        setFound(pages);
      }
      setAt(0);
    }, text ? WAIT_MS : 0);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text]);
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [at]);

  function choose(each) {
    close();
    follow(each.link);
  }
  function pressed(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) {
      event.preventDefault();
      setAt((at + step + found.length) % found.length);
    } else if (event.key === "Enter" && found[at]) {
      event.preventDefault();
      choose(found[at]);
    }
  }
  return html`<${Dialog} title=${t("search.title")} close=${close} bare>
    <input class="search" role="combobox" aria-expanded="true" aria-controls="found" aria-activedescendant=${found[at] ? `found-${at}` : null}
      aria-label=${t("search.title")} placeholder=${t("search.placeholder")} maxlength="200" autofocus value=${text}
      onInput=${(event) => setText(event.target.value.trim())} onKeyDown=${pressed} />
    <ul id="found" class="found" role="listbox" aria-label=${t("search.title")} ref=${list}>
      ${found.map(
        (each, index) => html`<li key=${index} id=${`found-${index}`} role="option" aria-selected=${index === at} onClick=${() => choose(each)} onMouseMove=${() => setAt(index)}>
          <span class="kind">${named("search.kind", each.kind)}</span><bdi class="text">${each.text}</bdi><bdi class="detail">${each.detail}</bdi>
        </li>`,
      )}
    </ul>
    ${failed && html`<p class="hint bad">${t("search.failed")}</p>`}
    ${!found.length && !failed && html`<p class="hint">${t("search.nothing")}</p>`}
  <//>`;
}
