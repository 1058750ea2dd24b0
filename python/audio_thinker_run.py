"""Watches and steers runs of the Audio-Thinker sandbox from Python. One file, Python 3.8 or later, nothing to install.

    from audio_thinker_run import Run

    with Run.start("scenarios/ablation.toml", arms=["grpo+atar"]) as run:      # or Run.find("runs")
        arm = run.arm("grpo+atar")
        arm.weights(think=0.3)
        run.wait(step=200)
        fork = arm.fork("atar-dry", "shaping.weights.think=0")
        run.wait()
        print(run.summary()["conclusions"])

`sandbox client` prints this file. A request that is refused raises `Refused`, whose text is one line. Changes return when they
are in force, at the next step boundary.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

if sys.version_info >= (3, 8):
    from typing import TypedDict

ENDED = ("done", "failed", "stopped")


class Refused(Exception):
    """The run refused a request. `status` is the HTTP status, `refusal` the body of the answer."""

    def __init__(self, status: int, refusal: Dict[str, Any]):
        super().__init__(refusal.get("error") or "the run answered {}".format(status))
        self.status = status
        self.refusal = refusal


class NotRunning(Exception):
    """There is no run in progress, or it has ended meanwhile."""


# --- generated from /api/openapi.json


class RunState(TypedDict, total=False):
    """The state of the run."""

    protocol: int
    run: RunView
    arms: List[ArmView]
    totals: Totals


class RunView(TypedDict, total=False):
    """`RunView` of the API."""

    name: str
    dir: str
    started: str
    status: str
    parallel_arms: int


class ArmView(TypedDict, total=False):
    """An arm under one seed."""

    arm: str
    seed: int
    method: str
    trains: Optional[str]
    status: str
    reason: Optional[str]
    step: int
    total_steps: int
    conditions: Optional[ConditionsView]
    waiting: List[ChangeSummary]


class ConditionsView(TypedDict, total=False):
    """The conditions in force."""

    version: int
    formula: str
    weights: Dict[str, float]
    schedules: Dict[str, WeightSchedule]
    rewards: Dict[str, RewardView]
    settings: Dict[str, Any]
    formula_names: List[str]


class WeightSchedule(TypedDict, total=False):
    """The schedule of a weight: points of step and value. Before the first point the weight has the value of that point, after the last one that of the last."""

    schedule: List[Tuple[int, float]]
    interpolate: str


class RewardView(TypedDict, total=False):
    """A reward in force."""

    generation: int
    form: str
    toml: str
    in_formula: bool


class ChangeSummary(TypedDict, total=False):
    """A change in short: who made it, when, and which values it replaced."""

    version: int
    by: str
    time: str
    step: Optional[int]
    fields: List[FieldChange]


class FieldChange(TypedDict, total=False):
    """One value that a change replaces."""

    field: str
    old: Any
    new: Any


class Totals(TypedDict, total=False):
    """`Totals` of the API."""

    steps_done: int
    steps_total: int


class ActorTree(TypedDict, total=False):
    """The actors of an arm, each with those it supervises."""

    actors: List[ActorView]


class ActorView(TypedDict, total=False):
    """An actor and the actors that it supervises."""

    name: str
    generation: int
    status: str
    in_flight: int
    capacity: int
    restarts: int
    last_failure: Optional[str]
    calls: int
    failures: int
    latency_ms: Optional[float]
    children: List[ActorView]


class Applied(TypedDict, total=False):
    """From when on a change is in force."""

    version: int
    step: int


class FormulaText(TypedDict, total=False):
    """`FormulaText` of the API."""

    formula: str


class ChangeRequest(TypedDict, total=False):
    """A change of the conditions of an arm. All of it takes effect at one step boundary, or none of it does."""

    weights: Dict[str, float]
    formula: Optional[str]
    add: Dict[str, Any]
    swap: Dict[str, Any]
    rewards: Dict[str, Any]
    join_formula: Dict[str, Join]
    leave_formula: List[str]
    settings: Dict[str, Any]


class Join(TypedDict, total=False):
    """How a reward joins the formula."""

    weight: Optional[float]
    weight_name: Optional[str]


class Preview(TypedDict, total=False):
    """What a change would make of an arm."""

    ok: bool
    error: Optional[str]
    place: Optional[int]
    line: Optional[int]
    formula: Optional[str]
    rewards: List[str]
    weights: Dict[str, float]
    last_batch: Optional[BatchValues]
    advantages: Optional[ReshapedBatch]


class BatchValues(TypedDict, total=False):
    """What a formula makes of a batch."""

    step: int
    completions: int
    reward: Optional[float]
    terms: List[Contribution]


class Contribution(TypedDict, total=False):
    """A term of the outermost sum of a formula, and what it adds to the reward."""

    term: str
    subtracted: bool
    value: Optional[float]


class ReshapedBatch(TypedDict, total=False):
    """How the advantages of a batch would differ from those that were trained on."""

    step: int
    compared: int
    gained: int
    lost: int
    changed_signs: Optional[float]
    rank_correlation: Optional[float]
    largest_difference: float
    think_advantage: List[Optional[float]]


class ChangeAll(TypedDict, total=False):
    """`ChangeAll` of the API."""

    arms: Optional[List[Tuple[str, int]]]
    change: ChangeRequest


class Results(TypedDict, total=False):
    """The results of a request in the arms it selected."""

    results: List[ArmResult]


class ArmResult(TypedDict, total=False):
    """The result of a request in one arm."""

    arm: str
    seed: int
    applied: Optional[Applied]
    folder: Optional[str]
    error: Optional[str]
    place: Optional[int]
    stale: List[StaleArm]


class StaleArm(TypedDict, total=False):
    """An arm whose conditions have changed since the client read them."""

    arm: str
    seed: int
    known: int
    version: int
    changes: List[ChangeSummary]


class Pause(TypedDict, total=False):
    """`Pause` of the API."""

    arms: Optional[List[Tuple[str, int]]]
    reason: Optional[str]


class Steps(TypedDict, total=False):
    """`Steps` of the API."""

    arms: Optional[List[Tuple[str, int]]]
    n: int


class Folder(TypedDict, total=False):
    """`Folder` of the API."""

    folder: str


class Arms(TypedDict, total=False):
    """`Arms` of the API."""

    arms: Optional[List[Tuple[str, int]]]


class Fork(TypedDict, total=False):
    """`Fork` of the API."""

    arm: str
    name: str
    step: Optional[int]
    seeds: List[int]
    settings: List[str]


class Forked(TypedDict, total=False):
    """A fork that was planned or made."""

    name: str
    step: int
    seeds: List[int]
    left_out: List[LeftOut]


class LeftOut(TypedDict, total=False):
    """`LeftOut` of the API."""

    seed: int
    reason: str


class MetricsTable(TypedDict, total=False):
    """Metrics as a table. A missing value is `null`."""

    columns: List[str]
    rows: List[List[Optional[Union[float, int]]]]
    total: int
    stride: int


class Evals(TypedDict, total=False):
    """`Evals` of the API."""

    evals: List[Any]


class Journal(TypedDict, total=False):
    """`Journal` of the API."""

    entries: List[JournalEntry]


class JournalEntry(TypedDict, total=False):
    """A row of `control.jsonl`."""

    format_version: int
    time: str
    by: str
    arm: str
    seed: int
    action: str
    change: Optional[Change]
    # The key "from", Any, is a word of Python.
    note: Optional[str]
    version: int
    step: int
    alarm: Optional[AlarmFiring]


class Change(TypedDict, total=False):
    """A change of an arm's conditions. All of it takes effect at one step boundary, or none of it does."""

    weights: Dict[str, float]
    formula: Optional[str]
    rewards: Dict[str, Any]
    settings: Dict[str, Any]


class AlarmFiring(TypedDict, total=False):
    """An alarm that went off: its evidence, in `control.jsonl`."""

    name: str
    when: str
    step: int
    streak: int
    values: Dict[str, float]
    message: str
    then: List[str]


class RolloutsPage(TypedDict, total=False):
    """A page of rollouts."""

    total: int
    rollouts: List[RolloutLine]


class RolloutLine(TypedDict, total=False):
    """A line of `rollouts.jsonl`, and what the server adds to it."""

    audio: Optional[str]
    breakdown: Optional[Breakdown]


class Breakdown(TypedDict, total=False):
    """A rollout's reward, term by term."""

    formula: str
    rewards: List[str]
    terms: List[Contribution]


class Answers(TypedDict, total=False):
    """What the arms said to one question."""

    id: str
    arms: List[ArmAnswers]


class ArmAnswers(TypedDict, total=False):
    """An arm under one seed: the unit that is trained, checkpointed, resumed and controlled on its own. Rows and API answers flatten it into the two fields `arm` and `seed`."""

    arm: str
    seed: int
    completions: List[RolloutLine]


class Curves(TypedDict, total=False):
    """The curves of the arms."""

    width: float
    to: float
    whole: bool
    pending: int
    fields: List[CurveField]
    lines: List[CurveLine]


class CurveField(TypedDict, total=False):
    """A metric that has a value in some arm."""

    name: str
    positive: bool


class CurveLine(TypedDict, total=False):
    """An arm under one seed or several."""

    arm: str
    seeds: List[CurveSeed]
    x: List[float]
    values: Dict[str, CurveValues]
    held_out: Optional[HeldOutCurve]


class CurveSeed(TypedDict, total=False):
    """A seed of a line."""

    seed: int
    step: int
    latest: Dict[str, float]
    steps: List[Optional[int]]


class CurveValues(TypedDict, total=False):
    """The values of one column, one for each point; `null` where there is none."""

    mean: List[Optional[float]]
    low: List[Optional[float]]
    high: List[Optional[float]]


class HeldOutCurve(TypedDict, total=False):
    """Evaluations, thinned like the curves."""

    x: List[float]
    values: Dict[str, List[Optional[float]]]


class Reshape(TypedDict, total=False):
    """What is other than it was in the step."""

    step: Optional[int]
    weights: Dict[str, float]
    formula: Optional[str]


class Listed(TypedDict, total=False):
    """`Listed` of the API."""

    bookmarks: List[Bookmark]


class Bookmark(TypedDict, total=False):
    """A bookmark: a step of an arm, or one of its completions."""

    format_version: int
    number: int
    time: str
    by: str
    arm: str
    seed: int
    step: int
    completion: Optional[BookmarkedCompletion]
    note: str
    view: str
    removed: bool


class BookmarkedCompletion(TypedDict, total=False):
    """The row of `rollouts.jsonl` that a bookmark is about."""

    phase: str
    suite: Optional[str]
    group: int
    index: int
    question: str


class Mark(TypedDict, total=False):
    """The body of a new bookmark: a step of an arm, or a completion of that step."""

    arm: str
    seed: int
    step: Optional[int]
    completion: Optional[BookmarkedCompletion]
    note: str
    view: str


class Note(TypedDict, total=False):
    """`Note` of the API."""

    note: str


class Alarms(TypedDict, total=False):
    """`Alarms` of the API."""

    arms: List[ArmAlarms]


class ArmAlarms(TypedDict, total=False):
    """An arm under one seed: the unit that is trained, checkpointed, resumed and controlled on its own. Rows and API answers flatten it into the two fields `arm` and `seed`."""

    arm: str
    seed: int
    alarms: List[AlarmView]


class AlarmView(TypedDict, total=False):
    """An alarm of an arm."""

    name: str
    when: str
    then: List[str]
    message: str
    streak: int
    steps: int
    values: Dict[str, Optional[float]]
    spent: bool
    firings: List[AlarmFiring]


class Refusal(TypedDict, total=False):
    """The body of every answer with an error status."""

    error: str
    place: Optional[int]
    line: Optional[int]
    stale: List[StaleArm]


class Api:
    """Every request of the control channel, named after its method and path."""

    def __init__(self, connection: Connection):
        self.connection = connection

    def get_alarms(self) -> Alarms:
        """The alarms of all arms: how they stand after the newest step, and when and why they went off."""
        return self.connection.request("GET", "/api/alarms")

    def get_answers(self, **query: Any) -> Answers:
        """What every arm said to one question the last time that it was asked. Query: `id`, `phase`, `step`, `limit`."""
        return self.connection.request("GET", "/api/answers", query=query)

    def get_arms(self, arm: str, seed: int) -> ArmView:
        """The state of an arm, and its formula, weights and rewards."""
        return self.connection.request("GET", "/api/arms/{arm}/{seed}".format(arm=quoted(arm), seed=quoted(seed)))

    def get_arms_actors(self, arm: str, seed: int) -> ActorTree:
        """The actors of an arm, as a tree."""
        return self.connection.request("GET", "/api/arms/{arm}/{seed}/actors".format(arm=quoted(arm), seed=quoted(seed)))

    def post_arms_change(self, arm: str, seed: int, body: ChangeRequest, if_match: Optional[str] = None) -> Applied:
        """Changes weights, formula and rewards at one step boundary: all of it or nothing."""
        return self.connection.request("POST", "/api/arms/{arm}/{seed}/change".format(arm=quoted(arm), seed=quoted(seed)), body=body, if_match=if_match)

    def post_arms_checkpoint(self, arm: str, seed: int) -> Folder:
        """Writes a checkpoint after the current step."""
        return self.connection.request("POST", "/api/arms/{arm}/{seed}/checkpoint".format(arm=quoted(arm), seed=quoted(seed)))

    def get_arms_evals(self, arm: str, seed: int) -> Evals:
        """The evaluations."""
        return self.connection.request("GET", "/api/arms/{arm}/{seed}/evals".format(arm=quoted(arm), seed=quoted(seed)))

    def get_arms_formula(self, arm: str, seed: int) -> FormulaText:
        """The formula."""
        return self.connection.request("GET", "/api/arms/{arm}/{seed}/formula".format(arm=quoted(arm), seed=quoted(seed)))

    def put_arms_formula(self, arm: str, seed: int, body: FormulaText, if_match: Optional[str] = None) -> Applied:
        """Replaces the formula."""
        return self.connection.request("PUT", "/api/arms/{arm}/{seed}/formula".format(arm=quoted(arm), seed=quoted(seed)), body=body, if_match=if_match)

    def post_arms_formula_check(self, arm: str, seed: int, body: ChangeRequest) -> Preview:
        """Checks a formula, or the formula that a change would make, without changing anything; values it on the last batch."""
        return self.connection.request("POST", "/api/arms/{arm}/{seed}/formula/check".format(arm=quoted(arm), seed=quoted(seed)), body=body)

    def get_arms_metrics(self, arm: str, seed: int, **query: Any) -> MetricsTable:
        """Metrics by step, as a table. Query: `from`, `to`, `max_points`, `fields`."""
        return self.connection.request("GET", "/api/arms/{arm}/{seed}/metrics".format(arm=quoted(arm), seed=quoted(seed)), query=query)

    def post_arms_pause(self, arm: str, seed: int, body: Pause) -> ArmView:
        """Pauses the arm after the current step."""
        return self.connection.request("POST", "/api/arms/{arm}/{seed}/pause".format(arm=quoted(arm), seed=quoted(seed)), body=body)

    def post_arms_reshape(self, arm: str, seed: int, body: Reshape) -> ReshapedBatch:
        """What the advantages of a step would have been under other weights or another formula; changes nothing."""
        return self.connection.request("POST", "/api/arms/{arm}/{seed}/reshape".format(arm=quoted(arm), seed=quoted(seed)), body=body)

    def post_arms_resume(self, arm: str, seed: int) -> ArmView:
        """Resumes the arm."""
        return self.connection.request("POST", "/api/arms/{arm}/{seed}/resume".format(arm=quoted(arm), seed=quoted(seed)))

    def get_arms_rewards(self, arm: str, seed: int) -> Dict[str, RewardView]:
        """The rewards."""
        return self.connection.request("GET", "/api/arms/{arm}/{seed}/rewards".format(arm=quoted(arm), seed=quoted(seed)))

    def put_arms_rewards(self, arm: str, seed: int, name: str, body: Any, if_match: Optional[str] = None) -> Applied:
        """Adds a reward, or replaces the one of that name, after a trial."""
        return self.connection.request("PUT", "/api/arms/{arm}/{seed}/rewards/{name}".format(arm=quoted(arm), seed=quoted(seed), name=quoted(name)), body=body, if_match=if_match)

    def post_arms_rewards(self, arm: str, seed: int, name: str, body: Any, if_match: Optional[str] = None) -> Applied:
        """Adds a reward after a trial; refused if there is one of that name."""
        return self.connection.request("POST", "/api/arms/{arm}/{seed}/rewards/{name}".format(arm=quoted(arm), seed=quoted(seed), name=quoted(name)), body=body, if_match=if_match)

    def delete_arms_rewards(self, arm: str, seed: int, name: str, if_match: Optional[str] = None) -> Applied:
        """Removes a reward that the formula does not use."""
        return self.connection.request("DELETE", "/api/arms/{arm}/{seed}/rewards/{name}".format(arm=quoted(arm), seed=quoted(seed), name=quoted(name)), if_match=if_match)

    def get_arms_rollouts(self, arm: str, seed: int, **query: Any) -> RolloutsPage:
        """Completions, filtered and sorted, each with the terms of its reward. Query: `phase`, `step`, `id`, `filter`, `q`, `sort`, `order`, `offset`, `limit`."""
        return self.connection.request("GET", "/api/arms/{arm}/{seed}/rollouts".format(arm=quoted(arm), seed=quoted(seed)), query=query)

    def post_arms_step(self, arm: str, seed: int, body: Steps) -> ArmView:
        """Takes a number of steps, then pauses."""
        return self.connection.request("POST", "/api/arms/{arm}/{seed}/step".format(arm=quoted(arm), seed=quoted(seed)), body=body)

    def post_arms_stop(self, arm: str, seed: int) -> ArmView:
        """Ends the arm after the current step and writes a checkpoint."""
        return self.connection.request("POST", "/api/arms/{arm}/{seed}/stop".format(arm=quoted(arm), seed=quoted(seed)))

    def get_arms_weights(self, arm: str, seed: int) -> Dict[str, float]:
        """The weights."""
        return self.connection.request("GET", "/api/arms/{arm}/{seed}/weights".format(arm=quoted(arm), seed=quoted(seed)))

    def put_arms_weights(self, arm: str, seed: int, body: Dict[str, float], if_match: Optional[str] = None) -> Applied:
        """Changes some weights."""
        return self.connection.request("PUT", "/api/arms/{arm}/{seed}/weights".format(arm=quoted(arm), seed=quoted(seed)), body=body, if_match=if_match)

    def get_bookmarks(self) -> Listed:
        """The bookmarks, by their numbers."""
        return self.connection.request("GET", "/api/bookmarks")

    def post_bookmarks(self, body: Mark) -> Bookmark:
        """Marks a step of an arm, or one of its completions."""
        return self.connection.request("POST", "/api/bookmarks", body=body)

    def put_bookmarks(self, number: int, body: Note) -> Bookmark:
        """Replaces the note of a bookmark."""
        return self.connection.request("PUT", "/api/bookmarks/{number}".format(number=quoted(number)), body=body)

    def delete_bookmarks(self, number: int) -> Bookmark:
        """Takes a bookmark away."""
        return self.connection.request("DELETE", "/api/bookmarks/{number}".format(number=quoted(number)))

    def post_change(self, body: ChangeAll, if_match: Optional[str] = None) -> Results:
        """Makes the same change in several arms."""
        return self.connection.request("POST", "/api/change", body=body, if_match=if_match)

    def post_checkpoint(self, body: Arms) -> Results:
        """Writes checkpoints of several arms."""
        return self.connection.request("POST", "/api/checkpoint", body=body)

    def get_curves(self, **query: Any) -> Curves:
        """The metrics of all arms as curves, aligned by step, tokens or time, and thinned to what a plot can show. Query: `fields`, `x`, `seeds`, `band`, `from`, `to`, `points`, `since`, `width`."""
        return self.connection.request("GET", "/api/curves", query=query)

    def post_fork(self, body: Fork) -> Forked:
        """Copies an arm at a step boundary into a new one, which goes on under other conditions."""
        return self.connection.request("POST", "/api/fork", body=body)

    def get_journal(self) -> Journal:
        """All changes and commands so far, oldest first."""
        return self.connection.request("GET", "/api/journal")

    def get_openapi_json(self) -> Any:
        """This document."""
        return self.connection.request("GET", "/api/openapi.json")

    def post_pause(self, body: Pause) -> Results:
        """Pauses several arms."""
        return self.connection.request("POST", "/api/pause", body=body)

    def post_resume(self, body: Arms) -> Results:
        """Resumes several arms."""
        return self.connection.request("POST", "/api/resume", body=body)

    def get_state(self) -> RunState:
        """The state of the run and of all its arms."""
        return self.connection.request("GET", "/api/state")

    def post_step(self, body: Steps) -> Results:
        """Takes a number of steps in several arms, then pauses them."""
        return self.connection.request("POST", "/api/step", body=body)

    def post_stop(self, body: Arms) -> Results:
        """Ends several arms."""
        return self.connection.request("POST", "/api/stop", body=body)


# --- end of what is generated


class Connection:
    """Requests to the control channel of one run."""

    def __init__(self, address: str, token: str):
        self.address = address.rstrip("/")
        self.token = token
        # A proxy would see the token.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def open(self, method: str, path: str, query: Optional[Dict[str, Any]] = None, body: Any = None, if_match: Optional[str] = None):
        """The open response of a request."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = self.address + path + ("?" + urllib.parse.urlencode(given) if given else "")
        request = urllib.request.Request(url, method=method)
        request.add_header("Authorization", "Bearer " + self.token)
        if if_match is not None:
            request.add_header("If-Match", if_match)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            return self._opener.open(request)
        except urllib.error.HTTPError as error:
            try:
                refusal = json.loads(error.read().decode())
            except ValueError:
                refusal = {}
            raise Refused(error.code, refusal if isinstance(refusal, dict) else {}) from None
        except OSError as error:
            raise NotRunning("the run at {} does not answer: {}".format(self.address, error)) from None

    def request(self, method: str, path: str, query: Optional[Dict[str, Any]] = None, body: Any = None, if_match: Optional[str] = None) -> Any:
        """The JSON that a request is answered with."""
        try:
            with self.open(method, path, query, body, if_match) as response:
                return json.loads(response.read().decode())
        except OSError as error:
            raise NotRunning("the run at {} ended during a request: {}".format(self.address, error)) from None


def quoted(part: Union[str, int]) -> str:
    """A part of a path."""
    return urllib.parse.quote(str(part), safe="")


class Arm:
    """One arm under one seed."""

    def __init__(self, run: Run, name: str, seed: int):
        self.run, self.name, self.seed = run, name, seed

    def __repr__(self) -> str:
        return "Arm({!r}, seed={})".format(self.name, self.seed)

    @property
    def folder(self) -> str:
        """Where it is recorded."""
        return os.path.join(self.run.folder, self.name, "seed-{}".format(self.seed))

    def view(self) -> ArmView:
        """Its state, and its formula, weights, rewards and settings; when the run has ended, the state that is recorded."""
        try:
            return self.run.api.get_arms(self.name, self.seed)
        except NotRunning:
            path = os.path.join(self.folder, "status.json")
            if not os.path.exists(path):
                raise
            with open(path, encoding="utf-8") as file:
                return json.load(file)

    @property
    def status(self) -> str:
        """`planned`, `running`, `paused`, `done`, `failed` or `stopped`."""
        return self.view()["status"]

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.view()["step"]

    def weights(self, **weights: float) -> Any:
        """Sets weights, by their names without `w_`; without any, returns them."""
        if not weights:
            return self.run.api.get_arms_weights(self.name, self.seed)
        return self.change({"weights": weights})

    def formula(self, formula: Optional[str] = None, **weights: float) -> Any:
        """Replaces the formula, with new weights; without one, returns it."""
        if formula is None:
            return self.run.api.get_arms_formula(self.name, self.seed)["formula"]
        return self.change({"formula": formula, "weights": weights})

    def set(self, settings: Dict[str, Any]) -> Applied:
        """Changes settings such as `{"grpo.lr": 3e-5}`."""
        return self.change({"settings": settings})

    def swap(self, name: str, reward: Union[str, Dict[str, Any]]) -> Applied:
        """Replaces a reward by another one: its settings as a dict, or the path of a Python file with a function `reward`."""
        return self.change({"swap": {name: _reward(reward)}})

    def add(self, name: str, reward: Union[str, Dict[str, Any]], weight: Optional[float] = None) -> Applied:
        """Adds a reward; with a weight it joins the formula."""
        change: Dict[str, Any] = {"add": {name: _reward(reward)}}
        if weight is not None:
            change["join_formula"] = {name: {"weight": weight}}
        return self.change(change)

    def remove(self, name: str, formula: Optional[str] = None) -> Applied:
        """Removes a reward, with a formula that does not use it where the present one does."""
        change: Dict[str, Any] = {"rewards": {name: None}}
        if formula is not None:
            change["formula"] = formula
        return self.change(change)

    def change(self, change: ChangeRequest, if_version: Optional[int] = None) -> Applied:
        """Makes several changes at one step boundary; with `if_version`, only if nobody has changed anything since."""
        tag = None if if_version is None else '"{}"'.format(if_version)
        return self.run.api.post_arms_change(self.name, self.seed, change, tag)

    def pause(self, reason: Optional[str] = None) -> ArmView:
        """Takes no further step until it is resumed. Returns at once; `wait(status="paused")` waits."""
        return self.run.api.post_arms_pause(self.name, self.seed, {"reason": reason})

    def resume(self) -> ArmView:
        """Takes steps again."""
        return self.run.api.post_arms_resume(self.name, self.seed)

    def take(self, steps: int = 1) -> ArmView:
        """Takes some steps, then pauses."""
        return self.run.api.post_arms_step(self.name, self.seed, {"n": steps})

    def checkpoint(self) -> str:
        """Writes a checkpoint after the present step; returns its folder."""
        return self.run.api.post_arms_checkpoint(self.name, self.seed)["folder"]

    def stop(self) -> ArmView:
        """Ends it after the present step, with a checkpoint."""
        return self.run.api.post_arms_stop(self.name, self.seed)

    def fork(self, name: str, *settings: str, step: Optional[int] = None) -> Arm:
        """Copies it at the next step boundary, or at `step`, into a new arm with other settings; waits until that exists."""
        request = {"arm": self.name, "name": name, "seeds": [self.seed], "settings": list(settings), "step": step}
        self.run.api.post_fork(request)
        while not any(arm.name == name and arm.seed == self.seed for arm in self.run.arms()):
            self.run._pause()
        return Arm(self.run, name, self.seed)

    def metrics(self, *fields: str, first: Optional[int] = None, last: Optional[int] = None) -> Dict[str, List[Any]]:
        """The metrics of all steps, or of some, as a list for each field; a group such as `components` has all of its fields."""
        query = {"from": first, "to": last, "fields": ",".join(fields) or None, "max_points": 1_000_000_000}
        try:
            table = self.run.api.get_arms_metrics(self.name, self.seed, **query)
        except NotRunning:
            return self._recorded_metrics(fields, first, last)
        columns = list(zip(*table["rows"])) or [()] * len(table["columns"])
        return {name: list(column) for name, column in zip(table["columns"], columns)}

    def _recorded_metrics(self, fields: Tuple[str, ...], first: Optional[int], last: Optional[int]) -> Dict[str, List[Any]]:
        rows = [_flat(row) for row in _lines(os.path.join(self.folder, "metrics.jsonl"))]
        names = dict.fromkeys(name for row in rows for name in row)
        rows = [row for row in rows if (first is None or row["step"] >= first) and (last is None or row["step"] <= last)]
        wanted = [name for name in names if not fields or name == "step" or any(name == field or name.startswith(field + ".") for field in fields)]
        return {name: [row.get(name) for row in rows] for name in wanted}

    def evals(self) -> List[Dict[str, Any]]:
        """Its evaluations, oldest first."""
        return _lines(os.path.join(self.folder, "eval.jsonl"))

    def rollouts(self, **query: Any) -> RolloutsPage:
        """Its completions, as `GET …/rollouts` filters and sorts them: `phase`, `step`, `id`, `q`, `sort`, `order`, `limit`."""
        return self.run.api.get_arms_rollouts(self.name, self.seed, **query)

    def wait(self, step: Optional[int] = None, status: Optional[str] = None, timeout: Optional[float] = None) -> ArmView:
        """Waits until it has taken `step` steps or has this status, or has ended."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            view = self.view()
            reached = step is not None and view["step"] >= step or status is not None and view["status"] == status
            if reached or view["status"] in ENDED:
                return view
            if until is not None and time.monotonic() > until:
                raise TimeoutError("{!r} is {} at step {} after {} s".format(self, view["status"], view["step"], timeout))
            self.run._pause()


class Run:
    """A run in progress. `api` has a method for every request of the control channel."""

    def __init__(self, folder: str, child: Optional[subprocess.Popen] = None):
        self.folder, self.child = folder, child
        try:
            with open(os.path.join(folder, "control.json"), encoding="utf-8") as file:
                control = json.load(file)
        except (OSError, ValueError):
            raise NotRunning("{}: no run is in progress here".format(folder)) from None
        self.api = Api(Connection(control["address"], control["token"]))

    @staticmethod
    def find(folder: str = "runs") -> Run:
        """The run in this folder, or the newest one in progress within it."""
        candidates = [folder] + [entry.path for entry in os.scandir(folder) if entry.is_dir()]
        files = [os.path.join(path, "control.json") for path in candidates]
        for file in sorted(filter(os.path.exists, files), key=os.path.getmtime, reverse=True):
            try:
                run = Run(os.path.dirname(file))
                run.api.get_state()
                return run
            except (NotRunning, Refused):
                continue
        raise NotRunning("{}: no run is in progress here".format(folder))

    @staticmethod
    def start(
        scenario: str,
        arms: Optional[List[str]] = None,
        seeds: Optional[str] = None,
        settings: Optional[List[str]] = None,
        out: str = "runs",
        sandbox: str = "sandbox",
        timeout: float = 120.0,
    ) -> Run:
        """Starts a run as a child process and waits until it can be steered."""
        os.makedirs(out, exist_ok=True)
        before = set(os.listdir(out))
        command = [sandbox, scenario, "--out", out, "--quiet"]
        command += [part for arm in arms or [] for part in ("--arm", arm)]
        command += ["--seeds", seeds] if seeds else []
        command += [part for setting in settings or [] for part in ("--set", setting)]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + timeout
        while child.poll() is None and time.monotonic() < until:
            for name in set(os.listdir(out)) - before:
                if os.path.exists(os.path.join(out, name, "control.json")):
                    return Run(os.path.join(out, name), child)
            time.sleep(0.1)
        code = child.poll()
        if code is None:
            child.kill()
            child.wait()
        raise NotRunning("{} did not start a run{}".format(" ".join(command), "" if code is None else "; exit code {}".format(code)))

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if self.child is not None:
            if kind is not None:
                self.child.terminate()
            self.child.wait()

    def state(self) -> RunState:
        """The state of the run and of all its arms."""
        return self.api.get_state()

    def arms(self) -> List[Arm]:
        """All arms under all seeds; a fork from when it exists."""
        return [Arm(self, view["arm"], view["seed"]) for view in self.state()["arms"]]

    def arm(self, name: str, seed: Optional[int] = None) -> Arm:
        """An arm by its name; the first of its seeds if none is named."""
        arms = self.arms()
        for arm in arms:
            if arm.name == name and seed in (None, arm.seed):
                return arm
        names = ", ".join(sorted({arm.name for arm in arms}))
        raise KeyError("there is no arm {!r}{}; the arms are {}".format(name, "" if seed is None else " under seed {}".format(seed), names))

    def journal(self) -> List[JournalEntry]:
        """All changes and commands so far, oldest first."""
        return _lines(os.path.join(self.folder, "control.jsonl"))

    def events(self) -> Iterator[Tuple[str, Dict[str, Any]]]:
        """The events from now on until the run ends: their names and their data."""
        name = ""
        try:
            with self.api.connection.open("GET", "/api/events") as stream:
                for line in stream:
                    text = line.decode().rstrip("\r\n")
                    if text.startswith("event:"):
                        name = text[6:].strip()
                    elif text.startswith("data:") and name:
                        yield name, json.loads(text[5:])
                        if name == "end":
                            return
        except OSError:
            return

    def wait(self, step: Optional[int] = None, timeout: Optional[float] = None) -> None:
        """Waits until every arm that trains has taken `step` steps or has ended; without a step, until the run has ended."""
        until = None if timeout is None else time.monotonic() + timeout
        reached = lambda arm: arm["status"] in ENDED or arm["total_steps"] > 0 and arm["step"] >= step
        while True:
            try:
                arms = self.state()["arms"]
            except NotRunning:
                # It writes its report before the process ends.
                if self.child is not None:
                    self.child.wait()
                return
            if step is not None and all(map(reached, arms)):
                return
            if until is not None and time.monotonic() > until:
                raise TimeoutError("the run is not there yet after {} s".format(timeout))
            self._pause()

    def summary(self) -> Dict[str, Any]:
        """The content of `summary.json`, which is written when the run has ended."""
        with open(os.path.join(self.folder, "summary.json"), encoding="utf-8") as file:
            return json.load(file)

    @staticmethod
    def _pause() -> None:
        time.sleep(0.2)


def _lines(path: str) -> List[Dict[str, Any]]:
    """The complete lines of a file of records, which may be missing."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def _flat(row: Dict[str, Any], prefix: str = "") -> Dict[str, Any]:
    """The fields of a row, those of groups as `components.think`."""
    flat: Dict[str, Any] = {}
    for name, value in row.items():
        flat.update(_flat(value, prefix + name + ".") if isinstance(value, dict) else {prefix + name: value})
    return flat


def _reward(reward: Union[str, Dict[str, Any]]) -> Dict[str, Any]:
    if isinstance(reward, dict):
        return reward
    path = os.path.abspath(reward)
    return {"kind": "python", "file": path, "cwd": os.path.dirname(path)}
