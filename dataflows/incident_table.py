"""The incidents of a run, most urgent first, for a person."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataflows.printable import printable
from schemas.durations import people_time
from sinks.clickhouse.store import Store

_MOST = 12
_QUERY = """
SELECT priority, kind, status, orders_affected, toUnixTimestamp64Micro(opened_at), summary
FROM incident_log FINAL
WHERE run_id = {run:String} AND signals > 0
ORDER BY priority, orders_affected DESC, incident_id
"""


def render_incidents(store: Store, run_id: str, console: Console) -> None:
    """Print them; nothing where there are none."""
    rows = store.query(_QUERY, {"run": run_id}).rows
    if not rows:
        return
    console.print(f"Incidents: {len(rows)}", style="bold", highlight=False)
    table = Table(box=SIMPLE_HEAD)
    for name, right in (("P", True), ("orders", True), ("what", False)):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for priority, kind, status, orders, opened_us, summary in rows[:_MOST]:
        text = Text(kind, style="bold")
        text.append(f"{' (over)' if status == 'resolved' else ''}, since {people_time(opened_us)}\n", style="not bold")
        table.add_row(str(priority), str(orders), text.append(printable(summary), style="not bold"))
    console.print(table)
    if len(rows) > _MOST:
        console.print(f"and {len(rows) - _MOST} more in the view incidents", highlight=False)
