"""The dashboard: how soon it is there, whether it stutters or grows, what it costs the collector.

A real collector with a day of 200 services, one of which has 200 routes, while agents write; a real
browser, headless Chromium, driven by Playwright. `--only PART` measures some: first, tasks,
answers, memory, open.
"""

from dashboard_rows import main

if __name__ == "__main__":
    main(__doc__)
