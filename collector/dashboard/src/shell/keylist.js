/** The list of keys. */

import { html } from "htm/preact";
import { keys } from "../keys.js";
import { t } from "../words.js";
import { Dialog } from "../parts/dialog.js";

export const KeyList = ({ close }) => html`<${Dialog} title=${t("keys.title")} close=${close}>
  <dl class="keylist">
    ${keys.value.map(
      (each) => html`<div key=${each.text}><dt>${each.text.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${t(each.does)}</dd></div>`,
    )}
    <div><dt><kbd>Tab</kbd> <kbd>↵</kbd></dt><dd>${t("keys.tab")}</dd></div>
    <div><dt><kbd>←</kbd> <kbd>→</kbd></dt><dd>${t("keys.chart")}</dd></div>
  </dl>
<//>`;
