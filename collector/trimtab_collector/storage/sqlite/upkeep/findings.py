"""What a check has found: each thing that does not hold, and what was gone through."""

import msgspec

__all__ = ["Finding", "Report"]

#: findings of one file that are listed; the rest is counted
_LISTED = 50


class Finding(msgspec.Struct, rename="camel", omit_defaults=True):
    """One thing that does not hold; chunk is the number of its row in the file."""

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


class Report(msgspec.Struct, rename="camel", kw_only=True):
    """The outcome of a check; `sound` when there are no findings."""

    sound: bool = True
    findings: list[Finding] = []
    #: file -> findings that are not listed
    unlisted: dict[str, int] = {}
    #: what is no damage and may be asked about
    notes: list[str] = []
    files: int = 0
    chunks: int = 0
    points: int = 0
    journal_batches: int = 0
    #: requests that were ever counted, and the most that a tier and the journal still hold
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
        """Return it for people."""
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
