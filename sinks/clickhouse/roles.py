"""The roles of a server: a series of migrations of its own, which an administrator applies.

Not among the migrations of the schema, because who changes tables must not be able to give rights, and because many
servers take their access from elsewhere (files, Terraform). The embedded engine has one user and nowhere to keep a
role, so there they are refused, not skipped.
"""

import re

from schemas.errors import StoreRefused
from sinks.clickhouse.dsn import Embedded
from sinks.clickhouse.migrate import Migration, Series, filled, in_database, migrate, shipped
from sinks.clickhouse.store import Store

ROLES = Series("role_migrations", "role_migrations")
_MADE = re.compile(r"^CREATE ROLE IF NOT EXISTS \{database\}(\w+)", re.MULTILINE)


def as_sql(database: str) -> str:
    """What an administrator would run by hand: every statement with its comments, for `database`."""
    return filled("\n".join(migration.sql for migration in shipped(ROLES)), in_database(database))


def missing_roles(store: Store) -> list[str]:
    """Roles that we ship and the server that answers does not have, in order.

    Raises:
        StoreRefused: the database is embedded, or the user may not see roles.
    """
    if isinstance(store.target, Embedded):
        raise StoreRefused(
            f"{store.target} is embedded: its engine has one user and keeps no roles. Who may read the directory may "
            "do everything; roles are for a server (--clickhouse https://…)"
        )
    there = {str(row[0]) for row in store.query("SELECT name FROM system.roles").rows}
    made = [f"{store.database}{name}" for migration in shipped(ROLES) for name in _MADE.findall(migration.sql)]
    return [name for name in made if name not in there]


def migrate_roles(store: Store) -> tuple[Migration, ...]:
    """Make the roles, or bring them up to date; returns what was applied now.

    The history is kept in the database and the roles are kept by the server, and one can be there without the other (a
    restored backup, another replica): where a role is missing everything is applied again, which does no harm.

    Raises:
        StoreRefused: the database is embedded, its history does not fit (see `migrate.pending`), or the user lacks the
            rights: `CREATE ROLE`, `ROLE ADMIN`, `SHOW ROLES`, and all that is granted `WITH GRANT OPTION`.
    """
    return migrate(store, series=ROLES, again=bool(missing_roles(store)))
