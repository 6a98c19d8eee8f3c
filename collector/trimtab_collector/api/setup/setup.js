// Adds the first admin with the token behind the # of the address, which no server sees.
const TEXTS = {
  en: {
    intro: "Add the first admin of this collector.",
    name: "Name",
    password: "Password, at least 10 characters",
    again: "The same password again",
    add: "Add",
    differ: "The two passwords differ.",
    done: "Added. The dashboard opens.",
    failed: "The collector did not answer; try again.",
  },
  ko: {
    intro: "이 수집기의 첫 관리자를 추가합니다.",
    name: "이름",
    password: "비밀번호(10자 이상)",
    again: "비밀번호 확인",
    add: "추가",
    differ: "두 비밀번호가 다릅니다.",
    done: "추가했습니다. 대시보드를 엽니다.",
    failed: "수집기가 응답하지 않았습니다. 다시 시도하세요.",
  },
};
const language = navigator.language.startsWith("ko") ? "ko" : "en";
const texts = TEXTS[language];
const form = document.querySelector("form");
const status = document.querySelector("[role=status]");

document.documentElement.lang = language;
for (const element of document.querySelectorAll("[data-text]")) {
  element.textContent = texts[element.dataset.text];
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = Object.fromEntries(new FormData(form));
  if (given.password !== given.again) {
    status.textContent = texts.differ;
    return;
  }
  const { name, password } = given;
  const body = { token: location.hash.slice(1), name, password, cookie: true };
  try {
    const answer = await fetch("api/performance/auth/setup", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const found = await answer.json();
    status.textContent = found.success ? texts.done : found.error.message;
    if (found.success) {
      form.remove();
      // The cookie signs in there.
      location.replace("performance/dashboard");
    }
  } catch {
    status.textContent = texts.failed;
  }
});
