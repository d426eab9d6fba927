"""Who grants coupons does not rest while the same worker knows of somebody who is next."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from tests.integration.storage.worlds import opened_world, until
from tests.integration.worker.test_coupons import granting
from tests.support.campaigns import enter, log_in, make_campaign, winners
from tidegate.domain.jobs import RECORDED
from tidegate.storage.jobs import PostgresJobs
from tidegate.usecases.record_events import RecordEvents
from tidegate.wiring.working import CouponBell
from tidegate.worker.hands import Hands
from tidegate.worker.lanes import Lane
from tidegate.worker.loop import Rounds, WorkerLoop


class Told:
    """`worker.lanes.Watcher`."""

    def __init__(self, coupons: CouponBell) -> None:
        self.coupons = coupons

    def done(self, lane: str, count: int) -> None:
        self.coupons.committed()

    def failed(self, lane: str, error: str, *, is_dead: bool) -> None:
        raise AssertionError(error)

    def relayed(self, lane: str, ages_s: Sequence[float]) -> None:
        raise AssertionError


def test_a_coupon_follows_the_noted_login_though_the_granter_would_rest_for_an_hour(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=3)
            users = await enter(world.outside, campaign, 4)
            coupons = CouponBell()
            lane = Lane(
                name="records",
                kinds=RECORDED,
                do=RecordEvents(welcomes=False, on_first_logins=coupons.noted),
                at_once_max=500,
                parallel=1,
                tries_max=3,
            )
            hands = Hands(lane, jobs=PostgresJobs(world.pool), carrier=None, watcher=Told(coupons))
            failures: list[Exception] = []
            loop = WorkerLoop(
                [
                    Rounds(work=hands.work, rest_s=0.01),
                    Rounds(work=granting(world), rest_s=3_600, bell=coupons.bell),
                ],
                on_failure=failures.append,
            )
            running = asyncio.create_task(loop.run())
            for place in range(1, 4):
                await log_in(world.outside, [users[place]])
                won = users[1 : place + 1]

                async def is_granted(won: list[UUID] = won) -> bool:
                    return await winners(world.outside, campaign) == won

                await until(is_granted)
            loop.stop()
            await running
            assert failures == []

    asyncio.run(story())
