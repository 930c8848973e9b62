"""Refusals: why a connection failed, told apart, each with its remedy."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass

import asyncpg
from asyncpg import exceptions as pg

from maintenance.entra import REMEDY, Token
from maintenance.errors import DatabaseError, IdentityError, MaintenanceError
from maintenance.target import Auth, Target

REFUSED = (
    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError, AttributeError,
)  # fmt: skip
"""All that an attempt to connect may raise; a TimeoutError is an OSError, and a peer that is no PostgreSQL confuses the
driver."""
_EXPIRED, _NOT_YET, _REVOKED = 10, 9, 23
"""OpenSSL's codes. https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt to connect: whereto, for how many seconds, and with which token if any."""

    target: Target
    seconds: float
    token: Token | None

    def refused(self, error: Exception) -> MaintenanceError:
        """What to tell the user."""
        if isinstance(error, asyncpg.PostgresError):
            return self._by_server(error)
        if isinstance(error, ssl.SSLError):
            return self._by_tls(error)
        if isinstance(error, OSError):
            return self._by_network(error)
        if isinstance(error, asyncpg.InternalClientError | AttributeError):
            return DatabaseError(
                f"What answers at {self.target} does not talk like a PostgreSQL that we can use ({error}); check "
                "PGHOST, PGPORT and PGTARGETSESSIONATTRS."
            )
        return DatabaseError(
            f"The connection settings for {self.target} cannot be used ({error}); check the PG* variables."
        )

    def _by_server(self, error: asyncpg.PostgresError) -> MaintenanceError:
        said = first_line(error)
        if isinstance(error, pg.InvalidAuthorizationSpecificationError):
            return DatabaseError(f"{self.target} refused the login ({said}), so nothing was done; {self._login(said)}.")
        if isinstance(error, pg.InvalidCatalogNameError):
            return DatabaseError(f"{self.target}: {said}; set PGDATABASE to one that exists.")
        if isinstance(error, pg.InsufficientPrivilegeError):
            return DatabaseError(
                f"{self.target} let the role {self.target.user} log in, but not connect to this database ({said}); "
                "GRANT CONNECT ON DATABASE to it."
            )
        if isinstance(error, pg.ProtocolViolationError):
            return DatabaseError(
                f"{self.target} does not take our session settings ({said}), as a PgBouncer does not; let PGPORT be "
                "that of the server itself (5432)."
            )
        return DatabaseError(f"{self.target} does not accept the connection ({said}); try again later.")

    def _login(self, said: str) -> str:
        if "pg_hba.conf" in said:
            return (
                "the server has no rule that admits this address, user and kind of encryption: check the firewall "
                "rules of the server and PGSSLMODE"
            )
        if self.target.auth is Auth.PASSWORD or self.token is None:
            return "check PGUSER, PGPASSWORD or PGPASSFILE, and that the role may log in from here"
        if self.token.expired is not None:
            return (
                f"the token had ended {self.token.expired:.0f} s before, by this machine's clock: set the clock right, "
                "or look why the identity endpoint gives out old tokens"
            )
        if re.search("expired", re.sub('"[^"]*"', "", said), re.IGNORECASE):
            return "the token has expired by the server's clock: set this machine's clock right, then run again"
        return (
            f"the token was fetched, so the identity is there, but the database does not take it for the role "
            f"{self.target.user!r}: as the server's Entra administrator, in the database postgres, make the role with "
            "pgaadauth_create_principal_with_oid (python -m maintenance sql grants prints it), and let PGUSER be its "
            "name; see docs/permissions.md"
        )

    def _by_tls(self, error: ssl.SSLError) -> MaintenanceError:
        target = self.target
        if isinstance(error, ssl.SSLCertVerificationError):
            if "mismatch" in error.verify_message or "not valid for" in error.verify_message:
                return DatabaseError(
                    f"{target} has a certificate for another name ({error.verify_message}), so the login was not sent; "
                    "let PGHOST be the name in the certificate, or set PGSSLMODE=verify-ca with PGSSLROOTCERT if you "
                    "know the server."
                )
            if error.verify_code in (_EXPIRED, _NOT_YET, _REVOKED):
                return DatabaseError(
                    f"{target} has a certificate that is not valid now ({error.verify_message}), so the login was not "
                    "sent; look at this machine's clock, and have the certificate renewed."
                )
            return DatabaseError(
                f"{target} has a certificate that nobody whom we trust has signed ({error.verify_message}), so the "
                "login was not sent; name the root certificate's file in PGSSLROOTCERT, or install the system's "
                "(ca-certificates)."
            )
        return DatabaseError(
            f"TLS with {target} failed ({error}), so the login was not sent; check PGSSLMODE and PGSSLROOTCERT."
        )

    def _by_network(self, error: OSError) -> MaintenanceError:
        target = self.target
        if isinstance(error, TimeoutError):
            if self.token is not None and self.token.fetching:
                return IdentityError(
                    f"The identity endpoint gave no token for {target} within {self.token.patience:g} s, so nothing "
                    f"was done; {REMEDY}."
                )
            return DatabaseError(
                f"{target} did not answer within {self.seconds:g} s; check PGHOST, PGPORT, the firewall, "
                "or raise MAINTENANCE_CONNECT_TIMEOUT."
            )
        if isinstance(error, FileNotFoundError | ConnectionRefusedError) and target.host.startswith("/"):
            return DatabaseError(
                f"No server listens at {target.host}/.s.PGSQL.{target.port} ({error.strerror or error}); check PGHOST, "
                "which is the folder of a Unix socket, and PGPORT, or start the server."
            )
        if error.filename is not None or isinstance(error, FileNotFoundError | PermissionError):
            return DatabaseError(
                f"A file for the connection to {target} cannot be read ({error}), so the login was not sent; check "
                "PGSSLROOTCERT, PGSSLCERT, PGSSLKEY and the folder ~/.postgresql, or the folder of the Unix socket."
            )
        if isinstance(error, socket.gaierror):
            return DatabaseError(
                f"The name of {target} cannot be resolved ({error}); check PGHOST, and for a private endpoint that the "
                "app is in the network and uses its private DNS zone."
            )
        if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
            return DatabaseError(
                f"{target} speaks no TLS, so the login was not sent; turn TLS on at the server, or set "
                "PGSSLMODE=disable with MAINTENANCE_ALLOW_PLAINTEXT=1 if the network is yours."
            )
        return DatabaseError(f"{target} cannot be reached ({error}); check PGHOST, PGPORT and the firewall.")


def first_line(error: asyncpg.PostgresError) -> str:
    """What the server said, without its details."""
    return str(error).splitlines()[0] if str(error) else error.sqlstate
