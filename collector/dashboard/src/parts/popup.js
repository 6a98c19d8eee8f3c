/** A button that opens something below it: closed by Escape, by a click elsewhere, by moving on. */

import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";

/**
 * `children` is a function of `close`, called while it is open. The button is called what stands on it, and
 * `name` where that is only a picture.
 */
export function Popup({ label, name, kind = "pick", children, align = "left" }) {
  const [open, setOpen] = useState(false);
  const all = useRef(null);
  const button = useRef(null);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  useEffect(() => {
    if (!open) return undefined;
    const elsewhere = (event) => {
      if (!all.current?.contains(event.target)) setOpen(false);
    };
    const escape = (event) => {
      if (event.key === "Escape") close();
    };
    document.addEventListener("pointerdown", elsewhere);
    document.addEventListener("focusin", elsewhere);
    document.addEventListener("keydown", escape);
    all.current.querySelector(".popup :is(button, input, select, a)")?.focus();
    return () => {
      document.removeEventListener("pointerdown", elsewhere);
      document.removeEventListener("focusin", elsewhere);
      document.removeEventListener("keydown", escape);
    };
  }, [open]);
  return html`<span class="popups" ref=${all}>
    <button ref=${button} class=${kind} aria-haspopup="dialog" aria-expanded=${open} title=${name} onClick=${() => setOpen(!open)}>${label}</button>
    ${open && html`<div class=${`popup ${align}`} role="dialog" aria-label=${name}>${children(close)}</div>`}
  </span>`;
}
