/** The range of time: quick ranges, typed ones, earlier, later, wider. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { momentOf } from "../localtime.js";
import { Icon } from "../parts/icons.js";
import { Popup } from "../parts/popup.js";
import { QUICK, range, rangeText, shift, show, widen } from "../range.js";
import { zone } from "../settings.js";
import { now } from "../times.js";
import { t } from "../words.js";

export function RangePicker() {
  return html`<span class="range" role="group" aria-label=${t("range.title")}>
    <button class="pick narrow" aria-label=${t("keys.earlier")} onClick=${() => shift(-1)}><${Icon} name="left" /></button>
    <${Popup} label=${html`<small>${t("range.title")}</small> ${rangeText()}`} name=${t("range.title")}>
      ${(close) => html`<${Choices} close=${close} />`}
    <//>
    <button class="pick narrow" aria-label=${t("keys.later")} disabled=${range.value.isLive} onClick=${() => shift(1)}><${Icon} name="right" /></button>
    <button class="pick narrow wide-only" aria-label=${t("keys.widen")} onClick=${widen}><${Icon} name="widen" /></button>
  </span>`;
}

function Choices({ close }) {
  const { from, to } = range.value;
  const [typed, setTyped] = useState({ from, to });
  const fromMs = momentOf(typed.from, now.value, zone.value);
  const toMs = momentOf(typed.to, now.value, zone.value);
  const wrong = fromMs === null || toMs === null ? "range.notUnderstood" : fromMs >= toMs ? "range.backwards" : "";
  function use(event) {
    event.preventDefault();
    if (wrong) return;
    show(typed.from, typed.to === "now" ? "" : typed.to);
    close();
  }
  return html`<div class="choices">
    <ul>
      ${QUICK.map(
        ([value]) => html`<li key=${value}>
          <button class=${value === from && !to ? "on" : ""} onClick=${() => (show(value), close())}>${t(`range.quick.${value.slice(1)}`)}</button>
        </li>`,
      )}
    </ul>
    <form onSubmit=${use}>
      <label>${t("range.from")}<input value=${typed.from} maxlength="40" spellcheck="false" onInput=${(event) => setTyped({ ...typed, from: event.target.value.trim() })} /></label>
      <label>${t("range.to")}<input value=${typed.to} placeholder="now" maxlength="40" spellcheck="false" onInput=${(event) => setTyped({ ...typed, to: event.target.value.trim() })} /></label>
      <p class=${wrong ? "hint bad" : "hint"}>${t(wrong || "range.hint", { zone: zone.value })}</p>
      <button class="button" disabled=${Boolean(wrong)}>${t("range.show")}</button>
    </form>
  </div>`;
}
