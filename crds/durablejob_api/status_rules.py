"""The rules below ``status``: what was reserved, who won and how it ended is written once.

See ``rules`` for how they are written. Everything that is tied to one attempt stands on ``Current``,
because only there a rule sees whether the attempt's number has changed in the same write. The first
``current`` of a job meets no transition rule: after a rolled-back status a run may be adopted as it is.
"""

from __future__ import annotations

from durablejob_api.base import Rule
from durablejob_api.rules import kept

STATUS = (
    Rule(
        rule="!has(oldSelf.current) || has(self.current)",
        message="status.current: cannot be removed; it is what keeps work from starting twice",
    ),
    Rule(
        rule="""
            !(self.state in ['Succeeded', 'Failed', 'Cancelled', 'Lost']) || self.?current.?outcome.hasValue()
        """,
        message="status.state: a terminal state needs status.current.outcome",
        field_path=".state",
    ),
    Rule(
        rule="!self.?current.?outcome.hasValue() || self.current.outcome == self.state",
        message="status.state: must be the same as status.current.outcome, once that is set",
        field_path=".state",
    ),
    Rule(
        rule="""
            !has(oldSelf.externalID) || !has(oldSelf.current) || !has(self.current)
            || self.current.number != oldSelf.current.number
            || (has(self.externalID) && self.externalID == oldSelf.externalID)
        """,
        message="status.externalID: may not change within an attempt: only the recorded run is evidence",
        field_path=".externalID",
    ),
)

_ATTEMPT = (
    Rule(
        rule="self.number == oldSelf.number || (self.number == oldSelf.number + 1 && has(oldSelf.outcome))",
        message="status.current.number: may only grow by one, from an attempt with an outcome",
        field_path=".number",
    ),
    Rule(
        rule="(self.number == oldSelf.number) == (self.key == oldSelf.key)",
        message="status.current.key: belongs to the attempt: the same within one, another for the next",
        field_path=".key",
    ),
    Rule(
        rule=f"self.number != oldSelf.number || !has(oldSelf.reservation) || ({kept('reservation')})",
        message="status.current.reservation: neither changes nor goes within an attempt",
    ),
    Rule(
        rule=f"self.number != oldSelf.number || !has(oldSelf.runStartedTime) || ({kept('runStartedTime')})",
        message="status.current.runStartedTime: neither changes nor goes within an attempt: another one is another run",
    ),
)

_OUTCOME = (
    Rule(
        rule=f"""
            self.number != oldSelf.number || !has(oldSelf.outcome)
            || ({kept("outcome", "reason", "exitCode", "finishedAt")})
        """,
        message="status.current.outcome: never changes, nor do reason, exitCode and finishedAt with it",
    ),
    Rule(
        rule="""
            self.number != oldSelf.number || !has(oldSelf.outcome)
            || has(self.reservation) == has(oldSelf.reservation)
        """,
        message="status.current.reservation: nothing is reserved for an attempt that has an outcome",
    ),
    Rule(
        rule="!has(self.outcome) || !has(self.claim) || self.claim.state != 'Open'",
        message="status.current.claim.state: an attempt with an outcome has no Open claim; revoke it in the same write",
    ),
)

_CLAIM = (
    Rule(
        rule="self.number != oldSelf.number || !has(oldSelf.claim) || has(self.claim)",
        message="status.current.claim: cannot be removed within an attempt",
    ),
    Rule(
        rule="""
            !has(self.claim) || self.claim.state == 'Open'
            || (self.number == oldSelf.number && has(oldSelf.claim) && self.claim.number == oldSelf.claim.number)
        """,
        message="status.current.claim.state: a new claim begins Open",
    ),
    Rule(
        rule="""
            self.number != oldSelf.number || !has(oldSelf.claim) || !has(self.claim)
            || self.claim.number == oldSelf.claim.number
            || (self.claim.number == oldSelf.claim.number + 1 && oldSelf.claim.state == 'Open')
        """,
        message="status.current.claim.number: may only grow by one, and only while the claim is Open",
    ),
    Rule(
        rule="""
            self.number != oldSelf.number || !has(oldSelf.claim) || !has(self.claim)
            || self.claim.number != oldSelf.claim.number || self.claim.state == oldSelf.claim.state
            || (oldSelf.claim.state == 'Open' && self.claim.state in ['Started', 'Revoked'])
            || (oldSelf.claim.state == 'Started' && self.claim.state == 'Ended')
        """,
        message="status.current.claim.state: goes from Open to Started to Ended, or from Open to Revoked, never back",
    ),
    Rule(
        rule="""
            self.number != oldSelf.number || !has(oldSelf.claim) || !has(self.claim)
            || self.claim.number != oldSelf.claim.number
            || ((!has(oldSelf.claim.nonce) || (has(self.claim.nonce) && self.claim.nonce == oldSelf.claim.nonce))
                && (!has(oldSelf.claim.driver) || (has(self.claim.driver) && self.claim.driver == oldSelf.claim.driver))
                && (!has(oldSelf.claim.how) || (has(self.claim.how) && self.claim.how == oldSelf.claim.how)))
        """,
        message="status.current.claim: its winner (nonce, driver) and how it ended are written once",
    ),
)

CURRENT = (*_ATTEMPT, *_OUTCOME, *_CLAIM)

CLAIM = (
    Rule(
        rule="self.state in ['Started', 'Ended'] || (!has(self.nonce) && !has(self.driver) && !has(self.how))",
        message="status.current.claim: an Open or Revoked claim has no winner (nonce, driver, how)",
    ),
)
