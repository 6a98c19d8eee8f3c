/** Small drawings: the mark and icons, and the shapes by which states are told apart without colour. */

import { html } from "htm/preact";
import { t } from "../words.js";

export const Mark = () =>
  html`<svg class="mark" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"><path d="M2 14C7 14 8 6 18 5L18 9C11 10 9 16 2 16Z" /></svg>`;

const PATHS = {
  menu: "M3 5h14M3 10h14M3 15h14",
  search: "M13 13l4 4M8.5 14a5.5 5.5 0 1 1 0-11 5.5 5.5 0 0 1 0 11z",
  left: "M12 4l-6 6 6 6",
  right: "M8 4l6 6-6 6",
  widen: "M8 6l-4 4 4 4M12 6l4 4-4 4",
  close: "M5 5l10 10M15 5L5 15",
  person: "M10 10a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3.5 17c.6-3.2 3.2-5 6.5-5s5.9 1.8 6.5 5",
};

/** An icon beside or instead of a text; the button has the name. */
export const Icon = ({ name }) =>
  html`<svg class="icon" viewBox="0 0 20 20" width="16" height="16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

/** A state by shape and colour: a circle is well, a diamond a warning, a square critical, a ring unknown. */
export function Dot({ state, label }) {
  const text = label ?? t(`state.${state}`);
  return html`<i class=${`dot ${state ?? "none"}`} role="img" aria-label=${text} title=${text}></i>`;
}
