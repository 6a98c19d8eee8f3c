/** Starts the page: signs in by a link or the cookie, then shows the shell. */

import "./main.css";
import { render } from "preact";
import { html } from "htm/preact";
import { dropFragment, fragment, page } from "./address.js";
import { pageOf } from "./pages.js";
import { renew, session, signInByLink } from "./session.js";
import { Shell } from "./shell.js";
import { SignIn } from "./signin.js";
import { isReady } from "./words.js";
import { signal } from "@preact/signals";

/** What went wrong before anybody was signed in: an Error, or null. */
const trouble = signal(null);

async function enter() {
  trouble.value = null;
  const secret = fragment().get("signin");
  // A sign-in link is good once, and must not stay where it can be copied from.
  if (location.hash) dropFragment();
  try {
    if (secret) return await signInByLink(secret);
  } catch (error) {
    trouble.value = error;
  }
  try {
    await renew();
  } catch (error) {
    trouble.value = error;
  }
}

function Page() {
  if (!isReady()) return null;
  if (session.value === "signedIn") return html`<${Shell} />`;
  if (session.value === "starting" && !trouble.value) return null;
  return html`<${SignIn} trouble=${trouble.value} again=${enter} />`;
}

// What it will show loads while the session is renewed; a failure is told where it is shown.
pageOf(page.peek())?.load().catch(() => {});
render(html`<${Page} />`, document.getElementById("app"));
enter();
