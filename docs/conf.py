"""How Sphinx makes the site from the pages and the docstrings; `tox -e site` runs it.

It reads the whole repository, `sphinx-build -c docs . OUT`, so that a page links to an example as
it does where the files are read without the site.
"""

from __future__ import annotations

import importlib
import re
from pathlib import PurePosixPath
from posixpath import dirname, normpath, relpath
from typing import TYPE_CHECKING, Any

from docutils import nodes

import pyfly_session

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "pyfly_session"
version = release = pyfly_session.__version__

root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "examples/*/README.md",
    "benchmarks/README.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "**/.*", "**/node_modules", "build", "dist", "site", "venv"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
# The anchors that GitHub makes, so that a link to a heading works in both places.
myst_heading_anchors = 6

# A single backtick in a docstring links to what it names, and is plain code otherwise.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "pyfly_session"
templates_path = ["templates"]
html_static_path = ["assets"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
# The usual dark style underlines names of modules, as if they were links.
pygments_dark_style = "a11y-high-contrast-dark"
# Of a transcript the commands are copied, without their prompt and without what they print.
copybutton_prompt_text = "$ "
copybutton_copy_empty_lines = False
html_extra_path = ["root"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False

_SECTION = re.compile(r"^## (?P<title>.+)\n(?P<body>(?:(?!## ).*\n?)*)", re.M)
_PAGE = re.compile(r"^- \[[^\]]*\]\((?P<page>[\w./-]+)\.md\)", re.M)
_FILE = re.compile(r"\]\((?P<path>(?!\.\./)[\w./-]+\.(?!md\b)\w+)\)")
_LEXERS = {".py": "python", ".yaml": "yaml", ".html": "html+jinja", ".css": "css", ".js": "js"}
_BACKLINK = re.compile(r'(?P<before>class="viewcode-back" href="[^"#]*#)(?P<name>[\w.]+)')
_PARAMETERS = re.compile(r"<dl>\n(?P<lines>(?:<dd>.*</dd>\n)+)</dl>")
_MODULE = re.compile(r"\[`(?P<name>[^`]+)`\]\((?P<path>(?:\.\./)+pyfly_session/[\w/]+)\.py\)")

# In which module what a module defines is documented, by its full name.
_documented: dict[str, str] = {}


def _navigation(app: Sphinx, page: str, text: list[str]) -> None:
    """Make the navigation from the lists of the index: each page is named there, once."""
    if page != root_doc:
        return
    for section in _SECTION.finditer(text[0]):
        pages = "\n".join(_PAGE.findall(section["body"]))
        text[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {section['title']}\n\n{pages}\n```\n"


def _sources(app: Sphinx, page: str, text: list[str]) -> None:
    """Let a link to a module lead to the page that shows its source."""

    def link(found: re.Match[str]) -> str:
        module = "_modules/" + normpath(f"{dirname(page)}/{found['path']}") + ".html"
        return f'<a href="{relpath(module, dirname(page))}"><code>{found["name"]}</code></a>'

    text[0] = _MODULE.sub(link, text[0])


def _examples(app: Sphinx, page: str, text: list[str]) -> None:
    """Show the files of an example below its page, and let the links to them lead there."""
    if not page.startswith("examples/"):
        return
    for path in dict.fromkeys(_FILE.findall(text[0])):
        language = _LEXERS.get(PurePosixPath(path).suffix, "text")
        slug = re.sub(r"[^\w-]", "", path.lower())
        text[0] = text[0].replace(f"]({path})", f"](#{slug})")
        text[0] += f"\n## `{path}`\n\n"
        text[0] += f"```{{literalinclude}} {path}\n:language: {language}\n```\n"


def _properties(app: Sphinx, document: nodes.document) -> None:
    """Turn the tables of properties, which are too wide for any page, into lists of terms."""
    for table in list(document.findall(nodes.table)):
        header, *rows = (
            [cell.children[0] if cell.children else nodes.paragraph() for cell in row.children]
            for row in table.findall(nodes.row)
        )
        names = [cell.astext() for cell in header]
        if "Key" in names and "Effect" in names:
            terms = [_property(dict(zip(names, row, strict=True))) for row in rows]
            table.replace_self(nodes.definition_list("", *terms, classes=["properties"]))


def _property(cells: dict[str, nodes.Element]) -> nodes.definition_list_item:
    key, effect = cells.pop("Key"), cells.pop("Effect")
    facts = nodes.paragraph(classes=["facts"])
    for name, cell in cells.items():
        facts += [nodes.Text(f"{' · ' if len(facts) else ''}{name}: "), *cell.children]
    return nodes.definition_list_item(
        "",
        nodes.term("", "", *key.children, ids=[key.astext()]),
        nodes.definition("", effect, facts),
    )


def _home(app: Sphinx, module: str, name: str) -> str:
    """Find the source of what is documented where applications import it from."""
    each = getattr(importlib.import_module(module), name.partition(".")[0], None)
    home: str = getattr(each, "__module__", None) or module
    home = home if home.startswith("pyfly_session") else module
    _documented[f"{home}.{name.partition('.')[0]}"] = module
    return home


def _backlinks(
    app: Sphinx, page: str, template: str, context: dict[str, Any], document: object
) -> None:
    """Let the links of a source lead to what it defines, wherever each is documented."""
    if not page.startswith("_modules/pyfly_session"):
        return
    home = page.removeprefix("_modules/").replace("/", ".")
    # All of them are made with the module of the first one.
    first = app.env._viewcode_modules[home][3]

    def link(found: re.Match[str]) -> str:
        name = found["name"].removeprefix(f"{first}.")
        module = _documented.get(f"{home}.{name.partition('.')[0]}", first)
        return f"{found['before']}{module}.{name}"

    context["body"] = _BACKLINK.sub(link, context["body"])


def _accessible(
    app: Sphinx, page: str, template: str, context: dict[str, Any], document: object
) -> None:
    """Mend what a screen reader stumbles over in the pages as Sphinx and the theme make them."""
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace(
        'role="heading"', 'role="heading" aria-level="2"'
    )

    # The parameters of a signature are lines of it, and no descriptions of terms.
    def lines(found: re.Match[str]) -> str:
        inner = found["lines"].replace("<dd>", "<div>").replace("</dd>", "</div>")
        return f'<div class="parameters">{inner}</div>'

    if "body" in context:
        body = _PARAMETERS.sub(lines, context["body"])
        # The corner of a table heads nothing.
        context["body"] = body.replace('<th class="head"><p></p></th>', '<td class="head"></td>')


def _errors(
    app: Sphinx, kind: str, name: str, each: Any, options: object, lines: list[str]
) -> None:
    """Let the description of an error lead to the section that says what to do."""
    if kind == "exception":
        page = f"../errors.html#{name.rpartition('.')[2].lower()}"
        lines += ["", f"`When it is raised, and what to do <{page}>`__"]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", _errors)
    app.connect("doctree-read", _properties)
    app.connect("source-read", _navigation)
    app.connect("source-read", _sources)
    app.connect("source-read", _examples)
    app.connect("viewcode-follow-imported", _home)
    app.connect("html-page-context", _backlinks)
    # After the theme.
    app.connect("html-page-context", _accessible, priority=900)
