"""Traffic made up for the store: the batches that an agent would send of it, window by window.

What is random comes from seeds, so the same window of the same host is the same bytes every time.

- **Latency** of a route: lognormal, its median lognormal around 25 ms, its sigma 0.3 to 0.7; one
  request in twenty is five times as slow. A 4xx takes a third, a 5xx three times as long.
- **Requests** of a series: Poisson, at the rate of its route (some routes are asked much more often
  than others), with a rhythm of days and weeks. A series without a request in a window sends no
  point. One request in fifty is a 4xx, one in five hundred a 5xx, more or less by route.
- **Sizes**: whole bytes, lognormal; of every third route all answers are nearly alike. Every fifth
  route streams, so that its time to first byte is not its duration.
- **Restarts**: a service that deploys changes version every four days; half of these run in pods,
  whose instances change name with it. **Gaps**: a host is away for some minutes every third day.
- With `dependencies`, requests also carry database calls, and some of them cache and others.

Few requests are drawn one by one from a pool of 4,096 of their series; where a point has 60 or more
on average, its buckets are drawn each from its own Poisson distribution, which is the same traffic.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from trimtab_core.batches import Batch, Column, GaugeRow, ProcessAccounting, SeriesKey, encode
from trimtab_core.batches import pack_series as pack
from trimtab_core.sketch import BUCKETS, UPPER_US, middle_us

__all__ = ["VERSION", "Host", "Service", "batches"]

Array = npt.NDArray[Any]

#: changes whenever the same seeds give other batches
VERSION: Final = 3
CLASSES: Final = ("2xx", "4xx", "5xx")
#: the usual status code of each class; of every fifth point one request has the next one
_CODES: Final = np.array((200, 404, 502))
_POOL: Final = 4096
_MANY: Final = 60
_DEPLOY_S: Final = 4 * 86_400
_DAY_S: Final = 86_400
_UPPERS: Final = np.array(UPPER_US, float)
_MIDDLES: Final = np.array([middle_us(bucket) for bucket in range(BUCKETS)])
#: a bucket's width as a share of its middle, as the deviation of a value spread evenly in it
_SPREAD: Final = (2 ** (1 / 32) - 1) / 12**0.5
_GAUGES: Final = {
    "http.server.active_requests": 3.0,
    "process.memory.usage": 1.2e8,
    "process.cpu.utilization": 0.31,
    "process.uptime": 4e5,
    "trimtab.app.loop_delay": 0.0007,
    "cpython.gc.pause.time": 0.0021,
}


@dataclass(frozen=True, slots=True)
class Service:
    """A service; rate is the mean of a route's requests per second on one instance."""

    name: str
    routes: int
    rate: float
    deploys: bool = False
    dependencies: bool = False
    #: how different the rates of its routes are: sigma of a lognormal
    uneven: float = 0.7


@dataclass(frozen=True, slots=True)
class Host:
    """A host with one agent and one instance of each of its services."""

    name: str
    services: tuple[Service, ...]


class _Points(NamedTuple):
    """Points in order of window, then series."""

    window: Array
    series: Array
    requests: Array
    values: dict[str, Array]
    buckets: Array
    indexes: Array
    counts: Array


def batches(host: Host, start_s: int, end_s: int, step_s: int) -> Iterator[bytes]:
    """Yield the encoded batches of a host, one a window in which it had requests.

    The range is whole windows and no longer than a day: versions change between calls.
    """
    model = _model(host.services)
    random = np.random.default_rng(_seed(host.name, start_s, end_s, step_s))
    times = np.arange(start_s, end_s, step_s)
    mean = _rhythm(times)[:, None] * _up(host.name, times, step_s)[:, None] * model.rate * step_s
    if mean.sum() / max(1, np.count_nonzero(mean)) >= _MANY:
        points = _counted(model, mean, random)
    else:
        points = _drawn(model, random.poisson(mean), random)
    keys = [key for service in host.services for key in _keys(host, service, start_s)]
    yield from _encoded(host, points, keys, times, step_s)


class _Model:
    """What the series of a host have in common with those of other hosts: routes by class."""

    def __init__(self, services: tuple[Service, ...]) -> None:
        rates: list[float] = []
        pools: dict[str, list[Array]] = {}
        chances: list[Array] = []
        for service in services:
            random = np.random.default_rng(_seed(service.name))
            asked = random.lognormal(0, service.uneven, service.routes)
            asked *= service.rate / asked.mean()
            medians = random.lognormal(np.log(25_000), 1.0, service.routes)
            sigmas = random.uniform(0.3, 0.7, service.routes)
            shares = random.lognormal(np.log([0.02, 0.002]), 0.7, (service.routes, 2))
            for route in range(service.routes):
                kinds = (1 - shares[route].sum(), *shares[route])
                size = random.lognormal(np.log(3_000), 1.2)
                for place, slower in enumerate((1.0, 1 / 3, 3.0)):
                    rates.append(asked[route] * kinds[place])
                    median = medians[route] * slower
                    chances.append(_chances(median, sigmas[route]))
                    pool = _pool(random, service, route, median, sigmas[route], size)
                    for name, values in pool.items():
                        pools.setdefault(name, []).append(values)
        self.rate = np.array(rates)
        self.pool = {name: np.concatenate(values) for name, values in pools.items()}
        self.chance = np.stack(chances)
        self.failed = np.tile([0, 0, 1], len(rates) // 3)
        streamed = [route % 5 == 0 for service in services for route in range(service.routes)]
        self.streamed = np.repeat(streamed, len(CLASSES))
        by_series = {
            name: values.reshape(len(rates), _POOL)
            for name, values in self.pool.items()
            if name not in ("sum_us", "indexes")
        }
        self.mean = {name: values.mean(1) for name, values in by_series.items()}
        self.deviation = {name: values.std(1) for name, values in by_series.items()}


@lru_cache(8)
def _model(services: tuple[Service, ...]) -> _Model:
    return _Model(services)


def _pool(
    random: np.random.Generator,
    service: Service,
    route: int,
    median: float,
    sigma: float,
    size: float,
) -> dict[str, Array]:
    """Return requests of one route and class, an array for each of their facts."""
    slow = np.where(random.random(_POOL) < 0.05, 5.0, 1.0)
    duration = median * slow * random.lognormal(0, sigma, _POOL)
    duration = np.clip(duration, 1, 2**32 - 1).astype(np.int64)
    alike = 0.02 if route % 3 == 0 else 0.5
    streamed = route % 5 == 0
    first = duration * random.uniform(0.1, 0.6, _POOL) if streamed else duration
    pool = {
        "sum_us": duration,
        "indexes": np.searchsorted(_UPPERS, duration),
        "bytes": np.rint(size * random.lognormal(0, alike, _POOL)),
        "ttfb_us": first,
    }
    nothing = np.zeros(_POOL)
    if service.dependencies:
        calls = 1 + route % 6 + random.poisson(0.2, _POOL)
        pool["db_us"] = duration * random.beta(2, 3, _POOL)
        pool["db_calls"] = calls
        cached = route % 4 == 1
        hits = random.binomial(3, 0.8, _POOL) if cached else nothing
        pool["cache_hits"] = hits
        pool["cache_misses"] = 3 - hits if cached else nothing
        pool["cache_us"] = random.gamma(3, 150, _POOL) if cached else nothing
        outward = route % 5 == 2
        pool["external_us"] = duration * random.uniform(0.1, 0.4, _POOL) if outward else nothing
        pool["external_calls"] = nothing + outward
    return {name: np.asarray(values).astype(np.int64) for name, values in pool.items()}


def _chances(median: float, sigma: float) -> Array:
    """Return for each bucket the chance that a request of a route falls into it."""
    bounds = np.log(np.maximum(_UPPERS, 1e-9))
    share = np.zeros(BUCKETS)
    for part, times in ((0.95, 1.0), (0.05, 5.0)):
        below = np.interp((bounds - np.log(median * times)) / sigma, _GRID, _NORMAL)
        share += part * np.diff(below, prepend=0.0)
    share[share < 1e-7] = 0
    share /= share.sum()
    return share


_GRID: Final = np.linspace(-6, 6, 1201)
_NORMAL: Final = np.array([NormalDist().cdf(x) for x in _GRID])


def _drawn(model: _Model, requests: Array, random: np.random.Generator) -> _Points:
    """Return the points of requests by window and series, each request drawn on its own."""
    window, series = np.nonzero(requests)
    count = requests[window, series]
    if not len(count):
        return _Points(window, series, count, {}, count, count, count)
    begins = np.cumsum(count) - count
    place = np.repeat(np.arange(len(count)), count)
    pick = np.repeat(series, count) * _POOL + random.integers(0, _POOL, len(place))
    values = {
        name: np.add.reduceat(pool[pick], begins)
        for name, pool in model.pool.items()
        if name != "indexes"
    }
    values["max_us"] = np.maximum.reduceat(model.pool["sum_us"][pick], begins)
    values["errors"] = count * model.failed[series]
    entry = place * BUCKETS + model.pool["indexes"][pick]
    entry.sort()
    at = np.flatnonzero(np.diff(entry, prepend=-1))
    counts = np.diff(at, append=len(entry))
    point, indexes = np.divmod(entry[at], BUCKETS)
    buckets = np.bincount(point, minlength=len(count))
    return _Points(window, series, count, values, buckets, indexes, counts)


def _counted(model: _Model, mean: Array, random: np.random.Generator) -> _Points:
    """Return points of many requests: each bucket is drawn on its own."""
    low, high = np.flatnonzero(model.chance.any(0))[[0, -1]]
    chance = model.chance[:, low : high + 1]
    parts = []
    for place, row in enumerate(mean):
        drawn = random.poisson(row[:, None] * chance)
        series = np.flatnonzero(drawn.any(1))
        at, indexes = np.nonzero(drawn[series])
        counts = drawn[series][at, indexes]
        parts.append((np.full(len(series), place), series, np.bincount(at), indexes + low, counts))
    window, series, buckets, indexes, counts = map(np.concatenate, zip(*parts, strict=True))
    begins = np.cumsum(buckets) - buckets
    requests = np.add.reduceat(counts, begins)
    # The rest of what a request is: sums of many are normal.
    noise = random.standard_normal
    within = np.add.reduceat(counts * (_SPREAD * _MIDDLES[indexes]) ** 2, begins)
    sums = np.add.reduceat(counts * _MIDDLES[indexes], begins) + noise(len(series)) * within**0.5
    top = indexes[begins + buckets - 1]
    width = _UPPERS[top] - _UPPERS[top - 1]
    values = {
        "sum_us": np.maximum(1, np.rint(sums)),
        "max_us": np.ceil(_UPPERS[top] - random.random(len(top)) * (width - 1)),
        "errors": requests * model.failed[series],
    }
    for name, average in model.mean.items():
        drawn = requests * average[series]
        drawn += noise(len(series)) * requests**0.5 * model.deviation[name][series]
        values[name] = np.maximum(0, np.rint(drawn))
    # What does not stream has its first byte with its last.
    streamed = model.streamed[series]
    values["ttfb_us"] = np.where(streamed, values["ttfb_us"], values["sum_us"])
    whole = {name: array.astype(np.int64) for name, array in values.items()}
    return _Points(window, series, requests, whole, buckets, indexes, counts)


def _encoded(
    host: Host, points: _Points, keys: list[SeriesKey], times: Array, step_s: int
) -> Iterator[bytes]:
    """Yield batches; each lists the series that have a point in it, as an agent does.

    Wider windows than an agent's list all series of the host, so that a month is filled sooner.
    """
    ends = np.cumsum(points.buckets)
    steps = np.diff(points.indexes, prepend=0)
    begins = (ends - points.buckets)[points.buckets > 0]
    steps[begins] = points.indexes[begins]
    edges = np.searchsorted(points.window, np.arange(len(times) + 1))
    boot = hashlib.blake2b(f"{host.name} {step_s}".encode(), digest_size=8).digest()
    # A process of its own for each call: records are numbered without holes.
    process = hashlib.blake2b(f"{host.name} {times[0]}".encode(), digest_size=8).digest()
    service = host.services[0].name
    all_packed = pack(keys)
    sent = 0
    for place, window_s in enumerate(times.tolist()):
        begin, end = int(edges[place]), int(edges[place + 1])
        if begin == end:
            continue
        low, high = int(ends[begin] - points.buckets[begin]), int(ends[end - 1])
        named = keys
        series = points.series[begin:end]
        if step_s <= 10:
            named = [keys[index] for index in series.tolist()]
            series = np.arange(end - begin)
        columns = {"series": _column(series)}
        for name, values in points.values.items():
            _put(columns, name, values[begin:end])
        _put(columns, "buckets", points.buckets[begin:end])
        _put(columns, "indexes", steps[low:high])
        _put(columns, "counts", points.counts[low:high])
        for name, values in _statuses(points.series[begin:end], points.requests[begin:end]):
            _put(columns, name, values)
        requests = int(points.requests[begin:end].sum())
        accounting = ProcessAccounting(
            process, "bench", service, named[0].instance, [(sent, requests)], sent + requests, {}
        )
        sent += requests
        yield encode(
            Batch(
                agent=f"agent-{host.name}",
                boot=boot,
                seq=window_s // step_s,
                window_s=window_s,
                step_s=step_s,
                closed_us=(window_s + step_s) * 1_000_000,
                series=all_packed if named is keys else pack(named),
                points=end - begin,
                columns=columns,
                processes=[accounting],
                gauges=[
                    GaugeRow(
                        "bench", service, named[0].instance, name, value * (1 + place % 7 / 50)
                    )
                    for name, value in _GAUGES.items()
                ],
            )
        )


def _statuses(series: Array, requests: Array) -> Iterator[tuple[str, Array]]:
    """Yield the columns of the status codes of points."""
    sizes = 1 + ((series % 5 == 0) & (requests > 1))
    yield "statuses", sizes
    last = np.cumsum(sizes) - 1
    codes = np.repeat(_CODES[series % len(CLASSES)], sizes)
    codes[last] += sizes - 1
    yield "status_codes", codes
    counts = np.repeat(requests - (sizes - 1), sizes)
    counts[last[sizes > 1]] = 1
    yield "status_counts", counts


def _put(columns: dict[str, Column], name: str, values: Array) -> None:
    if values.any():
        columns[name] = _column(values)


def _column(values: Array) -> Column:
    most = int(values.max())
    kind = "B" if most < 1 << 8 else "H" if most < 1 << 16 else "I" if most < 1 << 32 else "Q"
    width = {"B": "u1", "H": "<u2", "I": "<u4", "Q": "<u8"}[kind]
    return Column(kind, values.astype(width).tobytes())


def _keys(host: Host, service: Service, t: int) -> Iterator[SeriesKey]:
    number = _seed(service.name) % 1000
    version, instance = "1.0.0", f"{host.name}#0"
    if service.deploys:
        version = f"1.{(t + number * 3600) // _DEPLOY_S % 100}.0"
        if number % 2:
            instance = f"{service.name}-{version[2:-2]}-{host.name}"
    for route in range(service.routes):
        path = f"/v1/{_WORDS[route % len(_WORDS)]}/{route}/{{id}}"
        method = "POST" if route % 4 == 3 else "GET"
        for status_class in CLASSES:
            yield SeriesKey("bench", service.name, version, instance, path, method, status_class)


_WORDS: Final = ("orders", "users", "carts", "things", "search", "prices", "stock", "reviews")


def _rhythm(times: Array) -> Array:
    """Return how busy it is, 1 on average over a day: least at 3, most at 15 o'clock."""
    day: Array = 1 - 0.6 * np.cos(2 * np.pi * (times - 3 * 3600) / _DAY_S)
    weekend = (times // _DAY_S + 3) % 7 >= 5
    day[weekend] *= 0.7
    return day


def _up(name: str, times: Array, step_s: int) -> Array:
    """Return 1 where a host is there and 0 where it is away; hours are never cut."""
    up = np.ones(len(times))
    if step_s >= 3600:
        return up
    for day in np.unique(times // _DAY_S).tolist():
        random = np.random.default_rng(_seed(name, day))
        if random.random() < 1 / 3:
            away = day * _DAY_S + random.integers(0, _DAY_S)
            up[(times >= away) & (times < away + random.integers(120, 1800))] = 0
    return up


def _seed(*parts: object) -> int:
    text = " ".join(map(str, (VERSION, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
