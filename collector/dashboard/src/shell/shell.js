/** What stands around every page: navigation, environment, range, live, clock, language, theme. */

import { html } from "htm/preact";
import { effect, signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { change, go, href, page, query } from "../address.js";
import { renewAll, useAnswer } from "../answers.js";
import { useKeys } from "../keys.js";
import { GROUPS, pageOf, PAGES, titleOf } from "./pages.js";
import { Icon, Mark } from "../parts/icons.js";
import { KeyList } from "./keylist.js";
import { Failed, Loading } from "../parts/states.js";
import { ViewerMenu } from "./viewermenu.js";
import { shift, show, widen } from "../range.js";
import { Live, Notes } from "./notes.js";
import { RangePicker } from "./rangepicker.js";
import { Search } from "./search.js";
import { isAdmin } from "../session.js";
import { isDark, language, theme } from "../settings.js";
import { lastAlert } from "../stream.js";
import { clock, clockSeconds, now, zoneName } from "../times.js";
import { t } from "../words.js";

/** Whether the search, or the list of keys, is open. */
const opened = signal("");
const navigationOpen = signal(false);

// Another page closes the navigation that was open over the last.
effect(() => {
  page.value;
  navigationOpen.value = false;
});

export function Shell() {
  useKeys([
    ["/", "keys.search", () => (opened.value = "search")],
    ["?", "keys.list", () => (opened.value = "keys")],
    ["r", "keys.renew", renewAll],
    ["l", "keys.live", () => show("-1h")],
    ["[", "keys.earlier", () => shift(-1)],
    ["]", "keys.later", () => shift(1)],
    ["-", "keys.widen", widen],
    ["t", "keys.theme", () => (theme.value = isDark.value ? "light" : "dark")],
    ["g o", "keys.goOverview", () => go("")],
    ["g s", "keys.goServices", () => go("services")],
    ["g r", "keys.goRequests", () => go("requests")],
    ["g a", "keys.goAlerts", () => go("alerts")],
  ]);
  return html`<div class="shell">
    <a class="skip" href="#content" onClick=${toContent}>${t("shell.skip")}</a>
    <${Navigation} />
    <div class="page">
      <${Header} />
      <${Notes} />
      <${Body} />
    </div>
    ${opened.value === "search" && html`<${Search} close=${() => (opened.value = "")} />`}
    ${opened.value === "keys" && html`<${KeyList} close=${() => (opened.value = "")} />`}
  </div>`;
}

function toContent(event) {
  event.preventDefault();
  document.getElementById("content").focus();
}

function Navigation() {
  const lit = pageOf(page.value)?.below ?? page.value;
  const seen = PAGES.filter((each) => !each.admin || isAdmin.value);
  return html`<nav aria-label=${t("shell.navigation")} class=${navigationOpen.value ? "open" : ""}>
    <a class="brand" href=${href("")}><${Mark} />trimtab</a>
    ${GROUPS.map(
      (group) => html`<div key=${group} class="group" role="group" aria-label=${t(`nav.${group}`)}>
        ${group !== "main" && html`<div class="name">${t(`nav.${group}`)}</div>`}
        ${seen
          .filter((each) => each.group === group)
          .map(
            (each) => html`<a key=${each.name} href=${href(each.name, each.group === "setup" ? { from: "", to: "" } : {})} aria-current=${each.name === lit ? "page" : null}>
              ${t(titleOf(each.name))}${each.name === "alerts" && html`<${OpenAlerts} />`}
            </a>`,
          )}
      </div>`,
    )}
  </nav>`;
}

/** How many alerts people are told of, as the collector counts them: red where one is critical. */
function OpenAlerts() {
  const environment = query.value.environment;
  const answer = useAnswer("/alerts", { environment, limit: 1 }, { everyMs: 30_000 });
  const alert = lastAlert.value;
  useEffect(() => {
    if (alert) answer.again();
  }, [alert]);
  const { critical = 0, warning = 0 } = answer.value.data?.open ?? {};
  const count = critical + warning;
  if (!count) return null;
  return html`<b class=${critical ? "bad" : "warn"} aria-label=${t("nav.firing", { count })}>${count}</b>`;
}

function Header() {
  return html`<header>
    <button class="pick menu" aria-label=${t("shell.menu")} aria-expanded=${navigationOpen.value} onClick=${() => (navigationOpen.value = !navigationOpen.value)}><${Icon} name="menu" /></button>
    <${Environment} />
    <${RangePicker} />
    <${Live} />
    <span class="space"></span>
    <button class="pick" onClick=${() => (opened.value = "search")} aria-label=${t("shell.search")}><${Icon} name="search" /><kbd>/</kbd></button>
    <${ViewerMenu} clock=${html`<small>${zoneName()}</small> <span>${clock(now.value)}<span class="seconds">${clockSeconds(now.value).slice(-3)}</span></span>`} />
  </header>`;
}

function Environment() {
  const answer = useAnswer("/names", { limit: 200 }, { everyMs: 120_000 });
  const names = answer.value.data?.environments ?? [];
  const chosen = query.value.environment ?? "";
  const all = chosen && !names.includes(chosen) ? [chosen, ...names] : names;
  return html`<label class="pick"><small>${t("shell.environment")}</small>
    <select value=${chosen} onChange=${(event) => change({ environment: event.target.value }, { push: true })}>
      <option value="">${t("shell.allEnvironments")}</option>
      ${all.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
    </select>
  </label>`;
}

function Body() {
  const name = page.value;
  const row = pageOf(name);
  const [loaded, setLoaded] = useState({ name: null, Component: null, error: null });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let here = true;
    row?.load().then(
      (found) => here && setLoaded({ name, Component: found.default, error: null }),
      (error) => here && setLoaded({ name, Component: null, error }),
    );
    return () => (here = false);
  }, [name, attempt]);
  useEffect(() => {
    document.title = row ? `${t(titleOf(name))} · trimtab` : "trimtab";
  }, [name, language.value]);
  return html`<main id="content" tabindex="-1">${shownPage(name, row, loaded, () => setAttempt(attempt + 1))}</main>`;
}

function shownPage(name, row, loaded, again) {
  if (!row) return html`<${Failed} title=${t("shell.noPage")} text=${t("shell.noPageText", { page: name })} />`;
  if (row.admin && !isAdmin.value) return html`<${Failed} title=${t("shell.adminsOnly")} text=${t("shell.adminsOnlyText")} />`;
  if (loaded.name !== name) return html`<${Loading} />`;
  // A collector of another version has other files: only loading the page anew helps.
  if (loaded.error) return html`<${Failed} title=${t("shell.notLoaded")} text=${t("shell.notLoadedText")} again=${again} />`;
  return html`<${loaded.Component} key=${name} />`;
}
