"""Interpolated modified Kneser–Ney with dictionaries, in float64: the oracle of the n-gram baselines."""

import math
from collections import Counter, defaultdict


class Slow:
    """Chen and Goodman's equations, one n-gram at a time."""

    def __init__(self, documents, size, order):
        self.size, self.order = size, order
        seen = [
            tuple(document[i : i + n])
            for document in documents
            for n in range(1, order + 1)
            for i in range(len(document) - n + 1)
        ]
        self.count = Counter(gram for gram in seen if len(gram) == order)
        before = defaultdict(set)
        for gram in seen:
            if len(gram) > 1:
                before[gram[1:]].add(gram[0])
        for gram, left in before.items():
            if len(gram) < order:
                self.count[gram] = len(left)
        self.discount = {n: self.discounts(n) for n in range(1, order + 1)}

    def discounts(self, n):
        met = Counter(count for gram, count in self.count.items() if len(gram) == n)
        n1, n2, n3, n4 = (met[k] for k in (1, 2, 3, 4))
        if n1 and n2:
            y = n1 / (n1 + 2 * n2)
            if n3 and n4:
                three = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
                if min(three) > 0:
                    return three
            return (y, y, y)
        return (0.5, 0.5, 0.5)

    def probability(self, word, context):
        context = tuple(context)[len(context) - min(len(context), self.order - 1) :]
        following = [self.count[(*context, v)] for v in range(self.size)]
        lower = self.probability(word, context[1:]) if context else 1 / self.size
        total = sum(following)
        if not total:
            return lower
        of = self.discount[len(context) + 1]

        def taken(count):
            return of[min(count, 3) - 1] if count else 0.0

        own = self.count[(*context, word)]
        return (own - taken(own)) / total + math.fsum(map(taken, following)) / total * lower


def slow_losses(fitted, scored, size, order):
    model = Slow(fitted, size, order)
    return [
        -math.log(model.probability(document[i], document[:i])) for document in scored for i in range(len(document))
    ]
