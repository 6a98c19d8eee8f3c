/** One line while messages about alerts do not get through, where alerts are read. */

import { html } from "htm/preact";
import { href } from "../address.js";
import { useAnswer } from "../answers.js";
import { moment } from "../times.js";
import { t } from "../words.js";

export function Unsent() {
  const answer = useAnswer("/channels", {}, { everyMs: 30_000 });
  const late = (answer.value.data?.channels ?? []).filter((each) => each.failing?.late && each.settings.enabled !== false);
  if (!late.length) return null;
  return html`<p class="note bad" role="alert">${late.map(({ name, failing }) => html`<span key=${name}>${t("channel.unsent", { name, time: moment(failing.since), error: failing.error })} </span>`)}<a href=${href("channels")}>${t("page.channels")}</a></p>`;
}
