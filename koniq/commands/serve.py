"""A page and an API: pictures dropped or sent, and their scores.

python -m koniq serve                            # http://127.0.0.1:8512/, for this machine alone
python -m koniq serve --intervals --port 8600
python -m koniq serve --host 0.0.0.0             # for others, too, who need the token that is printed

The environment's KONIQ_TOKEN is a token that no list of processes shows.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec

import tyro

from koniq.commands.choices import How
from koniq.ground import InputError
from koniq.ground.built import install
from koniq.ground.log import LOG
from koniq.ground.machine import native_silence
from koniq.network import find_or_default
from koniq.pictures.apart import Apart
from koniq.pictures.faults import Place
from koniq.serving.limits import Limits, address_of, bound, token_for

BATCH = 4  # pictures at a time, where nothing is said: engines that take whole batches alone keep one waiting for less
LONGEST = 60.0  # seconds in which a picture has to be decoded that is decoded apart


@dataclass(frozen=True)
class Settings:
    weights: str = ""  # a file, a training run, or a name in trained_models; if empty, the original, or koncept_lite
    how: tyro.conf.OmitArgPrefixes[How] = How()
    calibrate: bool = True  # scores in MOS by the map that is kept beside the weights, if there is one
    intervals: bool = False  # low and high beside each score, where the weights have them
    host: str = "127.0.0.1"  # the address that is listened at; another than this machine's own needs a token
    port: int = 8512  # 0: any that is free
    token: str = ""  # that requests have to bring; if empty, KONIQ_TOKEN, or where others may ask one by chance
    limits: tyro.conf.OmitArgPrefixes[Limits] = Limits()
    apart: bool = False  # decode in a process of its own, one at a time, which a picture may end in place of the server


def main(s: Settings) -> None:
    if not all(map(find_spec, ("fastapi", "uvicorn", "python_multipart"))):
        raise InputError(f"FastAPI should be installed for this: {install('serve')}")
    s.limits.check()
    token, made = token_for(s.host, s.token)
    path = find_or_default(s.weights)
    how = replace(s.how, batch_size=s.how.batch_size or BATCH)
    scorer = how.load(path, (), calibrate=s.calibrate, intervals=s.intervals)
    taken = bound(s.host, s.port)
    from koniq.serving import Batches, Gate, Running, Server, application, table_of

    def ready() -> None:
        LOG.info(f"To open: {address_of(taken)}{f'#{token}' if made else ''}   (Ctrl-C ends it)")

    with taken, ExitStack() as stack:
        opened = None
        if s.apart:
            apart = Apart(scorer.network, Place(), scorer.max_megapixels, LONGEST)
            opened = stack.enter_context(apart).decode
        batches = stack.enter_context(Batches(scorer, s.limits.queue, s.limits.wait_ms / 1000, opened))
        server = Server(batches, s.limits, Gate(token), table_of(scorer))
        LOG.info(f"Scores by {server.model}")
        if made:
            LOG.info(f"Requests have to bring the token: Authorization: Bearer {token}")
        with native_silence():
            Running(application(server), taken, ready).serve_there()
