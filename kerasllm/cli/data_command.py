"""``kerasllm data``: the catalogue."""

from kerasllm.cli.errors import command, told


def show_data(options):
    """List the catalogue, or show the card of one set and load it."""
    from kerasllm import data

    if options.name is None:
        table = data.catalog()
        rows = [("name", "task", "language", "rows", "MB", "licence")]
        for one in table.itertuples():
            licence = one.licence.split(" (package")[0]  # the card names the package's too
            rows.append((one.name, one.task, one.language, f"{one.rows:,}", f"{one.download_mb:.0f}", licence))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [
                cell.rjust(w) if i in (3, 4) else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            print("  ".join(cells).rstrip())
        print(f"\nMB: what the first load fetches, once, into {data.cache_folder()}.")
        print(f"The card of a set: {command('data', 'NAME')}")
        return
    with told(data.DataError):
        print(data.card(options.name))
        frame = data.load(options.name)
    parts = frame["split"].value_counts(sort=False) if "split" in frame else {}
    sizes = ", ".join(f"{name} {count:,}" for name, count in sorted(parts.items(), key=lambda part: -part[1]))
    columns = ", ".join(map(str, frame.columns)) if len(frame.columns) < 10 else len(frame.columns)
    print(f"Loaded: {len(frame):,} rows{f' ({sizes})' if sizes else ''}, columns: {columns}.")
    print(f"In Python: kerasllm.data.load({options.name!r})")
