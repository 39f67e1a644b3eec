"""The pages, by hand: the example is about sessions."""

from collections.abc import Mapping
from html import escape

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lamps: {title}</title>
<style>
  body {{ font: 1rem/1.6 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem;
         padding: 0 1rem; color: #222; }}
  header {{ display: flex; justify-content: space-between; align-items: center;
           border-bottom: 1px solid #ccc; margin-bottom: 1rem; }}
  form {{ display: inline; }}
  label {{ display: block; margin: .5rem 0; }}
  input {{ font: inherit; padding: .3rem; }}
  button {{ font: inherit; padding: .3rem .8rem; cursor: pointer; }}
  td {{ padding: .2rem 1.5rem .2rem 0; }}
  [role=alert] {{ color: #a00; }}
</style>
<header><a href="/">Lamps</a><nav>{nav}</nav></header>
<main>
<h1>{title}</h1>
{body}
</main>
</html>
"""


def _page(title: str, user: str | None, body: str) -> str:
    if user:
        nav = (
            f'{escape(user)} · <a href="/orders">Orders</a> '
            '<form method="post" action="/logout"><button>Log out</button></form>'
        )
    else:
        nav = '<a href="/login">Log in</a>'
    return _PAGE.format(title=escape(title), nav=nav, body=body)


def _table(items: Mapping[str, int], total: int) -> str:
    rows = "".join(
        f"<tr><td>{count} &times; {escape(name)}</td></tr>" for name, count in sorted(items.items())
    )
    return f"<table>{rows}<tr><td><b>Total: {total} €</b></td></tr></table>"


def shop(user: str | None, prices: Mapping[str, int], items: Mapping[str, int], total: int) -> str:
    """Return the page with the lamps and the cart."""
    lamps = "".join(
        f'<tr><td>{escape(name)}</td><td>{price} €</td><td><form method="post" action="/cart">'
        f'<button name="item" value="{escape(name)}">Add</button></form></td></tr>'
        for name, price in prices.items()
    )
    cart = f'{_table(items, total)}<p><a href="/checkout">Check out</a></p>' if items else "Empty."
    return _page("Shop", user, f"<table>{lamps}</table><h2>Your cart</h2>{cart}")


def login(user: str | None, target: str, refused: str = "") -> str:
    """Return the login form; ``refused`` is the name that did not get in."""
    why = '<p role="alert">Name or password is wrong.</p>' if refused else ""
    if user:
        why = f"<p>You are logged in as {escape(user)}. For this page, please confirm it.</p>"
    return _page(
        "Log in",
        user,
        f'{why}<form method="post" action="/login">'
        f'<input type="hidden" name="target" value="{escape(target)}">'
        f'<label>Name <input name="name" value="{escape(refused or user or "")}"'
        ' autocomplete="username" required></label>'
        '<label>Password <input name="password" type="password"'
        ' autocomplete="current-password" required></label>'
        "<button>Log in</button></form>",
    )


def checkout(user: str | None, items: Mapping[str, int], total: int) -> str:
    """Return the last page before buying."""
    if not items:
        return _page("Checkout", user, "<p>Your cart is empty.</p>")
    form = '<form method="post" action="/checkout"><button>Buy</button></form>'
    return _page("Checkout", user, _table(items, total) + form)


def orders(user: str | None, orders: list[tuple[dict[str, int], int]]) -> str:
    """Return the page with what was bought in this session."""
    tables = "".join(_table(items, total) for items, total in orders)
    return _page("Orders", user, tables or "<p>No orders yet.</p>")
