"""What rowback assumes of AWS without having measured it: what is tried, and what the documentation prints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """What came of trying one."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Assumption:
    """One, as a claim that can be wrong.

    `source`: why it is believed; `matters`: what of rowback leans on it; `on_lab`: what the lab has to answer;
    `on_lab_15`: the same where it runs PostgreSQL 15 and that differs.
    """

    number: int
    claim: str
    source: str
    matters: str
    on_lab: Answer
    on_lab_15: Answer | None = None


ASSUMPTIONS = (
    Assumption(
        1,
        "The printed IAM policy suffices for a whole recovery, and nothing else is needed.",
        "Service Authorization Reference; CloudFormation's RDS provider for the network reads",
        "the only policy a site has to allow (docs/reference/iam.md)",
        Answer.CONFIRMED,
    ),
    Assumption(
        2,
        "A restored instance that was 'available' at three looks in a row takes a new master password, which lets in"
        " within five minutes.",
        "Terraform's and CloudFormation's waiters",
        "how long a recovery waits for its copy, and when it gives up",
        Answer.CONFIRMED,
    ),
    Assumption(
        3,
        "With RDS's default parameter group the copy of an original with a prepared transaction does not start; with"
        " the original's group it does, and starts no subscription where that group allows no workers.",
        "PostgreSQL: recovery needs as much room as the original had; botocore: DBParameterGroupName",
        "what `plan` refuses before anything is created",
        Answer.CONFIRMED,
    ),
    Assumption(
        4,
        "A user in rds_iam, so the master user as well, is let in by no password, not even while IAM authentication is"
        " off, and by a token where a copy has it.",
        "UsingWithRDS.IAMDBAuth",
        "how the copy of such an instance is logged in to",
        Answer.UNKNOWN,  # RDS's own PostgreSQL lets the master user grant rds_iam, a plain one since 16 does not
        Answer.REFUTED,  # the lab tells no token from a password
    ),
    Assumption(
        5,
        "A restore to the latest restorable time itself is refused: it must be before that.",
        "botocore: RestoreTime",
        "the last second that `plan` accepts",
        Answer.CONFIRMED,
    ),
    Assumption(
        6,
        "A copy that is still being created can be deleted, at once or once RDS stops refusing it.",
        "botocore: InvalidDBInstanceState",
        "Ctrl-C, `close` and `reap` at any moment",
        Answer.CONFIRMED,
    ),
    Assumption(
        7,
        "Between the end of recovery and the first login RDS itself begins fewer than 50,000 transactions in a copy.",
        "nobody: a margin",
        "which rows the comparison by row versions takes for younger than T",
        Answer.CONFIRMED,
    ),
    Assumption(
        8,
        "The storage of a copy is gp3 where no type is named, whatever the original's is.",
        "botocore: StorageType",
        "what a plan says of cost and speed",
        Answer.CONFIRMED,
    ),
    Assumption(
        9,
        "First reads of a restored volume come at 15 to 150 MiB/s in one session, and eight sessions are at least twice"
        " as fast.",
        "USER_PIT; measurements of others with pg_prewarm",
        "how a cold copy is read ahead, and the time that a plan foretells",
        Answer.UNKNOWN,
    ),
    Assumption(
        10,
        "Backups can be switched on of a copy; RDS then takes a first one, and shows a window to restore it in.",
        "USER_WorkingWithAutomatedBackups",
        "drills on a real instance",
        Answer.CONFIRMED,
    ),
    Assumption(
        11,
        "`doctor` can check the permissions of a role with a path, such as IAM Identity Center's.",
        "SimulatePrincipalPolicy, GetRole",
        "what doctor says of permissions to people who log in by single sign-on",
        Answer.CONFIRMED,
    ),
    Assumption(
        12,
        "AWS's price list has the class and the storage in this region.",
        "infracost's filters",
        "`--max-cost`",
        Answer.CONFIRMED,
    ),
    Assumption(
        13,
        "The master user reads tables that an application's role owns, without being a member of it.",
        "rds_superuser has pg_read_all_data; since PostgreSQL 16 making a role does not make a member of it",
        "reading the copy, and comparing",
        Answer.CONFIRMED,
    ),
    Assumption(
        14,
        "The master user can make event triggers, which then fire for rowback's own DDL as well.",
        "RDS's guide; AWS DMS makes one",
        "what `plan` says of event triggers",
        Answer.UNKNOWN,
    ),
)
