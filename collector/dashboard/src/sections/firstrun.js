/** What an empty collector shows: the two lines that bring the first app in. It turns into the overview by itself. */

import { html } from "htm/preact";
import { href } from "../address.js";
import { isAdmin } from "../session.js";
import { t } from "../words.js";

/** How often an empty collector is asked whether something has arrived. */
export const FIRST_MS = 2000;

export function FirstRun({ sentence }) {
  return html`<div class="card firstrun">
    <h1>${sentence.text}</h1>
    <p class="lede">${t("first.lede")} ${t("first.up")}</p>
    <ol>
      <li><p>${t("first.agent")}</p><pre><code>TRIMTAB_AGENT_COLLECTOR_URL=${location.origin} TRIMTAB_AGENT_KEY=ttk_… trimtab agent</code></pre>
        <p class="hint">${isAdmin.value ? html`${t("first.key")} <a href=${href("people")}>${t("page.people")}</a>` : t("first.askKey")}</p></li>
      <li><p>${t("first.app")}</p><pre><code>TRIMTAB_SERVICE=shop trimtab run -- uvicorn app:app</code></pre></li>
    </ol>
    <p class="waiting" role="status"><i></i>${t("first.waiting")}</p>
  </div>`;
}
