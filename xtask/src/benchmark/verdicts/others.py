"""Apache Otava and jumpavg on series of boots: JSON on standard input, JSON on standard output."""
import json
import sys
import time


def alarms(series):
    import jumpavg
    from otava.series import AnalysisOptions, Metric, Series

    def otava(boots):
        means = [sum(boot) / len(boot) for boot in boots]
        of = Series("boots", None, list(range(len(means))), {"mean": Metric()}, {"mean": means}, {})
        return bool(of.analyze(AnalysisOptions()).change_points.get("mean"))

    def jumps(boots):
        # It counts bits, so values are whole units: nanoseconds of a transaction of 100 us.
        groups = jumpavg.classify([[100_000 * value for value in boot] for boot in boots])
        return any(group.comment in ("regression", "progression") for group in groups)

    return {
        "otava": [otava(base + candidate) for base, candidate in series],
        "jumpavg": [jumps(base + candidate) for base, candidate in series],
    }


def products(hypotheses, blocks, permutations, tries):
    """Seconds that the product takes: the best of some tries, signs times differences, in both precisions."""
    import numpy

    random = numpy.random.default_rng(1)
    best = {}
    for kind in ("float32", "float64"):
        signs = random.choice([-1.0, 1.0], (permutations, blocks)).astype(kind)
        values = random.standard_normal((blocks, hypotheses)).astype(kind)
        times = []
        for _ in range(tries):
            began = time.perf_counter()
            signs @ values
            times.append(time.perf_counter() - began)
        best[kind] = min(times)
    return best


asked = json.load(sys.stdin)
if "series" in asked:
    print(json.dumps(alarms(asked["series"])))
else:
    print(json.dumps(products(**asked["products"])))
