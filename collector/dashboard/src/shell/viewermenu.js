/** What a viewer chooses: time zone, language, theme; who is signed in, and the way out. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { change, href, query } from "../address.js";
import { LANGUAGES } from "../languages.js";
import { person } from "../session.js";
import { chooseLanguage, chooseZone, isDark, isZone, language, theme, viewersZone, zone } from "../settings.js";
import { named, t } from "../words.js";
import { Icon } from "../parts/icons.js";
import { Popup } from "../parts/popup.js";
import { SignOut } from "../parts/signout.js";

export function ViewerMenu({ clock }) {
  return html`<${Popup} align="right" kind="pick" name=${t("viewer.zone")} label=${clock}>${(close) => html`<${Zones} close=${close} />`}<//>
    <${Languages} />
    <button class="pick" aria-label=${t(isDark.value ? "viewer.light" : "viewer.dark")} onClick=${() => (theme.value = isDark.value ? "light" : "dark")}>${isDark.value ? "☀" : "☾"}</button>
    <${Popup} align="right" kind="pick" name=${t("viewer.account")} label=${html`<${Icon} name="person" /><bdi class="short">${person.value?.name}</bdi>`}>
      ${(close) => html`<div class="menu-list">
        <p class="hint">${t("viewer.signedInAs", { role: named("role", person.value?.role) })}</p>
        <a href=${href("account")} onClick=${close}>${t("page.account")}</a>
        <${SignOut} />
      </div>`}
    <//>`;
}

/** The other languages, each by its own name. */
function Languages() {
  function choose(tag) {
    chooseLanguage(tag);
    if (query.value.lang) change({ lang: "" });
  }
  return Object.entries(LANGUAGES)
    .filter(([tag]) => tag !== language.value)
    .map(([tag, { name }]) => html`<button key=${tag} class="pick" lang=${tag} onClick=${() => choose(tag)}>${name}</button>`);
}

function Zones({ close }) {
  const [typed, setTyped] = useState(zone.value);
  const known = isZone(typed);
  function use(name) {
    chooseZone(name === viewersZone ? "" : name);
    if (query.value.tz) change({ tz: "" });
    close();
  }
  return html`<form class="zones" onSubmit=${(event) => (event.preventDefault(), known && use(typed))}>
    <label>${t("viewer.zone")}<input value=${typed} list="zones" maxlength="60" spellcheck="false" onInput=${(event) => setTyped(event.target.value.trim())} /></label>
    <datalist id="zones">${(Intl.supportedValuesOf?.("timeZone") ?? []).map((each) => html`<option value=${each} />`)}</datalist>
    <p class=${known ? "hint" : "hint bad"}>${t(known ? "viewer.zoneHint" : "viewer.zoneUnknown")}</p>
    <div class="actions">
      <button type="button" class="button plain" onClick=${() => use(viewersZone)}>${t("viewer.zoneOwn", { zone: viewersZone })}</button>
      <button type="button" class="button plain" onClick=${() => use("UTC")}>UTC</button>
      <button class="button" disabled=${!known}>${t("range.show")}</button>
    </div>
  </form>`;
}
