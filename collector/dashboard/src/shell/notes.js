/** Whether figures move, and lines above every page about what is not as it should be. */

import { html } from "htm/preact";
import { useRef } from "preact/hooks";
import { paceOf } from "../answers.js";
import { range, show } from "../range.js";
import { aheadMs } from "../servertime.js";
import { refusedZone } from "../settings.js";
import { connection, isRefused } from "../stream.js";
import { clockSeconds, lasted, now } from "../times.js";
import { answers } from "../wire.js";
import { t } from "../words.js";

/** From which difference of the clocks on it is worth a line. */
const OFF_MS = 60_000;
const PATIENCE_MS = 3000;

/** Whether figures move: live, or a range that stands still, or a stream that was lost. */
export function Live() {
  if (!range.value.isLive) {
    return html`<button class="live still" onClick=${() => show("-1h")}>${t("live.still")}</button>`;
  }
  const state = connection.value === "live" ? "on" : connection.value === "lost" && !answers.value ? "lost" : "off";
  return html`<span class=${`live ${state}`} role="status">${state === "off" ? t("live.off", { seconds: pace() }) : t(`live.${state}`)}</span>`;
}

const pace = () => Math.round(paceOf(range.value) / 1000);

export function Notes() {
  return html`<${Lost} /><${Zone} /><${Clocks} />`;
}

/** A line that says so while the collector does not answer, or while the live stream alone is gone. */
function Lost() {
  const since = useRef(0);
  if (connection.value !== "lost") {
    since.current = 0;
    return null;
  }
  since.current ||= now.peek();
  if (now.value - since.current < PATIENCE_MS) return null;
  const time = clockSeconds(since.current);
  if (!answers.value) return html`<p class="banner warn" role="alert">${t("live.lostSince", { time })}</p>`;
  return html`<p class="banner quiet" role="status">${t(isRefused.value ? "live.streamRefused" : "live.streamLost", { time })} ${range.value.isLive && t("live.asked", { seconds: pace() })}</p>`;
}

function Zone() {
  return refusedZone.value && html`<p class="banner quiet" role="status">${t("viewer.zoneRefused", { zone: refusedZone.value })}</p>`;
}

function Clocks() {
  const off = Math.abs(aheadMs.value);
  return off > OFF_MS && html`<p class="banner quiet" role="status">${t("time.clocksDiffer", { time: lasted(off) })}</p>`;
}
