"""After a crash: what is on disk and not in the balances is settled, once, and raises its alarms."""

from opentelemetry.trace import INVALID_SPAN_CONTEXT

from farthing.credits import StoreError, open_store
from farthing.credits.recovery import Recovery
from farthing.proxy.charge_log import ChargeLog
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.spans import ChargeSpans
from tests.unit.test_proxy_charge_log import CHARGE


async def test_a_charge_that_was_not_settled_is_settled_with_its_alarms(tmp_path):
    store, outbox = open_store(f"sqlite:///{tmp_path / 'credits.db'}"), Outbox(tmp_path / "outbox.db")
    user = f"user:{CHARGE.account.user}"
    await store.grant("g", user, CHARGE.settled, department=CHARGE.account.department)
    await ChargeLog(outbox, ChargeSpans("farthing", outbox.instance)).write(CHARGE, INVALID_SPAN_CONTEXT)
    alarms = []
    recovery = Recovery(store, outbox, 86_400, [70], lambda settlement, *_: alarms.append(settlement))
    settle = store.settle

    async def away(*_):
        raise StoreError("away")

    store.settle = away
    assert await recovery.run() == 0
    store.settle = settle
    assert await recovery.run() == 1
    assert await recovery.run() == 0
    (settlement,) = alarms
    assert settlement.overdraft == CHARGE.settled, "nothing was held for it any more"
    assert [(one.account, one.threshold) for one in settlement.crossed] == [(user, 70)]
    (call,) = await store.calls(CHARGE.account.user)
    assert (call.id, call.amount, call.session_id) == (CHARGE.id, CHARGE.settled, CHARGE.session_id)
    assert (call.note.tier, call.note.kind) == (CHARGE.tier, CHARGE.kind)
    await store.close()
    await outbox.close()
