"""The copies of CASIA-WebFace that go round, by their counts."""

KNOWN = {
    (494_414, 10_575): "the official CASIA-WebFace",
    (490_623, 10_572): "InsightFace's faces_webface_112x112",
    (455_594, 10_575): "the cleaned list (maxpy-clean)",
    (453_453, 10_575): "FaceNet's, after detection",
    (493_456, 10_575): "LightCNN's list",
}


def nearest_copy(images: int, identities: int) -> str:
    """The known copy with these counts, or the one nearest to them; "" where none is near."""

    def distance(known: tuple[int, int]) -> float:
        return max(abs(images / known[0] - 1), abs(identities / known[1] - 1))

    best = min(KNOWN, key=distance)
    if distance(best) > 0.1:
        return ""
    if best == (images, identities):
        return f"as many as {KNOWN[best]}"
    return f"nearest to {KNOWN[best]} ({best[0]:,} of {best[1]:,})"
