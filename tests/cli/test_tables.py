from edged.cli.tables import Table, plain


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    rows = [("gw-b", "lan"), ("a-longer-name", "")]
    assert plain(Table(("PEER", "PATH"), rows)) == ["PEER           PATH", "gw-b           lan", "a-longer-name"]
    assert plain(Table(("", ""), [("node", "gw-a")])) == ["node  gw-a"]
