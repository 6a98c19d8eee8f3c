/** Asks somebody who is signed in whether a sign-in link may take their place. */

import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";
import { Mark } from "../parts/icons.js";
import { Said, useSending } from "../parts/form.js";
import { person } from "../session.js";
import { t } from "../words.js";

/** `take` signs in by the link and may reject; `leave` forgets the link. */
export function Offer({ take, leave }) {
  const { busy, error, run } = useSending();
  const stay = useRef(null);
  useEffect(() => {
    document.title = `${t("signin.title")} · trimtab`;
    stay.current?.focus();
  }, []);
  return html`<main class="signin">
    <div class="brand"><${Mark} />trimtab</div>
    <div class="card">
      <h1>${t("offer.title")}</h1>
      <p>${t("offer.text", { name: person.value?.name })}</p>
      <${Said} error=${error} />
      <div class="actions"><button ref=${stay} class="button" onClick=${leave}>${t("offer.stay", { name: person.value?.name })}</button>
        <button class="button plain" disabled=${busy} onClick=${() => run(take)}>${t("offer.take")}</button></div>
    </div>
  </main>`;
}
