/** A dialog over the page, which the browser keeps the focus in. */

import { html } from "htm/preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../words.js";
import { Icon } from "./icons.js";

/** `bare` has no heading to see. `close` is called by Escape, the button, and a click beside it. */
export function Dialog({ title, close, bare = false, children }) {
  const dialog = useRef(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    dialog.current.querySelector("[autofocus]")?.focus();
    return () => before?.focus?.();
  }, []);
  return html`<dialog ref=${dialog} class=${bare ? "bare" : ""} aria-label=${title} onCancel=${(event) => (event.preventDefault(), close())}
    onClick=${(event) => event.target === dialog.current && close()}>
    <div class="inside">
      ${!bare && html`<div class="head"><h2>${title}</h2><button class="quiet" aria-label=${t("dialog.close")} onClick=${close}><${Icon} name="close" /></button></div>`}
      ${children}
    </div>
  </dialog>`;
}

/** Ask whether to go on with what cannot be undone; `run` may return a promise that rejects. */
export function Confirm({ title, text, action, close, run }) {
  return html`<${Dialog} title=${title} close=${close}>
    <p>${text}</p>
    <div class="actions"><button class="button plain" autofocus onClick=${close}>${t("dialog.cancel")}</button>
      <button class="button bad" onClick=${() => run()}>${action}</button></div>
  <//>`;
}
