/** One's own account: the password, and the way out. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { Card } from "../parts/card.js";
import { Field, Said, useSending } from "../parts/form.js";
import { SignOut } from "../parts/signout.js";
import { changePassword, person } from "../session.js";
import { named, t } from "../words.js";

export default function Account() {
  const [draft, setDraft] = useState({ old: "", next: "" });
  const [done, setDone] = useState(false);
  const { busy, error, run } = useSending();
  async function submit(event) {
    event.preventDefault();
    const found = await run(() => changePassword(draft.old, draft.next).then(() => true));
    setDone(Boolean(found));
    if (found) setDraft({ old: "", next: "" });
  }
  return html`<h1>${t("page.account")}</h1><p class="lede"><bdi>${person.value?.name}</bdi>, ${named("role", person.value?.role)}</p>
    <div class="grid"><${Card} title=${t("account.password")} span=${5}><form onSubmit=${submit}>
      <input type="text" name="username" autocomplete="username" value=${person.value?.name} hidden />
      <${Field} name=${t("account.present")} value=${draft.old} set=${(old) => setDraft({ ...draft, old })} type="password" autocomplete="current-password" required=${true} />
      <${Field} name=${t("people.newPassword")} value=${draft.next} set=${(next) => setDraft({ ...draft, next })} type="password" autocomplete="new-password" required=${true} hint=${t("people.passwordHint")} />
      <${Said} error=${error} />${done && html`<p class="note good" role="status">${t("account.changed")}</p>`}
      <div class="actions"><button class="button" disabled=${busy}>${t("account.change")}</button><${SignOut} kind="button plain" /></div>
    </form><//></div>`;
}
