/** Starts the page: signs in by a link or the cookie, then shows the shell. */

import "./main.css";
import { render } from "preact";
import { html } from "htm/preact";
import { dropFragment, fragment, page } from "./address.js";
import { pageOf } from "./shell/pages.js";
import { Offer } from "./shell/offer.js";
import { renew, session, signInByLink } from "./session.js";
import { Shell } from "./shell/shell.js";
import { SignIn } from "./shell/signin.js";
import { Refused } from "./wire.js";
import { isReady } from "./words.js";
import { signal } from "@preact/signals";

/** What went wrong before anybody was signed in: an Error, or null. */
const trouble = signal(null);
/** The token of a sign-in link by which nobody has signed in yet, or "". */
const offered = signal("");

async function enter() {
  trouble.value = null;
  offered.value = fragment().get("signin") || offered.value;
  // A sign-in link is good once, and must not stay where it can be copied from.
  if (location.hash) dropFragment();
  try {
    // Somebody may be signed in here: anybody can send a link, which must not replace them unasked.
    const isSomebody = await renew();
    if (offered.value && !isSomebody) await enterByLink();
  } catch (error) {
    trouble.value = error;
  }
}

async function enterByLink() {
  await signInByLink(offered.value).catch((error) => {
    // Refused, it will not do later either.
    if (error instanceof Refused) offered.value = "";
    throw error;
  });
  offered.value = "";
}

function Page() {
  if (!isReady()) return null;
  if (session.value === "signedIn" && offered.value) return html`<${Offer} take=${enterByLink} leave=${() => (offered.value = "")} />`;
  if (session.value === "signedIn") return html`<${Shell} />`;
  if ((session.value === "starting" || offered.value) && !trouble.value) return null;
  return html`<${SignIn} trouble=${trouble.value} again=${enter} />`;
}

// What it will show loads while the session is renewed; a failure is told where it is shown.
pageOf(page.peek())?.load().catch(() => {});
render(html`<${Page} />`, document.getElementById("app"));
// A link that is pasted into a tab which is here already changes the fragment alone.
addEventListener("hashchange", () => fragment().has("signin") && enter());
enter();
