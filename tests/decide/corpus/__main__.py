"""Prints how every failure and every living run of the corpus was classified."""

from tests.decide.corpus.cases import cases
from tests.decide.corpus.living import sequences
from tests.decide.corpus.matrix import matrix

if __name__ == "__main__":
    ended = [(each, each.verdict()) for each in cases()]
    pairs = [(case.kind.value, verdict.kind.value) for case, verdict in ended]
    for run in sequences():
        pairs += run.pairs()
    print(matrix(pairs))
    for case, verdict in ended:
        if verdict.kind is not case.kind:
            print(f"\n{case.name} ({case.source})\n  {verdict.sentence}")
