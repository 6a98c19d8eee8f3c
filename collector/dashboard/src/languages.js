/** The languages of the page, by their tags: what they call themselves, and their texts. */

export const LANGUAGES = {
  en: { name: "English", load: () => import("./words/en.js") },
  ko: { name: "한국어", load: () => import("./words/ko.js") },
};
