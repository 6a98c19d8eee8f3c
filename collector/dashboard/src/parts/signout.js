/** The button that signs out, and what to say where that did not work. */

import { html } from "htm/preact";
import { signOut } from "../session.js";
import { t } from "../words.js";
import { useSending } from "./form.js";

export function SignOut({ kind = "" }) {
  const { busy, error, run } = useSending();
  return html`${error && html`<p class="note bad" role="alert">${t("viewer.stillIn")}</p>`}
    <button type="button" class=${kind} disabled=${busy} onClick=${() => run(signOut)}>${t(error ? "viewer.signOutAgain" : "viewer.signOut")}</button>`;
}
