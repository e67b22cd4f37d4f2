"""How a benchmark tells what it found: the machine, Markdown tables, the page that shows them."""

import importlib.metadata
import os
import platform
import re

PACKAGES = ("tensorflow", "tensorflow_cpu", "keras", "torch", "libauc")


def machine():
    """What the figures were measured on, in a line."""
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    load = os.getloadavg()[0]
    return (
        f"*{os.cpu_count()} cores of {_processor()}, load {load:.1f} at the start; "
        f"Python {platform.python_version()}, {found}*"
    )


def versions():
    """{package: version} of those of PACKAGES that are installed."""
    return {name: version for name in PACKAGES if (version := _version(name))}


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor():
    try:
        with open("/proc/cpuinfo") as file:
            return re.search(r"model name\s*: (.*)", file.read()).group(1).strip()
    except (OSError, AttributeError):
        return platform.machine()


def table(columns, rows):
    """A Markdown table. Floats stand as they are: format them before."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def milliseconds(timing):
    """[median, quartiles] of a `measure.Timing`, as cells."""
    low, median, high = (1e3 * x for x in (timing.low, timing.median, timing.high))
    digits = 2 if median < 100 else 0
    return [f"{median:,.{digits}f}", f"{low:,.{digits}f} to {high:,.{digits}f}"]


def ratio(timing):
    """A `measure.Timing` that is a ratio, as a cell with its quartiles."""
    return f"{timing.median:.3f} ({timing.low:.3f} to {timing.high:.3f})"


def write_page(page, place, text):
    """Puts `text` between the marks of its place, `<!-- figures: place -->` and `<!-- end -->`.

    Raises:
        ValueError: the page has no such place.
    """
    marks = re.compile(rf"(<!-- figures: {re.escape(place)} -->\n).*?(<!-- end -->)", re.DOTALL)
    written, count = marks.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page.read_text())
    if not count:
        raise ValueError(f"{page} has no place '<!-- figures: {place} -->'")
    page.write_text(written)
