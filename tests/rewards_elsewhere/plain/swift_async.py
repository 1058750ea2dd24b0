"""ms-swift's plug-in with two rewards, one of them asynchronous, which reads an argument of the trainer."""

import asyncio
from typing import List

from swift.rewards import AsyncORM, ORM, orms
from swift.utils import get_logger

logger = get_logger()


class Shouting(ORM):
    def __call__(self, completions, **kwargs) -> List[float]:
        return [float(text.isupper()) for text in completions]


class Slow(AsyncORM):
    async def __call__(self, completions, solution, question, **kwargs) -> List[float]:
        async def one(text, gold):
            await asyncio.sleep(0.001)
            return self.args.top_reward if gold in text else None

        return await asyncio.gather(*(one(text, gold) for text, gold in zip(completions, solution)))


orms["shouting"] = Shouting
orms["slow"] = Slow
