"""The result of a check: its findings, and what was checked."""

import msgspec

__all__ = ["CheckReport", "Finding", "Wrong"]

#: what is wrong, what was expected, what came
Wrong = tuple[str, str, str]

#: most findings listed per file; further ones are counted
_LISTED = 50


class Finding(msgspec.Struct, rename="camel", omit_defaults=True):
    """One violation; chunk is the id of the chunk's row in the file."""

    file: str
    what: str
    expected: str = ""
    got: str = ""
    chunk: int = 0

    def text(self) -> str:
        """Return it as a line."""
        where = f"{self.file}, chunk {self.chunk}" if self.chunk else self.file
        but = f": expected {self.expected}, got {self.got}" if self.expected else ""
        return f"{where}: {self.what}{but}"


class CheckReport(msgspec.Struct, rename="camel", kw_only=True):
    """The result of a check; `sound` if there are no findings."""

    sound: bool = True
    findings: list[Finding] = []
    #: file -> findings that are not listed
    unlisted: dict[str, int] = {}
    #: observations that are no damage
    notes: list[str] = []
    files: int = 0
    chunks: int = 0
    points: int = 0
    journal_batches: int = 0
    #: requests that were ever counted, and the most that any tier with the journal still holds
    counted_requests: int = 0
    kept_requests: int = 0

    def add(self, finding: Finding) -> None:
        """Take a finding."""
        self.sound = False
        if sum(finding.file == other.file for other in self.findings) < _LISTED:
            self.findings.append(finding)
        else:
            self.unlisted[finding.file] = self.unlisted.get(finding.file, 0) + 1

    def text(self) -> str:
        """Return it as text."""
        lines = [finding.text() for finding in self.findings]
        lines += [f"{file}: {count} more findings" for file, count in self.unlisted.items()]
        lines += [f"note: {note}" for note in self.notes]
        lines.append(
            f"went through {self.files} files, {self.chunks} chunks, {self.points} points and "
            f"{self.journal_batches} batches of the journal; {self.kept_requests} of "
            f"{self.counted_requests} requests are kept"
        )
        lines.append("the store is sound" if self.sound else "the store is NOT sound")
        return "\n".join(lines)
