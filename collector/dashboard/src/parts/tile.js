/** A tile with one figure and a line below it. */

import { html } from "htm/preact";
import { Figure } from "./figure.js";

export const Tile = ({ name, value, unit, why, below, kind = "" }) => html`<div class="card tile">
  <div class="name">${name}</div><div class=${`value ${kind}`}><${Figure} value=${value} unit=${unit} why=${why} /></div><div class="delta">${below ?? " "}</div>
</div>`;
