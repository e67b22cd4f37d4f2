"""Lists files over 300 lines and functions over 40 lines of code; exit status 1 if there are any.

    python tools/check_length.py [FOLDER ...]

By default the package, the tools and the tests. Of a function its body counts, without docstring,
comments and blank lines: what a reader must hold at once.
"""

import ast
import pathlib
import sys
import tokenize

FILE, FUNCTION = 300, 40
_ROOT = pathlib.Path(__file__).parents[1]
_NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def too_long(path):
    """Lines that name what is too long in a file, an iterator of str."""
    lines = path.read_text().count("\n")
    if lines > FILE:
        yield f"{path}: {lines} lines"
    with tokenize.open(path) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    with_code = {
        line
        for token in tokens
        if token.type not in _NOT_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) else node.body
            first = body[0].lineno if body else node.lineno
            count = len(with_code.intersection(range(first, node.end_lineno + 1)))
            if count > FUNCTION:
                yield f"{path}:{node.lineno}: {node.name} has {count} lines"


def main(folders):
    paths = [path for folder in folders for path in sorted(pathlib.Path(folder).rglob("*.py"))]
    found = [line for path in paths for line in too_long(path)]
    print("\n".join(found) or f"{len(paths)} files, none too long")
    return 1 if found else 0


if __name__ == "__main__":
    checked = [_ROOT / name for name in ("sogclr_tf", "tools", "tests")]
    sys.exit(main(sys.argv[1:] or checked))
