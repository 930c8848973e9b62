"""What can go wrong, as one tree. A message gives the fact, its consequence and the remedy.

MaintenanceError
├── UsageError            wrong words on the command line                           exit 2
├── SettingsError         an environment variable is missing or wrong               exit 2
├── PolicyError           the policy file is wrong, or does not fit the database    exit 2
├── DatabaseError         the server cannot be reached, refuses us, or cannot serve exit 2
│   ├── ConnectionLost    the session ended in the middle of the work               exit 1
│   ├── StatementRefused  the server refused a statement around the work            exit 1
│   └── IdentityError     no identity gives a token to log in with                  exit 2
├── LedgerError           the ledger's schema is missing and may not be made        exit 2
├── ArchiveError          an archive cannot be reached or read, or does not fit     exit 1
├── DemoError             the embedded server cannot be started                     exit 2
├── Blocked               the server skipped what we asked for, or the archive fails the step is `blocked`
├── GaveWay               a step stopped in favour of others                        the step is `interrupted`
├── LeaseHeld             another run holds the lease of this database              exit 4
├── Paused                all runs of this database are paused                      exit 3
└── RunFailed             raised by triggers, so that their host sees a failed run
"""


class MaintenanceError(Exception):
    """Base of every error that this package raises on purpose."""


class UsageError(MaintenanceError):
    """The command line asks for something that does not exist."""


class SettingsError(MaintenanceError):
    """An environment variable is missing or has a value that cannot be used."""


class PolicyError(MaintenanceError):
    """The policy file cannot be read, or asks for something that this database does not have."""


class DatabaseError(MaintenanceError):
    """The server cannot be reached, refuses the login, or is not one that can be maintained."""


class ConnectionLost(DatabaseError):
    """The session ended while work was going on; the next run goes on from the last committed batch."""


class StatementRefused(DatabaseError):
    """The server refused a statement around the work (a lock on the ledger, say); what was committed stays."""


class IdentityError(DatabaseError):
    """No identity (managed, workload, Azure CLI) gave a token, so no login was attempted."""


class LedgerError(MaintenanceError):
    """The ledger's schema is absent and this role may not create it."""


class DemoError(MaintenanceError):
    """The embedded PostgreSQL of the demo and the tests cannot be started."""


class ArchiveError(MaintenanceError):
    """An archive cannot be written, reached or read, or its rows do not fit the table that they are for."""


class Blocked(MaintenanceError):
    """The server answered, but skipped the work, or its rows could not be archived: never to be counted as done."""


class GaveWay(MaintenanceError):
    """A step took back what it had begun, as others are in its way or it would be in theirs; nothing is lost.

    `reason` is the stop reason, by its name; `cut` tells that the work itself was ended, so that it takes longer than
    it had, and not only what came before it.
    """

    def __init__(self, message: str, reason: str, *, cut: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.cut = cut


class LeaseHeld(MaintenanceError):
    """Another run works on this database; this one must not."""


class Paused(MaintenanceError):
    """Somebody has paused all runs of this database; nothing new is begun."""


class RunFailed(MaintenanceError):
    """A scheduled run ended `failed`; raised so that the scheduler's host records a failure."""
