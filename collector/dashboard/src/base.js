/** Where the page, its API and its stream are: the collector may be served below any prefix. */

const MARK = "/performance/dashboard";
const at = location.pathname.indexOf(MARK);
const prefix = at < 0 ? "" : location.pathname.slice(0, at);
// What begins so is the address of another host: passwords would go there.
if (prefix.startsWith("//")) {
  location.replace(location.pathname.replace(/^\/+/, "/") + location.search + location.hash);
  throw new Error(`expected one slash before the prefix, got ${prefix}`);
}

export const HOME = `${prefix}${MARK}`;
export const API = `${prefix}/api/performance`;
export const STREAM = `${prefix}/socket.io/`;
