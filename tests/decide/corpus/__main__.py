"""Prints how every failure of the corpus was classified."""

from tests.decide.corpus.cases import cases
from tests.decide.corpus.matrix import matrix

if __name__ == "__main__":
    found = [(each, each.verdict()) for each in cases()]
    print(matrix((case.kind, verdict.kind) for case, verdict in found))
    for case, verdict in found:
        if verdict.kind is not case.kind:
            print(f"\n{case.name} ({case.source})\n  {verdict.sentence}")
