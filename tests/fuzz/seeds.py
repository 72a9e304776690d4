"""Lays out the first inputs of each target: templates of the tests and, where there is one, of a corpus."""

import re
import sys
from pathlib import Path


def main():
    into, corpus = Path(sys.argv[1]), sys.argv[2]
    folders = [Path("tests/it/templates"), Path("deploy"), Path("src/template")]
    if corpus:
        folders.append(Path(corpus))
    texts = {"hcl": set(), "json": set(), "interpolation": set(), "fmt": set(), "cron": set()}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix not in (".hcl", ".json", ".jsonl", ".rs") or path.stat().st_size > 16384:
                continue
            text = path.read_text(errors="replace")
            if path.suffix == ".hcl":
                texts["hcl"].add(text)
                texts["fmt"].add(text)
            elif path.suffix == ".json":
                texts["json"].add(text)
            texts["interpolation"].update(re.findall(r"[^\n\"]*\{\{[^\n]*?\}\}[^\n\"]*", text))
    texts["cron"].update(["0 6 * * 1|UTC", "*/15 1-5 29 2 *|Europe/Berlin", "@weekly|America/St_Johns", "0 0 31 12 0,7|Asia/Kathmandu"])
    for name, found in texts.items():
        folder = into / name
        folder.mkdir(parents=True, exist_ok=True)
        for at, text in enumerate(sorted(found)):
            (folder / f"{at:05}").write_text(text)


main()
