/** The form by which people sign in. */

import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused } from "../api.js";
import { Mark } from "../parts/icons.js";
import { saidOf } from "../parts/states.js";
import { session, signIn } from "../session.js";
import { t } from "../words.js";

/** The page of those who are not signed in. `trouble` is what a link or the start ended with. */
export function SignIn({ trouble, again }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const first = useRef(null);
  const shown = error ?? trouble;
  const away = session.value === "starting";
  useEffect(() => {
    document.title = `${t("signin.title")} · trimtab`;
    first.current?.focus();
  }, []);
  // The collector may be restarting: the page comes back by itself.
  useEffect(() => {
    if (!away) return undefined;
    const timer = setInterval(again, 3000);
    return () => clearInterval(timer);
  }, [away]);

  async function submit(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    setBusy(true);
    setError(null);
    try {
      await signIn(form.get("name").trim(), form.get("password"));
    } catch (found) {
      setError(found);
      setBusy(false);
    }
  }

  return html`<main class="signin">
    <div class="brand"><${Mark} />trimtab</div>
    <form class="card" onSubmit=${submit}>
      <h1>${t("signin.title")}</h1>
      ${shown && html`<p class="note bad" role="alert">${refusalOf(shown)}</p>`}
      <label>${t("signin.name")}<input ref=${first} name="name" autocomplete="username" required maxlength="200" /></label>
      <label>${t("signin.password")}<input name="password" type="password" autocomplete="current-password" required maxlength="256" /></label>
      <button class="button" disabled=${busy}>${t(busy ? "signin.busy" : "signin.enter")}</button>
      <p class="hint">${t("signin.hint")} <code>trimtab user link NAME</code></p>
    </form>
  </main>`;
}

/** Return what an error means to somebody who signs in; any other is said as everywhere. */
function refusalOf(error) {
  if (!(error instanceof Refused)) return t("signin.unreachable");
  if (error.code === "unauthorized") return t("signin.wrong");
  if (error.status === 429 || error.status === 503) return t("signin.wait", { seconds: error.retryAfter || 2 });
  return saidOf(error);
}
